//! What the stand-in for the kubelet makes of a pod: how its container behaves, and the status that a real kubelet would write.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::workload::Traffic;

/// Milliseconds from the scheduling of a pod to its first status; an annotation of the pod.
pub(crate) const START_AFTER_MS: &str = "kubelet.test/start-after-ms";

/// Reports an address as of a real network, at which nothing listens; an annotation of the pod. EndpointSlices hold no
/// loopback addresses, which are all that pods have here.
pub(crate) const ROUTABLE: &str = "kubelet.test/routable";

/// How a container fares, the words in its image's tag after the first: `app:v2`, `app:v2-crashloop`, `app:v2-errors15-latency400`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Runs and serves; `errorsN` is N % of its answers, `latencyN` N ms for each.
    Ready(Traffic),
    /// `unready`: runs and serves, but its readiness probe fails.
    Unready(Traffic),
    /// `crashloop`: exits with 1 again and again.
    CrashLoop,
    /// `oom`: killed for its memory again and again.
    OutOfMemory,
    /// `imagepull`: there is no such image.
    ImagePull,
}

impl Behaviour {
    pub(crate) fn of(tag: &str) -> Self {
        let mut behaviour = Self::Ready(Traffic::default());
        let mut traffic = Traffic::default();
        for word in tag.split('-').skip(1) {
            match word {
                "unready" => behaviour = Self::Unready(traffic),
                "crashloop" => behaviour = Self::CrashLoop,
                "oom" => behaviour = Self::OutOfMemory,
                "imagepull" => behaviour = Self::ImagePull,
                _ => {
                    if let Some(percent) = number(word, "errors") {
                        traffic.error_ratio = percent / 100.0;
                    } else if let Some(millis) = number(word, "latency") {
                        traffic.latency_secs = millis / 1000.0;
                    }
                }
            }
        }
        match behaviour {
            Self::Ready(_) => Self::Ready(traffic),
            Self::Unready(_) => Self::Unready(traffic),
            Self::CrashLoop | Self::OutOfMemory | Self::ImagePull => behaviour,
        }
    }

    /// The traffic that its pod serves, if it serves.
    pub(crate) fn traffic(self) -> Option<Traffic> {
        match self {
            Self::Ready(traffic) | Self::Unready(traffic) => Some(traffic),
            Self::CrashLoop | Self::OutOfMemory | Self::ImagePull => None,
        }
    }

    /// Whether its container is started again and again.
    pub(crate) fn restarts(self) -> bool {
        matches!(self, Self::CrashLoop | Self::OutOfMemory)
    }
}

/// `logerrorsN`: N error lines a minute in its log; `odderrorsN`: N of another kind.
pub(crate) fn log_errors(tag: &str) -> (u32, bool) {
    let of = |word: &str| {
        let usual = number(word, "logerrors").map(|n| (n as u32, false));
        usual.or_else(|| number(word, "odderrors").map(|n| (n as u32, true)))
    };
    tag.split('-').find_map(of).unwrap_or((0, false))
}

fn number(word: &str, prefix: &str) -> Option<f64> {
    word.strip_prefix(prefix)?.parse().ok()
}

/// The tag of the pod's first container.
pub(crate) fn tag(pod: &Pod) -> &str {
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.as_deref());
    image.and_then(|image| image.rsplit_once(':')).map_or("", |(_, tag)| tag)
}

/// The first port that the pod's first container declares.
pub(crate) fn port(pod: &Pod) -> Option<u16> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let port = container.ports.as_ref()?.first()?.container_port;
    Some(u16::try_from(port).unwrap())
}

pub(crate) fn start_after(pod: &Pod) -> Duration {
    let annotations = pod.metadata.annotations.as_ref();
    let millis = annotations.and_then(|all| all.get(START_AFTER_MS));
    Duration::from_millis(millis.map_or(300, |text| text.parse().unwrap()))
}

/// A strategic merge patch of the pod's status.
pub(crate) fn status(pod: &Pod, behaviour: Behaviour, ip: Ipv4Addr, restarts: u32) -> Value {
    let now = Timestamp::now();
    let [_, rest @ ..] = ip.octets();
    let routable = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ROUTABLE));
    let ip = if routable { Ipv4Addr::new(10, rest[0], rest[1], rest[2]) } else { ip };
    let ready = matches!(behaviour, Behaviour::Ready(_));
    let condition = |kind: &str, is: bool| {
        let status = if is { "True" } else { "False" };
        json!({ "type": kind, "status": status, "lastTransitionTime": now })
    };
    let phase = match behaviour {
        Behaviour::ImagePull => "Pending",
        Behaviour::Ready(_) | Behaviour::Unready(_) | Behaviour::CrashLoop | Behaviour::OutOfMemory => {
            "Running"
        }
    };
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let mut container_status = json!({
        "name": container.name, "image": container.image, "imageID": "",
        "ready": ready, "restartCount": restarts,
    });
    for (key, value) in container_state(behaviour, now) {
        container_status[key] = value;
    }
    // A StatefulSet's next pod has the same name: its UID keeps it from getting the status of the last one.
    json!({ "metadata": { "uid": pod.metadata.uid }, "status": {
        "phase": phase,
        "startTime": now,
        "hostIP": "127.0.0.1",
        "podIP": ip.to_string(),
        "podIPs": [{ "ip": ip.to_string() }],
        "conditions": [
            condition("Initialized", true),
            condition("Ready", ready),
            condition("ContainersReady", ready),
        ],
        "containerStatuses": [container_status],
    }})
}

fn container_state(behaviour: Behaviour, now: Timestamp) -> Vec<(&'static str, Value)> {
    let dead = |reason: &str, code: i32| {
        vec![
            ("started", json!(false)),
            (
                "state",
                json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting failed container" } }),
            ),
            (
                "lastState",
                json!({ "terminated": { "reason": reason, "exitCode": code, "startedAt": now, "finishedAt": now } }),
            ),
        ]
    };
    match behaviour {
        Behaviour::Ready(_) | Behaviour::Unready(_) => {
            vec![("started", json!(true)), ("state", json!({ "running": { "startedAt": now } }))]
        }
        Behaviour::CrashLoop => dead("Error", 1),
        Behaviour::OutOfMemory => dead("OOMKilled", 137),
        Behaviour::ImagePull => vec![
            ("started", json!(false)),
            (
                "state",
                json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image" } }),
            ),
        ],
    }
}
