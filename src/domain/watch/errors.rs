//! One error rule in one watch: the absolute test, the comparison that names the cause, and the test of health.
use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::attribution::{Attributed, Before, Suspicion, attribute};
use super::rollout::Rollout;
use super::seen::Seen;
use super::{Arm, Baseline, WatchSpec};
use crate::domain::detect::counter::{Counter, STREAMS_MAX};
use crate::domain::detect::errors::{Absolute, Counts, Relative};
use crate::domain::detect::healthy::Healthy;
use crate::domain::detect::interval::interval;
use crate::domain::detect::mixture::{Bounds, Enough, Onset, Span};
use crate::domain::evidence::{
    Cause, Evidence, Numbers, PodShare, Strength, clock_time, count_of, grouped, percent,
};
use crate::domain::names::RuleName;
use crate::domain::runbook::Rule;

/// The share of a watch's false-alarm budget (1 in 1,000) that all error rules have together.
const ALPHA_ROLLBACK: f64 = 4e-4;
const ALPHA_RELATIVE: f64 = 1e-2;
const ALPHA_PAGE: f64 = 1e-2;
/// How sure a shown interval is.
const ALPHA_INTERVAL: f64 = 0.05;
/// From here on a person watching the terminal is told that evidence mounts.
const E_SUSPECT: f64 = 10.0;
/// One pod with more than this share of the failures, among three or more pods, is that pod's own problem.
const SINGLE_POD_SHARE: f64 = 0.8;
/// Under this share of failing requests trouble is minor.
const MINOR: f64 = 0.01;
/// Tempering beyond this only costs time: the clip already keeps clusters and bursts from deciding.
const DISPERSION_MAX: f64 = 2.0;
/// Requests that a usual ratio can be taken of.
const USUAL_MIN: f64 = 200.0;
/// Batches that "recent" means: a minute at 5 seconds each.
const RECENT: usize = 12;
/// Pods shown with their own figures.
const PODS_SHOWN: usize = 10;

#[derive(Clone, Debug)]
pub(super) struct ErrorRule {
    pub(super) name: RuleName,
    pub(super) seen: Seen,
    /// How late trouble may show.
    pub(super) lag: SignedDuration,
    threshold: f64,
    dispersion: f64,
    pods: BTreeMap<String, Pod>,
    new: Counts,
    old: Counts,
    /// Old pods since the present onset.
    old_since_onset: Counts,
    onset: Option<Timestamp>,
    rollback: Absolute,
    page: Absolute,
    old_page: Absolute,
    relative: Relative,
    before: Option<Absolute>,
    usual: Option<f64>,
    pub(super) healthy: Healthy,
    recent: VecDeque<Counts>,
    old_seen_at: Option<Timestamp>,
    old_patience: SignedDuration,
    idle_secs: f64,
}

/// One pod's stream.
#[derive(Clone, Debug, Default)]
struct Pod {
    counter: Counter,
    new: bool,
    batch: Counts,
    since_onset: Counts,
}

impl ErrorRule {
    /// `rules` error rules share the budget of false alarms.
    pub(super) fn new(rule: &Rule, rules: usize, spec: &WatchSpec, baseline: Option<&Baseline>) -> Self {
        let threshold = rule.kind.errors_above().unwrap_or(f64::INFINITY);
        let dispersion = baseline.map_or(1.0, |b| b.dispersion).clamp(1.0, DISPERSION_MAX);
        let bounds = |alpha, batches, secs| Bounds {
            alpha,
            enough: Enough { batches, secs },
            batches: spec.batches(),
            dispersion,
            together: 1,
        };
        let usual = baseline.and_then(usual_ratio);
        let level = baseline.and_then(|b| b.counts().ratio());
        let share = 1.0 / rules.max(1) as f64;
        Self {
            name: rule.name.clone(),
            seen: Seen::default(),
            lag: rule.lag(),
            threshold,
            dispersion,
            pods: BTreeMap::new(),
            new: Counts::default(),
            old: Counts::default(),
            old_since_onset: Counts::default(),
            onset: None,
            rollback: Absolute::rollback(threshold, bounds(ALPHA_ROLLBACK * share, 3, 20.0)),
            page: Absolute::page(threshold, usual.unwrap_or(0.0), bounds(ALPHA_PAGE * share, 3, 15.0)),
            old_page: Absolute::rollback(threshold, bounds(ALPHA_PAGE, 2, 10.0)),
            relative: Relative::new(bounds(ALPHA_RELATIVE, 2, 10.0)),
            before: usual.map(|usual| Absolute::before_after(usual, bounds(ALPHA_RELATIVE, 2, 10.0))),
            usual: level,
            healthy: Healthy::new(level.unwrap_or(0.0)),
            recent: VecDeque::new(),
            old_seen_at: None,
            old_patience: SignedDuration::from_secs_f64(spec.judging.batch_secs * 3.0),
            idle_secs: 0.0,
        }
    }

