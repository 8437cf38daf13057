//! The sandbox's ReplicaSet controller: as many pods as are wanted, and the counts of what they are.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{self, Key, Kind};
use super::refusal::Refusal;
use super::store::{Commit, Store};

const GRACE_SECS: i64 = 30;

/// Takes every ReplicaSet one step further.
pub(super) fn sync(store: &Store, now: Timestamp) {
    for replica_set in store.list(Kind::ReplicaSet, None).objects {
        if let Err(refusal) = sync_replica_set(store, &replica_set, now) {
            tracing::warn!(%refusal, "the sandbox's ReplicaSet controller will try again");
        }
    }
}

fn sync_replica_set(store: &Store, replica_set: &Value, now: Timestamp) -> Result<(), Refusal> {
    let mut pods = store.controlled(Kind::Pod, replica_set);
    pods.retain(|pod| !object::is_deleting(pod));
    let wanted = object::number(replica_set, "/spec/replicas").max(0) as usize;
    for _ in pods.len()..wanted {
        pods.push(store.create(Kind::Pod, pod_of(replica_set), now)?);
    }
    // The pods that are worth least go first: not ready before ready, young before old.
    pods.sort_by(|a, b| worth(a).cmp(&worth(b)));
    let surplus = pods.len() - wanted;
    for pod in pods.drain(..surplus) {
        terminate(store, &pod, now)?;
    }
    store.update(&Key::of(Kind::ReplicaSet, replica_set), Commit::Durable, |stored| {
        stored["status"] = status(replica_set, &pods, now);
        Ok(())
    })?;
    Ok(())
}

fn worth(pod: &Value) -> (bool, std::cmp::Reverse<&str>) {
    let created = object::text(pod, "/metadata/creationTimestamp");
    (object::is_true(pod, "Ready"), std::cmp::Reverse(created))
}

fn terminate(store: &Store, pod: &Value, now: Timestamp) -> Result<(), Refusal> {
    store.update(&Key::of(Kind::Pod, pod), Commit::Durable, |pod| {
        pod["metadata"]["deletionTimestamp"] = object::time(now);
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(GRACE_SECS);
        Ok(())
    })?;
    Ok(())
}

fn pod_of(replica_set: &Value) -> Value {
    let template = &replica_set["spec"]["template"];
    let mut pod = json!({
        "metadata": template["metadata"],
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    });
    let metadata = &mut pod["metadata"];
    metadata["namespace"] = replica_set["metadata"]["namespace"].clone();
    metadata["generateName"] = format!("{}-", object::text(replica_set, "/metadata/name")).into();
    metadata["ownerReferences"] = object::controller_reference(Kind::ReplicaSet, replica_set);
    pod
}

fn status(replica_set: &Value, pods: &[Arc<Value>], now: Timestamp) -> Value {
    let min_ready_secs = object::number(replica_set, "/spec/minReadySeconds");
    let ready = pods.iter().filter(|pod| object::is_true(pod, "Ready"));
    let available = ready.clone().filter(|pod| {
        object::condition(pod, "Ready")
            .and_then(|ready| object::instant(ready, "/lastTransitionTime"))
            .is_some_and(|since| now.duration_since(since).as_secs() >= min_ready_secs)
    });
    json!({
        "observedGeneration": replica_set["metadata"]["generation"],
        "replicas": pods.len(),
        "fullyLabeledReplicas": pods.len(),
        "readyReplicas": ready.count(),
        "availableReplicas": available.count(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn store(replicas: i64) -> (Store, Key) {
        let store = Store::new(Random::seeded(1));
        let replica_set = json!({
            "metadata": {"namespace": "shop", "name": "web-1"},
            "spec": {"replicas": replicas, "minReadySeconds": 5,
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        });
        let made = store.create(Kind::ReplicaSet, replica_set, at(0)).unwrap();
        (store, Key::of(Kind::ReplicaSet, &made))
    }

    fn make_ready(store: &Store, pod: &Value, second: i64) {
        store
            .update(&Key::of(Kind::Pod, pod), Commit::Durable, |pod| {
                pod["status"]["conditions"] =
                    json!([{"type": "Ready", "status": "True", "lastTransitionTime": object::time(at(second))}]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_pod_is_available_after_it_was_ready_long_enough() {
        let (store, key) = store(2);
        sync(&store, at(0));
        for pod in store.list(Kind::Pod, None).objects {
            make_ready(&store, &pod, 1);
        }
        for (second, available) in [(5, 0), (6, 2)] {
            sync(&store, at(second));
            let status = store.get(&key).unwrap()["status"].clone();
            assert_eq!(
                (&status["readyReplicas"], &status["availableReplicas"]),
                (&json!(2), &json!(available))
            );
        }
    }

    #[test]
    fn the_pod_that_is_not_ready_goes_first() {
        let (store, key) = store(2);
        sync(&store, at(0));
        let pods = store.list(Kind::Pod, None).objects;
        make_ready(&store, &pods[0], 1);
        store
            .update(&key, Commit::Durable, |replica_set| {
                replica_set["spec"]["replicas"] = json!(1);
                Ok(())
            })
            .unwrap();
        sync(&store, at(2));
        let going = |pod: &Value| object::is_deleting(&store.get(&Key::of(Kind::Pod, pod)).unwrap());
        assert!(!going(&pods[0]) && going(&pods[1]));
        assert_eq!(store.get(&key).unwrap()["status"]["replicas"], 1);
    }
}
