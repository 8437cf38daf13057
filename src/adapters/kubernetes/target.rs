//! Workloads as targets: surveyed, observed, put back with one guarded patch, and restarted.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::beside::Beside;
use super::commons::Commons;
use super::keepsake::{self, Keeping};
use super::owners::{OwnerOptions, Owners, changed_by};
use super::references::References;
use super::survey::{selector, survey};
use super::{
    KubernetesTarget, around, call, facts, failure, obstacles, refusals, resource, server_time, trim,
};
use crate::domain::diagnosis::{Diagnosis, diagnose};
use crate::domain::keepsake::Keepsake;
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::kubernetes::{
    AwaitRollout, Restart, RestoreTemplate, Workload, WorkloadFacts, assess_restart, assess_restore,
    assess_rollout,
};
use crate::domain::plan::{Action, Step};
use crate::domain::release::Version;
use crate::domain::surroundings::{Image, Surroundings};
use crate::domain::survey::{KubernetesSurvey, Survey};
use crate::domain::workload::WorkloadKind;
use crate::ports::{Clock, ImageRegistry, SurveyError, Target};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Pods of a workload that are looked at for a diagnosis.
const PODS_MAX: u32 = 500;

/// The targets of one cluster.
#[derive(Clone)]
pub struct KubernetesTargets {
    client: Client,
    targets: BTreeMap<TargetId, KubernetesTarget>,
    beside: Beside,
    commons: Commons,
    clock: Arc<dyn Clock>,
    registry: Option<Arc<dyn ImageRegistry>>,
    owners: Owners,
    keeping: Option<Keeping>,
}

/// Why something could not be read or done.
pub(super) enum Trouble {
    Missing,
    /// The server refused the request as it is.
    Refused(String),
    /// Not known what became of it.
    Unclear(String),
}

impl Trouble {
    fn of(error: &kube::Error) -> Self {
        let reason = failure::reason(error);
        match failure::code(error) {
            Some(404) => Trouble::Missing,
            // Not processed yet, or perhaps only its answer is late.
            Some(408 | 429) => Trouble::Unclear(reason),
            Some(400..500) => Trouble::Refused(reason),
            Some(_) | None => Trouble::Unclear(reason),
        }
    }

    pub(super) fn reason(self) -> String {
        match self {
            Trouble::Missing => "it does not exist".into(),
            Trouble::Refused(why) | Trouble::Unclear(why) => why,
        }
    }
}

/// Waits no longer than the driver can.
pub(super) async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(Trouble::Unclear(format!("no answer within {} s", TIMEOUT.as_secs()))),
    }
}

impl KubernetesTargets {
    pub(super) fn new(
        client: Client,
        targets: BTreeMap<TargetId, KubernetesTarget>,
        beside: Beside,
        clock: Arc<dyn Clock>,
        owners: OwnerOptions,
    ) -> Self {
        let owners = Owners::new(client.clone(), owners);
        let commons = Commons::new(clock.clone());
        Self { client, targets, beside, commons, clock, registry: None, owners, keeping: None }
    }

    pub(super) fn with_keeping(self, keeping: Option<Keeping>) -> Self {
        Self { keeping, ..self }
    }

    /// Who is asked whether images are still there.
    pub fn with_registry(self, registry: Option<Arc<dyn ImageRegistry>>) -> Self {
        Self { registry, ..self }
    }

    /// None if nobody can be asked.
    async fn images(&self, needed: &[Version]) -> Option<Vec<Image>> {
        let registry = self.registry.as_ref()?;
        let names: BTreeSet<&String> = needed.iter().flat_map(|version| &version.images).collect();
        let look = async |name: &String| {
            let presence = registry.presence(name).await;
            Image { name: name.clone(), presence }
        };
        Some(futures::future::join_all(names.into_iter().map(look)).await)
    }

    fn raw(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    fn workloads(&self, workload: &Workload) -> Api<DynamicObject> {
        self.raw(&workload.namespace, &resource(workload.kind))
    }

    /// ReplicaSets or ControllerRevisions, the workload's own and perhaps others.
    async fn revisions(
        &self,
        workload: &Workload,
        object: &DynamicObject,
    ) -> Result<Vec<DynamicObject>, Trouble> {
        let list = ListParams::default().labels(&selector_of(object)?);
        let resource = match workload.kind {
            WorkloadKind::Deployment => ApiResource::erase::<ReplicaSet>(&()),
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                ApiResource::erase::<ControllerRevision>(&())
            }
        };
        Ok(in_time(self.raw(&workload.namespace, &resource).list(&list)).await?.items)
    }

