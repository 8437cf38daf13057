//! One latency rule in one watch: new pods against old ones beside, and against the time before the release.
use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::attribution::{Attributed, Before, Suspicion, attribute};
use super::rollout::Rollout;
use super::seen::Seen;
use super::{Arm, Baseline, WatchSpec};
use crate::domain::detect::counter::STREAMS_MAX;
use crate::domain::detect::latency::{NotSlower, Slower, Threshold, above, thresholds};
use crate::domain::detect::mixture::{Bounds, Enough, Span};
use crate::domain::evidence::{Cause, Evidence, Numbers, Strength, clock_time, count_of, grouped};
use crate::domain::histogram::{Buckets, Histogram};
use crate::domain::names::RuleName;
use crate::domain::runbook::Rule;

/// The share of a watch's false-alarm budget (1 in 1,000) that all latency rules have together: half of it for the comparison
/// with the time before, half for the one with old pods alone.
const ALPHA_ROLLBACK: f64 = 3e-4;
/// For what only ever counts together with something else.
const ALPHA_TOO: f64 = 1e-2;
const E_PAGE: f64 = 100.0;
const E_SUSPECT: f64 = 10.0;
/// The null, as a share of the increase that rolls back: 1.35 for +50 %. The estimate must pass the whole of it.
const NULL_SHARE: f64 = 0.7;
/// Not slower than this share of the increase is healthy: 1.25 for +50 %.
const HEALTHY_SHARE: f64 = 0.5;
/// Usual requests that thresholds can be chosen from.
const USUAL_MIN: f64 = 200.0;
/// Requests that a quantile can be taken of.
const MEDIAN_MIN: f64 = 10.0;
const P95_MIN: f64 = 40.0;
const DISPERSION_MAX: f64 = 2.0;
/// Dispersion from which slow requests are taken to come in spells.
const SPELLS: f64 = 1.5;
const SINGLE_POD_SHARE: f64 = 0.8;
/// Batches that "recent" means: a minute at 5 seconds each.
const RECENT: usize = 12;

#[derive(Clone, Debug)]
pub(super) struct LatencyRule {
    pub(super) name: RuleName,
    pub(super) seen: Seen,
    increase: f64,
    bounds: Bounds,
    pods: BTreeMap<String, Pod>,
    new: Histogram,
    old: Histogram,
    /// New pods that are still warming up: people see them, nobody judges them.
    warming: Histogram,
    since_onset: Since,
    usual: Option<Histogram>,
    tests: Option<Tests>,
    /// What old pods showed while nothing else was known.
    learning: Histogram,
    recent: VecDeque<Histogram>,
    old_seen_at: Option<Timestamp>,
    old_patience: SignedDuration,
    warm_up: SignedDuration,
    idle_secs: f64,
}

#[derive(Clone, Debug)]
struct Tests {
    beside: Slower,
    before: Option<Slower>,
    old_before: Option<Slower>,
    healthy: Option<NotSlower>,
    thresholds: Vec<Threshold>,
}

/// What came since the present onset.
#[derive(Clone, Debug, Default)]
struct Since {
    onset: Option<Timestamp>,
    new: Histogram,
    old: Histogram,
}

#[derive(Clone, Debug)]
struct Pod {
    first_seen: Timestamp,
    last: Histogram,
    new: bool,
    since_onset: Histogram,
}

/// How much slower, and by which quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    quantile: &'static str,
    new_secs: f64,
    usual_secs: f64,
    beside: bool,
}

impl Estimate {
    fn increase(&self) -> f64 {
        self.new_secs / self.usual_secs - 1.0
    }
}

impl LatencyRule {
    /// `rules` latency rules share the budget of false alarms.
    pub(super) fn new(rule: &Rule, rules: usize, spec: &WatchSpec, baseline: Option<&Baseline>) -> Self {
        let increase = rule.kind.latency_increase().unwrap_or(f64::INFINITY);
        let dispersion = baseline.map_or(1.0, |b| b.dispersion).clamp(1.0, DISPERSION_MAX);
        let bounds = Bounds {
            alpha: ALPHA_ROLLBACK / 2.0 / rules.max(1) as f64,
            enough: enough(dispersion),
            batches: spec.batches(),
            dispersion,
            together: 1,
        };
        let usual = baseline.and_then(slowest_usual);
        let mut rule = Self {
            name: rule.name.clone(),
            seen: Seen::default(),
            increase,
            bounds,
            pods: BTreeMap::new(),
            new: Histogram::default(),
            old: Histogram::default(),
            warming: Histogram::default(),
            since_onset: Since::default(),
            usual: None,
            tests: None,
            learning: Histogram::default(),
            recent: VecDeque::new(),
            old_seen_at: None,
            old_patience: SignedDuration::from_secs_f64(spec.judging.batch_secs * 3.0),
            warm_up: spec.judging.warm_up(),
            idle_secs: 0.0,
        };
        if let Some(usual) = usual {
            rule.tests = rule.tests_from(&usual, true);
            rule.usual = Some(usual);
        }
        rule
    }

