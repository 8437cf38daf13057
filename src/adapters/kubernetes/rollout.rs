//! How far a Deployment's rollout is: the decision table of `kubectl rollout status` over its status numbers.
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

const PROGRESSING: &str = "Progressing";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";
/// What the API means by "no deadline".
const NO_DEADLINE: u64 = 2_147_483_647;

/// The numbers of a Deployment that say how far it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) generation: i64,
    pub(super) observed_generation: i64,
    pub(super) replicas: u32,
    pub(super) total: u32,
    pub(super) updated: u32,
    pub(super) available: u32,
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

#[derive(Debug, PartialEq)]
pub(super) enum Stage<'a> {
    Unobserved,
    GaveUp(&'a Progressing),
    Rolling,
    Complete,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    replicas: Option<u32>,
    progress_deadline_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    replicas: u32,
    updated_replicas: u32,
    available_replicas: u32,
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

impl Progress {
    /// Reads `spec` and `status`; what is absent or unreadable counts as not there yet.
    pub(super) fn of(generation: Option<i64>, object: &Value) -> Self {
        let spec: Spec = read(object, "spec");
        let status: Status = read(object, "status");
        let condition = status.conditions.into_iter().find(|c| c.r#type == PROGRESSING);
        Self {
            generation: generation.unwrap_or(0),
            observed_generation: status.observed_generation,
            replicas: spec.replicas.unwrap_or(1),
            total: status.replicas,
            updated: status.updated_replicas,
            available: status.available_replicas,
            deadline_secs: spec.progress_deadline_seconds.filter(|secs| *secs < NO_DEADLINE),
            condition: condition.map(|c| Progressing {
                gave_up: c.status == "False" && c.reason == DEADLINE_EXCEEDED,
                complete: c.reason == COMPLETE,
                message: c.message,
                updated_at: c.last_update_time,
            }),
        }
    }

    pub(super) fn is_observed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    pub(super) fn stage(&self) -> Stage<'_> {
        if !self.is_observed() {
            return Stage::Unobserved;
        }
        if let Some(condition) = self.condition.as_ref().filter(|c| c.gave_up) {
            return Stage::GaveUp(condition);
        }
        let done =
            self.updated >= self.replicas && self.total <= self.updated && self.available >= self.updated;
        if done { Stage::Complete } else { Stage::Rolling }
    }
}

fn read<'a, T: Default + Deserialize<'a>>(object: &'a Value, field: &str) -> T {
    object.get(field).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn progress(status: Value) -> Progress {
        Progress::of(Some(2), &json!({"spec": {"replicas": 3}, "status": status}))
    }

    #[test]
    fn the_table_of_rollout_status_is_followed() {
        let stage = |observed, total, updated, available| {
            let p = progress(json!({"observedGeneration": observed, "replicas": total,
                "updatedReplicas": updated, "availableReplicas": available}));
            format!("{:?}", p.stage())
        };
        assert_eq!(stage(1, 3, 3, 3), "Unobserved");
        assert_eq!(stage(2, 4, 2, 4), "Rolling", "not all updated");
        assert_eq!(stage(2, 4, 3, 4), "Rolling", "an old one is still there");
        assert_eq!(stage(2, 3, 3, 2), "Rolling", "not all available");
        assert_eq!(stage(2, 3, 3, 3), "Complete");
        assert_eq!(format!("{:?}", Progress::of(Some(1), &json!({})).stage()), "Unobserved");
    }

    #[test]
    fn a_passed_deadline_counts_only_for_what_is_observed() {
        let with = |observed| {
            progress(json!({"observedGeneration": observed, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                 "message": "has timed out", "lastUpdateTime": "2026-11-22T10:00:00Z"}]}))
        };
        assert!(matches!(with(2).stage(), Stage::GaveUp(c) if c.message == "has timed out"));
        assert_eq!(with(1).stage(), Stage::Unobserved);
    }
}
