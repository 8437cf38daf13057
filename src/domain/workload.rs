//! A running workload as a feed shows it, and the rule that tells a release from everything else.
use std::time::Duration;

use jiff::Timestamp;

use super::memory::TargetMemory;
use super::names::TargetId;
use super::release::{Fingerprint, Generation, Release, ReleaseKind, Version, known_good_at_first_start};
use super::signal::PodReading;

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
    /// `None` while the pod's ReplicaSet has not been seen yet.
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
        Some(run) => ReleaseKind::OurRollback { run: run.to_string() },
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
            let release = Release { target: view.target.clone(), kind: ReleaseKind::New, from, to, at };
            Notice::Release { release: Box::new(release), known_good }
        }
    }
}

/// The workload's own history knows this version from before the one that we saw last.
fn older_than_current(view: &WorkloadView, current: Option<&Version>) -> bool {
    let created = |print: &Fingerprint| {
        view.history.iter().find(|g| g.version.fingerprint == *print).map(|g| g.created_at)
    };
    let (this, last) = (created(&view.version.fingerprint), current.and_then(|v| created(&v.fingerprint)));
    matches!((this, last), (Some(this), Some(last)) if this < last)
}
