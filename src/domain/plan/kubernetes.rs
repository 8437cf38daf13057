//! The way back for a workload: what `kubectl rollout undo` does, pinned to a version and guarded.
//!
//! Source: kubectl's `pkg/polymorphichelpers/{rollback,rollout_status}.go`. Three differences: the target is a known version
//! and not "the one before"; JSON Patch `test`s refuse a template
//! that changed in between; the change-cause is ours.
mod image;
mod progress;
mod restart;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Change, Goal, Plan, Refusal, Step};
use crate::domain::outcome::Finding;
use crate::domain::owner::{HoldOwner, KUSTOMIZE_RECONCILE, Origin, hold};
use crate::domain::release::{Fingerprint, Version};
use crate::domain::survey::{KubernetesSurvey, Revision};
use crate::domain::workload::{UpdateStrategy, WorkloadKind};

pub use image::{ImageChange, ImageError};
pub use progress::{Progress, Stage};
pub use restart::{Restart, assess_restart, restart};

/// Annotations that stay the Deployment's own; all others come back from the ReplicaSet, as with kubectl.
const KEPT_ANNOTATIONS: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
    // Unlike with kubectl: taking it away would set Flux on what we restore.
    KUSTOMIZE_RECONCILE,
];
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// A workload by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workload {
    #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
    pub kind: WorkloadKind,
    pub namespace: String,
    pub name: String,
}

impl Workload {
    /// As kubectl takes it.
    pub fn argument(&self) -> String {
        format!("{}/{} -n {}", self.kind.noun(), self.name, self.namespace)
    }

    pub fn of(survey: &KubernetesSurvey) -> Self {
        Self { kind: survey.kind, namespace: survey.namespace.clone(), name: survey.name.clone() }
    }
}

/// Put the pod template of an earlier version back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreTemplate {
    pub workload: Workload,
    /// The workload itself, so that a namesake made meanwhile is not touched.
    pub uid: String,
    /// The version that must still be there.
    pub from: Fingerprint,
    pub to: Fingerprint,
    /// The RFC 6902 patch to send, `test` operations first.
    pub patch: Value,
    /// From where the bad version would come again.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub origin: Origin,
}

/// Wait as `kubectl rollout status` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwaitRollout {
    pub workload: Workload,
    pub version: Fingerprint,
}

/// What a workload looks like now, as far as steps need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    pub uid: String,
    pub fingerprint: Fingerprint,
    pub label: String,
    pub paused: bool,
    pub progress: Progress,
    /// Of the template: value of `kubectl.kubernetes.io/restartedAt`.
    pub restarted_at: Option<String>,
    /// Pods of the wanted version that are not ready, with the reason: `web-7f-x1 (ImagePullBackOff)`.
    pub waiting: Vec<String>,
    /// A pod of another version that a StatefulSet waits for, in vain.
    pub blocked: Option<BlockingPod>,
}

/// A StatefulSet replaces no pod before all are ready: one that is broken keeps it from its own repair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockingPod {
    pub name: String,
    /// `CrashLoopBackOff`.
    pub reason: String,
    /// Nothing but a deletion helps; where pods are managed in parallel, the controller may get by.
    pub for_good: bool,
}

/// Drafts the two steps: restore the template, await the rollout.
///
/// # Errors
/// A paused workload, one whose owner stands in the way, one whose pods change only when they are deleted, a version that is
/// gone from the history, or one that runs already.
pub fn draft(survey: &KubernetesSurvey, goal: &Goal, run: &str, rollout_secs: u64) -> Result<Plan, Refusal> {
    let workload = Workload::of(survey);
    let aim = aim(survey, goal, &workload.argument())?;
    let hold = changeable(survey)?;
    let to = aim.to.clone();
    Ok(Plan {
        service: survey.target.service.clone(),
        changes: vec![Change { target: survey.target.clone(), from: survey.version.clone(), to }],
        steps: holding(survey, hold)
            .into_iter()
            .chain(steps(survey, &aim, workload, run, rollout_secs))
            .collect(),
    })
}

/// What the template is to become.
struct Aim {
    to: Version,
    template: Value,
    title: String,
    /// Annotations that come back with it. `None` leaves the workload's own as they are.
    annotations: Option<BTreeMap<String, String>>,
}

