//! Reads a workload's status numbers, and what a Deployment's condition `Progressing` says of its rollout.
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::plan::kubernetes::Progress;
use crate::domain::workload::{UpdateStrategy, WorkloadKind};

const PROGRESSING: &str = "Progressing";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";
const ON_DELETE: &str = "OnDelete";
/// What the API means by "no deadline".
const NO_DEADLINE: u64 = 2_147_483_647;

/// How far a workload is, with what only Deployments tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) progress: Progress,
    pub(super) deadline_secs: Option<u64>,
    pub(super) condition: Option<Progressing>,
}

/// The condition `Progressing`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progressing {
    pub(super) gave_up: bool,
    pub(super) complete: bool,
    pub(super) message: String,
    pub(super) updated_at: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<u32>,
    progress_deadline_seconds: Option<u64>,
    update_strategy: Strategy,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Strategy {
    r#type: String,
    rolling_update: Rolling,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rolling {
    partition: u32,
}

/// Of all three kinds: each has its own names for what it counts.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
    ready_replicas: u32,
    desired_number_scheduled: u32,
    current_number_scheduled: u32,
    updated_number_scheduled: u32,
    number_available: u32,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    last_update_time: Option<Timestamp>,
}

impl Standing {
    /// Reads `spec` and `status`; what is absent or unreadable counts as not there yet.
    pub(super) fn of(kind: WorkloadKind, generation: Option<i64>, object: &Value) -> Self {
        let spec: Spec = read(object, "spec");
        let status: Status = read(object, "status");
        let replicas = spec.replicas.unwrap_or(1);
        let [wanted, total, updated, available] = match kind {
            WorkloadKind::Deployment => {
                [replicas, status.replicas, status.updated_replicas, status.available_replicas]
            }
            WorkloadKind::StatefulSet => {
                [replicas, status.replicas, status.updated_replicas, status.ready_replicas]
            }
            WorkloadKind::DaemonSet => [
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.updated_number_scheduled,
                status.number_available,
            ],
        };
        let condition = status.conditions.into_iter().find(|c| c.r#type == PROGRESSING);
        let condition = condition.filter(|_| kind.is_deployment()).map(Progressing::of);
        let progress = Progress {
            kind,
            update: spec.update_strategy.read(),
            generation: generation.unwrap_or(0),
            observed_generation: status.observed_generation,
            wanted,
            total,
            updated,
            available,
            gave_up: condition.as_ref().is_some_and(|c| c.gave_up),
        };
        let deadline_secs = spec.progress_deadline_seconds.filter(|secs| *secs < NO_DEADLINE);
        Self { progress, deadline_secs, condition }
    }
}

impl Strategy {
    fn read(self) -> UpdateStrategy {
        match self.r#type == ON_DELETE {
            true => UpdateStrategy::OnDelete,
            false => UpdateStrategy::Rolling { partition: self.rolling_update.partition },
        }
    }
}

impl Progressing {
    fn of(condition: Condition) -> Self {
        Self {
            gave_up: condition.status == "False" && condition.reason == DEADLINE_EXCEEDED,
            complete: condition.reason == COMPLETE,
            message: condition.message,
            updated_at: condition.last_update_time,
        }
    }
}

fn read<'a, T: Default + Deserialize<'a>>(object: &'a Value, field: &str) -> T {
    object.get(field).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::kubernetes::Stage;
    use serde_json::json;

    #[test]
    fn each_kind_counts_under_its_own_names() {
        let numbers = |kind, object: Value| {
            let Progress { wanted, total, updated, available, update, .. } =
                Standing::of(kind, Some(2), &object).progress;
            ([wanted, total, updated, available], update)
        };
        let rolling = |partition| UpdateStrategy::Rolling { partition };
        let deployment = json!({"spec": {"replicas": 3}, "status": {
            "replicas": 4, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 9}});
        assert_eq!(numbers(WorkloadKind::Deployment, deployment), ([3, 4, 2, 1], rolling(0)));
        let set = json!({"spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            "status": {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 9}});
        assert_eq!(numbers(WorkloadKind::StatefulSet, set), ([3, 3, 1, 2], rolling(2)));
        let daemons = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {
            "desiredNumberScheduled": 5, "currentNumberScheduled": 4, "updatedNumberScheduled": 2, "numberAvailable": 1}});
        assert_eq!(numbers(WorkloadKind::DaemonSet, daemons), ([5, 4, 2, 1], UpdateStrategy::OnDelete));
        let nothing = Standing::of(WorkloadKind::Deployment, Some(1), &json!({}));
        assert_eq!(nothing.progress.stage(), Stage::Unobserved);
    }

    #[test]
    fn a_passed_deadline_counts_only_for_what_is_observed() {
        let with = |observed| {
            let status = json!({"observedGeneration": observed, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                 "message": "has timed out", "lastUpdateTime": "2026-11-22T10:00:00Z"}]});
            let object = json!({"spec": {"replicas": 3}, "status": status});
            Standing::of(WorkloadKind::Deployment, Some(2), &object)
        };
        assert_eq!(with(2).progress.stage(), Stage::GaveUp);
        assert_eq!(with(2).condition.unwrap().message, "has timed out");
        assert_eq!(with(1).progress.stage(), Stage::Unobserved);
    }
}
