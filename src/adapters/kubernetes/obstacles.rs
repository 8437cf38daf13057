//! From pods and conditions of the API to the facts that a diagnosis is made of.
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::core::DynamicObject;
use serde_json::Value;

use super::beside::Beside;
use super::trim::{TrimmedPod, condition, containers, created_at};
use crate::domain::diagnosis::{PodState, Stall, StalledPod};
use crate::domain::plan::kubernetes::Workload;

/// `wanted`: pods of the version that is being rolled out; `others`: the workload's other pods.
pub(super) fn stall(
    workload: &Workload,
    object: &DynamicObject,
    wanted: &[Pod],
    others: &[Pod],
    beside: &Beside,
) -> Stall {
    let probe = |pod: &TrimmedPod| beside.probe(&workload.namespace, &pod.name, pod.created_at);
    let late = wanted.iter().filter_map(|pod| stalled(pod, probe));
    let leaving = others.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
    let leaving = leaving.filter_map(|pod| stalled(pod, |_| None));
    Stall { workload: workload.clone(), pods: late.chain(leaving).collect(), refused: refused(object) }
}

/// The message of the condition `ReplicaFailure`: a quota, or admission.
fn refused(object: &DynamicObject) -> Option<String> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, key: &str| condition.get(key)?.as_str().map(str::to_string);
    let failed = conditions.iter().find(|c| {
        text(c, "type").as_deref() == Some("ReplicaFailure") && text(c, "status").as_deref() == Some("True")
    })?;
    text(failed, "message").filter(|message| !message.is_empty())
}

/// `None` for a pod that serves, or has ended by itself.
fn stalled(pod: &Pod, probe: impl Fn(&TrimmedPod) -> Option<String>) -> Option<StalledPod> {
    let trimmed = TrimmedPod::of(pod)?;
    let state = match leaving(pod) {
        Some(leaving) => leaving,
        None if trimmed.reading.ready || trimmed.reading.gone => return None,
        None => waiting(pod, || probe(&trimmed))?,
    };
    Some(StalledPod { name: trimmed.name.to_string(), state })
}

fn leaving(pod: &Pod) -> Option<PodState> {
    let meta = &pod.metadata;
    // The API server sets it to the end of the grace period.
    let due = meta.deletion_timestamp.as_ref()?.0;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Some(PodState::Leaving { due, node, finalizers: meta.finalizers.clone().unwrap_or_default() })
}

fn waiting(pod: &Pod, probe: impl Fn() -> Option<String>) -> Option<PodState> {
    let status = pod.status.as_ref();
    let unscheduled = status.and_then(|s| condition(s, "PodScheduled")).filter(|c| c.status == "False");
    if let Some(unscheduled) = unscheduled {
        let message = unscheduled.message.clone().or_else(|| unscheduled.reason.clone()).unwrap_or_default();
        return Some(PodState::Unschedulable { message });
    }
    let held = status.into_iter().flat_map(containers).find_map(|c| Some((c, blocked(c)?)));
    if let Some((container, (reason, message))) = held {
        return Some(match reason.as_str() {
            "CrashLoopBackOff" => PodState::Crashing { reason: crash(container, reason) },
            _ => PodState::CannotStart { reason, message },
        });
    }
    let running = status
        .into_iter()
        .flat_map(containers)
        .any(|c| c.started == Some(true) || c.state.as_ref().is_some_and(|state| state.running.is_some()));
    if running {
        return Some(PodState::Unready { probe: probe() });
    }
    Some(PodState::Starting { since: created_at(&pod.metadata)? })
}

/// Why a container waits, unless it is merely being made.
fn blocked(container: &ContainerStatus) -> Option<(String, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    let usual = matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing");
    (!usual).then(|| (reason, waiting.message.clone().unwrap_or_default()))
}

/// `CrashLoopBackOff, exit code 1 (OOMKilled)`; the message has a back-off in it that changes all the time.
fn crash(container: &ContainerStatus, reason: String) -> String {
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let Some(ended) = ended else { return reason };
    match ended.reason.as_deref() {
        None | Some("" | "Error") => format!("{reason}, exit code {}", ended.exit_code),
        Some(why) => format!("{reason}, exit code {} ({why})", ended.exit_code),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{deployment, minute, pod, ready};
    use super::*;
    use crate::domain::workload::WorkloadKind;
    use serde_json::json;

    fn state(status: &Value) -> Option<PodState> {
        stalled(&pod("web-a", "p", status), |_| None).map(|stalled| stalled.state)
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"containerStatuses": [{"name": "c", "ready": false, "restartCount": 3, "image": "", "imageID": "",
            "state": state, "lastState": last}]})
    }

    #[test]
    fn a_pod_is_as_far_as_its_status_says() {
        assert_eq!(state(&ready(1)), None);
        let nowhere = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available"}]});
        let message = "0/1 nodes are available".to_string();
        assert_eq!(state(&nowhere), Some(PodState::Unschedulable { message }));
        let pulling =
            container(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}), json!({}));
        let (reason, message) = ("ErrImagePull".to_string(), "not found".to_string());
        assert_eq!(state(&pulling), Some(PodState::CannotStart { reason, message }));
        let crashing = container(
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}),
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        );
        let reason = "CrashLoopBackOff, exit code 137 (OOMKilled)".to_string();
        assert_eq!(state(&crashing), Some(PodState::Crashing { reason }));
        assert_eq!(
            state(&container(json!({"running": {}}), json!({}))),
            Some(PodState::Unready { probe: None })
        );
        let creating = container(json!({"waiting": {"reason": "ContainerCreating"}}), json!({}));
        assert_eq!(state(&creating), Some(PodState::Starting { since: minute(0) }));
        assert_eq!(state(&json!({"phase": "Failed", "reason": "Evicted"})), None);
    }

    #[test]
    fn of_other_versions_only_those_that_leave_are_in_the_way() {
        let mut held = pod("web-a", "held", &ready(1));
        held.metadata.deletion_timestamp = held.metadata.creation_timestamp.clone();
        held.metadata.finalizers = Some(vec!["example.com/drain".into()]);
        let crashing =
            pod("web-b", "bad", &container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({})));
        let workload =
            Workload { kind: WorkloadKind::Deployment, namespace: "default".into(), name: "web".into() };
        let mut object = deployment("web", "shop:v1");
        object.data["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": "exceeded quota: compute"}]);
        let others = [held, crashing, pod("web-b", "fine", &ready(1))];
        let stall = stall(&workload, &object, &[], &others, &Beside::default());
        let names: Vec<_> = stall.pods.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["held"]);
        let PodState::Leaving { due, finalizers, .. } = &stall.pods[0].state else { panic!("{stall:?}") };
        assert_eq!((*due, finalizers.len()), (minute(0), 1));
        assert_eq!(stall.refused.as_deref(), Some("exceeded quota: compute"));
    }
}
