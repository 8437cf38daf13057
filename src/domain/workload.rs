//! A running workload as a feed shows it, and the rule that tells a release from everything else.
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::memory::TargetMemory;
use super::names::TargetId;
use super::release::{Fingerprint, Generation, Release, ReleaseKind, Version, known_good_at_first_start};
use super::signal::PodReading;

/// What rolls out pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// Also of all that was journaled before there was a choice.
    #[default]
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    /// As the API calls it.
    pub fn title(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
        }
    }

    /// As kubectl and the configuration take it.
    pub fn noun(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::StatefulSet => "statefulset",
            WorkloadKind::DaemonSet => "daemonset",
        }
    }

    pub fn is_deployment(&self) -> bool {
        *self == WorkloadKind::Deployment
    }
}

/// How a controller brings a new template to the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateStrategy {
    /// By itself; a StatefulSet leaves alone the pods whose ordinal is below its partition.
    Rolling { partition: u32 },
    /// Only when somebody deletes a pod.
    OnDelete,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        UpdateStrategy::Rolling { partition: 0 }
    }
}

/// A target as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadView {
    pub target: TargetId,
    pub version: Version,
    /// Since when this version is the wanted one, as well as the source can tell.
    pub current_since: Timestamp,
    pub rollout: RolloutState,
    /// Versions in the order of their revisions; the last is the current one.
    pub history: Vec<Generation>,
    pub pods: Vec<PodView>,
    pub progress_deadline_secs: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RolloutState {
    Rolling,
    Ended {
        at: Timestamp,
    },
    /// The rollout controller does not try any more.
    GaveUp {
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    pub name: String,
    /// `None` while the pod's ReplicaSet or ControllerRevision has not been seen yet.
    pub fingerprint: Option<Fingerprint>,
    pub created_at: Timestamp,
    pub reading: PodReading,
    /// Where its metrics are: `http://ip:port/path`.
    pub metrics_url: Option<String>,
}

/// What a view means, given what is remembered of its target.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Nothing,
    /// The first sight of a version that has been running for longer than a watch.
    KnownGood {
        version: Version,
        why: String,
    },
    /// A release; `known_good` is learned from the workload's own history when nothing is remembered.
    Release {
        release: Box<Release>,
        known_good: Option<Version>,
    },
}

/// Tells a release from a restart, a scaling and a known state. `our_run` is the open run that
/// restores exactly this version.
pub fn notice(
    memory: &TargetMemory,
    view: &WorkloadView,
    our_run: Option<&str>,
    now: Timestamp,
    watch: Duration,
) -> Notice {
    let current = memory.current.as_ref();
    if current.is_some_and(|v| v.fingerprint == view.version.fingerprint) {
        return Notice::Nothing;
    }
    if current.is_none() {
        return first_sight(view, now, watch);
    }
    let kind = match our_run {
        // A run that still waits for approval restored nothing: then it was somebody's own undo.
        Some(run) if memory.last_rollback().is_some_and(|(by, _)| by == run) => {
            ReleaseKind::OurRollback { run: run.to_string() }
        }
        _ if memory.known_bad.contains(&view.version.fingerprint) => ReleaseKind::KnownBad,
        _ if memory.seen.contains(&view.version.fingerprint) || older_than_current(view, current) => {
            ReleaseKind::Undo
        }
        _ => ReleaseKind::New,
    };
    let to = view.version.clone().distinct_from(memory.known_good.as_ref());
    let from = current.cloned();
    let release = Release { target: view.target.clone(), kind, from, to, at: view.current_since };
    Notice::Release { release: Box::new(release), known_good: memory.known_good.clone() }
}

