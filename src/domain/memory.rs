//! What is remembered of a target: a fold over its stream of the journal.
use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{TargetEvent, WatchEnd};
use super::evidence::{Cause, is_blindness};
use super::guardrails::Bar;
use super::keepsake::Keepsake;
use super::owner::{Controller, Held};
use super::policy::Decision;
use super::release::{Fingerprint, ReleaseKind, Version};
use super::watch::WatchSpec;

/// Versions remembered as seen or as bad, each.
const REMEMBERED: usize = 64;
/// Versions of which it is remembered what they ran with.
const KEPT: usize = 4;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMemory {
    pub known_good: Option<Version>,
    /// When that was found.
    pub known_good_since: Option<Timestamp>,
    /// The version that ran when the target was last looked at.
    pub current: Option<Version>,
    pub seen: VecDeque<Fingerprint>,
    pub known_bad: VecDeque<Fingerprint>,
    pub watch: Option<OpenWatch>,
    /// How the watch before ended.
    pub last_watch: Option<EndedWatch>,
    /// The latest runs that took a version away here, with the times at which they began.
    pub rollbacks: VecDeque<(String, Timestamp)>,
    /// When the evidence against a release here was last found to be enough for a rollback. It outlives the watch.
    pub tripped_at: Option<Timestamp>,
    /// The incident that people are being paged about. It outlives its watch if nobody has acted on it.
    pub paging: Option<String>,
    /// How far that page has got.
    pub page: Option<PageState>,
    /// Owners that runs suspended and nobody resumed yet.
    pub held: Vec<Held>,
    /// What the latest versions ran with, each once.
    pub kept: Vec<Keepsake>,
}

/// A page that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageState {
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
    /// How often it was escalated.
    pub level: u8,
}

/// A watch that has not been closed.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenWatch {
    pub spec: Box<WatchSpec>,
    pub rollout_ended: Option<Timestamp>,
    pub reached: Decision,
    /// The rules whose small trouble people have been told about.
    pub told_minor: Vec<Option<String>>,
    /// What people were paged about, each once: the cause, and whether it was only that nothing could be seen.
    pub paged: Vec<Topic>,
    /// Held back because several services tripped together.
    pub together: Option<Bar>,
}

/// What a watch came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedWatch {
    pub watch: String,
    /// The label of the version that was watched.
    pub version: String,
    pub end: WatchEnd,
    pub ended_at: Timestamp,
    pub reason: String,
}

/// What a page is about. Another cause is news, even if no more can be done about it than before.
pub type Topic = (Cause, bool);

pub fn topic(cause: Cause, rule: Option<&str>) -> Topic {
    (cause, rule.is_some_and(is_blindness))
}

