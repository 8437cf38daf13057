//! Workloads that do with our patches what an API server does, and write down every change that came of one.
use std::collections::BTreeMap;

use jiff::Timestamp;
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::{Automation, Controller, GitOps, Origin, Owner, OwnerState, assess_hold};
use rollguard::domain::plan::kubernetes::{
    Progress, WorkloadFacts, assess_restart, assess_restore, assess_rollout,
};
use rollguard::domain::plan::{Action, Step};
use rollguard::domain::release::{Fingerprint, RESTARTED_AT, Version};
use rollguard::domain::survey::{KubernetesSurvey, Revision, Survey};
use rollguard::domain::workload::{UpdateStrategy, WorkloadKind};
use serde_json::{Value, json};

use super::infrastructure::Infrastructure;
use super::schema::Schema;

pub(crate) fn target(service: &str, name: &str) -> TargetId {
    TargetId { service: ServiceName::parse(service).unwrap(), target: TargetName::parse(name).unwrap() }
}

/// Pods that a rollout makes anew, one in a second.
const PODS: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) kind: WorkloadKind,
    /// As the API server shows it.
    object: Value,
    /// A Flux Kustomization that applies it.
    owner: Option<Value>,
    version: Version,
    /// Templates with when each was first seen, oldest first; the revision is the place in it.
    history: Vec<(Value, Version, Timestamp)>,
    pub(crate) changed_at: Timestamp,
    /// Every change that came of an applied step, in order.
    pub(crate) effects: Vec<String>,
}

/// Workloads, and databases beside them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads {
    workloads: BTreeMap<TargetId, Workload>,
    databases: BTreeMap<TargetId, Schema>,
    infrastructure: BTreeMap<TargetId, Infrastructure>,
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": image}]}})
}

pub(crate) fn version(image: &str) -> Version {
    version_of(&template(image))
}

fn version_of(template: &Value) -> Version {
    Version::of_workload(Fingerprint::of_template(template), vec![image_of(template)])
}

fn image_of(template: &Value) -> String {
    template["spec"]["containers"][0]["image"].as_str().unwrap().to_string()
}

impl Workload {
    /// It has run the first image since then; every further one was deployed a second later.
    pub(crate) fn running(kind: WorkloadKind, images: &[&str], since: Timestamp) -> Self {
        let annotations = json!({"deployment.kubernetes.io/revision": "1"});
        let spec = json!({"template": template(images[0])});
        let object = json!({"metadata": {"uid": "uid", "annotations": annotations}, "spec": spec});
        let version = version(images[0]);
        let history = vec![(template(images[0]), version.clone(), since)];
        let mut workload =
            Self { kind, object, owner: None, version, history, changed_at: since, effects: vec![] };
        for (image, second) in images[1..].iter().zip(1..) {
            workload.deploy(image, since + jiff::SignedDuration::from_secs(second));
        }
        workload
    }

    pub(crate) fn owned(self) -> Self {
        Self { owner: Some(json!({"metadata": {"uid": "owner"}, "spec": {"suspend": false}})), ..self }
    }

    /// Somebody else deploys this image.
    pub(crate) fn deploy(&mut self, image: &str, at: Timestamp) {
        self.object["spec"]["template"] = template(image);
        self.template_changed(at);
    }

