//! Services that were not released: whether one of them got worse at the same time, which clears the release of blame.
mod errors;
mod latency;
mod pods;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::detect::errors::Counts;
use super::detect::mixture::{Bounds, Enough, Span};
use super::names::{RuleName, TargetId};
use super::runbook::{Rule, RuleKind};
use super::signal::{Reading, Sample};
use super::workload::WorkloadView;
use errors::ErrorControl;
use latency::LatencyControl;
use pods::PodControl;

/// What was found out about a target that nobody released.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlNews {
    pub target: TargetId,
    /// `None`: it is well again.
    pub worse_since: Option<Timestamp>,
    pub crashes: bool,
    pub detail: String,
}

impl ControlNews {
    /// As a watch and its recording take it.
    pub fn reading(&self) -> Reading {
        Reading::Control {
            other: self.target.to_string(),
            worse_since: self.worse_since,
            crashes: self.crashes,
            detail: self.detail.clone(),
        }
    }
}

/// Length of a batch; controls are asked no more often.
pub const BATCH_SECS: f64 = 5.0;
/// Looks further apart than this saw nothing of the time between them.
const GAP_SECS: f64 = 120.0;
/// Evidence that something is worse: not so much that a page would follow, since it only keeps automation back.
const ALPHA: f64 = 0.1;
/// Batches after which a quiet test begins anew, with what is usual by then.
const RENEW_AFTER: u32 = 60;
/// Batches without trouble after which it is over.
const OVER_AFTER: u32 = 24;
/// A test is quiet, and may begin anew, below this.
const QUIET: f64 = 2.0;
/// Requests from which it is known what is usual.
const USUAL_MIN: f64 = 200.0;
/// Unreleased targets beyond this are not asked how they do.
const TARGETS_MAX: usize = 1_000;

/// The state of unreleased targets, a bounded number of them. Per target and rule a few hundred bytes and its pods' last counters.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    targets: BTreeMap<TargetId, Control>,
    batch_began: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Control {
    errors: BTreeMap<RuleName, ErrorControl>,
    latency: BTreeMap<RuleName, LatencyControl>,
    pods: PodControl,
    /// What is wrong with it, as it was told.
    told: BTreeSet<Kind>,
}

/// What trouble is about: a rule, or (`None`) its pods.
type Kind = Option<RuleName>;

/// Trouble of one kind.
#[derive(Clone, Debug, PartialEq)]
struct Trouble {
    since: Timestamp,
    crashes: bool,
    detail: String,
}

impl Controls {
    /// Takes a sample of a target that is not under watch; `rules` are those of its service.
    pub fn take(&mut self, target: &TargetId, rules: &[Rule], sample: &Sample) {
        let pod = sample.pod.as_deref().unwrap_or("");
        match &sample.reading {
            Reading::Counts { rule, bad, total } => {
                let Some(above) = kind_of(rules, rule).and_then(RuleKind::errors_above) else { return };
                let Some(control) = self.control(target) else { return };
                control
                    .errors
                    .entry(rule.clone())
                    .or_insert_with(|| ErrorControl::new(above))
                    .take(pod, *bad, *total);
            }
            Reading::Histogram { rule, times } => {
                let Some(increase) = kind_of(rules, rule).and_then(RuleKind::latency_increase) else {
                    return;
                };
                let Some(control) = self.control(target) else { return };
                let latency = &mut control.latency;
                latency.entry(rule.clone()).or_insert_with(|| LatencyControl::new(increase)).take(pod, times);
            }
            Reading::Pod(reading) => {
                if let Some(control) = self.control(target) {
                    control.pods.take(sample.at, pod, reading);
                }
            }
            Reading::Release { .. }
            | Reading::Value { .. }
            | Reading::Check { .. }
            | Reading::Alert { .. }
            | Reading::Control { .. }
            | Reading::Remark { .. }
            | Reading::NoData { .. } => {}
        }
    }

    /// Takes what is seen of an unreleased workload's pods, and forgets those that are gone.
    pub fn take_view(&mut self, view: &WorkloadView, at: Timestamp) {
        let Some(control) = self.control(&view.target) else { return };
        view.pods.iter().for_each(|pod| control.pods.take(at, &pod.name, &pod.reading));
        let names: BTreeSet<&str> = view.pods.iter().map(|pod| pod.name.as_str()).collect();
        control.keep_only(|name| name.is_empty() || names.contains(name));
    }