impl TargetMemory {
    /// Folds one event. Total: it never fails and does no I/O.
    pub fn fold(mut self, event: &TargetEvent, at: Timestamp) -> Self {
        match event {
            TargetEvent::KnownGood { version, .. } => {
                self.known_bad.retain(|bad| *bad != version.fingerprint);
                if self.current.is_none() {
                    self.current = Some(version.clone());
                }
                self.take_good(version.clone(), at);
            }
            TargetEvent::WatchOpened(spec) => {
                remember(&mut self.seen, &spec.release.to.fingerprint);
                self.current = Some(spec.release.to.clone());
                if let Some(good) = spec.known_good.as_ref().or(self.known_good.as_ref()).cloned() {
                    self.take_good(good, at);
                }
                let spec = spec.clone();
                self.watch = Some(OpenWatch {
                    spec,
                    rollout_ended: None,
                    reached: Decision::Hold,
                    told_minor: vec![],
                    paged: vec![],
                    together: None,
                });
            }
            TargetEvent::RolloutEnded { watch, ended_at } => {
                self.in_watch(watch, |w| w.rollout_ended = Some(*ended_at));
            }
            TargetEvent::Decided { watch, decided, cause, rule, tripped, together, .. } => {
                if *tripped {
                    self.tripped_at = Some(at);
                }
                self.in_watch(watch, |w| {
                    w.together = w.together.take().or_else(|| together.as_deref().cloned());
                    w.reached = w.reached.max(decided.reached());
                    if decided.decision == Decision::Page {
                        w.paged.push(topic(*cause, rule.as_deref()));
                    }
                });
            }
            TargetEvent::MinorTrouble { watch, rule, .. } => {
                self.in_watch(watch, |w| w.told_minor.push(rule.clone()));
            }
            TargetEvent::WatchClosed { watch, end, reason } => self.end_watch(watch, *end, reason, at),
            TargetEvent::RolledBack { run, bad } => self.take_away(run, bad, at),
            TargetEvent::Paging { incident, on: true } => self.begin_page(incident, at),
            TargetEvent::Paging { incident, on: false } => self.end_page(incident),
            TargetEvent::Acknowledged { incident, by, .. } => {
                self.on_page(incident, |page| page.acknowledged = Some(by.clone()));
            }
            TargetEvent::Escalated { incident, level, .. } => {
                self.on_page(incident, |page| page.level = *level)
            }
            TargetEvent::OwnerHeld { target, run, hold } => {
                begin_hold(&mut self.held, Held::new(target.clone(), run.clone(), (**hold).clone(), at));
            }
            TargetEvent::OwnerStillHeld { controller } => remind(&mut self.held, controller, at),
            TargetEvent::OwnerResumed { controller, .. } => end_hold(&mut self.held, controller),
            TargetEvent::Kept(keepsake) => keep(&mut self.kept, keepsake, self.known_good.as_ref()),
        }
        self
    }

    /// The run that began to roll this target back last, and when.
    pub fn last_rollback(&self) -> Option<(&str, Timestamp)> {
        self.rollbacks.back().map(|(run, at)| (run.as_str(), *at))
    }

    /// What this version ran with when that was looked at last.
    pub fn kept(&self, version: &Fingerprint) -> Option<&Keepsake> {
        self.kept.iter().find(|kept| kept.version == *version)
    }

    /// Another page about the same incident is news to whoever has it in hand, and no new escalation.
    fn begin_page(&mut self, incident: &str, at: Timestamp) {
        if self.paging.as_deref() != Some(incident) || self.page.is_none() {
            self.page = Some(PageState { since: at, acknowledged: None, level: 0 });
        }
        self.paging = Some(incident.to_string());
    }

    fn end_page(&mut self, incident: &str) {
        self.paging = self.paging.take().filter(|paging| paging != incident);
        self.page = self.page.take().filter(|_| self.paging.is_some());
    }

    fn on_page(&mut self, incident: &str, change: impl FnOnce(&mut PageState)) {
        if self.paging.as_deref() == Some(incident)
            && let Some(page) = &mut self.page
        {
            change(page);
        }
    }

    fn end_watch(&mut self, watch: &str, end: WatchEnd, reason: &str, at: Timestamp) {
        if let Some(open) = self.watch.take_if(|open| open.spec.id == watch) {
            self.last_watch = Some(EndedWatch {
                watch: watch.to_string(),
                version: open.spec.release.to.label.clone(),
                end,
                ended_at: at,
                reason: reason.to_string(),
            });
        }
    }

    fn take_good(&mut self, good: Version, at: Timestamp) {
        remember(&mut self.seen, &good.fingerprint);
        if self.known_good.as_ref() != Some(&good) {
            self.known_good_since = Some(at);
        }
        self.known_good = Some(good);
    }

    fn take_away(&mut self, run: &str, bad: &Version, at: Timestamp) {
        remember(&mut self.known_bad, &bad.fingerprint);
        // What a person took away is nothing to go back to.
        self.known_good = self.known_good.take().filter(|good| good.fingerprint != bad.fingerprint);
        self.rollbacks.push_back((run.to_string(), at));
        if self.rollbacks.len() > REMEMBERED {
            self.rollbacks.pop_front();
        }
    }

