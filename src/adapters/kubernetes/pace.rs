//! How fast a controller replaces pods: read from the workload as the survey has it.
use k8s_openapi::api::apps::v1::{DaemonSet, DeploymentSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::DynamicObject;
use serde::Deserialize;

use crate::domain::surroundings::Rollout;
use crate::domain::workload::WorkloadKind;

/// `None` if its `spec` cannot be understood.
pub(super) fn rollout(kind: WorkloadKind, object: &DynamicObject) -> Option<Rollout> {
    match kind {
        WorkloadKind::Deployment => {
            DeploymentSpec::deserialize(object.data.get("spec")?).ok().map(|spec| deployment(&spec))
        }
        WorkloadKind::DaemonSet => DaemonSet::deserialize(&object.data).ok().map(|set| daemon_set(&set)),
        // One pod after the other, and no controller gives up on it.
        WorkloadKind::StatefulSet => Some(Rollout { gives_up: true, surge: 0, unavailable: 1 }),
    }
}

/// Kubernetes' own defaults where nothing is said, and its rounding: more pods at once, fewer gone.
fn deployment(spec: &DeploymentSpec) -> Rollout {
    let replicas = u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    // "Never" is written as the largest number there is.
    let gives_up = spec.progress_deadline_seconds.is_some_and(|secs| secs < i32::MAX);
    let strategy = spec.strategy.as_ref();
    if strategy.is_some_and(|s| s.type_.as_deref() == Some("Recreate")) {
        return Rollout { gives_up, surge: 0, unavailable: replicas };
    }
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let surge = rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&quarter);
    let (surge, unavailable) = (part(surge, replicas, f64::ceil), part(unavailable, replicas, f64::floor));
    // With neither, the controller lets one go.
    Rollout { gives_up, surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
}

/// A DaemonSet's controller never gives up, and replaces one pod after the other unless it is told otherwise.
fn daemon_set(set: &DaemonSet) -> Rollout {
    let wanted = set.status.as_ref().map_or(0, |status| status.desired_number_scheduled);
    let wanted = u32::try_from(wanted).unwrap_or(0);
    let strategy = set.spec.update_strategy.as_ref();
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let (none, one) = (IntOrString::Int(0), IntOrString::Int(1));
    let surge = rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&none);
    let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&one);
    let of = |value: &IntOrString| part(value, wanted, f64::ceil);
    Rollout { gives_up: true, surge: of(surge), unavailable: of(unavailable) }
}

fn part(value: &IntOrString, replicas: u32, round: fn(f64) -> f64) -> u32 {
    match value {
        IntOrString::Int(n) => u32::try_from(*n).unwrap_or(0),
        IntOrString::String(text) => share(text, replicas, round),
    }
}

fn share(text: &str, replicas: u32, round: fn(f64) -> f64) -> u32 {
    let percent: f64 = text.trim_end_matches('%').parse().unwrap_or(0.0);
    round(percent * f64::from(replicas) / 100.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: Value) -> (u32, u32, bool) {
        let mut spec = spec;
        spec["selector"] = json!({});
        spec["template"] = json!({});
        let rollout = deployment(&serde_json::from_value(spec).unwrap());
        (rollout.surge, rollout.unavailable, rollout.gives_up)
    }

    #[test]
    fn surge_and_unavailable_are_rounded_as_kubernetes_rounds_them() {
        let rolling = |surge: Value, unavailable: Value| {
            json!({"replicas": 5, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate",
                   "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
        };
        assert_eq!(of(rolling(json!("25%"), json!("25%"))), (2, 1, true));
        assert_eq!(of(rolling(json!(3), json!(0))), (3, 0, true));
        assert_eq!(of(rolling(json!(0), json!("1%"))), (0, 1, true), "one goes where none is added");
        assert_eq!(of(json!({"replicas": 3})), (1, 0, false));
        assert_eq!(of(json!({"replicas": 3, "strategy": {"type": "Recreate"}})), (0, 3, false));
        assert_eq!(
            of(json!({"progressDeadlineSeconds": i32::MAX})),
            (1, 0, false),
            "that is how never is written"
        );
    }

    #[test]
    fn a_daemon_set_replaces_one_pod_after_the_other() {
        let of = |rolling: Value| {
            let value = json!({"spec": {"selector": {}, "template": {}, "updateStrategy": {"rollingUpdate": rolling}},
                "status": {"desiredNumberScheduled": 7, "currentNumberScheduled": 7, "numberMisscheduled": 0, "numberReady": 7}});
            let rollout = daemon_set(&serde_json::from_value(value).unwrap());
            (rollout.surge, rollout.unavailable)
        };
        assert_eq!(of(json!(null)), (0, 1));
        assert_eq!(of(json!({"maxSurge": "30%", "maxUnavailable": 0})), (3, 0));
    }
}
