//! The status of a Deployment: its counts, and the conditions Available and Progressing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{self, Key, Kind};
use super::refusal::Refusal;
use super::rollout::{Current, Strategy};
use super::store::{Commit, Store};

pub(super) const COMPLETE: &str = "NewReplicaSetAvailable";
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
    store.update(
        &Key::of(Kind::Deployment, deployment),
        Commit::Durable,
        |stored| {
            let available = availability(counts, strategy);
            let progressing = match current {
                Some(current) => progress(stored, counts, strategy, current, now),
                None => Some(paused()),
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
        },
    )?;
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
            if current.is_some_and(|current| current.key == Key::of(Kind::ReplicaSet, &replica_set))
            {
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

fn availability(counts: Counts, strategy: Strategy) -> Verdict {
    if counts.available >= strategy.min_available() {
        Verdict {
            status: "True",
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.".into(),
        }
    } else {
        Verdict {
            status: "False",
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.".into(),
        }
    }
}

fn paused() -> Verdict {
    Verdict {
        status: "Unknown",
        reason: "DeploymentPaused",
        message: "Deployment is paused".into(),
    }
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
    let verdict = |status, reason, message: &str| {
        let message = format!("ReplicaSet \"{}\" {message}", current.key.name);
        Some(Verdict {
            status,
            reason,
            message,
        })
    };
    if current.created_now {
        let message = format!("Created new replica set \"{}\"", current.key.name);
        return Some(Verdict {
            status: "True",
            reason: "NewReplicaSetCreated",
            message,
        });
    }
    let Some(before) = object::condition(deployment, "Progressing") else {
        let message = format!("Found new replica set \"{}\"", current.key.name);
        return Some(Verdict {
            status: "True",
            reason: "FoundNewReplicaSet",
            message,
        });
    };
    let was_complete = before["reason"] == COMPLETE;
    if was_complete && counts.replicas == counts.updated {
        return None;
    }
    if counts.is_complete(strategy.desired) {
        return verdict("True", COMPLETE, "has successfully progressed.");
    }
    if counts.moved_since(Counts::of_status(deployment)) {
        return verdict("True", "ReplicaSetUpdated", "is progressing.");
    }
    let late = object::instant(before, "/lastUpdateTime").is_some_and(|since| {
        now.duration_since(since).unsigned_abs() > Duration::from_secs(deadline_secs)
    });
    if late && !was_complete && before["reason"] != TIMED_OUT {
        return verdict("False", TIMED_OUT, "has timed out progressing.");
    }
    None
}

/// A condition with its times: a change of status moves the transition, each new verdict the update.
fn merged(
    deployment: &Value,
    kind: &str,
    verdict: Option<Verdict>,
    now: Timestamp,
) -> Option<Value> {
    let before = object::condition(deployment, kind);
    let Some(verdict) = verdict else {
        return before.cloned();
    };
    let same_status = before.filter(|before| before["status"] == verdict.status);
    if let Some(same) = same_status
        && same["reason"] == verdict.reason
        && kind != "Progressing"
    {
        return Some(same.clone());
    }
    let transition = same_status.map_or_else(
        || object::time(now),
        |same| same["lastTransitionTime"].clone(),
    );
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

    const STRATEGY: Strategy = Strategy {
        desired: 3,
        max_surge: 1,
        max_unavailable: 0,
    };

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
        let counts = Counts {
            replicas,
            updated,
            ready: available,
            available,
            wanted: replicas,
        };
        let current = Current {
            key: Key::new(Kind::ReplicaSet, "shop", "web-1"),
            created_now: false,
        };
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
        assert_eq!(reason(&deployment(TIMED_OUT, 1, 3), 4, 1, 3, 200), None);
    }

    #[test]
    fn a_complete_rollout_never_times_out_when_pods_die_later() {
        let complete = deployment(COMPLETE, 3, 3);
        assert_eq!(reason(&complete, 3, 3, 1, 900), None);
    }

    #[test]
    fn the_transition_stays_while_the_status_stays() {
        let before = deployment("NewReplicaSetCreated", 1, 3);
        let verdict = |status, reason| Verdict {
            status,
            reason,
            message: String::new(),
        };
        let same = merged(
            &before,
            "Progressing",
            Some(verdict("True", "ReplicaSetUpdated")),
            at(120),
        )
        .unwrap();
        assert_eq!(same["lastTransitionTime"], "1970-01-01T00:01:40Z");
        assert_eq!(same["lastUpdateTime"], "1970-01-01T00:02:00Z");
        let changed = merged(
            &before,
            "Progressing",
            Some(verdict("False", TIMED_OUT)),
            at(120),
        )
        .unwrap();
        assert_eq!(changed["lastTransitionTime"], "1970-01-01T00:02:00Z");
    }
}