    /// `fresh`: this pod's counters began at zero inside the watch.
    pub(super) fn take(&mut self, at: Timestamp, arm: Arm, pod: &str, now: Counts, fresh: impl Fn() -> bool) {
        let Some(stream) = stream(&mut self.pods, pod) else { return };
        let fresh = stream.counter.is_unread() && fresh();
        let came = stream.counter.advance(now, fresh);
        // While a release has no pods of its own yet, data about the old ones shows that the source answers.
        match arm {
            Arm::New => {
                stream.new = true;
                stream.batch.add(came);
                self.new.add(came);
                self.seen.take(at);
            }
            Arm::Old => {
                self.old.add(came);
                self.seen.take(at);
                if came.total > 0.0 {
                    self.old_seen_at = Some(at);
                }
            }
            Arm::Other => {}
        }
    }

    /// What came so far is another version's; it shows no more than that the source answers.
    pub(super) fn pass_over(&mut self, at: Timestamp, pod: &str, now: Counts) {
        if let Some(stream) = stream(&mut self.pods, pod) {
            stream.counter.advance(now, false);
        }
        self.seen.take(at);
    }

    pub(super) fn close(&mut self, span: Span) {
        let (new, old) = (std::mem::take(&mut self.new), std::mem::take(&mut self.old));
        self.recent.push_back(new);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        if new.total <= 0.0 && old.total <= 0.0 {
            // Nothing came: what comes next covers this time too, as when a source is asked more often than it is fed.
            self.idle_secs += span.secs;
            return;
        }
        let span = Span { secs: span.secs + std::mem::take(&mut self.idle_secs), ..span };
        self.rollback.update(span, new);
        self.page.update(span, new);
        self.relative.update(span, new, old);
        if old.total > 0.0 {
            self.old_page.update(span, old);
        }
        if let Some(before) = &mut self.before {
            before.update(span, new);
        }
        self.healthy.update(new);
        self.tally(old);
    }

    /// Counts since the present onset, per pod and of the old pods.
    fn tally(&mut self, old: Counts) {
        let onset = self.page.onset().map(|o| o.since);
        let begins = onset != self.onset;
        self.onset = onset;
        if begins {
            self.old_since_onset = Counts::default();
        }
        self.old_since_onset.add(old);
        for pod in self.pods.values_mut() {
            if begins {
                pod.since_onset = Counts::default();
            }
            pod.since_onset.add(std::mem::take(&mut pod.batch));
        }
    }

    pub(super) fn recent_batches(&self) -> usize {
        self.recent.len()
    }

    pub(super) fn recent(&self) -> Counts {
        let mut sum = Counts::default();
        self.recent.iter().for_each(|c| sum.add(*c));
        sum
    }

    /// What this rule makes of it, if anything; cheap while nothing is wrong.
    pub(super) fn assess(&self, rollout: &Rollout) -> Option<Evidence> {
        let found = self.finding(rollout);
        (found.strength > Strength::Quiet).then(|| self.evidence(found))
    }

    /// The same for people, also while nothing is wrong.
    pub(super) fn shown(&self, rollout: &Rollout) -> Evidence {
        self.evidence(self.finding(rollout))
    }

