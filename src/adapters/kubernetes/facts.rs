//! From a workload and its pods to the facts that steps are assessed by.
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;

use super::trim::{self, REVISION_HASH, TrimmedPod, TrimmedWorkload, controller};
use crate::domain::plan::kubernetes::{BlockingPod, WorkloadFacts};
use crate::domain::release::Fingerprint;
use crate::domain::workload::WorkloadKind;

/// Names in a detail text; more would not be read.
const WAITING_MAX: usize = 20;
const HASH_LABEL: &str = "pod-template-hash";

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

/// The revisions of this workload that have this version.
fn of_version<'a>(
    uid: &str,
    sets: &'a [DynamicObject],
    version: &Fingerprint,
) -> impl Iterator<Item = &'a DynamicObject> {
    sets.iter().filter(move |set| {
        controller(&set.metadata).is_some_and(|o| o.uid == uid)
            && trim::version(&trim::kept_template(set)).fingerprint == *version
    })
}

/// Selects the pods of the revisions that have this version: `pod-template-hash in (…)`.
pub(super) fn pods_selector(
    kind: WorkloadKind,
    uid: &str,
    sets: &[DynamicObject],
    version: &Fingerprint,
) -> Option<String> {
    let ours = of_version(uid, sets, version);
    let label = |set: &'_ DynamicObject| -> Option<String> {
        let labels = match kind {
            WorkloadKind::Deployment => {
                set.data.pointer("/spec/template/metadata/labels")?.get(HASH_LABEL)?.as_str()?
            }
            WorkloadKind::StatefulSet => set.metadata.name.as_deref()?,
            WorkloadKind::DaemonSet => set.metadata.labels.as_ref()?.get(REVISION_HASH)?,
        };
        Some(labels.to_string())
    };
    let key = if kind.is_deployment() { HASH_LABEL } else { REVISION_HASH };
    let hashes: Vec<String> = ours.filter_map(label).collect();
    (!hashes.is_empty()).then(|| format!("{key} in ({})", hashes.join(",")))
}

/// The first pod of a StatefulSet that is broken and has another version than this: it is waited for in vain.
pub(super) fn blocked(
    object: &DynamicObject,
    sets: &[DynamicObject],
    version: &Fingerprint,
    pods: &[Pod],
) -> Option<BlockingPod> {
    let uid = object.metadata.uid.as_deref()?;
    let wanted: Vec<&str> =
        of_version(uid, sets, version).filter_map(|set| set.metadata.name.as_deref()).collect();
    let in_parallel = object.data.pointer("/spec/podManagementPolicy").is_some_and(|p| p == "Parallel");
    let ours = pods.iter().filter(|pod| controller(&pod.metadata).is_some_and(|o| o.uid == uid));
    let mut broken = ours.filter_map(TrimmedPod::of).filter_map(|pod| {
        let stale = !pod.reading.ready && !pod.reading.gone && !wanted.contains(&&*pod.revision);
        // Without a reason it may just be starting.
        let reason = pod.reading.reason.filter(|_| stale)?;
        Some(BlockingPod { name: pod.name.to_string(), reason, for_good: !in_parallel })
    });
    broken.next()
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
        controller_revision, deployment, pod, ready, replica_set, stateful_pod, stateful_set,
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
    fn only_the_wanted_versions_pods_are_selected() {
        let sets = [
            replica_set("web", "web-a", "shop:v1", "1", 0),
            replica_set("web", "web-b", "shop:v2", "2", 1),
            replica_set("web", "web-c", "shop:v2", "3", 2),
            replica_set("other", "other-d", "shop:v2", "1", 0),
        ];
        let version = trim::version(trim::template(&sets[1])).fingerprint;
        let pods_selector =
            |uid: &str, sets: &[DynamicObject]| pods_selector(WorkloadKind::Deployment, uid, sets, &version);
        let selector = pods_selector("uid-web", &sets);
        assert_eq!(selector.as_deref(), Some("pod-template-hash in (web-b,web-c)"));
        assert_eq!(pods_selector("uid-web", &[]), None);
    }

    #[test]
    fn a_broken_pod_of_another_version_blocks_a_stateful_set() {
        let kept = |name: &str, image: &str, n| controller_revision("StatefulSet", "db", name, image, n, 0);
        let sets = [kept("db-a", "shop:v1", 3), kept("db-b", "shop:v2", 2)];
        let mut object = stateful_set("db", "shop:v1", "db-a");
        let version = trim::version(trim::template(&object)).fingerprint;
        let crashing = waiting_status("CrashLoopBackOff", 3);
        let pods = [
            stateful_pod("db", "db-a", "db-0", &ready(1)),
            stateful_pod("db", "db-a", "db-1", &crashing),
            stateful_pod("db", "db-b", "db-2", &json!({})),
            stateful_pod("db", "db-b", "db-3", &crashing),
        ];
        let blocking = blocked(&object, &sets, &version, &pods).unwrap();
        assert_eq!((blocking.name.as_str(), blocking.for_good), ("db-3", true));
        assert_eq!(
            blocked(&object, &sets, &version, &pods[..3]),
            None,
            "one of the wanted version, one that starts"
        );
        object.data["spec"]["podManagementPolicy"] = json!("Parallel");
        assert!(!blocked(&object, &sets, &version, &pods).unwrap().for_good);
        let selector = pods_selector(WorkloadKind::StatefulSet, "uid-db", &sets, &version);
        assert_eq!(selector.as_deref(), Some("controller-revision-hash in (db-a)"));
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