    /// `before`: these times are the service's own past, not those of pods beside.
    fn tests_from(&self, usual: &Histogram, before: bool) -> Option<Tests> {
        let usual = usual.cumulative();
        let chosen = thresholds(&usual, 1.0 + self.increase * NULL_SHARE);
        let healthy = thresholds(&usual, 1.0 + self.increase * HEALTHY_SHARE);
        let two = Enough { batches: 2, secs: 10.0 };
        let old = Bounds { alpha: ALPHA_TOO, enough: two, ..self.bounds };
        (!chosen.is_empty()).then(|| Tests {
            beside: Slower::new(&chosen, self.bounds),
            before: before.then(|| Slower::new(&chosen, self.bounds)),
            old_before: before.then(|| Slower::new(&chosen, old)),
            healthy: before.then(|| NotSlower::new(&healthy)),
            thresholds: chosen,
        })
    }

    /// `ready_since` is when the pod became ready, where that is known; `fresh` says that it began inside the watch.
    pub(super) fn take(
        &mut self,
        at: Timestamp,
        arm: Arm,
        pod: &str,
        times: &Histogram,
        (ready_since, fresh): (Option<Timestamp>, bool),
    ) {
        if arm == Arm::Other || (self.pods.len() >= STREAMS_MAX && !self.pods.contains_key(pod)) {
            return;
        }
        self.seen.take(at);
        let Some(stream) = self.pods.get_mut(pod) else {
            // The first reading only sets the mark: requests from before, and those of a start, say nothing here.
            let since_onset = Histogram::default();
            let stream = Pod { first_seen: at, last: times.clone(), new: arm == Arm::New, since_onset };
            self.pods.insert(pod.to_string(), stream);
            return;
        };
        let came = stream.last.advance(times);
        stream.new |= arm == Arm::New;
        let warm_at = ready_since.unwrap_or(stream.first_seen);
        match arm {
            Arm::New if fresh && at.duration_since(warm_at) < self.warm_up => self.warming.add(&came),
            Arm::New => {
                stream.since_onset.add(&came);
                self.new.add(&came);
            }
            Arm::Old => {
                if came.count() > 0.0 {
                    self.old_seen_at = Some(at);
                }
                self.old.add(&came);
            }
            Arm::Other => {}
        }
    }

    pub(super) fn close(&mut self, span: Span) {
        let (new, old) = (std::mem::take(&mut self.new), std::mem::take(&mut self.old));
        self.remember(&new);
        if new.count() <= 0.0 && old.count() <= 0.0 {
            self.idle_secs += span.secs;
            return;
        }
        let span = Span { secs: span.secs + std::mem::take(&mut self.idle_secs), ..span };
        self.learn(&old);
        if let Some(tests) = &mut self.tests {
            tests.update(span, &new.cumulative(), &old.cumulative());
        }
        self.tally(&new, &old);
    }

    /// Without a past, what is usual is taken from the old pods that serve beside.
    fn learn(&mut self, old: &Histogram) {
        if self.tests.is_some() {
            return;
        }
        self.learning.add(old);
        if self.learning.count() >= USUAL_MIN {
            self.tests = self.tests_from(&self.learning, false);
        }
    }