    async fn read(&self, target: &KubernetesTarget) -> Result<KubernetesSurvey, Trouble> {
        let workload = &target.workload;
        let object = in_time(self.workloads(workload).get(&workload.name)).await?;
        let origin = self.owners.origin(&target.target, &object, workload.kind.title());
        let (sets, origin) = tokio::join!(self.revisions(workload, &object), origin);
        let survey = survey(target, &object, &sets?)
            .ok_or_else(|| Trouble::Unclear("the answer could not be understood".into()))?;
        Ok(KubernetesSurvey { origin, ..survey })
    }

    async fn facts(&self, workload: &Workload) -> Result<Option<(DynamicObject, WorkloadFacts)>, Trouble> {
        match in_time(self.workloads(workload).get(&workload.name)).await {
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(trouble),
            Ok(object) => {
                let facts = facts::facts(workload.kind, &object)
                    .ok_or_else(|| Trouble::Unclear("the answer could not be understood".into()))?;
                Ok(Some((object, facts)))
            }
        }
    }

    async fn observe_restore(&self, step: &RestoreTemplate) -> Result<Finding, Trouble> {
        let Some((object, facts)) = self.facts(&step.workload).await? else {
            return Ok(assess_restore(step, None));
        };
        let finding = assess_restore(step, Some(&facts));
        let known = facts.fingerprint == step.from || facts.fingerprint == step.to;
        Ok(if known { finding } else { changed_by(finding, &object.metadata) })
    }

    /// Asks for the pods only while there is something to explain.
    async fn observe_rollout(&self, step: &AwaitRollout) -> Result<Finding, Trouble> {
        let Some((object, mut facts)) = self.facts(&step.workload).await? else {
            return Ok(assess_rollout(step, None));
        };
        let finding = assess_rollout(step, Some(&facts));
        if !matches!(finding, Finding::NotYet { .. }) {
            return Ok(changed_by(finding, &object.metadata));
        }
        let why = self.explain(step, &object, &mut facts).await?;
        Ok(assess_rollout(step, Some(&facts)).because(why))
    }

    async fn explain(
        &self,
        step: &AwaitRollout,
        object: &DynamicObject,
        facts: &mut WorkloadFacts,
    ) -> Result<Diagnosis, Trouble> {
        let sets = self.revisions(&step.workload, object).await?;
        let pods = self.pods(&step.workload.namespace, &selector_of(object)?).await?;
        let (wanted, others) = facts::by_version(&facts.uid, &sets, &step.version, pods);
        if step.workload.kind == WorkloadKind::StatefulSet {
            facts.blocked = facts::blocked(object, &others);
        }
        facts.waiting = facts::waiting(&wanted);
        let mut stall = obstacles::stall(&step.workload, object, &wanted, &others, &self.beside);
        let now = self.clock.now();
        if !step.workload.kind.is_deployment() && self.beside.reads_events() {
            let namespace = &step.workload.namespace;
            stall.refused = refusals::refusal(&self.client, namespace, &facts.uid, now).await;
        }
        Ok(diagnose(&stall, now))
    }

    async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Trouble> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(in_time(api.list(&ListParams::default().labels(selector).limit(PODS_MAX))).await?.items)
    }

    async fn keep(&self, workload: &Workload) -> Result<Keepsake, Trouble> {
        let object = in_time(self.workloads(workload).get(&workload.name)).await?;
        let template = trim::template(&object);
        let version = trim::version(template).fingerprint;
        let references = References::of(template);
        let sets = self.revisions(workload, &object).await?;
        let pods = self.pods(&workload.namespace, &selector_of(&object)?).await?;
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let (wanted, _) = facts::by_version(uid, &sets, &version, pods);
        let found =
            keepsake::belongings(&self.client, &workload.namespace, self.keeping.as_ref(), &references).await;
        Ok(Keepsake {
            version,
            at: self.clock.now(),
            key: self.keeping.as_ref().map_or(String::new(), |keeping| keeping.hash.name()),
            read: found.read,
            objects: found.objects,
            images: keepsake::images(&wanted).into(),
            unread: found.unread,
        })
    }

    async fn observe_restart(&self, step: &Restart) -> Result<Finding, Trouble> {
        let facts = self.facts(&step.workload).await?;
        Ok(assess_restart(step, facts.as_ref().map(|(_, facts)| facts)))
    }

    async fn restore(&self, step: &RestoreTemplate) -> Outcome {
        match serde_json::from_value(step.patch.clone()) {
            Ok(operations) => self.patch(&step.workload, &Patch::Json(operations), "was put back").await,
            Err(_) => {
                let what = step.workload.argument();
                Outcome::Refused { why: format!("the plan's patch for {what} is no JSON Patch") }
            }
        }
    }

    async fn restart(&self, step: &Restart) -> Outcome {
        self.patch(&step.workload, &Patch::Merge(step.patch()), "was stamped").await
    }

    async fn patch(&self, workload: &Workload, patch: &Patch<Value>, done: &str) -> Outcome {
        let what = workload.argument();
        let api = self.workloads(workload);
        match in_time(call::patch(&self.client, &api, &workload.name, patch)).await {
            Ok(_) => Outcome::Done { detail: format!("the template of {what} {done}") },
            Err(Trouble::Missing) => Outcome::Refused { why: format!("{what} does not exist") },
            Err(Trouble::Refused(why)) => Outcome::Refused { why: format!("{what} was not changed: {why}") },
            Err(Trouble::Unclear(why)) => Outcome::Unknown { why },
        }
    }
}

