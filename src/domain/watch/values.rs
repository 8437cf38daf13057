//! One plain value in one watch: how long it has been past its bound, and whether the release is to blame.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::kinds::Kinds;
use super::rollout::Rollout;
use super::seen::Seen;
use super::{Arm, Baseline, WatchSpec};
use crate::domain::evidence::{Cause, Evidence, Strength, clock_time, count_of, percent};
use crate::domain::names::RuleName;
use crate::domain::runbook::{Bound, Rule, RuleKind};

/// Readings that are further apart than this many batches, and than they are late, leave a gap, of which nothing is known.
const GAP_BATCHES: f64 = 3.0;
/// Pods beyond this are not measured.
const STREAMS_MAX: usize = 5_000;

/// Past its bound means: every reading of `for_secs` was, none further apart than a few batches. Time without readings
/// does not count, a number that is none is no reading. A bound of `Increase` is held against the level before the
/// release, or else against the old pods' own.
#[derive(Clone, Debug)]
pub(super) struct ValueRule {
    pub(super) name: RuleName,
    bound: Bound,
    for_secs: f64,
    gap_secs: f64,
    /// How late trouble may show.
    pub(super) lag: SignedDuration,
    restores: bool,
    /// Before the release.
    level: Option<f64>,
    /// Of the old pods when they were last read.
    old_level: Option<f64>,
    streams: BTreeMap<String, Stream>,
    /// For error lines of logs: what they are about.
    pub(super) kinds: Kinds,
    pub(super) seen: Seen,
}

/// The readings of one pod, or of what belongs to none.
#[derive(Clone, Debug)]
struct Stream {
    arm: Arm,
    /// It belongs to no pod.
    beside: bool,
    began: Timestamp,
    at: Timestamp,
    value: f64,
    past_since: Option<Timestamp>,
}

/// The new streams that are past the bound now, by how long they have been.
struct Past<'a> {
    all: usize,
    now: usize,
    half: Vec<&'a Stream>,
    full: usize,
}

impl ValueRule {
    pub(super) fn new(rule: &Rule, spec: &WatchSpec, baseline: Option<&Baseline>) -> Self {
        let (bound, for_secs) = match rule.kind {
            RuleKind::Value { bound, for_secs } => (bound, for_secs),
            RuleKind::Errors { .. } | RuleKind::Latency { .. } | RuleKind::Check { .. } => {
                (Bound::Above(f64::INFINITY), 0.0)
            }
        };
        Self {
            name: rule.name.clone(),
            bound,
            for_secs,
            // What is published late is read seldom, too.
            gap_secs: rule.lag_secs.max(spec.judging.batch_secs * GAP_BATCHES),
            lag: rule.lag(),
            restores: spec.restores(),
            level: baseline.and_then(|b| b.level),
            old_level: None,
            streams: BTreeMap::new(),
            kinds: Kinds::default(),
            seen: Seen::default(),
        }
    }

    pub(super) fn take(&mut self, at: Timestamp, arm: Arm, pod: &str, value: f64) {
        if arm == Arm::Other || !value.is_finite() {
            return;
        }
        self.seen.take(at);
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(pod) {
            self.streams.retain(|_, stream| secs(stream.at, at) <= self.gap_secs);
            if self.streams.len() >= STREAMS_MAX {
                return;
            }
        }
        let past = self.limit().is_some_and(|limit| self.is_past(value, limit));
        let fresh =
            Stream { arm, beside: pod.is_empty(), began: at, at, value, past_since: past.then_some(at) };
        match self.streams.get_mut(pod) {
            // Late and repeated readings add nothing.
            Some(stream) if at <= stream.at => return,
            Some(stream) if stream.arm == arm && secs(stream.at, at) <= self.gap_secs => {
                (stream.at, stream.value) = (at, value);
                stream.past_since = past.then(|| stream.past_since.unwrap_or(at));
            }
            Some(stream) => *stream = fresh,
            None => {
                self.streams.insert(pod.to_string(), fresh);
            }
        }
        if arm == Arm::Old {
            self.old_level = mean(self.fresh(Arm::Old, at).map(|s| s.value)).or(self.old_level);
        }
    }