    fn in_watch(&mut self, id: &str, change: impl FnOnce(&mut OpenWatch)) {
        if let Some(watch) = self.watch.as_mut().filter(|w| w.spec.id == id) {
            change(watch);
        }
    }
}

/// Held again before anybody resumed it: what was set before the first hold is what a person wants back.
fn begin_hold(held: &mut Vec<Held>, hold: Held) {
    if !held.iter().any(|other| other.hold.controller == hold.hold.controller) {
        held.push(hold);
    }
}

fn remind(held: &mut [Held], controller: &Controller, at: Timestamp) {
    held.iter_mut().filter(|held| held.hold.controller == *controller).for_each(|held| held.remind(at));
}

fn end_hold(held: &mut Vec<Held>, controller: &Controller) {
    held.retain(|held| held.hold.controller != *controller);
}

/// The one of the known good version stays, however many others came after it.
fn keep(kept: &mut Vec<Keepsake>, keepsake: &Keepsake, good: Option<&Version>) {
    kept.retain(|other| other.version != keepsake.version);
    kept.reserve_exact(1);
    kept.push(keepsake.clone());
    let spare = |kept: &Keepsake| good.is_none_or(|good| good.fingerprint != kept.version);
    if kept.len() > KEPT
        && let Some(oldest) = kept.iter().position(spare)
    {
        kept.remove(oldest);
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
            | WatchEnd::Blind
            | WatchEnd::Degraded
            | WatchEnd::RolledBack
            | WatchEnd::Gone,
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::domain::release::Release;
    use crate::domain::runbook::Judging;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn version(label: &str) -> Version {
        Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
    }

    fn folded(events: Vec<TargetEvent>) -> TargetMemory {
        events.iter().fold(TargetMemory::default(), |memory, event| memory.fold(event, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_version_that_was_taken_away_is_no_longer_known_good() {
        let good = || TargetEvent::KnownGood { version: version("v1"), why: "it ran".into() };
        let taken = |label| TargetEvent::RolledBack { run: "shop-1".into(), bad: version(label) };
        assert_eq!(folded(vec![good(), taken("v1")]).known_good, None);
        let kept = folded(vec![good(), taken("v2")]);
        assert_eq!(
            (kept.last_rollback().map(|(run, _)| run), &kept.known_good),
            (Some("shop-1"), &Some(version("v1")))
        );
    }

    #[test]
    fn what_a_watch_came_to_outlives_it() {
        let at = Timestamp::UNIX_EPOCH;
        let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("backend").unwrap());
        let target = TargetId { service, target };
        let release = Release { target, kind: ReleaseKind::New, from: None, to: version("v2"), at };
        let spec = WatchSpec {
            id: WatchSpec::id_of(&release),
            known_good: None,
            opened_at: at,
            ends_at: at,
            rules: vec![],
            judging: Judging::standard(Duration::ZERO),
            baseline: BTreeMap::new(),
            release,
        };
        let watch = spec.id.clone();
        let closed = |watch: &str| TargetEvent::WatchClosed {
            watch: watch.into(),
            end: WatchEnd::Inconclusive,
            reason: "traffic was too low to judge".into(),
        };
        let opened = TargetEvent::WatchOpened(Box::new(spec));
        let other = folded(vec![opened.clone(), closed("another")]);
        assert!(other.watch.is_some() && other.last_watch.is_none());
        let over = folded(vec![opened, closed(&watch)]);
        assert_eq!(over.watch, None);
        let last = over.last_watch.unwrap();
        assert_eq!((last.version.as_str(), last.reason.as_str()), ("v2", "traffic was too low to judge"));
    }

    #[test]
    fn a_page_is_over_only_for_its_own_incident() {
        let paging = |incident: &str, on| TargetEvent::Paging { incident: incident.into(), on };
        let (first, second) = (paging("a", true), paging("b", true));
        assert_eq!(folded(vec![first.clone(), second.clone(), paging("a", false)]).paging, Some("b".into()));
        assert_eq!(folded(vec![first, second, paging("b", false)]).paging, None);
    }
}
