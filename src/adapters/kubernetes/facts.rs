//! From a Deployment and its pods to the facts that steps are assessed by.
use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;

use super::trim::{TrimmedDeployment, TrimmedPod, controller};
use crate::domain::plan::kubernetes::WorkloadFacts;
use crate::domain::release::Fingerprint;

/// Names in a detail text; more would not be read.
const WAITING_MAX: usize = 20;

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

/// The Deployment's pods, those of this version apart from its others.
pub(super) fn by_version(
    uid: &str,
    sets: &[DynamicObject],
    version: &Fingerprint,
    pods: Vec<Pod>,
) -> (Vec<Pod>, Vec<Pod>) {
    let ours = sets.iter().filter(|set| controller(&set.metadata).is_some_and(|o| o.uid == uid));
    let of_version: HashMap<&str, bool> = ours
        .filter_map(|set| {
            let wanted = super::trim::version(set).fingerprint == *version;
            Some((set.metadata.uid.as_deref()?, wanted))
        })
        .collect();
    let wanted = |pod: &Pod| of_version.get(controller(&pod.metadata)?.uid.as_str()).copied();
    let ours = pods.into_iter().filter_map(|pod| Some((wanted(&pod)?, pod)));
    let (new, old): (Vec<_>, Vec<_>) = ours.partition(|(wanted, _)| *wanted);
    let plain = |pods: Vec<(bool, Pod)>| pods.into_iter().map(|(_, pod)| pod).collect();
    (plain(new), plain(old))
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
    fn pods_of_the_wanted_version_are_told_from_the_others() {
        let sets = [
            replica_set("web", "web-a", "shop:v1", "1", 0),
            replica_set("web", "web-b", "shop:v2", "2", 1),
            replica_set("web", "web-c", "shop:v2", "3", 2),
            replica_set("other", "other-d", "shop:v2", "1", 0),
        ];
        let version = super::super::trim::version(&sets[1]).fingerprint;
        let pods = ["web-a", "web-b", "web-c", "other-d"].map(|set| pod(set, &format!("{set}-1"), &ready(1)));
        let (wanted, others) = by_version("uid-web", &sets, &version, pods.to_vec());
        let names = |pods: Vec<Pod>| pods.into_iter().filter_map(|p| p.metadata.name).collect::<Vec<_>>();
        assert_eq!(names(wanted), ["web-b-1", "web-c-1"]);
        assert_eq!(names(others), ["web-a-1"], "and not what somebody else's ReplicaSet made");
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