    fn evidence(&self, found: Attributed) -> Evidence {
        let leading = self.leading();
        let onset = leading.onset();
        let counts = onset.map_or(self.healthy.counts(), |o| Counts { bad: o.bad, total: o.total });
        let shown = interval(counts, self.dispersion, ALPHA_INTERVAL);
        let numbers = Numbers {
            e_value: leading.e_value(),
            e_needed: leading.threshold(),
            bad: counts.bad,
            total: counts.total,
            estimate: counts.ratio().unwrap_or(0.0),
            low: Some(shown.low),
            high: Some(shown.high),
            threshold: self.threshold,
            pods: self.serving().count(),
            by_pod: self.by_pod(),
            old_estimate: self.old_since_onset.ratio(),
            baseline: self.usual,
        };
        let since = onset.map(|o| o.since);
        let sentence = self.sentence(&numbers, since, &found);
        let (strength, cause) = (found.strength, found.cause);
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

    fn finding(&self, rollout: &Rollout) -> Attributed {
        let over = |o: &Onset| o.total > 0.0 && o.bad / o.total >= self.threshold;
        if self.rollback.alarmed()
            && let Some(onset) = self.rollback.onset().filter(over)
        {
            return attribute(&self.suspicion(onset.since, &self.rollback, rollout), rollout);
        }
        if self.page.alarmed() {
            let minor = self.page.onset().is_some_and(|o| o.bad < o.total * MINOR);
            let strength = if minor { Strength::Minor } else { Strength::Page };
            return Attributed::new(strength, self.soft_cause(rollout), "");
        }
        if self.relative.alarmed() && self.healthy.counts().ratio().is_some_and(|r| r < MINOR) {
            return Attributed::new(Strength::Minor, Cause::Release, "more than the old pods");
        }
        let suspect = self.page.e_value() >= E_SUSPECT || self.rollback.e_value() >= E_SUSPECT;
        let strength = if suspect { Strength::Suspect } else { Strength::Quiet };
        Attributed::new(strength, Cause::Unknown, "")
    }

    fn suspicion(&self, onset: Timestamp, test: &Absolute, rollout: &Rollout) -> Suspicion {
        Suspicion {
            onset,
            lag: self.lag,
            with_rollout: rollout.covers_with(onset, self.lag) || test.may_have_begun_in_rollout(),
            old_too: self.old_too(),
            one_pod: self.one_pod_has_most(),
            worse_than_old: self.worse_than_old(onset),
            old_serve: self.old_serve(rollout.now),
            before: match &self.before {
                None => Before::Unknown,
                Some(before) if before.alarmed() => Before::Worse,
                Some(_) => Before::Alike,
            },
        }
    }

    fn soft_cause(&self, rollout: &Rollout) -> Cause {
        let Some(onset) = self.page.onset() else { return Cause::Unknown };
        let found = self.suspicion(onset.since, &self.page, rollout);
        let began_with_it = !found.old_serve && found.with_rollout && found.before != Before::Alike;
        if self.old_page.alarmed() || rollout.other_worse_at(onset.since, self.lag).is_some() {
            Cause::Shared
        } else if found.worse_than_old || began_with_it {
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

    fn old_serve(&self, now: Timestamp) -> bool {
        self.old_seen_at.is_some_and(|seen| now.duration_since(seen) <= self.old_patience)
    }

    /// The old pods have an alarm of their own, or are about to while the new ones are not shown to be worse. A single failure
    /// in their last seconds is neither.
    fn old_too(&self) -> bool {
        let suspect = self.old_page.e_value() >= E_SUSPECT;
        self.old_page.alarmed() || (suspect && !self.relative.alarmed())
    }

    fn serving(&self) -> impl Iterator<Item = (&String, &Pod)> {
        self.pods.iter().filter(|(_, pod)| pod.new && pod.since_onset.total > 0.0)
    }

    fn one_pod_has_most(&self) -> bool {
        let mut sum = Counts::default();
        self.serving().for_each(|(_, pod)| sum.add(pod.since_onset));
        let most = |c: Counts| c.bad > sum.bad * SINGLE_POD_SHARE && c.total < sum.total * SINGLE_POD_SHARE;
        self.serving().count() >= 3 && self.serving().any(|(_, pod)| most(pod.since_onset))
    }

    fn by_pod(&self) -> Vec<PodShare> {
        let share = |(name, pod): (&String, &Pod)| PodShare {
            pod: name.clone(),
            bad: pod.since_onset.bad,
            total: pod.since_onset.total,
        };
        let mut pods: Vec<PodShare> = self.serving().map(share).collect();
        pods.sort_by(|a, b| b.bad.total_cmp(&a.bad));
        pods.truncate(PODS_SHOWN);
        pods
    }

    /// Such as `6.1 % errors on 1,820 requests of 3 new pods since 10:02:15, threshold 5.0 %, old pods 0.2 %`.
    fn sentence(&self, n: &Numbers, since: Option<Timestamp>, found: &Attributed) -> String {
        let mut text = format!("{} errors on {} requests", percent(n.estimate), grouped(n.total));
        if n.pods > 0 {
            text += &format!(" of {}", count_of(n.pods, "new pod"));
        }
        if let Some(since) = since {
            text += &format!(" since {}", clock_time(since));
        }
        text += &format!(", threshold {}", percent(n.threshold));
        match (n.old_estimate, n.baseline) {
            (Some(old), _) => text += &format!(", old pods {}", percent(old)),
            (None, Some(before)) => text += &format!(", before the release {}", percent(before)),
            (None, None) => {}
        }
        if !found.because.is_empty() {
            text += &format!("; {}", found.because);
        }
        if found.strength == Strength::Rollback {
            let (null, watches) = (percent(self.rollback.null()), grouped(self.rollback.threshold()));
            text += &format!(
                "; a release with a true error rate of up to {null} would cause this in fewer than 1 of {watches} watches"
            );
        }
        text
    }
}

/// The pod's stream, made if there is room for it.
fn stream<'a>(pods: &'a mut BTreeMap<String, Pod>, pod: &str) -> Option<&'a mut Pod> {
    if !pods.contains_key(pod) {
        if pods.len() >= STREAMS_MAX {
            return None;
        }
        pods.insert(pod.to_string(), Pod::default());
    }
    pods.get_mut(pod)
}

/// What was usual: the last hour, or the same clock time of an earlier day if that was worse. One more failure and two more
/// requests than seen, since no history shows how bad it can be; one of a few requests shows nothing, and forbids nothing.
fn usual_ratio(baseline: &Baseline) -> Option<f64> {
    let ratio = |c: Counts| (c.bad + 1.0) / (c.total + 2.0);
    let earlier = baseline.earlier.iter().map(|day| day.counts);
    let known = std::iter::once(baseline.counts()).chain(earlier).filter(|c| c.total >= USUAL_MIN);
    known.map(ratio).reduce(f64::max)
}
