//! What a service did before a release: folded from samples batch by batch, and learned from as numbers.
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::baseline::{learn, learn_level, learn_times};
use super::detect::counter::Counters;
use super::detect::errors::Counts;
use super::histogram::Histogram;
use super::names::{RuleName, TargetName};
use super::runbook::{Rule, RuleKind};
use super::signal::{Reading, Sample};
use super::watch::{Baseline, Earlier};

/// What one rule measured per batch of `step`, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Batches<'a> {
    pub rule: &'a RuleName,
    pub step: Duration,
    pub measured: Measured<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Measured<'a> {
    Counts(&'a [Counts]),
    Times(&'a [Histogram]),
    Values(&'a [f64]),
    /// The same clock time of earlier days, one each: beside one of the others, and after it.
    Earlier(&'a [Earlier]),
}

/// One baseline per rule; where a rule is measured more than once, the later one counts.
pub fn learned<'a>(past: impl IntoIterator<Item = Batches<'a>>) -> BTreeMap<RuleName, Baseline> {
    let mut baselines: BTreeMap<RuleName, Baseline> = BTreeMap::new();
    for Batches { rule, step, measured } in past {
        let baseline = match measured {
            Measured::Counts(batches) if batches.iter().all(|c| c.total <= 0.0) => continue,
            Measured::Counts(batches) => learn(batches, step),
            Measured::Times([]) | Measured::Values([]) => continue,
            Measured::Times(batches) => learn_times(batches, step),
            Measured::Values(values) => learn_level(values, step),
            Measured::Earlier(days) => {
                if let Some(baseline) = baselines.get_mut(rule) {
                    baseline.earlier = days.to_vec();
                }
                continue;
            }
        };
        baselines.insert(rule.clone(), baseline);
    }
    baselines
}

/// How much of the past is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// A histogram is kept per minute: a shorter batch of response times says little and takes room.
const TIMES_SECS: f64 = 60.0;
/// Streams (target, version and rule) beyond this are not learned from.
const STREAMS_MAX: usize = 256;
const PODS_MAX: usize = 5_000;

/// The last hour of one service, by target, version and rule. Bounded whatever is folded into it.
#[derive(Debug)]
pub struct Past {
    rules: Vec<Rule>,
    batch_secs: f64,
    /// Where the batch under way began, and its number.
    began: Option<Timestamp>,
    number: u64,
    forgot_at: Option<Timestamp>,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    target: Option<TargetName>,
    label: Option<String>,
    rule: RuleName,
    kind: Kind,
    /// Pods that reported since the counters were last cleared of those that did not.
    pods: HashSet<String>,
    heard_at: Timestamp,
}

#[derive(Debug)]
enum Kind {
    Counts { counters: Counters, now: Option<Counts>, past: VecDeque<Kept<Counts>> },
    Times { last: BTreeMap<String, Histogram>, now: Histogram, past: VecDeque<Kept<Histogram>> },
    Values { now: Mean, past: VecDeque<Kept<Mean>> },
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    n: f64,
}

impl Mean {
    fn add(&mut self, more: &Mean) {
        self.sum += more.sum;
        self.n += more.n;
    }
    fn value(&self) -> f64 {
        self.sum / self.n.max(1.0)
    }
}

#[derive(Debug)]
struct Kept<T> {
    number: u64,
    at: Timestamp,
    what: T,
}

impl Past {
    /// Of a service with these rules; what other rules measure is not learned from.
    pub fn new(rules: &[Rule], batch_secs: f64) -> Self {
        let (rules, batch_secs) = (rules.to_vec(), batch_secs.max(0.001));
        Self { rules, batch_secs, began: None, number: 0, forgot_at: None, streams: Vec::new() }
    }

    /// Takes one sample of the service from a time in which its target was not under watch.
    pub fn take(&mut self, sample: &Sample) {
        let rule = match &sample.reading {
            Reading::Counts { rule, .. } | Reading::Histogram { rule, .. } | Reading::Value { rule, .. } => {
                rule
            }
            Reading::Release { .. }
            | Reading::Pod(_)
            | Reading::Check { .. }
            | Reading::Alert { .. }
            | Reading::Control { .. }
            | Reading::Remark { .. }
            | Reading::NoData { .. } => return,
        };
        if let Some(stream) = self.stream(sample, rule) {
            stream.take(sample);
        }
    }

    fn stream(&mut self, sample: &Sample, rule: &RuleName) -> Option<&mut Stream> {
        let same = |s: &Stream| s.rule == *rule && s.label == sample.release && s.target == sample.target;
        let index = match self.streams.iter().position(same) {
            Some(index) => index,
            None => {
                let kind = self.rules.iter().find(|r| r.name == *rule).and_then(|r| Kind::of(&r.kind))?;
                if self.streams.len() >= STREAMS_MAX {
                    return None;
                }
                self.streams.push(Stream {
                    target: sample.target.clone(),
                    label: sample.release.clone(),
                    rule: rule.clone(),
                    kind,
                    pods: HashSet::new(),
                    heard_at: sample.at,
                });
                self.streams.len() - 1
            }
        };
        self.streams.get_mut(index)
    }

    /// What came until `at` may be a batch, if it is long enough. As in a watch, one that is short by a tenth is whole.
    pub fn close(&mut self, at: Timestamp) {
        let began = *self.began.get_or_insert(at);
        if at.duration_since(began).as_secs_f64() < self.batch_secs * 0.9 {
            return;
        }
        let (number, minute) = (self.number, (TIMES_SECS / self.batch_secs).ceil().max(1.0) as u64);
        self.streams.iter_mut().for_each(|stream| stream.kind.close(number, at, minute));
        (self.began, self.number) = (Some(at), number + 1);
        let forgot_at = *self.forgot_at.get_or_insert(at);
        if at.duration_since(forgot_at) >= KEPT {
            self.streams.retain(|stream| at.duration_since(stream.heard_at) < KEPT);
            self.streams.iter_mut().for_each(Stream::forget_pods);
            self.forgot_at = Some(at);
        }
    }

    /// A watch of `target` begins: what comes next, whenever that is, has no earlier reading to be compared with.
    pub fn interrupt(&mut self, target: Option<&TargetName>) {
        self.streams.iter_mut().filter(|s| s.is_of(target)).for_each(|stream| stream.kind.interrupt());
    }

    /// What a release of `target` (of all targets, if `None`) is compared with: the past of the versions that `wanted`
    /// accepts, and of what names no version.
    pub fn baselines(
        &self,
        target: Option<&TargetName>,
        wanted: impl Fn(&str) -> bool,
    ) -> BTreeMap<RuleName, Baseline> {
        let of_version = |s: &&Stream| s.is_of(target) && s.label.as_deref().is_none_or(&wanted);
        let streams: Vec<&Stream> = self.streams.iter().filter(of_version).collect();
        let of_rule = |rule: &Rule| {
            let kinds = streams.iter().filter(|s| s.rule == rule.name).map(|s| &s.kind);
            match rule.kind {
                RuleKind::Errors { .. } => {
                    let (step, counts) = merged(kinds.filter_map(Kind::counts), |sum, more| sum.add(*more));
                    let measured = Measured::Counts(&counts);
                    learned([Batches { rule: &rule.name, step, measured }])
                }
                RuleKind::Latency { .. } => {
                    let (step, times) = merged(kinds.filter_map(Kind::times), Histogram::add);
                    let measured = Measured::Times(&times);
                    learned([Batches { rule: &rule.name, step, measured }])
                }
                RuleKind::Value { .. } => {
                    let (step, means) = merged(kinds.filter_map(Kind::values), Mean::add);
                    let values: Vec<f64> = means.iter().map(Mean::value).collect();
                    let measured = Measured::Values(&values);
                    learned([Batches { rule: &rule.name, step, measured }])
                }
                RuleKind::Check { .. } => BTreeMap::new(),
            }
        };
        self.rules.iter().flat_map(of_rule).collect()
    }

    /// The version that was heard of last.
    pub fn last_version(&self, target: Option<&TargetName>, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let known = |s: &&Stream| s.is_of(target) && s.label.as_deref().is_some_and(&wanted);
        let last = self.streams.iter().filter(known).max_by_key(|s| s.heard_at);
        last.and_then(|stream| stream.label.clone())
    }

    /// Whether any version that `wanted` accepts has a past here.
    pub fn knows(&self, target: Option<&TargetName>, wanted: impl Fn(&str) -> bool) -> bool {
        self.streams.iter().any(|s| s.is_of(target) && s.label.as_deref().is_some_and(&wanted))
    }
}

impl Stream {
    /// A target-less reading may be about any target, and a release without a target is about all of them.
    fn is_of(&self, target: Option<&TargetName>) -> bool {
        target.is_none() || self.target.is_none() || self.target.as_ref() == target
    }

    fn take(&mut self, sample: &Sample) {
        let pod = sample.pod.as_deref().unwrap_or("");
        if !self.pods.contains(pod) {
            if self.pods.len() >= PODS_MAX {
                return;
            }
            self.pods.insert(pod.to_string());
        }
        self.heard_at = self.heard_at.max(sample.at);
        match (&mut self.kind, &sample.reading) {
            (Kind::Counts { counters, now, .. }, Reading::Counts { bad, total, .. }) => {
                let came = counters.advance(pod, Counts { bad: *bad, total: *total }, false);
                now.get_or_insert_default().add(came);
            }
            (Kind::Times { last, now, .. }, Reading::Histogram { times, .. }) => match last.get_mut(pod) {
                Some(before) => now.add(&before.advance(times)),
                // It covers all of the pod's life, so it only sets the mark.
                None => drop(last.insert(pod.to_string(), times.clone())),
            },
            (Kind::Values { now, .. }, Reading::Value { value, .. }) if value.is_finite() => {
                now.add(&Mean { sum: *value, n: 1.0 });
            }
            // A rule of one kind that is measured as another: nothing can be learned from it.
            (Kind::Counts { .. } | Kind::Times { .. } | Kind::Values { .. }, _) => {}
        }
    }

    /// Pods come and go: those that were silent since the last time are forgotten.
    fn forget_pods(&mut self) {
        let pods = std::mem::take(&mut self.pods);
        match &mut self.kind {
            Kind::Counts { counters, .. } => counters.keep_only(|pod| pods.contains(pod)),
            Kind::Times { last, .. } => last.retain(|pod, _| pods.contains(pod)),
            Kind::Values { .. } => {}
        }
    }
}

impl Kind {
    fn of(rule: &RuleKind) -> Option<Self> {
        match rule {
            RuleKind::Errors { .. } => {
                Some(Kind::Counts { counters: Counters::default(), now: None, past: VecDeque::new() })
            }
            RuleKind::Latency { .. } => {
                Some(Kind::Times { last: BTreeMap::new(), now: Histogram::default(), past: VecDeque::new() })
            }
            RuleKind::Value { .. } => Some(Kind::Values { now: Mean::default(), past: VecDeque::new() }),
            RuleKind::Check { .. } => None,
        }
    }

    fn close(&mut self, number: u64, at: Timestamp, minute: u64) {
        match self {
            Kind::Counts { now, past, .. } => {
                past.extend(now.take().map(|what| Kept { number, at, what }));
                forget_before(past, at);
            }
            Kind::Times { now, past, .. } => {
                let (what, number) = (std::mem::take(now), number / minute);
                match past.back_mut() {
                    Some(last) if last.number == number => last.what.add(&what),
                    Some(_) | None if what.count() > 0.0 => past.push_back(Kept { number, at, what }),
                    Some(_) | None => {}
                }
                forget_before(past, at);
            }
            Kind::Values { now, past } => {
                let what = std::mem::take(now);
                past.extend((what.n > 0.0).then_some(Kept { number, at, what }));
                forget_before(past, at);
            }
        }
    }

    fn interrupt(&mut self) {
        match self {
            Kind::Counts { counters, now, .. } => (*counters, *now) = (Counters::default(), None),
            Kind::Times { last, now, .. } => (*last, *now) = (BTreeMap::new(), Histogram::default()),
            Kind::Values { now, .. } => *now = Mean::default(),
        }
    }

    fn counts(&self) -> Option<&VecDeque<Kept<Counts>>> {
        match self {
            Kind::Counts { past, .. } => Some(past),
            Kind::Times { .. } | Kind::Values { .. } => None,
        }
    }
    fn times(&self) -> Option<&VecDeque<Kept<Histogram>>> {
        match self {
            Kind::Times { past, .. } => Some(past),
            Kind::Counts { .. } | Kind::Values { .. } => None,
        }
    }
    fn values(&self) -> Option<&VecDeque<Kept<Mean>>> {
        match self {
            Kind::Values { past, .. } => Some(past),
            Kind::Counts { .. } | Kind::Times { .. } => None,
        }
    }
}

fn forget_before<T>(past: &mut VecDeque<Kept<T>>, now: Timestamp) {
    while past.front().is_some_and(|kept| now.duration_since(kept.at) > KEPT) {
        past.pop_front();
    }
}

/// Adds streams up batch by batch. The step is the mean distance of the batches.
fn merged<'a, T: Clone + 'a>(
    streams: impl Iterator<Item = &'a VecDeque<Kept<T>>>,
    add: impl Fn(&mut T, &T),
) -> (Duration, Vec<T>) {
    let mut batches: BTreeMap<u64, (Timestamp, T)> = BTreeMap::new();
    for kept in streams.flatten() {
        match batches.get_mut(&kept.number) {
            Some((_, sum)) => add(sum, &kept.what),
            None => drop(batches.insert(kept.number, (kept.at, kept.what.clone()))),
        }
    }
    let ends = batches.values().next().zip(batches.values().next_back());
    let span = ends.map_or(0.0, |((first, _), (last, _))| last.duration_since(*first).as_secs_f64());
    let step = span.max(0.0) / batches.len().saturating_sub(1).max(1) as f64;
    (Duration::from_secs_f64(step), batches.into_values().map(|(_, what)| what).collect())
}

#[cfg(test)]
mod tests;