    /// What is known of an earlier life: how often requests of this target failed.
    pub fn know(
        &mut self,
        target: &TargetId,
        rules: &[Rule],
        past: impl IntoIterator<Item = (RuleName, Counts)>,
    ) {
        for (name, counts) in past {
            let above = kind_of(rules, &name).and_then(RuleKind::errors_above);
            if let (Some(above), Some(control)) = (above, self.control(target)) {
                control.errors.entry(name).or_insert_with(|| ErrorControl::new(above)).know(counts);
            }
        }
    }

    /// `None` beyond the limit.
    fn control(&mut self, target: &TargetId) -> Option<&mut Control> {
        if self.targets.len() >= TARGETS_MAX && !self.targets.contains_key(target) {
            return None;
        }
        Some(self.targets.entry(target.clone()).or_default())
    }

    /// It was released, or is gone: it is no control any more.
    pub fn forget(&mut self, target: &TargetId) {
        self.targets.remove(target);
    }

    /// Closes the batch if it is long enough, and says what changed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<ControlNews> {
        let began = *self.batch_began.get_or_insert(now);
        let secs = now.duration_since(began).as_secs_f64();
        if (0.0..BATCH_SECS * 0.9).contains(&secs) {
            return Vec::new();
        }
        self.batch_began = Some(now);
        let span = Span { since: began, secs: secs.clamp(0.0, GAP_SECS), in_rollout: false };
        let news = |(target, control): (&TargetId, &mut Control)| control.close(target, span, now);
        self.targets.iter_mut().flat_map(news).collect()
    }

    /// Everything that is worse now, for a watch that begins.
    pub fn worse(&self) -> impl Iterator<Item = ControlNews> {
        self.targets.iter().flat_map(|(target, control)| {
            let told = control.troubles().into_iter().filter(|(kind, _)| control.told.contains(kind));
            told.map(|(_, trouble)| news_of(target, Some(trouble)))
        })
    }
}

impl Control {
    fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.errors.values_mut().for_each(|rule| rule.keep_only(&there));
        self.latency.values_mut().for_each(|rule| rule.keep_only(&there));
        self.pods.keep_only(&there);
    }

    /// Each trouble is told when it begins, whatever else is wrong already; and once, when all is well again.
    fn close(&mut self, target: &TargetId, span: Span, now: Timestamp) -> Vec<ControlNews> {
        self.errors.values_mut().for_each(|rule| rule.close(span));
        self.latency.values_mut().for_each(|rule| rule.close(span));
        self.pods.close(now);
        let troubles = self.troubles();
        let kinds = troubles.iter().map(|(kind, _)| kind.clone()).collect();
        let told = std::mem::replace(&mut self.told, kinds);
        if troubles.is_empty() {
            return if told.is_empty() { Vec::new() } else { vec![news_of(target, None)] };
        }
        let fresh = troubles.into_iter().filter(|(kind, _)| !told.contains(kind));
        fresh.map(|(_, trouble)| news_of(target, Some(trouble))).collect()
    }

    fn troubles(&self) -> Vec<(Kind, Trouble)> {
        let errors = self.errors.iter().map(|(name, rule)| (Some(name.clone()), rule.trouble()));
        let latency = self.latency.iter().map(|(name, rule)| (Some(name.clone()), rule.trouble()));
        let all = errors.chain(latency).chain([(None, self.pods.trouble())]);
        all.filter_map(|(kind, trouble)| Some((kind, trouble?))).collect()
    }
}

fn kind_of<'a>(rules: &'a [Rule], name: &RuleName) -> Option<&'a RuleKind> {
    rules.iter().find(|rule| rule.name == *name).map(|rule| &rule.kind)
}

/// How sure a test of a control is, and how soon.
fn bounds() -> Bounds {
    let enough = Enough { batches: 2, secs: 10.0 };
    Bounds { alpha: ALPHA, enough, batches: RENEW_AFTER, dispersion: 1.0, together: 1 }
}

fn news_of(target: &TargetId, trouble: Option<Trouble>) -> ControlNews {
    ControlNews {
        target: target.clone(),
        worse_since: trouble.as_ref().map(|t| t.since),
        crashes: trouble.as_ref().is_some_and(|t| t.crashes),
        detail: trouble.map(|t| t.detail).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