fn first_sight(view: &WorkloadView, now: Timestamp, watch: Duration) -> Notice {
    let good = known_good_at_first_start(&view.history, view.current_since, now, watch);
    match good {
        Some(good) if good.version.fingerprint == view.version.fingerprint => Notice::KnownGood {
            version: view.version.clone(),
            why: "it had been running for longer than one watch when it was first seen".into(),
        },
        good => {
            let known_good = good.map(|g| g.version.clone());
            let from = view.history.iter().rev().nth(1).map(|g| g.version.clone());
            let to = view.version.clone().distinct_from(known_good.as_ref());
            let at = view.current_since;
            let kind = if came_back(view) { ReleaseKind::Undo } else { ReleaseKind::New };
            let known_good = known_good.filter(|_| kind == ReleaseKind::New);
            let release = Release { target: view.target.clone(), kind, from, to, at };
            Notice::Release { release: Box::new(release), known_good }
        }
    }
}

/// The current version is older than one that it replaced: somebody went back, and what they left is no place to go.
fn came_back(view: &WorkloadView) -> bool {
    let Some((current, earlier)) = view.history.split_last() else { return false };
    earlier.iter().any(|generation| generation.created_at > current.created_at)
}

/// The workload's own history knows this version from before the one that we saw last.
fn older_than_current(view: &WorkloadView, current: Option<&Version>) -> bool {
    let created = |print: &Fingerprint| {
        view.history.iter().find(|g| g.version.fingerprint == *print).map(|g| g.created_at)
    };
    let (this, last) = (created(&view.version.fingerprint), current.and_then(|v| created(&v.fingerprint)));
    matches!((this, last), (Some(this), Some(last)) if this < last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::TargetEvent;
    use crate::domain::names::{ServiceName, TargetName};

    const WATCH: Duration = Duration::from_secs(1800);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn version(label: &str) -> Version {
        Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
    }

    /// The history as labels with the minutes in which they were made; the last runs since `since`.
    fn view(history: &[(&str, i64)], since: i64) -> WorkloadView {
        let generation = |(revision, (label, minute)): (u64, &(&str, i64))| Generation {
            version: version(label),
            revision,
            created_at: at(*minute),
        };
        WorkloadView {
            target: TargetId {
                service: ServiceName::parse("shop").unwrap(),
                target: TargetName::parse("backend").unwrap(),
            },
            version: version(history.last().unwrap().0),
            current_since: at(since),
            rollout: RolloutState::Rolling,
            history: (1..).zip(history).map(generation).collect(),
            pods: vec![],
            progress_deadline_secs: None,
        }
    }

    fn release(notice: Notice) -> (ReleaseKind, Option<Version>) {
        let Notice::Release { release, known_good } = notice else { panic!("no release: {notice:?}") };
        (release.kind, known_good)
    }

    #[test]
    fn an_undo_from_before_the_first_start_is_an_undo_and_what_it_left_is_not_good() {
        let nothing = TargetMemory::default();
        let undone = view(&[("v2", 100), ("v1", 0)], 300);
        assert_eq!(release(notice(&nothing, &undone, None, at(305), WATCH)), (ReleaseKind::Undo, None));
        let released = view(&[("v1", 0), ("v2", 300)], 300);
        let expected = (ReleaseKind::New, Some(version("v1")));
        assert_eq!(release(notice(&nothing, &released, None, at(305), WATCH)), expected);
    }

    #[test]
    fn only_a_run_that_has_begun_restores() {
        let good = TargetEvent::KnownGood { version: version("v1"), why: "it ran".into() };
        let begun = TargetEvent::RolledBack { run: "shop-1".into(), bad: version("v2") };
        let mut memory = TargetMemory::default().fold(&good, at(0));
        memory.current = Some(version("v2"));
        let kind = |memory: &TargetMemory, label: &str| {
            let view = view(&[("v0", -9), ("v1", 0), ("v2", 100), (label, 0)], 300);
            release(notice(memory, &view, Some("shop-1"), at(301), WATCH)).0
        };
        assert_eq!(kind(&memory, "v1"), ReleaseKind::Undo, "the run still waits for approval");
        let memory = memory.fold(&begun, at(200));
        let ours = ReleaseKind::OurRollback { run: "shop-1".into() };
        assert_eq!(kind(&memory, "v1"), ours);
        assert_eq!(kind(&memory, "v0"), ours, "a person may have named any revision");
    }
}
