//! The status of a Deployment: its counts, and the conditions Available and Progressing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{self, Key, Kind};
use super::refusal::Refusal;
use super::rollout::{Current, Strategy};
use super::store::{Commit, Store};

pub(super) const COMPLETE: &str = "NewReplicaSetAvailable";
const PROGRESSING: &str = "ReplicaSetUpdated";
const PAUSED: &str = "DeploymentPaused";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// The numbers of a status, old or new.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    wanted: i64,
}

/// One condition as it should be now.
#[derive(Debug, PartialEq)]
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// Writes the status of `deployment`; `current` is missing while it is paused.
pub(super) fn record(
    store: &Store,
    deployment: &Value,
    strategy: Strategy,
    current: Option<&Current>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let counts = Counts::of(store, deployment, current);
    store.update(&Key::of(Kind::Deployment, deployment), Commit::Durable, |stored| {
        let available = availability(counts, strategy);
        let progressing = match current {
            Some(current) => progress(stored, counts, strategy, current, now),
            None => Some(Verdict::new("Unknown", PAUSED, "Deployment is paused".into())),
        };
        let conditions = [
            merged(stored, "Available", Some(available), now),
            merged(stored, "Progressing", progressing, now),
        ];
        stored["status"] = json!({
            // The generation that this pass acted on; the store may already hold a newer one.
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": counts.replicas,
            "updatedReplicas": counts.updated,
            "readyReplicas": counts.ready,
            "availableReplicas": counts.available,
            "unavailableReplicas": (counts.wanted - counts.available).max(0),
            "conditions": conditions.into_iter().flatten().collect::<Vec<Value>>(),
        });
        Ok(())
    })?;
    Ok(())
}

impl Counts {
    fn of(store: &Store, deployment: &Value, current: Option<&Current>) -> Self {
        let updated_before = object::number(deployment, "/status/updatedReplicas");
        let mut counts = Self::default();
        for replica_set in store.controlled(Kind::ReplicaSet, deployment) {
            let replicas = object::number(&replica_set, "/status/replicas");
            counts.replicas += replicas;
            counts.ready += object::number(&replica_set, "/status/readyReplicas");
            counts.available += object::number(&replica_set, "/status/availableReplicas");
            counts.wanted += object::number(&replica_set, "/spec/replicas");
            if current.is_some_and(|current| current.key == Key::of(Kind::ReplicaSet, &replica_set)) {
                counts.updated = replicas;
            }
        }
        if current.is_none() {
            counts.updated = updated_before;
        }
        counts
    }

    fn of_status(deployment: &Value) -> Self {
        let count = |name: &str| object::number(deployment, &format!("/status/{name}"));
        Self {
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            wanted: 0,
        }
    }

    fn moved_since(self, before: Self) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }

    fn is_complete(self, desired: i64) -> bool {
        self.updated == desired && self.replicas == desired && self.available == desired
    }
}

impl Verdict {
    fn new(status: &'static str, reason: &'static str, message: String) -> Self {
        Self { status, reason, message }
    }
}

fn availability(counts: Counts, strategy: Strategy) -> Verdict {
    let (status, reason, has) = if counts.available >= strategy.min_available() {
        ("True", "MinimumReplicasAvailable", "has")
    } else {
        ("False", "MinimumReplicasUnavailable", "does not have")
    };
    Verdict::new(status, reason, format!("Deployment {has} minimum availability."))
}

/// The Progressing condition if it is to be written anew, nothing if the old one stays.
fn progress(
    deployment: &Value,
    counts: Counts,
    strategy: Strategy,
    current: &Current,
    now: Timestamp,
) -> Option<Verdict> {
    let deadline_secs = deployment["spec"]["progressDeadlineSeconds"].as_u64()?;
    let name = &current.key.name;
    if current.created_now {
        let message = format!("Created new replica set \"{name}\"");
        return Some(Verdict::new("True", "NewReplicaSetCreated", message));
    }
    let Some(before) = object::condition(deployment, "Progressing") else {
        let message = format!("Found new replica set \"{name}\"");
        return Some(Verdict::new("True", "FoundNewReplicaSet", message));
    };
    if before["reason"] == PAUSED {
        return Some(Verdict::new("Unknown", "DeploymentResumed", "Deployment is resumed".into()));
    }
    let was_complete = before["reason"] == COMPLETE;
    if was_complete && counts.replicas == counts.updated {
        None
    } else if counts.is_complete(strategy.desired) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        Some(Verdict::new("True", COMPLETE, message))
    } else if counts.moved_since(Counts::of_status(deployment)) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        Some(Verdict::new("True", PROGRESSING, message))
    } else if !was_complete && is_late(before, deadline_secs, now) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        Some(Verdict::new("False", TIMED_OUT, message))
    } else {
        None
    }
}

