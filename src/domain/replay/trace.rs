//! What was measured during a watch, batch by batch and arm by arm, for a chart.
use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::Counts;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;
use crate::domain::release::ReleaseKind;
use crate::domain::runbook::{Rule, RuleKind};
use crate::domain::signal::{Reading, Sample};
use crate::domain::watch::WatchSpec;

/// Points beyond this are not kept: five hours at 5 seconds each.
const POINTS_MAX: usize = 3_600;
const PODS_MAX: usize = 5_000;

/// The tracks of one watch, one per rule that has a course.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub released_at: Timestamp,
    pub ends_at: Timestamp,
    pub rollout_ended: Option<Timestamp>,
    pub tracks: Vec<Track>,
    new: String,
    old: Option<String>,
    batch_secs: f64,
    began: Timestamp,
    fresh: bool,
}

/// The course of one rule.
#[derive(Clone, Debug)]
pub struct Track {
    pub rule: RuleName,
    pub kind: RuleKind,
    /// What must not be passed: a ratio of errors, or milliseconds.
    pub threshold: Option<f64>,
    /// What was usual before.
    pub baseline: Option<f64>,
    pub points: Vec<Point>,
    counters: Arms<Counters>,
    counts: Arms<Counts>,
    last: BTreeMap<String, Histogram>,
    times: Arms<Histogram>,
}

/// One batch: ratios of errors, or 95th percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub of: Arms<Option<f64>>,
}

/// The same for the new version and for the known good one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arms<T> {
    pub new: T,
    pub old: T,
}

impl<T> Arms<T> {
    fn of(&mut self, old: bool) -> &mut T {
        if old { &mut self.old } else { &mut self.new }
    }
}

impl PartialEq for Track {
    fn eq(&self, other: &Self) -> bool {
        (&self.rule, &self.points) == (&other.rule, &other.points)
    }
}

impl Trace {
    /// Of a watch whose samples were recorded, oldest first.
    pub fn of(spec: &WatchSpec, samples: &[Sample]) -> Self {
        let mut trace = Self::new(spec);
        let mut last = None;
        for sample in samples.iter().filter(|sample| sample.at >= spec.opened_at) {
            if let Some(at) = last.replace(sample.at).filter(|at| sample.at > *at) {
                trace.close(at);
            }
            trace.take(sample);
        }
        last.into_iter().for_each(|at| trace.close(at));
        trace
    }

    pub(super) fn new(spec: &WatchSpec) -> Self {
        Self {
            released_at: spec.release.at,
            ends_at: spec.ends_at,
            rollout_ended: None,
            tracks: spec.rules.iter().filter_map(|rule| Track::new(rule, spec)).collect(),
            new: spec.release.to.label.clone(),
            old: spec.known_good.as_ref().map(|good| good.label.clone()),
            batch_secs: spec.judging.batch_secs,
            began: spec.opened_at,
            fresh: spec.release.kind == ReleaseKind::New,
        }
    }

    pub(super) fn take(&mut self, sample: &Sample) {
        if let Reading::Release { rollout_ended, .. } = &sample.reading {
            self.rollout_ended = rollout_ended.or(self.rollout_ended);
        }
        let old = match sample.release.as_deref() {
            None => false,
            Some(label) if label == self.new => false,
            Some(label) if Some(label) == self.old.as_deref() => true,
            Some(_) => return,
        };
        let fresh = self.fresh && !old;
        self.tracks.iter_mut().for_each(|track| track.take(sample, old, fresh));
    }

    pub(super) fn close(&mut self, at: Timestamp) {
        if at.duration_since(self.began).as_secs_f64() >= self.batch_secs * 0.9 {
            self.began = at;
            self.tracks.iter_mut().for_each(|track| track.close(at));
        }
    }
}

impl Track {
    fn new(rule: &Rule, spec: &WatchSpec) -> Option<Self> {
        let before = spec.baseline.get(&rule.name);
        let (threshold, baseline) = match rule.kind {
            RuleKind::Errors { above } => (Some(above), before.and_then(|b| b.counts().ratio())),
            RuleKind::Latency { increase } => {
                let p95 = before.and_then(|b| b.p95_ms);
                (p95.map(|p95| p95 * (1.0 + increase)), p95)
            }
            RuleKind::Value { .. } | RuleKind::Check { .. } => return None,
        };
        Some(Self {
            rule: rule.name.clone(),
            kind: rule.kind.clone(),
            threshold,
            baseline,
            points: Vec::new(),
            counters: Arms::default(),
            counts: Arms::default(),
            last: BTreeMap::new(),
            times: Arms::default(),
        })
    }

    fn take(&mut self, sample: &Sample, old: bool, fresh: bool) {
        let pod = sample.pod.as_deref().unwrap_or("");
        match &sample.reading {
            Reading::Counts { rule, bad, total } if *rule == self.rule => {
                let came = self.counters.of(old).advance(pod, Counts { bad: *bad, total: *total }, fresh);
                self.counts.of(old).add(came);
            }
            Reading::Histogram { rule, times } if *rule == self.rule => {
                if let Some(before) = self.last.get_mut(pod) {
                    self.times.of(old).add(&before.advance(times));
                } else if self.last.len() < PODS_MAX {
                    self.last.insert(pod.to_string(), times.clone());
                }
            }
            Reading::Release { .. }
            | Reading::Counts { .. }
            | Reading::Histogram { .. }
            | Reading::Value { .. }
            | Reading::Pod(_)
            | Reading::Check { .. }
            | Reading::Alert { .. }
            | Reading::Control { .. }
            | Reading::Remark { .. }
            | Reading::NoData { .. } => {}
        }
    }

    fn close(&mut self, at: Timestamp) {
        let (counts, times) = (std::mem::take(&mut self.counts), std::mem::take(&mut self.times));
        let of = match self.kind {
            RuleKind::Errors { .. } => Arms { new: counts.new.ratio(), old: counts.old.ratio() },
            RuleKind::Latency { .. } | RuleKind::Value { .. } | RuleKind::Check { .. } => {
                Arms { new: times.new.p95_ms(), old: times.old.p95_ms() }
            }
        };
        if (of.new.is_some() || of.old.is_some()) && self.points.len() < POINTS_MAX {
            self.points.push(Point { at, of });
        }
    }
}
