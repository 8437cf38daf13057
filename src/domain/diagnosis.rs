//! Why a rollout does not get on, and what a person may do about it: the runbook's "Rollback Won't Complete".
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::evidence::{clock_time, count_of};
use super::plan::kubernetes::Workload;

/// Pods named in one sentence.
const PODS_NAMED: usize = 5;
/// Different obstacles told at once.
const OBSTACLES_MAX: usize = 8;
/// Words of the cluster are cut there.
const WHY_CHARS: usize = 300;
/// A pod is starting for so long without anybody thinking of it.
const STARTING: SignedDuration = SignedDuration::from_secs(60);
/// How long after its grace period a pod may still be there.
const LEAVING: SignedDuration = SignedDuration::from_secs(10);

/// What the cluster says of a rollout that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Stall {
    pub workload: Workload,
    /// Pods of the wanted version that are not ready, and pods of any version that are leaving.
    pub pods: Vec<StalledPod>,
    /// Why the controller could make no more pods.
    pub refused: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StalledPod {
    pub name: String,
    pub state: PodState,
}

/// How far a pod is that does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// The scheduler found no node; its own words.
    Unschedulable {
        message: String,
    },
    /// A container cannot be made: an image, a missing key, a volume.
    CannotStart {
        reason: String,
        message: String,
    },
    Crashing {
        reason: String,
    },
    /// It runs, and its probe fails.
    Unready {
        probe: Option<String>,
    },
    Starting {
        since: Timestamp,
    },
    /// It was deleted, and may take until then.
    Leaving {
        due: Timestamp,
        node: Option<String>,
        finalizers: Vec<String>,
    },
}

/// What stands in the way, most telling first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnosis {
    pub obstacles: Vec<Obstacle>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    pub kind: ObstacleKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// In the cluster's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Commands for a person; none of them is ever run by us.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consider: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObstacleKind {
    /// A quota.
    Quota,
    /// Admission or anything else refused new pods.
    Refused,
    Capacity,
    Image,
    Configuration,
    Crash,
    Probe,
    Starting,
    Finalizer,
    Terminating,
}

impl ObstacleKind {
    fn of(state: &PodState, now: Timestamp) -> Option<Self> {
        Some(match state {
            PodState::Unschedulable { .. } => Self::Capacity,
            PodState::CannotStart { reason, .. } if is_image(reason) => Self::Image,
            PodState::CannotStart { .. } => Self::Configuration,
            PodState::Crashing { .. } => Self::Crash,
            PodState::Unready { .. } => Self::Probe,
            PodState::Starting { since } if now.duration_since(*since) < STARTING => return None,
            PodState::Starting { .. } => Self::Starting,
            PodState::Leaving { due, .. } if now.duration_since(*due) < LEAVING => return None,
            PodState::Leaving { finalizers, .. } if finalizers.is_empty() => Self::Terminating,
            PodState::Leaving { .. } => Self::Finalizer,
        })
    }

    /// What is wrong with these pods.
    fn title(self) -> &'static str {
        match self {
            Self::Quota => "a quota refuses new pods",
            Self::Refused => "new pods are refused",
            Self::Capacity => "found no node",
            Self::Image => "cannot get its image",
            Self::Configuration => "cannot be started as configured",
            Self::Crash => "crashes",
            Self::Probe => "runs, but is not ready",
            Self::Starting => "has not started yet",
            Self::Finalizer => "was deleted, but a finalizer holds it",
            Self::Terminating => "was deleted, but does not end",
        }
    }
}

fn is_image(reason: &str) -> bool {
    reason.contains("Image") || reason == "RegistryUnavailable"
}

/// Pure: the same facts give the same words, so that a journal does not fill with them.
pub fn diagnose(stall: &Stall, now: Timestamp) -> Diagnosis {
    let mut groups: BTreeMap<(ObstacleKind, String), Vec<&StalledPod>> = BTreeMap::new();
    for pod in &stall.pods {
        if let Some(kind) = ObstacleKind::of(&pod.state, now) {
            groups.entry((kind, why(&pod.state))).or_default().push(pod);
        }
    }
    let mut obstacles: Vec<Obstacle> = Vec::new();
    obstacles.extend(stall.refused.as_deref().map(|why| refused(&stall.workload, why)));
    let of_pods = groups.into_iter().map(|((kind, why), pods)| {
        let consider = consider(kind, &stall.workload, &pods);
        Obstacle { kind, pods: pods.iter().map(|p| p.name.clone()).collect(), why: cut(&why), consider }
    });
    obstacles.extend(of_pods);
    obstacles.truncate(OBSTACLES_MAX);
    Diagnosis { obstacles }
}

