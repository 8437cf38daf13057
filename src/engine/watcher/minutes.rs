//! What a target does while nothing is released: counts per minute, the history that the next release is compared with.
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::Counts;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;
use crate::domain::signal::{Reading, Sample};
use crate::ports::{History, MinuteRow};

/// Minutes that a baseline is learned from.
const KEPT: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Minutes {
    rules: BTreeMap<RuleName, Rule>,
    minute: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Rule {
    counters: Counters,
    now: Counts,
    past: VecDeque<Counts>,
    last_times: BTreeMap<String, Histogram>,
    now_times: Histogram,
    past_times: VecDeque<Histogram>,
    /// Sum and number of the minute's values.
    now_values: (f64, f64),
    past_values: VecDeque<f64>,
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
        match &sample.reading {
            Reading::Counts { rule, bad, total } => {
                let completed = self.turn(sample.at);
                let rule = self.rules.entry(rule.clone()).or_default();
                let came = rule.counters.advance(pod, Counts { bad: *bad, total: *total }, false);
                rule.now.add(came);
                completed
            }
            Reading::Histogram { rule, times } => {
                let completed = self.turn(sample.at);
                self.rules.entry(rule.clone()).or_default().take_times(pod, times);
                completed
            }
            Reading::Value { rule, value } => {
                let completed = self.turn(sample.at);
                if value.is_finite() {
                    let now = &mut self.rules.entry(rule.clone()).or_default().now_values;
                    *now = (now.0 + value, now.1 + 1.0);
                }
                completed
            }
            Reading::Release { .. }
            | Reading::Pod(_)
            | Reading::Check { .. }
            | Reading::Alert { .. }
            | Reading::Control { .. }
            | Reading::NoData { .. } => Vec::new(),
        }
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
        for rule in self.rules.values_mut() {
            rule.counters.keep_only(&there);
            rule.last_times.retain(|pod, _| there(pod));
        }
    }

    /// The minutes that the baselines are learned from, as a source's history.
    pub(super) fn history(&self) -> History {
        let past = |(name, rule): (&RuleName, &Rule)| (name.clone(), rule.past.iter().copied().collect());
        let times =
            |(name, rule): (&RuleName, &Rule)| (name.clone(), rule.past_times.iter().cloned().collect());
        let batches = self.rules.iter().filter(|(_, rule)| !rule.past.is_empty()).map(past).collect();
        let slow = self.rules.iter().filter(|(_, rule)| !rule.past_times.is_empty());
        let values =
            |(name, rule): (&RuleName, &Rule)| (name.clone(), rule.past_values.iter().copied().collect());
        let plain = self.rules.iter().filter(|(_, rule)| !rule.past_values.is_empty());
        let (times, values) = (slow.map(times).collect(), plain.map(values).collect());
        History { step: MINUTE, batches, times, values, ..History::default() }
    }

    /// A watch begins: what comes now belongs to it.
    pub(super) fn pause(&mut self) {
        self.minute = None;
        self.rules.values_mut().for_each(|rule| {
            rule.counters = Counters::default();
            rule.last_times.clear();
            rule.keep();
        });
    }
}

impl Rule {
    /// Closes the minute under way; one without requests says nothing.
    fn keep(&mut self) -> Counts {
        let (counts, times) = (std::mem::take(&mut self.now), std::mem::take(&mut self.now_times));
        if counts.total > 0.0 {
            self.past.push_back(counts);
        }
        if times.count() > 0.0 {
            self.past_times.push_back(times);
        }
        let (sum, number) = std::mem::take(&mut self.now_values);
        if number > 0.0 {
            self.past_values.push_back(sum / number);
        }
        if self.past_values.len() > KEPT {
            self.past_values.pop_front();
        }
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
        if self.past_times.len() > KEPT {
            self.past_times.pop_front();
        }
        counts
    }

    /// The first reading of a pod only sets the mark: it covers all of the pod's life.
    fn take_times(&mut self, pod: &str, times: &Histogram) {
        if let Some(last) = self.last_times.insert(pod.to_string(), times.clone()) {
            self.now_times.add(&times.since(&last));
        }
    }
}

/// How far back history is asked for.
pub(super) fn history_begins(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_kept_as_the_mean_of_each_minute() {
        let mut minutes = Minutes::default();
        let rule = RuleName::parse("memory").unwrap();
        let mut take = |second: i64, pod: &str, value: f64| {
            minutes.take(&Sample {
                at: Timestamp::from_second(second).unwrap(),
                service: "shop".to_string().try_into().unwrap(),
                target: None,
                release: None,
                pod: Some(pod.to_string()),
                reading: Reading::Value { rule: rule.clone(), value },
            });
        };
        for (second, pod, value) in [(0, "a", 1.0), (10, "b", 3.0), (59, "a", 8.0), (61, "a", f64::NAN)] {
            take(second, pod, value);
        }
        // A minute without values leaves none behind.
        take(120, "a", 5.0);
        take(180, "a", 7.0);
        assert_eq!(minutes.history().values[&rule], [4.0, 5.0]);
        minutes.pause();
        assert_eq!(minutes.history().values[&rule], [4.0, 5.0, 7.0], "what is under way counts too");
    }
}
