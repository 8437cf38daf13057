//! From a Deployment and its pods to the facts that steps are assessed by.
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;

use super::trim::{TrimmedDeployment, TrimmedPod, controller};
use crate::domain::plan::kubernetes::WorkloadFacts;
use crate::domain::release::Fingerprint;

/// Names in a detail text; more would not be read.
const WAITING_MAX: usize = 20;
const HASH_LABEL: &str = "pod-template-hash";

/// Without the pods; see [`waiting`]. `None` if it is no Deployment that an API server would send.
pub(super) fn facts(deployment: &DynamicObject) -> Option<WorkloadFacts> {
    let TrimmedDeployment { uid, version, paused, progress, .. } = TrimmedDeployment::of(deployment)?;
    Some(WorkloadFacts {
        uid: uid.to_string(),
        fingerprint: version.fingerprint,
        label: version.label,
        paused,
        generation: progress.generation,
        observed_generation: progress.observed_generation,
        replicas: progress.replicas,
        total: progress.total,
        updated: progress.updated,
        available: progress.available,
        gave_up: progress.condition.is_some_and(|c| c.gave_up),
        waiting: Vec::new(),
    })
}

/// Selects the pods of the ReplicaSets that have this version: `pod-template-hash in (…)`.
pub(super) fn pods_selector(uid: &str, sets: &[DynamicObject], version: &Fingerprint) -> Option<String> {
    let ours = sets.iter().filter(|set| {
        controller(&set.metadata).is_some_and(|o| o.uid == uid)
            && super::trim::version(set).fingerprint == *version
    });
    let hashes: Vec<&str> = ours
        .filter_map(|set| set.data.pointer("/spec/template/metadata/labels")?.get(HASH_LABEL)?.as_str())
        .collect();
    (!hashes.is_empty()).then(|| format!("{HASH_LABEL} in ({})", hashes.join(",")))
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
    use super::super::fixtures::{deployment, pod, ready, replica_set, waiting as waiting_status};
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_read_and_assessed() {
        let facts = facts(&deployment("web", "shop:v2")).unwrap();
        assert_eq!((facts.uid.as_str(), facts.label.as_str()), ("uid-web", "v2"));
        assert_eq!((facts.replicas, facts.total, facts.updated, facts.available), (1, 1, 1, 1));
        assert!(!facts.gave_up && !facts.paused && facts.waiting.is_empty());
    }

    #[test]
    fn only_the_wanted_versions_pods_are_selected() {
        let sets = [
            replica_set("web", "web-a", "shop:v1", "1", 0),
            replica_set("web", "web-b", "shop:v2", "2", 1),
            replica_set("web", "web-c", "shop:v2", "3", 2),
            replica_set("other", "other-d", "shop:v2", "1", 0),
        ];
        let version = super::super::trim::version(&sets[1]).fingerprint;
        let selector = pods_selector("uid-web", &sets, &version);
        assert_eq!(selector.as_deref(), Some("pod-template-hash in (web-b,web-c)"));
        assert_eq!(pods_selector("uid-web", &[], &version), None);
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
