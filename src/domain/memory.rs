//! What is remembered of a target: a fold over its stream of the journal.
use std::collections::VecDeque;

use jiff::Timestamp;

use super::event::{TargetEvent, WatchEnd};
use super::policy::Decision;
use super::release::{Fingerprint, ReleaseKind, Version};
use super::watch::WatchSpec;

/// Versions remembered as seen or as bad, each.
const REMEMBERED: usize = 64;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMemory {
    pub known_good: Option<Version>,
    /// The version that ran when the target was last looked at.
    pub current: Option<Version>,
    pub seen: VecDeque<Fingerprint>,
    pub known_bad: VecDeque<Fingerprint>,
    pub watch: Option<OpenWatch>,
    pub last_rollback_at: Option<Timestamp>,
}

/// A watch that has not been closed.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenWatch {
    pub spec: Box<WatchSpec>,
    pub rollout_ended: Option<Timestamp>,
    pub reached: Decision,
    pub told_minor: bool,
}

impl TargetMemory {
    /// Folds one event. Total: it never fails and does no I/O.
    pub fn fold(mut self, event: &TargetEvent, at: Timestamp) -> Self {
        match event {
            TargetEvent::KnownGood { version, .. } => {
                self.known_bad.retain(|bad| *bad != version.fingerprint);
                remember(&mut self.seen, &version.fingerprint);
                if self.current.is_none() {
                    self.current = Some(version.clone());
                }
                self.known_good = Some(version.clone());
            }
            TargetEvent::WatchOpened(spec) => {
                remember(&mut self.seen, &spec.release.to.fingerprint);
                self.current = Some(spec.release.to.clone());
                self.known_good = spec.known_good.clone().or(self.known_good);
                if let Some(good) = &self.known_good {
                    remember(&mut self.seen, &good.fingerprint);
                }
                let spec = spec.clone();
                self.watch =
                    Some(OpenWatch { spec, rollout_ended: None, reached: Decision::Hold, told_minor: false });
            }
            TargetEvent::RolloutEnded { watch, ended_at } => {
                self.in_watch(watch, |w| w.rollout_ended = Some(*ended_at));
            }
            TargetEvent::Decided { watch, decided, .. } => {
                self.in_watch(watch, |w| {
                    w.reached = w.reached.max(decided.would.unwrap_or(decided.decision))
                });
            }
            TargetEvent::MinorTrouble { watch, .. } => self.in_watch(watch, |w| w.told_minor = true),
            TargetEvent::WatchClosed { watch, .. } => {
                if self.watch.as_ref().is_some_and(|w| w.spec.id == *watch) {
                    self.watch = None;
                }
            }
            TargetEvent::RolledBack { bad, .. } => {
                remember(&mut self.known_bad, &bad.fingerprint);
                self.last_rollback_at = Some(at);
            }
        }
        self
    }

    fn in_watch(&mut self, id: &str, change: impl FnOnce(&mut OpenWatch)) {
        if let Some(watch) = self.watch.as_mut().filter(|w| w.spec.id == id) {
            change(watch);
        }
    }
}

fn remember(list: &mut VecDeque<Fingerprint>, fingerprint: &Fingerprint) {
    if !list.contains(fingerprint) {
        list.push_back(fingerprint.clone());
    }
    if list.len() > REMEMBERED {
        list.pop_front();
    }
}

/// Whether the end of a watch makes its version the known good one, and why. `clean` means that no page-level evidence and
/// no crash was seen; `watched_secs` is how long it was watched.
pub fn makes_known_good(end: WatchEnd, clean: bool, watched_secs: f64, spec: &WatchSpec) -> Option<String> {
    let enough = watched_secs >= spec.judging.settle_secs;
    let minutes = watched_secs / 60.0;
    match (end, &spec.release.kind) {
        (_, ReleaseKind::KnownBad) => None,
        (WatchEnd::Healthy, _) => Some("its watch ended healthy".into()),
        (WatchEnd::Inconclusive, _) if clean && enough => Some(format!(
            "nothing was found against it in {minutes:.0} minutes, though traffic was too low to prove it"
        )),
        (WatchEnd::Superseded, _) if clean && enough => {
            Some(format!("it was replaced after {minutes:.0} minutes without anything against it"))
        }
        (
            WatchEnd::Inconclusive
            | WatchEnd::Superseded
            | WatchEnd::Degraded
            | WatchEnd::RolledBack
            | WatchEnd::Gone,
            _,
        ) => None,
    }
}