    fn template_changed(&mut self, at: Timestamp) {
        (self.changed_at, self.version) = (at, version_of(self.template()));
        if !self.history.iter().any(|(_, known, _)| *known == self.version) {
            self.history.push((self.template().clone(), self.version.clone(), at));
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.object["spec"]["paused"] = paused.into();
    }

    fn is_paused(&self) -> bool {
        self.object["spec"]["paused"] == true
    }

    fn template(&self) -> &Value {
        &self.object["spec"]["template"]
    }

    pub(crate) fn image(&self) -> String {
        image_of(self.template())
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Each version with when it was first seen, oldest first, the current one last.
    pub(crate) fn generations(&self) -> Vec<(&Version, Timestamp)> {
        let all = self.history.iter().map(|(_, version, at)| (version, *at));
        let (current, mut others): (Vec<_>, Vec<_>) = all.partition(|(version, _)| **version == self.version);
        others.extend(current);
        others
    }

    /// Pods of the current version by now, one in a second.
    pub(crate) fn updated(&self, now: Timestamp) -> u32 {
        let secs = now.duration_since(self.changed_at).as_secs().clamp(0, PODS.into());
        u32::try_from(secs).unwrap()
    }

    fn owner_state(&self) -> OwnerState {
        let Some(owner) = &self.owner else { return OwnerState::Missing };
        let setting = owner["spec"]["suspend"].clone();
        if setting == true {
            return OwnerState::Suspended;
        }
        OwnerState::Automated(Automation { uid: "owner".into(), setting, reverts: true })
    }

    pub(crate) fn survey(&self, target: &TargetId) -> KubernetesSurvey {
        let controller = Controller::FluxKustomization { namespace: "flux".into(), name: "apps".into() };
        let gitops = GitOps { controller, state: self.owner_state(), may_hold: true };
        let owner = self.owner.as_ref().map(|_| Owner::GitOps(gitops));
        let revision = |(number, (template, version, at)): (u64, &(Value, Version, Timestamp))| Revision {
            name: format!("{}-{number}", target.target),
            uid: format!("uid-{number}"),
            revision: number,
            version: version.clone(),
            template: template.clone(),
            annotations: BTreeMap::new(),
            created_at: Some(*at),
        };
        KubernetesSurvey {
            target: target.clone(),
            kind: self.kind,
            namespace: "default".into(),
            name: target.target.to_string(),
            uid: "uid".into(),
            paused: self.is_paused(),
            update: UpdateStrategy::default(),
            replicas: PODS,
            revision: self.history.len() as u64,
            template: self.template().clone(),
            version: self.version.clone(),
            annotations: serde_json::from_value(self.object["metadata"]["annotations"].clone()).unwrap(),
            origin: Origin { owner, writer: None },
            history: (1..).zip(&self.history).map(revision).collect(),
            revision_history_limit: Some(10),
            rollout: None,
        }
    }

    fn facts(&self, now: Timestamp) -> WorkloadFacts {
        let updated = self.updated(now);
        let stamp = &self.template()["metadata"]["annotations"][RESTARTED_AT];
        WorkloadFacts {
            uid: "uid".into(),
            fingerprint: self.version.fingerprint.clone(),
            label: self.image(),
            paused: self.is_paused(),
            progress: Progress {
                kind: self.kind,
                update: UpdateStrategy::default(),
                generation: 2,
                observed_generation: 2,
                wanted: PODS,
                total: PODS,
                updated,
                available: updated,
                gave_up: false,
            },
            restarted_at: stamp.as_str().map(str::to_string),
            waiting: vec![],
            blocked: None,
        }
    }

    fn observe(&self, action: &Action, now: Timestamp) -> Finding {
        match action {
            Action::HoldOwner(hold) => assess_hold(hold, &self.owner_state()),
            Action::RestoreTemplate(restore) => assess_restore(restore, Some(&self.facts(now))),
            Action::AwaitRollout(wait) => assess_rollout(wait, Some(&self.facts(now))),
            Action::Restart(restart) => assess_restart(restart, Some(&self.facts(now))),
            Action::Frontend(_) | Action::Database(_) | Action::Infrastructure(_) => {
                unreachable!("{action:?}")
            }
        }
    }

    /// What the API server does with the patch: its tests first, then all of it; what changes nothing is no change.
    fn apply(&mut self, action: &Action, now: Timestamp) -> Outcome {
        let before = self.clone();
        let patched = match action {
            Action::AwaitRollout(_) => true,
            Action::Frontend(_) | Action::Database(_) | Action::Infrastructure(_) => {
                unreachable!("{action:?}")
            }
            Action::Restart(restart) => {
                json_patch::merge(&mut self.object, &restart.patch());
                true
            }
            Action::RestoreTemplate(restore) => patch(&mut self.object, &restore.patch),
            Action::HoldOwner(hold) => {
                hold.patches.iter().any(|held| self.owner.as_mut().is_some_and(|owner| patch(owner, held)))
            }
        };
        if !patched {
            return Outcome::Refused { why: "a test of the patch failed".into() };
        }
        if self.owner != before.owner {
            self.effects.push("suspend".into());
        }
        if self.template() != before.template() {
            self.template_changed(now);
            let restarted = self.version == before.version;
            self.effects.push(if restarted { "restart".into() } else { self.image() });
        }
        Outcome::Done { detail: "patched".into() }
    }
}

fn patch(object: &mut Value, operations: &Value) -> bool {
    let patch: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
    json_patch::patch(object, &patch).is_ok()
}

impl Workloads {
    pub(crate) fn with(mut self, target: TargetId, workload: Workload) -> Self {
        self.workloads.insert(target, workload);
        self
    }

    pub(crate) fn with_database(mut self, target: TargetId, schema: Schema) -> Self {
        self.databases.insert(target, schema);
        self
    }

    pub(crate) fn with_infrastructure(mut self, target: TargetId, infrastructure: Infrastructure) -> Self {
        self.infrastructure.insert(target, infrastructure);
        self
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = (&TargetId, &Schema)> {
        self.databases.iter()
    }

    pub(crate) fn of(&self, target: &TargetId) -> &Workload {
        &self.workloads[target]
    }

    pub(crate) fn of_mut(&mut self, target: &TargetId) -> &mut Workload {
        self.workloads.get_mut(target).unwrap()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TargetId, &Workload)> {
        self.workloads.iter()
    }

    pub(crate) fn survey(&self, target: &TargetId) -> Survey {
        if let Some(infrastructure) = self.infrastructure.get(target) {
            return infrastructure.survey(target);
        }
        Survey::Kubernetes(Box::new(self.of(target).survey(target)))
    }

    pub(crate) fn observe(&self, step: &Step, now: Timestamp) -> Finding {
        match &step.action {
            Action::Database(action) => self.databases[&step.target].observe(action, now),
            Action::Infrastructure(action) => self.infrastructure[&step.target].observe(action),
            action => self.of(&step.target).observe(action, now),
        }
    }

    pub(crate) fn apply(&mut self, step: &Step, now: Timestamp) -> Outcome {
        match &step.action {
            Action::Database(action) => self.databases.get_mut(&step.target).unwrap().apply(action, now),
            Action::Infrastructure(action) => {
                self.infrastructure.get_mut(&step.target).unwrap().apply(action)
            }
            action => self.of_mut(&step.target).apply(action, now),
        }
    }

    /// `backend: shop:v1`, for every change that came of an applied step.
    pub(crate) fn effects(&self) -> Vec<String> {
        let workloads = self.iter().map(|(target, workload)| (target, &workload.effects));
        let databases = self.databases.iter().map(|(target, schema)| (target, &schema.effects));
        let infrastructure = self.infrastructure.iter().map(|(target, own)| (target, &own.effects));
        let of = |(target, effects): (&TargetId, &Vec<String>)| {
            let name = target.target.to_string();
            effects.iter().map(move |effect| format!("{name}: {effect}")).collect::<Vec<_>>()
        };
        workloads.chain(databases).chain(infrastructure).flat_map(of).collect()
    }
}
