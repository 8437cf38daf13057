//! From a workload and its pods to the facts that steps are assessed by.
use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;

use super::trim::{self, TrimmedPod, TrimmedWorkload, controller};
use crate::domain::plan::kubernetes::{BlockingPod, WorkloadFacts};
use crate::domain::release::Fingerprint;
use crate::domain::workload::WorkloadKind;

/// Names in a detail text; more would not be read.
const WAITING_MAX: usize = 20;

/// Without the pods; see [`waiting`] and [`blocked`]. `None` if it is no workload that an API server would send.
pub(super) fn facts(kind: WorkloadKind, object: &DynamicObject) -> Option<WorkloadFacts> {
    let TrimmedWorkload { uid, version, paused, restarted_at, standing, .. } =
        TrimmedWorkload::of(kind, object)?;
    Some(WorkloadFacts {
        uid: uid.to_string(),
        fingerprint: version.fingerprint,
        label: version.label,
        paused,
        progress: standing.progress,
        restarted_at,
        waiting: Vec::new(),
        blocked: None,
    })
}

/// The workload's pods, those of this version apart from its others.
pub(super) fn by_version(
    uid: &str,
    sets: &[DynamicObject],
    version: &Fingerprint,
    pods: Vec<Pod>,
) -> (Vec<Pod>, Vec<Pod>) {
    let ours = || sets.iter().filter(|set| controller(&set.metadata).is_some_and(|o| o.uid == uid));
    let wanted = |set: &&DynamicObject| trim::version(&trim::kept_template(set)).fingerprint == *version;
    let wanted: HashSet<&str> =
        ours().filter(wanted).filter_map(|set| set.metadata.name.as_deref()).collect();
    // ReplicaSets own their pods; StatefulSets and DaemonSets do so themselves.
    let owners: HashSet<&str> =
        ours().filter_map(|set| set.metadata.uid.as_deref()).chain(std::iter::once(uid)).collect();
    let is_ours = |pod: &Pod| controller(&pod.metadata).is_some_and(|o| owners.contains(&*o.uid));
    let revision = |pod: Pod| Some((TrimmedPod::of(&pod)?.revision, pod));
    let ours = pods.into_iter().filter(is_ours).filter_map(revision);
    let (new, old): (Vec<_>, Vec<_>) = ours.partition(|(revision, _)| wanted.contains(&**revision));
    let plain = |pods: Vec<(_, Pod)>| pods.into_iter().map(|(_, pod)| pod).collect();
    (plain(new), plain(old))
}

/// The first pod of a StatefulSet that is broken and has another version than the wanted one: it is waited for in vain.
pub(super) fn blocked(object: &DynamicObject, others: &[Pod]) -> Option<BlockingPod> {
    let in_parallel = object.data.pointer("/spec/podManagementPolicy").is_some_and(|p| p == "Parallel");
    others.iter().filter_map(TrimmedPod::of).find_map(|pod| {
        let stale = !pod.reading.ready && !pod.reading.gone;
        // Without a reason it may just be starting.
        let reason = pod.reading.reason.filter(|_| stale)?;
        Some(BlockingPod { name: pod.name.to_string(), reason, for_good: !in_parallel })
    })
}

