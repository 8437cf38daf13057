//! The status that a kubelet writes for a pod, from what it knows of the pod's container.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kubelet::{Exit, State};
use super::object::{text, time};

/// What a status is made of.
#[derive(Debug)]
pub(super) struct PodView<'a> {
    pub(super) pod: &'a Value,
    pub(super) image: &'a str,
    pub(super) started_at: Timestamp,
    pub(super) ready_changed_at: Timestamp,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<Exit>,
    pub(super) state: &'a State,
    pub(super) back_off: Duration,
}

pub(super) fn of(view: &PodView<'_>) -> Value {
    let (running, ready) = match view.state {
        State::Running { ready, .. } => (true, *ready),
        State::BackOff { .. } => (false, false),
    };
    let name = text(view.pod, "/spec/containers/0/name");
    let last_state = view.last_exit.map_or_else(|| json!({}), terminated);
    json!({
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "hostIP": "127.0.0.1",
        "startTime": time(view.started_at),
        "conditions": conditions(view, name, ready),
        "containerStatuses": [{
            "name": name,
            "image": view.image,
            "imageID": image_id(view.image),
            "ready": ready,
            "started": running,
            "restartCount": view.restarts,
            "state": container_state(view, name),
            "lastState": last_state,
        }],
        "qosClass": "BestEffort",
    })
}

fn conditions(view: &PodView<'_>, container: &str, ready: bool) -> Value {
    let readiness = |kind: &str| {
        let mut condition = json!({
            "type": kind,
            "status": if ready { "True" } else { "False" },
            "lastTransitionTime": time(view.ready_changed_at),
        });
        if !ready {
            condition["reason"] = "ContainersNotReady".into();
            condition["message"] = format!("containers with unready status: [{container}]").into();
        }
        condition
    };
    let done =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time(view.started_at)});
    json!([done("PodScheduled"), done("Initialized"), readiness("ContainersReady"), readiness("Ready")])
}

fn container_state(view: &PodView<'_>, container: &str) -> Value {
    match view.state {
        State::Running { process, .. } => {
            json!({"running": {"startedAt": time(process.started_at)}})
        }
        State::BackOff { .. } => json!({"waiting": {
            "reason": "CrashLoopBackOff",
            "message": format!(
                "back-off {}s restarting failed container={container} pod={}_{}({})",
                view.back_off.as_secs(),
                text(view.pod, "/metadata/name"),
                text(view.pod, "/metadata/namespace"),
                text(view.pod, "/metadata/uid"),
            ),
        }}),
    }
}

fn terminated(exit: Exit) -> Value {
    json!({"terminated": {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": time(exit.started_at),
        "finishedAt": time(exit.finished_at),
    }})
}

/// One image, one digest: what pulling it from a registry would have given.
fn image_id(image: &str) -> String {
    let digest: String = Sha256::digest(image.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let repository = image.rsplit_once(':').map_or(image, |(name, _)| name);
    format!("{repository}@sha256:{digest}")
}
