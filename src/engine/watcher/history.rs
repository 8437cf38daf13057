//! The past of a target in its two forms: the numbers that a release is compared with, and the lines of a recording.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::detect::errors::Counts;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;
use crate::domain::past::{self, Batches, Measured};
use crate::domain::signal::{Reading, Sample};
use crate::domain::watch::{Baseline, WatchSpec};
use crate::ports::History;

/// One baseline per rule; where several sources know a rule, the later one counts.
pub(super) fn learned(histories: &[History]) -> BTreeMap<RuleName, Baseline> {
    past::learned(histories.iter().flat_map(batches))
}

fn batches(history: &History) -> impl Iterator<Item = Batches<'_>> {
    let of = |rule, measured| Batches { rule, step: history.step, measured };
    let times_step = history.times_step.unwrap_or(history.step);
    let counts = history.batches.iter().map(move |(rule, b)| of(rule, Measured::Counts(b)));
    let times = history
        .times
        .iter()
        .map(move |(rule, b)| Batches { step: times_step, ..of(rule, Measured::Times(b)) });
    let values = history.values.iter().map(move |(rule, b)| of(rule, Measured::Values(b)));
    let earlier = history.earlier.iter().map(move |(rule, b)| of(rule, Measured::Earlier(b)));
    counts.chain(times).chain(values).chain(earlier)
}

/// The same as samples of before the watch, of the known good version; counts are cumulative as in every recording.
pub(super) fn as_samples(histories: &[History], spec: &WatchSpec) -> Vec<Sample> {
    let mut lines: BTreeMap<&RuleName, Vec<Sample>> = BTreeMap::new();
    for history in histories {
        for (rule, batches) in history.batches.iter().filter(|(_, b)| !b.is_empty()) {
            lines.insert(rule, of_counts(rule, batches, history.step, spec));
        }
        for (rule, batches) in history.times.iter().filter(|(_, b)| !b.is_empty()) {
            lines.insert(rule, of_times(rule, batches, history.times_step.unwrap_or(history.step), spec));
        }
        for (rule, values) in history.values.iter().filter(|(_, v)| !v.is_empty()) {
            lines.insert(rule, of_values(rule, values, history.step, spec));
        }
    }
    let mut samples: Vec<Sample> = lines.into_values().flatten().collect();
    samples.sort_by_key(|sample| sample.at);
    samples
}

fn of_counts(rule: &RuleName, batches: &[Counts], step: Duration, spec: &WatchSpec) -> Vec<Sample> {
    let mut sum = Counts::default();
    let sums = batches.iter().map(|counts| {
        sum.add(*counts);
        Reading::Counts { rule: rule.clone(), bad: sum.bad, total: sum.total }
    });
    // A line before the first batch, from which its difference is taken.
    let first = Reading::Counts { rule: rule.clone(), bad: 0.0, total: 0.0 };
    at_steps(std::iter::once(first).chain(sums).collect(), step, spec)
}

fn of_times(rule: &RuleName, batches: &[Histogram], step: Duration, spec: &WatchSpec) -> Vec<Sample> {
    let mut sum = Histogram::default();
    let sums: Vec<Histogram> = batches
        .iter()
        .map(|times| {
            sum.add(times);
            sum.clone()
        })
        .collect();
    let first = sums.first().map(Histogram::emptied).unwrap_or_default();
    let line = |times: Histogram| Reading::Histogram { rule: rule.clone(), times };
    at_steps(std::iter::once(first).chain(sums).map(line).collect(), step, spec)
}

fn of_values(rule: &RuleName, values: &[f64], step: Duration, spec: &WatchSpec) -> Vec<Sample> {
    let line = |value: &f64| Reading::Value { rule: rule.clone(), value: *value };
    // JSON has no other numbers.
    at_steps(values.iter().filter(|value| value.is_finite()).map(line).collect(), step, spec)
}