    fn remember(&mut self, new: &Histogram) {
        let mut all = std::mem::take(&mut self.warming);
        all.add(new);
        self.recent.push_back(all);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn tally(&mut self, new: &Histogram, old: &Histogram) {
        let onset = self.leading().and_then(|test| test.onset()).map(|o| o.since);
        if onset != self.since_onset.onset {
            self.since_onset = Since { onset, ..Since::default() };
            self.pods.values_mut().for_each(|pod| pod.since_onset = Histogram::default());
        }
        if onset.is_some() {
            self.since_onset.new.add(new);
            self.since_onset.old.add(old);
        }
    }

    /// The comparison that is shown: with the time before, as it knows more, unless old pods beside say more.
    fn leading(&self) -> Option<&Slower> {
        let tests = self.tests.as_ref()?;
        let beside = &tests.beside;
        Some(tests.before.as_ref().filter(|before| before.e_value() >= beside.e_value()).unwrap_or(beside))
    }

    /// By the median or the 95th percentile, whichever got slower: slowness may be in the middle or in the tail only.
    /// Old pods that are gone are compared with only where nothing else is known: what they showed may be long ago.
    fn estimate(&self, now: Timestamp) -> Option<Estimate> {
        let since = &self.since_onset;
        let past = self.usual.as_ref().filter(|_| !self.old_serve(now));
        let beside = since.old.count() >= MEDIAN_MIN && past.is_none();
        let usual = if beside { &since.old } else { self.usual.as_ref()? };
        let of = |quantile: &'static str, q: f64, least: f64| {
            let enough = since.new.count() >= least && usual.count() >= least;
            let pair =
                since.new.quantile(q).zip(usual.quantile(q)).filter(|(_, usual)| enough && *usual > 0.0);
            pair.map(|(new_secs, usual_secs)| Estimate { quantile, new_secs, usual_secs, beside })
        };
        let both = [of("p95", 0.95, P95_MIN), of("median", 0.5, MEDIAN_MIN)];
        both.into_iter().flatten().max_by(|a, b| a.increase().total_cmp(&b.increase()))
    }

    /// What this rule makes of it, if anything; cheap while nothing is wrong.
    pub(super) fn assess(&self, rollout: &Rollout) -> Option<Evidence> {
        let leading = self.leading()?;
        let e_value = leading.e_value();
        if e_value < E_SUSPECT {
            return None;
        }
        let (onset, estimate) = (leading.onset(), self.estimate(rollout.now));
        let over = estimate.is_some_and(|e| e.increase() >= self.increase);
        let found = match onset.filter(|_| over && leading.alarmed()) {
            Some(onset) => attribute(&self.suspicion(onset.since, leading, rollout), rollout),
            None if e_value >= E_PAGE => self.soft(onset.map(|o| o.since), leading, rollout),
            None => Attributed::new(Strength::Suspect, Cause::Unknown, ""),
        };
        Some(self.evidence(leading, estimate, &found))
    }

    /// Slower for certain, but not by as much as the rule says, or not for certain enough.
    fn soft(&self, onset: Option<Timestamp>, leading: &Slower, rollout: &Rollout) -> Attributed {
        let Some(onset) = onset else { return Attributed::new(Strength::Suspect, Cause::Unknown, "") };
        let blamed = attribute(&self.suspicion(onset, leading, rollout), rollout);
        Attributed { strength: blamed.strength.min(Strength::Page), ..blamed }
    }

    fn suspicion(&self, onset: Timestamp, leading: &Slower, rollout: &Rollout) -> Suspicion {
        let tests = self.tests.as_ref();
        let before = tests.and_then(|t| t.before.as_ref());
        let seen_since = self.old_seen_at.is_some_and(|seen| seen > onset);
        Suspicion {
            onset,
            lag: SignedDuration::ZERO,
            with_rollout: rollout.covers_with(onset, self.warm_up) || leading.may_have_begun_in_rollout(),
            old_too: tests.and_then(|t| t.old_before.as_ref()).is_some_and(Slower::alarmed),
            one_pod: self.one_pod_has_most(),
            worse_than_old: seen_since && tests.is_some_and(|t| t.beside.is_at(ALPHA_TOO)),
            old_serve: self.old_serve(rollout.now),
            before: match before {
                None => Before::Unknown,
                Some(before) if before.alarmed() => Before::Worse,
                Some(_) => Before::Alike,
            },
        }
    }

    fn old_serve(&self, now: Timestamp) -> bool {
        self.old_seen_at.is_some_and(|seen| now.duration_since(seen) <= self.old_patience)
    }

    fn one_pod_has_most(&self) -> bool {
        let Some(tests) = &self.tests else { return false };
        let served: Vec<Buckets> = self
            .pods
            .values()
            .filter(|pod| pod.new && pod.since_onset.count() > 0.0)
            .map(|pod| pod.since_onset.cumulative())
            .collect();
        let total: f64 = served.iter().map(Buckets::count).sum();
        // At each threshold: the requests that are slow beyond what is usual.
        let at = |threshold: &Threshold| {
            let excess =
                |pod: &Buckets| (above(pod, threshold.above) - pod.count() * threshold.usual_share).max(0.0);
            let all: f64 = served.iter().map(excess).sum();
            let most = |pod: &&Buckets| {
                excess(pod) > all * SINGLE_POD_SHARE && pod.count() < total * SINGLE_POD_SHARE
            };
            (all, served.iter().any(|pod| most(&pod)))
        };
        let loudest = tests.thresholds.iter().map(at).max_by(|a, b| a.0.total_cmp(&b.0));
        served.len() >= 3 && loudest.is_some_and(|(_, one)| one)
    }