fn selector_of(object: &DynamicObject) -> Result<String, Trouble> {
    selector(object).ok_or_else(|| Trouble::Unclear("its selector cannot be read".into()))
}

fn unreadable(workload: &Workload, trouble: Trouble) -> SurveyError {
    let what = workload.argument();
    match trouble {
        Trouble::Missing => SurveyError::Missing { what },
        Trouble::Refused(why) | Trouble::Unclear(why) => SurveyError::Unreadable { what, why },
    }
}

/// Never met: steps are handed to the room that drafted them.
const NOT_OURS: &str = "this step is no step of Kubernetes";

#[async_trait]
impl Target for KubernetesTargets {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let known = self.targets.get(target);
        let known = known.ok_or_else(|| SurveyError::Unknown { target: target.clone() })?;
        let workload = &known.workload;
        let read = self.read(known).await;
        read.map(|found| Survey::Kubernetes(Box::new(found))).map_err(|trouble| unreadable(workload, trouble))
    }

    async fn surroundings(
        &self,
        target: &TargetId,
        survey: Option<&Survey>,
        needed: &[Version],
    ) -> Surroundings {
        let Some(known) = self.targets.get(target) else { return Surroundings::default() };
        let references = survey.and_then(Survey::workload).map(|found| References::of(&found.template));
        let references = references.unwrap_or_default();
        let mut extras = self.beside.rights(target);
        extras.extend(keepsake::rights(self.keeping.as_ref(), &references));
        let around = around::surroundings(&self.client, &self.commons, known, extras, survey, needed);
        let ahead = server_time::ahead_of(&self.client, self.clock.as_ref());
        let (mut around, images, clock_ahead) = tokio::join!(around, self.images(needed), ahead);
        if images.is_none() {
            around.unchecked.push("images: no registry is asked (registries.ecr asks ECR)".into());
        }
        Surroundings { images: images.unwrap_or_default(), clock_ahead, ..around }
    }

    async fn keepsake(&self, target: &TargetId) -> Result<Keepsake, SurveyError> {
        let known = self.targets.get(target);
        let known = known.ok_or_else(|| SurveyError::Unknown { target: target.clone() })?;
        let kept = self.keep(&known.workload).await;
        kept.map_err(|trouble| unreadable(&known.workload, trouble))
    }

    async fn observe(&self, step: &Step) -> Finding {
        let finding = match &step.action {
            Action::HoldOwner(hold) => Ok(self.owners.observe(hold).await),
            Action::RestoreTemplate(restore) => self.observe_restore(restore).await,
            Action::AwaitRollout(wait) => self.observe_rollout(wait).await,
            Action::Restart(restart) => self.observe_restart(restart).await,
            Action::Frontend(_) | Action::Database(_) | Action::Infrastructure(_) => {
                Ok(Finding::Conflict { why: NOT_OURS.into() })
            }
        };
        finding.unwrap_or_else(|trouble| Finding::Unseen { why: trouble.reason() })
    }

    async fn apply(&self, step: &Step) -> Outcome {
        match &step.action {
            Action::HoldOwner(hold) => self.owners.hold(hold).await,
            Action::RestoreTemplate(restore) => self.restore(restore).await,
            Action::Restart(restart) => self.restart(restart).await,
            Action::AwaitRollout(_) => Outcome::Done { detail: "nothing to do".into() },
            Action::Frontend(_) | Action::Database(_) | Action::Infrastructure(_) => {
                Outcome::Refused { why: NOT_OURS.into() }
            }
        }
    }
}