fn is_late(progressing: &Value, deadline_secs: u64, now: Timestamp) -> bool {
    object::instant(progressing, "/lastUpdateTime")
        .is_some_and(|since| now.duration_since(since).unsigned_abs() > Duration::from_secs(deadline_secs))
}

/// A condition with its times: a change of status moves the transition, a change of reason and each progress the update.
fn merged(deployment: &Value, kind: &str, verdict: Option<Verdict>, now: Timestamp) -> Option<Value> {
    let before = object::condition(deployment, kind);
    let Some(verdict) = verdict else {
        return before.cloned();
    };
    let same_status = before.filter(|before| before["status"] == verdict.status);
    if let Some(same) = same_status
        && same["reason"] == verdict.reason
        && verdict.reason != PROGRESSING
    {
        return Some(same.clone());
    }
    let transition = same_status.map_or_else(|| object::time(now), |same| same["lastTransitionTime"].clone());
    Some(json!({
        "type": kind,
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastUpdateTime": object::time(now),
        "lastTransitionTime": transition,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRATEGY: Strategy = Strategy { desired: 3, max_surge: 1, max_unavailable: 0 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn deployment(reason: &str, updated: i64, available: i64) -> Value {
        json!({
            "spec": {"progressDeadlineSeconds": 10},
            "status": {"replicas": 4, "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available,
                "conditions": [{"type": "Progressing", "status": "True", "reason": reason,
                    "lastUpdateTime": "1970-01-01T00:01:40Z", "lastTransitionTime": "1970-01-01T00:01:40Z"}]},
        })
    }

    fn reason(
        deployment: &Value,
        replicas: i64,
        updated: i64,
        available: i64,
        second: i64,
    ) -> Option<&'static str> {
        let counts = Counts { replicas, updated, ready: available, available, wanted: replicas };
        let current = Current { key: Key::new(Kind::ReplicaSet, "shop", "web-1"), created_now: false };
        progress(deployment, counts, STRATEGY, &current, at(second)).map(|verdict| verdict.reason)
    }

    #[test]
    fn progress_is_more_updated_or_available_pods_or_fewer_old_ones() {
        let before = deployment("ReplicaSetUpdated", 1, 3);
        assert_eq!(reason(&before, 4, 1, 3, 105), None);
        assert_eq!(reason(&before, 4, 2, 3, 105), Some("ReplicaSetUpdated"));
        assert_eq!(reason(&before, 4, 1, 4, 105), Some("ReplicaSetUpdated"));
        assert_eq!(reason(&before, 3, 1, 3, 105), Some("ReplicaSetUpdated"));
        assert_eq!(reason(&before, 3, 3, 3, 105), Some(COMPLETE));
    }

    #[test]
    fn without_progress_the_deadline_is_exceeded_once() {
        let waiting = deployment("NewReplicaSetCreated", 1, 3);
        assert_eq!(reason(&waiting, 4, 1, 3, 110), None);
        assert_eq!(reason(&waiting, 4, 1, 3, 111), Some(TIMED_OUT));
    }

    #[test]
    fn what_is_said_twice_keeps_its_times() {
        let before = deployment("NewReplicaSetCreated", 1, 3);
        for reason in [PAUSED, TIMED_OUT] {
            let verdict = || Some(Verdict::new("False", reason, String::new()));
            let first = merged(&before, "Progressing", verdict(), at(120));
            let mut stored = before.clone();
            stored["status"]["conditions"] = json!([first]);
            assert_eq!(merged(&stored, "Progressing", verdict(), at(300)), first);
        }
    }

    #[test]
    fn a_resumed_deployment_gets_its_deadline_anew() {
        let paused = deployment(PAUSED, 1, 3);
        assert_eq!(reason(&paused, 4, 1, 3, 900), Some("DeploymentResumed"));
    }

    #[test]
    fn a_complete_rollout_never_times_out_when_pods_die_later() {
        let complete = deployment(COMPLETE, 3, 3);
        assert_eq!(reason(&complete, 3, 3, 1, 900), None);
    }

    #[test]
    fn the_transition_stays_while_the_status_stays() {
        let before = deployment("NewReplicaSetCreated", 1, 3);
        let verdict = |status, reason| Verdict::new(status, reason, String::new());
        let same =
            merged(&before, "Progressing", Some(verdict("True", "ReplicaSetUpdated")), at(120)).unwrap();
        assert_eq!(same["lastTransitionTime"], "1970-01-01T00:01:40Z");
        assert_eq!(same["lastUpdateTime"], "1970-01-01T00:02:00Z");
        let changed = merged(&before, "Progressing", Some(verdict("False", TIMED_OUT)), at(120)).unwrap();
        assert_eq!(changed["lastTransitionTime"], "1970-01-01T00:02:00Z");
    }
}