    fn evidence(&self, leading: &Slower, estimate: Option<Estimate>, found: &Attributed) -> Evidence {
        let onset = leading.onset();
        let numbers = Numbers {
            e_value: leading.e_value(),
            e_needed: leading.threshold(),
            bad: onset.map_or(0.0, |o| o.bad),
            total: self.since_onset.new.count(),
            estimate: estimate.map_or(0.0, |e| e.increase()),
            threshold: self.increase,
            pods: self.pods.values().filter(|p| p.new && p.since_onset.count() > 0.0).count(),
            ..Numbers::default()
        };
        let since = onset.map(|o| o.since);
        let sentence = self.sentence(&numbers, since, estimate, found);
        let (strength, cause) = (found.strength, found.cause);
        Evidence { rule: self.name.to_string(), strength, cause, sentence, since, numbers: Some(numbers) }
    }

    /// Such as `p95 412 ms on 1,820 requests of 3 new pods since 10:02:15, old pods 251 ms: +64 %, limit +50 %`.
    fn sentence(
        &self,
        n: &Numbers,
        since: Option<Timestamp>,
        estimate: Option<Estimate>,
        found: &Attributed,
    ) -> String {
        let mut text = match estimate {
            Some(e) => format!("{} {:.0} ms", e.quantile, e.new_secs * 1000.0),
            None => "slower requests".to_string(),
        };
        text += &format!(" on {} requests", grouped(n.total));
        if n.pods > 0 {
            text += &format!(" of {}", count_of(n.pods, "new pod"));
        }
        if let Some(since) = since {
            text += &format!(" since {}", clock_time(since));
        }
        if let Some(e) = estimate {
            let whose = if e.beside { "old pods" } else { "before the release" };
            text += &format!(", {whose} {:.0} ms: {:+.0} %", e.usual_secs * 1000.0, e.increase() * 100.0);
        }
        text += &format!(", limit +{:.0} %", self.increase * 100.0);
        if !found.because.is_empty() {
            text += &format!("; {}", found.because);
        }
        if found.strength == Strength::Rollback {
            let (null, watches) = (self.increase * NULL_SHARE * 100.0, grouped(0.5 / self.bounds.alpha));
            text += &format!(
                "; a release that is slower by up to {null:.0} % would cause this in fewer than 1 of {watches} watches"
            );
        }
        text
    }

    /// Whether it is surely not slower by half of the limit; `None` where nothing is known to compare with.
    pub(super) fn proven_healthy(&self) -> Option<bool> {
        let tests = self.tests.as_ref()?;
        tests.healthy.as_ref().map(NotSlower::proven)
    }

    pub(super) fn p95_ms(&self) -> Option<f64> {
        let mut sum = Histogram::default();
        self.recent.iter().filter(|b| b.count() > 0.0).for_each(|b| sum.add(b));
        sum.p95_ms()
    }
}

/// Where slow requests come in spells, two spells must not be enough: tempering alone does not help against a batch in
/// which everything is slow.
fn enough(dispersion: f64) -> Enough {
    Enough { batches: if dispersion > SPELLS { 6 } else { 3 }, secs: 20.0 * dispersion }
}

impl Tests {
    fn update(&mut self, span: Span, new: &Buckets, old: &Buckets) {
        self.beside.update_beside(span, new, old);
        if let Some(before) = &mut self.before {
            before.update_since_before(span, new);
        }
        if let Some(old_before) = self.old_before.as_mut().filter(|_| old.count() > 0.0) {
            old_before.update_since_before(span, old);
        }
        if let Some(healthy) = &mut self.healthy {
            healthy.update(new);
        }
    }
}

/// The last hour, or the same clock time of an earlier day if that was slower. Too few requests show nothing.
fn slowest_usual(baseline: &Baseline) -> Option<Histogram> {
    let earlier = baseline.earlier.iter().filter_map(|day| day.times.as_ref());
    let known = baseline.times.iter().chain(earlier).filter(|times| times.count() >= USUAL_MIN);
    let p95 = |times: &&Histogram| times.quantile(0.95).unwrap_or(0.0);
    known.max_by(|a, b| p95(a).total_cmp(&p95(b))).cloned()
}