    fn fresh(&self, arm: Arm, now: Timestamp) -> impl Iterator<Item = &Stream> {
        self.streams.values().filter(move |s| s.arm == arm && secs(s.at, now) <= self.gap_secs)
    }

    /// Time without readings after the last one does not count.
    fn past_secs(&self, stream: &Stream, rollout: &Rollout) -> Option<f64> {
        let from = rollout.counts_from(stream.past_since?, self.restores && stream.beside, self.lag)?;
        Some(secs(from, stream.at))
    }

    /// What must not be passed; none while there is nothing to hold an increase against.
    fn limit(&self) -> Option<f64> {
        match self.bound {
            Bound::Above(limit) | Bound::Below(limit) => Some(limit),
            Bound::Increase(ratio) => self.level.or(self.old_level).map(|level| level + level.abs() * ratio),
        }
    }

    fn is_past(&self, value: f64, limit: f64) -> bool {
        match self.bound {
            Bound::Above(_) | Bound::Increase(_) => value > limit,
            Bound::Below(_) => value < limit,
        }
    }

    pub(super) fn assess(&self, rollout: &Rollout) -> Option<Evidence> {
        let (found, kinds) = (self.past_bound(rollout), self.kinds.sentence());
        match (found, kinds) {
            (Some(found), Some(kinds)) => {
                Some(Evidence { sentence: format!("{}; {kinds}", found.sentence), ..found })
            }
            (None, Some(kinds)) => {
                let (rule, cause) = (self.name.as_str(), Cause::Unknown);
                Some(Evidence::fact(rule, Strength::Suspect, cause, None, format!("{rule}: {kinds}")))
            }
            (found, None) => found,
        }
    }

    fn past_bound(&self, rollout: &Rollout) -> Option<Evidence> {
        let Some(limit) = self.limit() else { return self.without_level(rollout) };
        let new = || self.fresh(Arm::New, rollout.now);
        let longer = |share: f64| {
            let least = self.for_secs * share;
            move |s: &&Stream| self.past_secs(s, rollout).is_some_and(|past| past >= least)
        };
        let past = Past {
            all: new().count(),
            now: new().filter(|s| s.past_since.is_some()).count(),
            half: new().filter(longer(0.5)).collect(),
            full: new().filter(longer(1.0)).count(),
        };
        let since = past.half.iter().filter_map(|s| s.past_since).min()?;
        let old: Vec<&Stream> = self.fresh(Arm::Old, rollout.now).filter(longer(0.5)).collect();
        let (strength, cause, because) = self.finding(&past, since, !old.is_empty(), rollout);
        let sentence = self.sentence(&past, since, limit, because);
        Some(self.evidence(strength, cause, since, &sentence))
    }

    fn finding(
        &self,
        past: &Past<'_>,
        since: Timestamp,
        old_too: bool,
        rollout: &Rollout,
    ) -> (Strength, Cause, &'static str) {
        let one_of_many = past.all >= 3 && past.half.len() == 1;
        if past.full == 0 || (one_of_many && past.now > 1) {
            return (Strength::Suspect, Cause::Unknown, "");
        }
        if old_too {
            return (
                Strength::Urgent,
                Cause::Shared,
                "old pods are past it too, so the release is not the cause",
            );
        }
        if self.was_past_before() {
            return (Strength::Page, Cause::Unknown, "it was before the release already");
        }
        if one_of_many {
            return (Strength::Urgent, Cause::SinglePod, "on one pod only, so it is that pod or its node");
        }
        if self.fresh(Arm::Old, rollout.now).any(|s| s.at > since) {
            return (Strength::Rollback, Cause::Release, "old pods are well beside them");
        }
        if !rollout.covers_with(since, self.lag) {
            let late = "it began after the rollout, and no old pods are left to compare";
            return (Strength::Urgent, Cause::Unknown, late);
        }
        if self.level.is_none() && self.always_past(past) {
            return (Strength::Page, Cause::Unknown, "nothing is known of it from before the release");
        }
        if rollout.other_worse_at(since, self.lag).is_some() {
            let because = "a service that was not released got worse at the same time";
            return (Strength::Urgent, Cause::Shared, because);
        }
        (Strength::Rollback, Cause::Release, "it began with the rollout")
    }

