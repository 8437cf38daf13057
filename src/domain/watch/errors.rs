//! One error rule in one watch: the absolute test, the comparison that names the cause, and the test of health.
use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{Arm, Baseline, Rollout, WatchSpec};
use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::{Absolute, Counts, Relative};
use crate::domain::detect::healthy::Healthy;
use crate::domain::detect::mixture::Bounds;
use crate::domain::evidence::{Cause, Evidence, Numbers, Strength, clock_time, count_of, percent};
use crate::domain::names::RuleName;
use crate::domain::runbook::{Rule, RuleKind};

/// The share of a watch's false-alarm budget (1 in 1,000) that error rules have.
const ALPHA_ROLLBACK: f64 = 4e-4;
const ALPHA_RELATIVE: f64 = 1e-2;
const ALPHA_PAGE: f64 = 1e-2;
/// From here on a person watching the terminal is told that evidence mounts.
const E_SUSPECT: f64 = 10.0;
/// One pod with more than this share of the failures, among three or more pods, is that pod's own problem.
const SINGLE_POD_SHARE: f64 = 0.8;
/// Under this share of failing requests trouble is minor.
const MINOR: f64 = 0.01;
const RECENT: usize = 12;

#[derive(Clone, Debug)]
pub(super) struct ErrorRule {
    pub(super) name: RuleName,
    threshold: f64,
    counters: Counters,
    new: Counts,
    old: Counts,
    by_pod: BTreeMap<String, Counts>,
    rollback: Absolute,
    page: Absolute,
    old_page: Absolute,
    relative: Relative,
    before: Option<Absolute>,
    baseline: Option<f64>,
    pub(super) healthy: Healthy,
    tally: Tally,
    recent: VecDeque<Counts>,
    pub(super) seen_at: Option<Timestamp>,
    pub(super) missed_because: Option<String>,
    old_seen_at: Option<Timestamp>,
    old_patience: SignedDuration,
}

/// Counts since the present onset, per pod and of the old pods.
#[derive(Clone, Debug, Default)]
struct Tally {
    since: Option<Timestamp>,
    by_pod: BTreeMap<String, Counts>,
    old: Counts,
}

impl ErrorRule {
    pub(super) fn new(rule: &Rule, spec: &WatchSpec, baseline: Option<&Baseline>) -> Self {
        let threshold = match rule.kind {
            RuleKind::Errors { above } => above,
            RuleKind::Latency { .. } | RuleKind::Value { .. } | RuleKind::Check { .. } => f64::INFINITY,
        };
        let dispersion = baseline.map_or(1.0, |b| b.dispersion).clamp(1.0, 4.0);
        let batch = spec.judging.batch_secs;
        let enough = ((20.0 / batch).ceil() as u32).max(3);
        let bounds = |alpha, min_batches| Bounds { alpha, min_batches, batches: spec.batches(), dispersion };
        let known = baseline.filter(|b| b.total > 0.0);
        Self {
            name: rule.name.clone(),
            threshold,
            counters: Counters::default(),
            new: Counts::default(),
            old: Counts::default(),
            by_pod: BTreeMap::new(),
            rollback: Absolute::rollback(threshold, bounds(ALPHA_ROLLBACK, enough)),
            page: Absolute::page(threshold, bounds(ALPHA_PAGE, 3)),
            old_page: Absolute::rollback(threshold, bounds(ALPHA_PAGE, 2)),
            relative: Relative::new(bounds(ALPHA_RELATIVE, 2)),
            before: known.map(|b| Absolute::before_after(b.counts(), bounds(ALPHA_RELATIVE, 2))),
            baseline: known.and_then(|b| b.counts().ratio()),
            healthy: Healthy::new(known.and_then(|b| b.counts().ratio()).unwrap_or(0.0)),
            tally: Tally::default(),
            recent: VecDeque::new(),
            seen_at: None,
            missed_because: None,
            old_seen_at: None,
            old_patience: SignedDuration::from_secs_f64(batch * 3.0),
        }
    }