/// Pods that are not ready, with the reason: `web-7f-x1 (ImagePullBackOff)`.
pub(super) fn waiting(pods: &[Pod]) -> Vec<String> {
    let pods = pods.iter().filter_map(TrimmedPod::of);
    let late = pods.filter(|pod| !pod.reading.ready && !pod.reading.gone);
    let line = |pod: TrimmedPod| match pod.reading.reason {
        Some(reason) => format!("{} ({reason})", pod.name),
        None => pod.name.to_string(),
    };
    late.take(WAITING_MAX).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        controller_revision, daemon_pod, deployment, pod, ready, replica_set, stateful_pod, stateful_set,
        waiting as waiting_status,
    };
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_read_and_assessed() {
        let facts = facts(WorkloadKind::Deployment, &deployment("web", "shop:v2")).unwrap();
        assert_eq!((facts.uid.as_str(), facts.label.as_str()), ("uid-web", "v2"));
        assert!(!facts.paused && facts.waiting.is_empty());
        assert_eq!(facts.progress.stage(), crate::domain::plan::kubernetes::Stage::Complete);
    }

    #[test]
    fn pods_of_the_wanted_version_are_told_from_the_others() {
        let sets = [
            replica_set("web", "web-a", "shop:v1", "1", 0),
            replica_set("web", "web-b", "shop:v2", "2", 1),
            replica_set("web", "web-c", "shop:v2", "3", 2),
            replica_set("other", "other-d", "shop:v2", "1", 0),
        ];
        let version = trim::version(trim::template(&sets[1])).fingerprint;
        let pods = ["web-a", "web-b", "web-c", "other-d"].map(|set| pod(set, &format!("{set}-1"), &ready(1)));
        let (wanted, others) = by_version("uid-web", &sets, &version, pods.to_vec());
        assert_eq!(names(&wanted), ["web-b-1", "web-c-1"]);
        assert_eq!(names(&others), ["web-a-1"], "and not what somebody else's ReplicaSet made");
    }

    fn names(pods: &[Pod]) -> Vec<&str> {
        pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn pods_of_a_daemon_set_are_told_apart_by_their_label() {
        let kept = |hash: &str, image: &str, n| {
            controller_revision("DaemonSet", "agent", &format!("agent-{hash}"), image, n, 0)
        };
        let sets = [kept("5f", "shop:v1", 1), kept("7c", "shop:v2", 2)];
        let version = trim::version(&trim::kept_template(&sets[0])).fingerprint;
        let pods =
            ["5f", "7c", "9d"].map(|hash| daemon_pod("agent", hash, &format!("agent-{hash}-x"), &ready(1)));
        let (wanted, others) = by_version("uid-agent", &sets, &version, pods.to_vec());
        assert_eq!(names(&wanted), ["agent-5f-x"]);
        assert_eq!(
            names(&others),
            ["agent-7c-x", "agent-9d-x"],
            "also of a revision that is not kept any more"
        );
    }

    #[test]
    fn a_broken_pod_of_another_version_blocks_a_stateful_set() {
        let kept = |name: &str, image: &str, n| controller_revision("StatefulSet", "db", name, image, n, 0);
        let sets = [kept("db-a", "shop:v1", 3), kept("db-b", "shop:v2", 2)];
        let mut object = stateful_set("db", "shop:v1", "db-a");
        let version = trim::version(trim::template(&object)).fingerprint;
        let crashing = waiting_status("CrashLoopBackOff", 3);
        let pods = vec![
            stateful_pod("db", "db-a", "db-0", &ready(1)),
            stateful_pod("db", "db-a", "db-1", &crashing),
            stateful_pod("db", "db-b", "db-2", &json!({})),
            stateful_pod("db", "db-b", "db-3", &crashing),
        ];
        let (wanted, others) = by_version("uid-db", &sets, &version, pods);
        assert_eq!((names(&wanted), names(&others)), (vec!["db-0", "db-1"], vec!["db-2", "db-3"]));
        let blocking = blocked(&object, &others).unwrap();
        assert_eq!((blocking.name.as_str(), blocking.for_good), ("db-3", true));
        assert_eq!(blocked(&object, &others[..1]), None, "it starts");
        object.data["spec"]["podManagementPolicy"] = json!("Parallel");
        assert!(!blocked(&object, &others).unwrap().for_good);
    }

    #[test]
    fn pods_that_are_late_are_named_with_the_reason() {
        let mut leaving = pod("web-a", "leaving", &json!({}));
        leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
        let pods = [
            pod("web-a", "fine", &ready(1)),
            pod("web-a", "stuck", &waiting_status("ImagePullBackOff", 0)),
            pod("web-a", "young", &json!({})),
            leaving,
        ];
        assert_eq!(waiting(&pods), ["stuck (ImagePullBackOff)", "young"]);
        let many: Vec<Pod> = (0..50).map(|i| pod("web-a", &format!("p{i}"), &json!({}))).collect();
        assert_eq!(waiting(&many).len(), WAITING_MAX);
    }
}