/// One line each step. The last lies one step before the watch, so that no line can be taken for one of the watch.
fn at_steps(readings: Vec<Reading>, step: Duration, spec: &WatchSpec) -> Vec<Sample> {
    let ago = |steps: usize| SignedDuration::from_secs_f64(step.as_secs_f64() * steps as f64);
    let lines = readings.len();
    let sample = |(i, reading)| Sample {
        at: spec.opened_at.saturating_sub(ago(lines - i)).unwrap_or(Timestamp::MIN),
        service: spec.release.target.service.clone(),
        target: Some(spec.release.target.target.clone()),
        release: spec.known_good.as_ref().map(|version| version.label.clone()),
        pod: None,
        reading,
    };
    readings.into_iter().enumerate().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::domain::release::{Fingerprint, Release, ReleaseKind, Version};
    use crate::domain::runbook::{Judging, standard_rules};

    fn spec() -> WatchSpec {
        let version = |label: &str| Version {
            fingerprint: Fingerprint::named(label),
            label: label.into(),
            images: vec![],
        };
        let target = TargetId {
            service: ServiceName::parse("shop").unwrap(),
            target: TargetName::parse("backend").unwrap(),
        };
        let at: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let release = Release { target, kind: ReleaseKind::New, from: None, to: version("v2"), at };
        WatchSpec {
            id: "w".into(),
            release,
            known_good: Some(version("v1")),
            opened_at: at,
            ends_at: at + Duration::from_secs(1800),
            rules: standard_rules(),
            judging: Judging::standard(Duration::from_secs(1800)),
            baseline: BTreeMap::new(),
        }
    }

    #[test]
    fn the_lines_hold_the_same_past_as_the_numbers() {
        let rule = standard_rules()[0].name.clone();
        let counts = |bad, total| Counts { bad, total };
        let batches = BTreeMap::from([(rule.clone(), vec![counts(1.0, 10.0), counts(2.0, 20.0)])]);
        let history = History { step: Duration::from_secs(60), batches, ..History::default() };
        let spec = spec();
        let lines = as_samples(std::slice::from_ref(&history), &spec);
        assert!(lines.iter().all(|l| l.at < spec.opened_at && l.release.as_deref() == Some("v1")));
        let cumulative: Vec<(f64, f64)> = lines
            .iter()
            .map(|l| match l.reading {
                Reading::Counts { bad, total, .. } => (bad, total),
                _ => panic!("{l:?}"),
            })
            .collect();
        assert_eq!(cumulative, [(0.0, 0.0), (1.0, 10.0), (3.0, 30.0)]);
        assert_eq!(learned(&[history])[&rule].counts(), counts(3.0, 30.0));
    }

    #[test]
    fn times_are_cumulative_and_values_are_as_they_were() {
        let (slow, level) = (standard_rules()[1].name.clone(), RuleName::parse("level").unwrap());
        let batch = |fast: f64, all: f64| -> Histogram {
            serde_json::from_value(serde_json::json!({"buckets": {"0.1": fast, "+Inf": all}})).unwrap()
        };
        let history = History {
            step: Duration::from_secs(15),
            times_step: Some(Duration::from_secs(120)),
            times: BTreeMap::from([(slow.clone(), vec![batch(9.0, 10.0), batch(7.0, 10.0)])]),
            values: BTreeMap::from([(level.clone(), vec![3.0, f64::NAN, 5.0])]),
            ..History::default()
        };
        let spec = spec();
        let lines = as_samples(std::slice::from_ref(&history), &spec);
        let ago = |sample: &Sample| spec.opened_at.duration_since(sample.at).as_secs();
        let mut read = (vec![], vec![]);
        for line in &lines {
            match &line.reading {
                Reading::Histogram { times, .. } => read.0.push((ago(line), times.clone())),
                Reading::Value { value, .. } => read.1.push((ago(line), *value)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(read.0, [(360, batch(0.0, 0.0)), (240, batch(9.0, 10.0)), (120, batch(16.0, 20.0))]);
        assert_eq!(read.1, [(30, 3.0), (15, 5.0)]);
        let learned = learned(&[history]);
        assert_eq!((learned[&slow].seconds, learned[&slow].total), (240.0, 20.0));
        assert_eq!(learned[&level].level, Some(4.0));
    }
}