    /// `fresh`: this pod's counters began at zero inside the watch.
    pub(super) fn take(&mut self, at: Timestamp, arm: Arm, pod: &str, now: Counts, fresh: bool) {
        let came = self.counters.advance(pod, now, fresh);
        match arm {
            Arm::New => {
                self.new.add(came);
                self.by_pod.entry(pod.to_string()).or_default().add(came);
                self.seen_at = Some(at);
                self.missed_because = None;
            }
            Arm::Old => {
                self.old.add(came);
                // While a release has no pods of its own yet, data about the old ones shows that the source answers.
                self.seen_at = Some(at);
                self.missed_because = None;
                if came.total > 0.0 {
                    self.old_seen_at = Some(at);
                }
            }
            Arm::Other => {}
        }
    }

    pub(super) fn missed(&mut self, why: &str) {
        self.missed_because = Some(why.chars().take(200).collect());
    }

    pub(super) fn close(&mut self, since: Timestamp) {
        let (new, old) = (std::mem::take(&mut self.new), std::mem::take(&mut self.old));
        self.rollback.update(since, new);
        self.page.update(since, new);
        self.old_page.update(since, old);
        self.relative.update(since, new, old);
        if let Some(before) = &mut self.before {
            before.update(since, new);
        }
        self.healthy.update(new);
        self.recent.push_back(new);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let onset = self.page.onset().map(|o| o.since);
        let by_pod = std::mem::take(&mut self.by_pod);
        self.tally.add(onset, by_pod, old);
    }

    pub(super) fn recent_batches(&self) -> usize {
        self.recent.len()
    }

    pub(super) fn recent(&self) -> Counts {
        let mut sum = Counts::default();
        self.recent.iter().for_each(|c| sum.add(*c));
        sum
    }

    pub(super) fn assess(&self, rollout: &Rollout) -> Evidence {
        let (strength, cause, because) = self.finding(rollout);
        let onset = self.leading().onset();
        let counts = onset.map_or(self.healthy.counts(), |o| Counts { bad: o.bad, total: o.total });
        let numbers = Numbers {
            e_value: self.leading().e_value(),
            e_needed: self.leading().threshold(),
            bad: counts.bad,
            total: counts.total,
            estimate: counts.ratio().unwrap_or(0.0),
            threshold: self.threshold,
            pods: self.tally.by_pod.values().filter(|c| c.total > 0.0).count(),
            old_estimate: self.tally.old.ratio(),
            baseline: self.baseline,
        };
        let since = onset.map(|o| o.since);
        let sentence = self.sentence(&numbers, since, because);
        Evidence { rule: self.name.to_string(), strength, cause, sentence, since, numbers: Some(numbers) }
    }

    /// The test whose onset and numbers are shown: the stricter one once it speaks.
    fn leading(&self) -> &Absolute {
        if self.rollback.alarmed() || self.rollback.e_value() >= E_SUSPECT {
            &self.rollback
        } else {
            &self.page
        }
    }

    fn finding(&self, rollout: &Rollout) -> (Strength, Cause, &'static str) {
        let over = |test: &Absolute| {
            test.onset()
                .filter(|o| o.total > 0.0 && o.bad / o.total >= self.threshold)
                .filter(|_| test.alarmed())
        };
        if let Some(onset) = over(&self.rollback) {
            return self.attribute(onset.since, rollout);
        }
        if self.page.alarmed() {
            let minor = self.page.onset().is_some_and(|o| o.bad < o.total * MINOR);
            let strength = if minor { Strength::Minor } else { Strength::Page };
            return (strength, self.soft_cause(rollout), "");
        }
        if self.relative.alarmed() && self.healthy.counts().ratio().is_some_and(|r| r < MINOR) {
            return (Strength::Minor, Cause::Release, "more than the old pods");
        }
        let suspect = self.page.e_value() >= E_SUSPECT || self.rollback.e_value() >= E_SUSPECT;
        (if suspect { Strength::Suspect } else { Strength::Quiet }, Cause::Unknown, "")
    }

