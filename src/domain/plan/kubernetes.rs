//! The way back for a Deployment: what `kubectl rollout undo` does, pinned to a version and guarded.
//!
//! Source: kubectl's `pkg/polymorphichelpers/{rollback,rollout_status}.go`. Three differences: the target is a known version
//! and not "the one before"; JSON Patch `test`s refuse a template
//! that changed in between; the change-cause is ours.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Change, Goal, Plan, Refusal, Step};
use crate::domain::outcome::Finding;
use crate::domain::owner::{HoldOwner, KUSTOMIZE_RECONCILE, Origin, hold};
use crate::domain::release::{Fingerprint, Version};
use crate::domain::survey::{KubernetesSurvey, Revision};

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

/// A Deployment by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub namespace: String,
    pub name: String,
}

impl Workload {
    /// As kubectl takes it.
    pub fn argument(&self) -> String {
        format!("deployment/{} -n {}", self.name, self.namespace)
    }
}

/// Put the pod template of an earlier version back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreTemplate {
    pub workload: Workload,
    /// The Deployment itself, so that a namesake made meanwhile is not touched.
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

/// What a Deployment looks like now, as far as steps need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    pub uid: String,
    pub fingerprint: Fingerprint,
    pub label: String,
    pub paused: bool,
    pub generation: i64,
    pub observed_generation: i64,
    pub replicas: u32,
    pub total: u32,
    pub updated: u32,
    pub available: u32,
    /// `Progressing=False, ProgressDeadlineExceeded`, with the time when it was set.
    pub gave_up: bool,
    /// Pods of the wanted version that are not ready, with the reason: `web-7f-x1 (ImagePullBackOff)`.
    pub waiting: Vec<String>,
}

/// Drafts the two steps: restore the template, await the rollout.
///
/// # Errors
/// A paused Deployment, one whose owner stands in the way, a version that is gone from the history, or one that runs already.
pub fn draft(survey: &KubernetesSurvey, goal: &Goal, run: &str, rollout_secs: u64) -> Result<Plan, Refusal> {
    let workload = Workload { namespace: survey.namespace.clone(), name: survey.name.clone() };
    let what = workload.argument();
    let target = find(survey, goal, &what)?;
    if target.version.fingerprint == survey.version.fingerprint {
        return Err(Refusal::AlreadyThere { what, version: survey.version.label.clone() });
    }
    if survey.paused {
        return Err(Refusal::Paused { what });
    }
    let hold =
        hold(survey.origin.owner.as_ref()).map_err(|owner| Refusal::Owned { what: what.clone(), owner })?;
    let to = match goal {
        Goal::Version(version) => version.clone(),
        Goal::Revision(_) => target.version.clone().distinct_from(Some(&survey.version)),
    };
    Ok(Plan {
        service: survey.target.service.clone(),
        changes: vec![Change { target: survey.target.clone(), from: survey.version.clone(), to: to.clone() }],
        steps: holding(survey, hold)
            .into_iter()
            .chain(steps(survey, target, &to, workload, run, rollout_secs))
            .collect(),
    })
}

fn find<'a>(survey: &'a KubernetesSurvey, goal: &Goal, what: &str) -> Result<&'a Revision, Refusal> {
    let (found, wanted) = match goal {
        Goal::Version(version) => (survey.find(&version.fingerprint), version.label.clone()),
        Goal::Revision(number) => {
            (survey.history.iter().find(|r| r.revision == *number), format!("revision {number}"))
        }
    };
    let limit = survey.revision_history_limit;
    found.ok_or_else(|| Refusal::RevisionGone { what: what.to_string(), wanted, limit })
}

fn steps(
    survey: &KubernetesSurvey,
    target: &Revision,
    to: &Version,
    workload: Workload,
    run: &str,
    rollout_secs: u64,
) -> Vec<Step> {
    let restore = RestoreTemplate {
        workload: workload.clone(),
        uid: survey.uid.clone(),
        from: survey.version.fingerprint.clone(),
        to: to.fingerprint.clone(),
        patch: patch(survey, target, run),
        origin: survey.origin.clone(),
    };
    let wait = AwaitRollout { workload, version: to.fingerprint.clone() };
    let step =
        |title, deadline_secs, action| Step { target: survey.target.clone(), title, deadline_secs, action };
    vec![
        step(
            format!("restore the pod template of {} ({})", target.name, to.label),
            RESTORE_SECS,
            Action::RestoreTemplate(restore),
        ),
        step(format!("await the rollout of {}", to.label), rollout_secs, Action::AwaitRollout(wait)),
    ]
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
fn patch(survey: &KubernetesSurvey, target: &Revision, run: &str) -> Value {
    let cause = format!(
        "rollguard: rolled back from {} (revision {}) by run {run}",
        survey.version.label, survey.revision
    );
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    wanted.extend(target.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    wanted.insert(CHANGE_CAUSE, &cause);
    wanted.retain(|key, _| !KEPT_ANNOTATIONS.contains(key));
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": survey.uid}),
        json!({"op": "test", "path": "/spec/template", "value": survey.template}),
        json!({"op": "replace", "path": "/spec/template", "value": target.template}),
    ];
    if survey.annotations.is_empty() {
        operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": wanted}));
        return Value::Array(operations);
    }
    for (key, value) in &wanted {
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
    let what = step.workload.argument();
    let Some(facts) = facts else {
        return Finding::Conflict { why: format!("{what} does not exist any more") };
    };
    if facts.uid != step.uid {
        return Finding::Conflict {
            why: format!("{what} was deleted and created again since the plan was made"),
        };
    }
    if facts.fingerprint == step.to {
        return Finding::Satisfied { detail: format!("the template is that of {}", facts.label) };
    }
    if facts.paused {
        return Finding::Conflict { why: format!("{what} was paused since the plan was made") };
    }
    if facts.fingerprint != step.from {
        return Finding::Conflict {
            why: format!("somebody deployed {} since the plan was made", facts.label),
        };
    }
    Finding::NotYet { detail: format!("the template is still that of {}", facts.label) }
}

/// The decision table of `kubectl rollout status`, in its order; another version means that we were superseded.
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
    let waiting = if f.waiting.is_empty() { String::new() } else { format!(": {}", f.waiting.join(", ")) };
    let not_yet = |detail: String| Finding::NotYet { detail: format!("{detail}{waiting}") };
    if f.generation > f.observed_generation {
        return not_yet("the change is not observed yet".into());
    }
    if f.gave_up {
        // kubectl fails here. A condition left over from the bad version looks the same, so our own deadline decides.
        return not_yet(format!("{what} exceeded its progress deadline"));
    }
    if f.updated < f.replicas {
        return not_yet(format!("{} of {} new replicas have been updated", f.updated, f.replicas));
    }
    if f.total > f.updated {
        return not_yet(format!("{} old replicas are pending termination", f.total - f.updated));
    }
    if f.available < f.updated {
        return not_yet(format!("{} of {} updated replicas are available", f.available, f.updated));
    }
    Finding::Satisfied {
        detail: format!("{} of {} replicas run {} and are available", f.available, f.replicas, f.label),
    }
}
