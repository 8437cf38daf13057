//! The past of a target in its two forms: the numbers that a release is compared with, and the lines of a recording.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::detect::errors::Counts;
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
    let counts = history.batches.iter().map(move |(rule, b)| of(rule, Measured::Counts(b)));
    let times = history.times.iter().map(move |(rule, b)| of(rule, Measured::Times(b)));
    let values = history.values.iter().map(move |(rule, b)| of(rule, Measured::Values(b)));
    let earlier = history.earlier.iter().map(move |(rule, b)| of(rule, Measured::Earlier(b)));
    counts.chain(times).chain(values).chain(earlier)
}

/// The same as samples of before the watch, of the known good version; counts are cumulative as in every recording.
pub(super) fn as_samples(histories: &[History], spec: &WatchSpec) -> Vec<Sample> {
    let mut lines: BTreeMap<&RuleName, Vec<Sample>> = BTreeMap::new();
    for history in histories {
        for (rule, batches) in history.batches.iter().filter(|(_, b)| !b.is_empty()) {
            lines.insert(rule, of_rule(rule, batches, history.step.as_secs_f64(), spec));
        }
        for (rule, values) in &history.values {
            lines.insert(rule, of_values(rule, values, history.step.as_secs_f64(), spec));
        }
    }
    let mut samples: Vec<Sample> = lines.into_values().flatten().collect();
    samples.sort_by_key(|sample| sample.at);
    samples
}

fn of_rule(rule: &RuleName, batches: &[Counts], step_secs: f64, spec: &WatchSpec) -> Vec<Sample> {
    let mut sum = Counts::default();
    let mut line = |left: usize, counts: Counts| {
        sum.add(counts);
        let reading = Reading::Counts { rule: rule.clone(), bad: sum.bad, total: sum.total };
        line_before(spec, step_secs, left, reading)
    };
    // A line before the first batch, from which its difference is taken.
    let mut lines = vec![line(batches.len(), Counts::default())];
    lines.extend(batches.iter().enumerate().map(|(i, counts)| line(batches.len() - 1 - i, *counts)));
    lines
}

fn of_values(rule: &RuleName, values: &[f64], step_secs: f64, spec: &WatchSpec) -> Vec<Sample> {
    let line = |(i, value): (usize, &f64)| {
        let reading = Reading::Value { rule: rule.clone(), value: *value };
        line_before(spec, step_secs, values.len() - 1 - i, reading)
    };
    values.iter().enumerate().map(line).collect()
}

/// A line with `left` more to come before the watch.
fn line_before(spec: &WatchSpec, step_secs: f64, left: usize, reading: Reading) -> Sample {
    // The last line lies one step before the watch, so that no line can be taken for one of the watch.
    let ago = SignedDuration::from_secs_f64(step_secs * (left + 1) as f64);
    Sample {
        at: spec.opened_at.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        service: spec.release.target.service.clone(),
        target: Some(spec.release.target.target.clone()),
        release: spec.known_good.as_ref().map(|version| version.label.clone()),
        pod: None,
        reading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetId, TargetName};
    use crate::domain::release::{Fingerprint, Release, ReleaseKind, Version};
    use crate::domain::runbook::{Judging, standard_rules};
    use std::time::Duration;

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
    fn values_of_before_are_lines_of_their_own() {
        let rule = standard_rules()[0].name.clone();
        let values = BTreeMap::from([(rule.clone(), vec![4.0, 6.0])]);
        let history = History { step: Duration::from_secs(60), values, ..History::default() };
        let spec = spec();
        let line = |sample: &Sample| match sample.reading {
            Reading::Value { value, .. } => (spec.opened_at.as_second() - sample.at.as_second(), value),
            _ => panic!("{sample:?}"),
        };
        let lines: Vec<_> = as_samples(std::slice::from_ref(&history), &spec).iter().map(line).collect();
        assert_eq!(lines, [(120, 4.0), (60, 6.0)]);
        assert_eq!(learned(&[history])[&rule].level, Some(5.0));
    }
}