    fn soft_cause(&self, rollout: &Rollout) -> Cause {
        let Some(onset) = self.page.onset() else { return Cause::Unknown };
        let more_than_before = || self.before.as_ref().is_none_or(Absolute::alarmed);
        let began_with_it =
            || !self.old_serve(rollout.now) && rollout.covers(onset.since) && more_than_before();
        if self.old_page.alarmed() {
            Cause::Shared
        } else if self.worse_than_old(onset.since) || began_with_it() {
            Cause::Release
        } else {
            Cause::Unknown
        }
    }

    /// Whether the comparison with the old pods is about this trouble, and goes against the new ones. What was found while
    /// old pods served says nothing about trouble that began after they had left.
    fn worse_than_old(&self, onset: Timestamp) -> bool {
        self.relative.alarmed() && self.old_seen_at.is_some_and(|seen| seen > onset)
    }

    /// Past the threshold for certain: is it this release?
    fn attribute(&self, onset: Timestamp, rollout: &Rollout) -> (Strength, Cause, &'static str) {
        if self.old_too() {
            return (
                Strength::Urgent,
                Cause::Shared,
                "the old pods fail too, so the release is not the cause",
            );
        }
        if self.tally.one_pod_has_most() {
            return (
                Strength::Urgent,
                Cause::SinglePod,
                "nearly all of it on one pod, so it is that pod or its node",
            );
        }
        if self.worse_than_old(onset) {
            return (Strength::Rollback, Cause::Release, "");
        }
        if self.old_serve(rollout.now) {
            return (Strength::Page, Cause::Unknown, "not yet shown to be worse than the old pods");
        }
        if !rollout.covers(onset) {
            return (
                Strength::Urgent,
                Cause::Unknown,
                "it began after the rollout, and no old pods are left to compare",
            );
        }
        match &self.before {
            Some(before) if !before.alarmed() => {
                (Strength::Page, Cause::Unknown, "not clearly more than before the release")
            }
            Some(_) => (Strength::Rollback, Cause::Release, "it began with the rollout"),
            None => {
                (Strength::Rollback, Cause::Release, "it began with the rollout; no history to compare with")
            }
        }
    }

    fn old_serve(&self, now: Timestamp) -> bool {
        self.old_seen_at.is_some_and(|seen| now.duration_since(seen) <= self.old_patience)
    }

    /// The old pods have an alarm of their own, or failed past half of the threshold while they were there.
    fn old_too(&self) -> bool {
        let past_half = |c: Counts| c.total >= 20.0 && c.bad >= c.total * self.threshold / 2.0;
        self.old_page.alarmed() || (past_half(self.tally.old) && !self.relative.alarmed())
    }

    fn sentence(&self, n: &Numbers, since: Option<Timestamp>, because: &str) -> String {
        let sign = if n.estimate >= n.threshold { ">" } else { "under" };
        let mut text = format!("error rate {} {sign} {}", percent(n.estimate), percent(n.threshold));
        text += &format!(" on {:.0} requests of {}", n.total, count_of(n.pods, "new pod"));
        if let Some(since) = since {
            text += &format!(" since {}", clock_time(since));
        }
        match (n.old_estimate, n.baseline) {
            (Some(old), _) => text += &format!(", old pods {}", percent(old)),
            (None, Some(before)) => text += &format!(", before the release {}", percent(before)),
            (None, None) => {}
        }
        if !because.is_empty() {
            text += &format!("; {because}");
        }
        text
    }
}

impl Tally {
    fn add(&mut self, onset: Option<Timestamp>, by_pod: BTreeMap<String, Counts>, old: Counts) {
        if self.since != onset {
            *self = Tally { since: onset, ..Tally::default() };
        }
        for (pod, counts) in by_pod {
            self.by_pod.entry(pod).or_default().add(counts);
        }
        self.old.add(old);
    }

    fn one_pod_has_most(&self) -> bool {
        let serving: Vec<_> = self.by_pod.values().filter(|c| c.total > 0.0).collect();
        let bad: f64 = serving.iter().map(|c| c.bad).sum();
        let total: f64 = serving.iter().map(|c| c.total).sum();
        let most = |c: &&&Counts| c.bad > bad * SINGLE_POD_SHARE && c.total < total * SINGLE_POD_SHARE;
        serving.len() >= 3 && serving.iter().any(|c| most(&c))
    }
}