fn aim(survey: &KubernetesSurvey, goal: &Goal, what: &str) -> Result<Aim, Refusal> {
    let aim = match goal {
        Goal::Version(version) => {
            let found = survey.find(&version.fingerprint);
            Aim::back(survey, kept(survey, found, what, &version.label)?, version.clone())
        }
        Goal::Revision(number) => {
            let found = survey.history.iter().find(|r| r.revision == *number);
            let target = kept(survey, found, what, &format!("revision {number}"))?;
            Aim::back(survey, target, target.version.clone().distinct_from(Some(&survey.version)))
        }
        Goal::Image(change) => {
            let template = change.template(survey).map_err(|known| Refusal::NoSuchContainer {
                what: what.to_string(),
                container: change.container.clone(),
                known,
            })?;
            let to = image::version(&template).distinct_from(Some(&survey.version));
            Aim { to, template, title: change.title(), annotations: None }
        }
    };
    if aim.to.fingerprint == survey.version.fingerprint {
        return Err(Refusal::AlreadyThere { what: what.to_string(), version: survey.version.label.clone() });
    }
    Ok(aim)
}

impl Aim {
    fn back(survey: &KubernetesSurvey, target: &Revision, to: Version) -> Self {
        let title = format!("restore the pod template of {} ({})", target.name, to.label);
        let annotations = survey.kind.is_deployment().then(|| target.annotations.clone());
        Self { to, template: target.template.clone(), title, annotations }
    }
}

fn kept<'a>(
    survey: &KubernetesSurvey,
    found: Option<&'a Revision>,
    what: &str,
    wanted: &str,
) -> Result<&'a Revision, Refusal> {
    let (what, wanted, limit) = (what.to_string(), wanted.to_string(), survey.revision_history_limit);
    found.ok_or(Refusal::RevisionGone { what, wanted, limit })
}

/// Whether a new template would reach the pods, and stay; perhaps only if its owner is held.
fn changeable(survey: &KubernetesSurvey) -> Result<Option<HoldOwner>, Refusal> {
    let what = Workload::of(survey).argument();
    if survey.paused {
        return Err(Refusal::Paused { what });
    }
    match survey.update {
        UpdateStrategy::OnDelete => return Err(Refusal::OnDelete { what }),
        UpdateStrategy::Rolling { .. } => {}
    }
    hold(survey.origin.owner.as_ref()).map_err(|owner| Refusal::Owned { what, owner })
}

fn steps(
    survey: &KubernetesSurvey,
    aim: &Aim,
    workload: Workload,
    run: &str,
    rollout_secs: u64,
) -> Vec<Step> {
    let restore = RestoreTemplate {
        workload: workload.clone(),
        uid: survey.uid.clone(),
        from: survey.version.fingerprint.clone(),
        to: aim.to.fingerprint.clone(),
        patch: patch(survey, aim, run),
        origin: survey.origin.clone(),
    };
    let step =
        |title, deadline_secs, action| Step { target: survey.target.clone(), title, deadline_secs, action };
    vec![
        step(aim.title.clone(), RESTORE_SECS, Action::RestoreTemplate(Box::new(restore))),
        awaiting(survey, workload, &aim.to, rollout_secs),
    ]
}

fn awaiting(survey: &KubernetesSurvey, workload: Workload, to: &Version, rollout_secs: u64) -> Step {
    let wait = AwaitRollout { workload, version: to.fingerprint.clone() };
    Step {
        target: survey.target.clone(),
        title: format!("await the rollout of {}", to.label),
        deadline_secs: rollout_secs,
        action: Action::AwaitRollout(wait),
    }
}

/// The step before the restore that keeps the owner from undoing it.
fn holding(survey: &KubernetesSurvey, hold: Option<HoldOwner>) -> Option<Step> {
    let hold = hold?;
    Some(Step {
        target: survey.target.clone(),
        title: format!("suspend {}", hold.controller.title()),
        deadline_secs: RESTORE_SECS,
        action: Action::HoldOwner(hold),
    })
}

/// How long the patch may take with all its retries.
const RESTORE_SECS: u64 = 120;