    /// An increase cannot have been there before: it is held against just that time.
    fn was_past_before(&self) -> bool {
        match self.bound {
            Bound::Above(limit) | Bound::Below(limit) => self.level.is_some_and(|l| self.is_past(l, limit)),
            Bound::Increase(_) => false,
        }
    }

    /// What belongs to no pod may have been so for long when it is first read. A new pod's value is the release's.
    fn always_past(&self, past: &Past<'_>) -> bool {
        past.half.iter().any(|s| s.beside && s.past_since == Some(s.began))
    }

    fn without_level(&self, rollout: &Rollout) -> Option<Evidence> {
        let read = self.fresh(Arm::New, rollout.now).filter(|s| secs(s.began, s.at) >= self.for_secs);
        let since = read.map(|s| s.began).min()?;
        let sentence = format!(
            "{} cannot be judged: nothing is known of it from before the release, and no old pods report it",
            self.name
        );
        Some(self.evidence(Strength::Page, Cause::Unknown, since, &sentence))
    }

    fn evidence(&self, strength: Strength, cause: Cause, since: Timestamp, text: &str) -> Evidence {
        Evidence::fact(self.name.as_str(), strength, cause, Some(since), text.to_string())
    }

    fn sentence(&self, past: &Past<'_>, since: Timestamp, limit: f64, because: &str) -> String {
        let values = past.half.iter().map(|s| s.value);
        let (sign, worst) = match self.bound {
            Bound::Above(_) | Bound::Increase(_) => (">", values.fold(f64::NEG_INFINITY, f64::max)),
            Bound::Below(_) => ("<", values.fold(f64::INFINITY, f64::min)),
        };
        let mut text = format!("{} {} {sign} {}", self.name, figure(worst), figure(limit));
        if let Bound::Increase(ratio) = self.bound {
            text += &format!(" (an increase by {})", percent(ratio));
        }
        if !past.half.iter().any(|s| s.beside) {
            text += &format!(" on {} of {}", past.half.len(), count_of(past.all, "new pod"));
        }
        text += &format!(" since {}", clock_time(since));
        match (self.old_level, self.level) {
            (Some(old), _) => text += &format!(", old pods {}", figure(old)),
            (None, Some(before)) => text += &format!(", before the release {}", figure(before)),
            (None, None) => {}
        }
        if !because.is_empty() {
            text += &format!("; {because}");
        }
        text
    }
}

fn secs(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// `1310000000` → `1.31G`, `0.25` → `0.25`: three digits are enough for people.
fn figure(value: f64) -> String {
    let scales = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let scale = scales.into_iter().find(|(unit, _)| value.abs() >= *unit).unwrap_or((1.0, ""));
    let scaled = value / scale.0;
    let whole_digits = scaled.abs().max(1.0).log10().floor() as usize + 1;
    // Small numbers keep two digits behind their zeros.
    let zeros = if scaled == 0.0 { 0.0 } else { (-scaled.abs().log10()).floor().clamp(0.0, 12.0) };
    let text = format!("{scaled:.*}", 3_usize.saturating_sub(whole_digits) + zeros as usize);
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{}", scale.1)
}

#[cfg(test)]
pub(super) use tests::spec as spec_for_tests;

#[cfg(test)]
mod tests;