fn refused(workload: &Workload, why: &str) -> Obstacle {
    let (kind, what) = if why.contains("exceeded quota") {
        (ObstacleKind::Quota, format!("kubectl describe resourcequota -n {}", workload.namespace))
    } else {
        (ObstacleKind::Refused, format!("kubectl get events -n {}", workload.namespace))
    };
    Obstacle { kind, pods: Vec::new(), why: cut(why), consider: vec![what] }
}

fn why(state: &PodState) -> String {
    match state {
        PodState::Unschedulable { message } => message.clone(),
        PodState::CannotStart { reason, message } if message.is_empty() => reason.clone(),
        PodState::CannotStart { reason, message } => format!("{reason}, {message}"),
        PodState::Crashing { reason } => reason.clone(),
        PodState::Unready { probe } => probe.clone().unwrap_or_default(),
        PodState::Starting { since } => format!("made at {}", clock_time(*since)),
        PodState::Leaving { due, node, finalizers } if finalizers.is_empty() => {
            let node = node.as_ref().map_or(String::new(), |node| format!(", on node {node}"));
            format!("its grace period ended at {}{node}", clock_time(*due))
        }
        PodState::Leaving { finalizers, .. } => finalizers.join(", "),
    }
}

fn consider(kind: ObstacleKind, workload: &Workload, pods: &[&StalledPod]) -> Vec<String> {
    let Some(pod) = pods.first() else { return Vec::new() };
    let named = format!("{} -n {}", pod.name, workload.namespace);
    let describe = || format!("kubectl describe pod {named}");
    match kind {
        ObstacleKind::Capacity => vec![
            "kubectl describe nodes | grep -A 5 \"Allocated resources\", then add nodes or free room".into(),
            describe(),
        ],
        ObstacleKind::Image => {
            vec![
                describe(),
                "see whether the image is still in the registry, and the pull secret valid".into(),
            ]
        }
        ObstacleKind::Configuration => {
            vec![describe(), format!("kubectl get configmaps,secrets -n {}", workload.namespace)]
        }
        ObstacleKind::Crash => vec![format!("kubectl logs {named} --previous"), describe()],
        ObstacleKind::Probe => vec![describe(), format!("kubectl logs {named}")],
        ObstacleKind::Starting => vec![describe()],
        ObstacleKind::Finalizer => vec![
            format!("kubectl get pod {named} -o jsonpath='{{.metadata.finalizers}}'"),
            "see to the controller that set it; it takes its finalizer away when it has done its work".into(),
        ],
        ObstacleKind::Terminating => vec![
            "kubectl get nodes, to see whether its node is gone".into(),
            format!(
                "kubectl delete pod {named} --grace-period=0 --force, only if its node is surely down: rollguard never does that"
            ),
        ],
        ObstacleKind::Quota | ObstacleKind::Refused => Vec::new(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(WHY_CHARS).collect()
}

impl Diagnosis {
    pub fn is_empty(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// One line per obstacle, and below it what to consider.
    pub fn lines(&self) -> Vec<String> {
        let told = |o: &Obstacle| {
            let consider = o.consider.iter().map(|command| format!("  Consider: {command}"));
            std::iter::once(format!("In the way: {}", o.sentence())).chain(consider).collect::<Vec<_>>()
        };
        self.obstacles.iter().flat_map(told).collect()
    }
}

impl Obstacle {
    /// Such as `2 pods, web-a and web-b, each: found no node (0/1 nodes are available: 1 Insufficient cpu)`.
    pub fn sentence(&self) -> String {
        let who = match self.pods.as_slice() {
            [] => String::new(),
            [one] => format!("pod {one} "),
            many => {
                let named = many.iter().take(PODS_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = many.len().saturating_sub(PODS_NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("{} ({named}{more}), each ", count_of(many.len(), "pod"))
            }
        };
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("{who}{}{why}", self.kind.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workload::WorkloadKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(name: &str, state: PodState) -> StalledPod {
        StalledPod { name: name.into(), state }
    }

    fn stall(pods: Vec<StalledPod>, refused: Option<&str>) -> Stall {
        let workload =
            Workload { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "web".into() };
        Stall { workload, pods, refused: refused.map(str::to_string) }
    }

    fn no_room() -> PodState {
        PodState::Unschedulable { message: "0/1 nodes are available: 1 Insufficient cpu.".into() }
    }

    #[test]
    fn pods_with_the_same_trouble_are_told_together_with_what_to_consider() {
        let pods = (0..7).map(|n| pod(&format!("web-{n}"), no_room())).collect();
        let told = diagnose(&stall(pods, None), at(100)).lines();
        assert_eq!(
            told[0],
            "In the way: 7 pods (web-0, web-1, web-2, web-3, web-4 and 2 more), each found no node: 0/1 nodes are available: 1 Insufficient cpu."
        );
        assert!(told[1].contains("kubectl describe nodes | grep -A 5 \"Allocated resources\""), "{told:?}");
        assert!(told[2].ends_with("kubectl describe pod web-0 -n shop"), "{told:?}");
    }

    #[test]
    fn a_quota_is_told_from_other_refusals() {
        let quota = "pods \"web-7f\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=3";
        let told = diagnose(&stall(vec![], Some(quota)), at(100));
        assert_eq!(told.obstacles[0].kind, ObstacleKind::Quota);
        assert_eq!(told.obstacles[0].consider, ["kubectl describe resourcequota -n shop"]);
        let denied = "admission webhook \"policy\" denied the request: no image digest";
        let told = diagnose(&stall(vec![], Some(denied)), at(100));
        assert_eq!(told.obstacles[0].sentence(), format!("new pods are refused: {denied}"));
    }

    #[test]
    fn what_is_merely_under_way_is_no_obstacle() {
        let leaving = |finalizers: &[&str]| PodState::Leaving {
            due: at(100),
            node: Some("n1".into()),
            finalizers: finalizers.iter().map(|f| (*f).to_string()).collect(),
        };
        let stall = stall(
            vec![
                pod("new", PodState::Starting { since: at(90) }),
                pod("old", leaving(&[])),
                pod("held", leaving(&["example.com/drain"])),
            ],
            None,
        );
        assert!(diagnose(&stall, at(105)).is_empty());
        let later = diagnose(&stall, at(150));
        let kinds: Vec<_> = later.obstacles.iter().map(|o| o.kind).collect();
        assert_eq!(kinds, [ObstacleKind::Starting, ObstacleKind::Finalizer, ObstacleKind::Terminating]);
        assert_eq!(diagnose(&stall, at(151)), later, "told in the same words");
        assert!(later.lines().iter().any(|l| l.contains("--force, only if its node is surely down")));
        assert!(
            later.lines().iter().any(|l| l.contains("a finalizer holds it: example.com/drain")),
            "{later:?}"
        );
    }

    #[test]
    fn each_trouble_names_its_own_next_look() {
        let cannot =
            |reason: &str| PodState::CannotStart { reason: reason.into(), message: "no such".into() };
        let pods = vec![
            pod("a", cannot("ImagePullBackOff")),
            pod("b", cannot("CreateContainerConfigError")),
            pod("c", PodState::Crashing { reason: "CrashLoopBackOff, exit code 1".into() }),
            pod("d", PodState::Unready { probe: Some("Readiness probe failed: 503".into()) }),
        ];
        let told = diagnose(&stall(pods, None), at(100));
        let sentences: Vec<_> = told.obstacles.iter().map(Obstacle::sentence).collect();
        assert_eq!(
            sentences,
            [
                "pod a cannot get its image: ImagePullBackOff, no such",
                "pod b cannot be started as configured: CreateContainerConfigError, no such",
                "pod c crashes: CrashLoopBackOff, exit code 1",
                "pod d runs, but is not ready: Readiness probe failed: 503",
            ]
        );
        assert_eq!(told.obstacles[2].consider[0], "kubectl logs c -n shop --previous");
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Diagnosis>(&text).unwrap(), told);
    }
}