/// The template as a whole is the guard: whatever somebody deploys in between changes it. Annotations are changed one by one
/// and not as a map, so that what the controller writes meanwhile is not undone.
///
/// StatefulSets and DaemonSets keep their annotations, as with kubectl: `test` and `replace` of the template are what its
/// strategic merge of a ControllerRevision does.
fn patch(survey: &KubernetesSurvey, aim: &Aim, run: &str) -> Value {
    let cause = format!(
        "rollguard: rolled back from {} (revision {}) by run {run}",
        survey.version.label, survey.revision
    );
    let annotations = aim.annotations.as_ref().unwrap_or(&survey.annotations);
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    wanted.extend(annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    wanted.insert(CHANGE_CAUSE, &cause);
    wanted.retain(|key, _| !KEPT_ANNOTATIONS.contains(key));
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": survey.uid}),
        json!({"op": "test", "path": "/spec/template", "value": survey.template}),
        json!({"op": "replace", "path": "/spec/template", "value": aim.template}),
    ];
    if survey.annotations.is_empty() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": wanted}));
        return Value::Array(operations);
    }
    let keeps = |key: &&str, value: &&str| survey.annotations.get(*key).is_some_and(|v| v == value);
    for (key, value) in wanted.iter().filter(|(key, value)| aim.annotations.is_some() || !keeps(key, value)) {
        operations.push(json!({"op": "add", "path": annotation_path(key), "value": value}));
    }
    let unwanted = survey
        .annotations
        .keys()
        .filter(|key| !KEPT_ANNOTATIONS.contains(&key.as_str()) && !wanted.contains_key(key.as_str()));
    operations.extend(unwanted.map(|key| json!({"op": "remove", "path": annotation_path(key)})));
    Value::Array(operations)
}

/// RFC 6901: `~` and `/` in a key are escaped.
fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Whether the template is as the step leaves it, as it found it, or something else.
pub fn assess_restore(step: &RestoreTemplate, facts: Option<&WorkloadFacts>) -> Finding {
    let facts = match same_object(&step.workload, &step.uid, facts) {
        Ok(facts) => facts,
        Err(why) => return Finding::Conflict { why },
    };
    if facts.fingerprint == step.to {
        return Finding::Satisfied { detail: format!("the template is that of {}", facts.label) };
    }
    if facts.paused {
        let what = step.workload.argument();
        return Finding::Conflict { why: format!("{what} was paused since the plan was made") };
    }
    if facts.fingerprint != step.from {
        return Finding::Conflict {
            why: format!("somebody deployed {} since the plan was made", facts.label),
        };
    }
    Finding::not_yet(format!("the template is still that of {}", facts.label))
}

/// A namesake that was made meanwhile is not what the plan is about.
fn same_object<'a>(
    workload: &Workload,
    uid: &str,
    facts: Option<&'a WorkloadFacts>,
) -> Result<&'a WorkloadFacts, String> {
    let what = workload.argument();
    let facts = facts.ok_or_else(|| format!("{what} does not exist any more"))?;
    if facts.uid == uid {
        return Ok(facts);
    }
    Err(format!("{what} was deleted and created again since the plan was made"))
}

/// What `kubectl rollout status` says; another version means that we were superseded.
pub fn assess_rollout(step: &AwaitRollout, facts: Option<&WorkloadFacts>) -> Finding {
    let what = step.workload.argument();
    let Some(f) = facts else {
        return Finding::Conflict { why: format!("{what} does not exist any more") };
    };
    if f.fingerprint != step.version {
        return Finding::Conflict {
            why: format!("somebody deployed {} while the rollback was rolling out", f.label),
        };
    }
    let detail = match f.progress.stage() {
        Stage::Complete => return Finding::Satisfied { detail: f.progress.complete(&f.label) },
        Stage::OnDelete => {
            let why = format!(
                "the update strategy of {what} is OnDelete now: its pods change only when they are deleted"
            );
            return Finding::Conflict { why };
        }
        Stage::Unobserved => "the change is not observed yet".to_string(),
        // kubectl fails here. A condition left over from the bad version looks the same, so our own deadline decides.
        Stage::GaveUp => format!("{what} exceeded its progress deadline"),
        Stage::Rolling(detail) => match &f.blocked {
            Some(pod) if pod.for_good => return Finding::Conflict { why: blocked(pod, &step.workload) },
            Some(pod) => format!("{detail}: {}", blocked(pod, &step.workload)),
            None => detail,
        },
    };
    let waiting = if f.waiting.is_empty() { String::new() } else { format!(": {}", f.waiting.join(", ")) };
    Finding::not_yet(format!("{detail}{waiting}"))
}

/// Deleting is left to a person: what the pod was doing with its volume is not known here.
fn blocked(pod: &BlockingPod, workload: &Workload) -> String {
    format!(
        "{} still runs another version and is broken ({}), and a StatefulSet waits until all its pods are ready before it \
         replaces one; consider `kubectl delete pod {} -n {}`",
        pod.name, pod.reason, pod.name, workload.namespace
    )
}
