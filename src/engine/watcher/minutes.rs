//! What a target does while nothing is released: counts per minute, the history that the next release is compared with.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::Counts;
use crate::domain::names::RuleName;
use crate::domain::signal::{Buckets, Reading, Sample};
use crate::ports::{History, MinuteRow};

/// Minutes that a baseline is learned from.
const KEPT: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Minutes {
    rules: BTreeMap<RuleName, Rule>,
    minute: Option<Timestamp>,
    times: Times,
}

/// Response times of the hour under way and of the one before.
#[derive(Debug, Default)]
struct Times {
    last: BTreeMap<String, Buckets>,
    hour: i64,
    now: Buckets,
    before: Buckets,
}

impl Times {
    fn take(&mut self, at: Timestamp, pod: &str, buckets: &Buckets) {
        let hour = at.as_second() / 3600;
        if hour != self.hour {
            self.before = std::mem::take(&mut self.now);
            self.hour = hour;
        }
        // The first reading only sets the mark: it covers all of the pod's life.
        if let Some(last) = self.last.insert(pod.to_string(), buckets.clone()) {
            self.now.add(&buckets.since(&last));
        }
    }

    fn p95_ms(&self) -> Option<f64> {
        let mut sum = self.before.clone();
        sum.add(&self.now);
        sum.quantile(0.95).map(|secs| secs * 1000.0)
    }
}

#[derive(Debug, Default)]
struct Rule {
    counters: Counters,
    now: Counts,
    past: VecDeque<Counts>,
}

impl Minutes {
    /// The rows of an earlier life.
    pub(super) fn restore(&mut self, rows: Vec<MinuteRow>) {
        for row in rows {
            let rule = self.rules.entry(row.rule).or_default();
            rule.past.push_back(row.counts);
            if rule.past.len() > KEPT {
                rule.past.pop_front();
            }
        }
    }

    /// Takes a sample of a target that is not under watch; answers the minute that it completed, if any.
    pub(super) fn take(&mut self, sample: &Sample) -> Vec<MinuteRow> {
        let pod = sample.pod.as_deref().unwrap_or("");
        if let Reading::Histogram { buckets, .. } = &sample.reading {
            self.times.take(sample.at, pod, buckets);
        }
        let Reading::Counts { rule, bad, total } = &sample.reading else { return Vec::new() };
        let completed = self.turn(sample.at);
        let rule = self.rules.entry(rule.clone()).or_default();
        let came = rule.counters.advance(pod, Counts { bad: *bad, total: *total }, false);
        rule.now.add(came);
        completed
    }

    fn turn(&mut self, at: Timestamp) -> Vec<MinuteRow> {
        let minute = Timestamp::from_second(at.as_second() / 60 * 60).unwrap_or(at);
        let ended = match self.minute.replace(minute) {
            Some(ended) if ended != minute => ended,
            Some(_) | None => return Vec::new(),
        };
        let close = |(name, rule): (&RuleName, &mut Rule)| {
            let counts = rule.keep();
            MinuteRow { rule: name.clone(), minute: ended, counts }
        };
        self.rules.iter_mut().map(close).collect()
    }

    /// Forgets the counters of pods that are gone.
    pub(super) fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.rules.values_mut().for_each(|rule| rule.counters.keep_only(&there));
        self.times.last.retain(|pod, _| there(pod));
    }

    /// The minutes that the baselines are learned from, as a source's history.
    pub(super) fn history(&self) -> History {
        let past = |(name, rule): (&RuleName, &Rule)| (name.clone(), rule.past.iter().copied().collect());
        let batches = self.rules.iter().map(past).collect();
        History { step: MINUTE, batches, p95_ms: self.times.p95_ms(), missing: None }
    }

    /// A watch begins: what comes now belongs to it.
    pub(super) fn pause(&mut self) {
        self.minute = None;
        self.times.last.clear();
        self.rules.values_mut().for_each(|rule| {
            rule.counters = Counters::default();
            rule.keep();
        });
    }
}

impl Rule {
    /// Closes the minute under way; one without requests says nothing.
    fn keep(&mut self) -> Counts {
        let counts = std::mem::take(&mut self.now);
        if counts.total > 0.0 {
            self.past.push_back(counts);
        }
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
        counts
    }
}

/// How far back history is asked for.
pub(super) fn history_begins(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN)
}
