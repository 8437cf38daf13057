//! What a target does while nothing is released: counts and times per minute, the history that the next release is compared with.
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
/// Pods beyond this are not learned from.
const PODS_MAX: usize = 5_000;
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
            self.rules.entry(row.rule).or_default().remember(row.counts, row.times, None);
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
            | Reading::Remark { .. }
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
            let (counts, times) = rule.keep();
            MinuteRow { rule: name.clone(), minute: ended, counts, times }
        };
        let said = |row: &MinuteRow| row.counts.total > 0.0 || row.times.is_some();
        self.rules.iter_mut().map(close).filter(said).collect()
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

    /// A rule is measured in another way from now on: what was measured before says nothing about it.
    pub(super) fn forget(&mut self, rule: &RuleName) {
        self.rules.remove(rule);
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
    /// Closes the minute under way.
    fn keep(&mut self) -> (Counts, Option<Histogram>) {
        let (counts, times) = (std::mem::take(&mut self.now), std::mem::take(&mut self.now_times));
        let times = (times.count() > 0.0).then_some(times);
        let (sum, number) = std::mem::take(&mut self.now_values);
        self.remember(counts, times.clone(), (number > 0.0).then(|| sum / number));
        (counts, times)
    }

    /// One more minute, the oldest goes; one without requests says nothing.
    fn remember(&mut self, counts: Counts, times: Option<Histogram>, value: Option<f64>) {
        self.past.extend((counts.total > 0.0).then_some(counts));
        self.past_times.extend(times);
        self.past_values.extend(value);
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
        if self.past_times.len() > KEPT {
            self.past_times.pop_front();
        }
        if self.past_values.len() > KEPT {
            self.past_values.pop_front();
        }
    }

    /// The first reading of a pod only sets the mark: it covers all of the pod's life.
    fn take_times(&mut self, pod: &str, times: &Histogram) {
        let Some(last) = self.last_times.get_mut(pod) else {
            if self.last_times.len() < PODS_MAX {
                self.last_times.insert(pod.to_string(), times.clone());
            }
            return;
        };
        self.now_times.add(&last.advance(times));
    }
}

/// How far back history is asked for.
pub(super) fn history_begins(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A reading of the pod `a`, so many seconds after the hour.
    fn sample(second: i64, reading: Value) -> Sample {
        let at = Timestamp::from_second(1_700_000_000 / 3600 * 3600 + second).unwrap();
        let mut line = json!({"at": at, "service": "shop", "target": "web", "pod": "a", "rule": "r"});
        line.as_object_mut().unwrap().extend(reading.as_object().unwrap().clone());
        serde_json::from_value(line).unwrap()
    }

    fn native(second: i64, fast: u32, slow: u32) -> Sample {
        let times = json!({"schema": 0, "spans": [[0, 2]], "counts": [fast, slow]});
        sample(second, json!({"kind": "histogram", "native": times}))
    }

    fn counts(second: i64, bad: u32, total: u32) -> Sample {
        sample(second, json!({"kind": "counts", "bad": bad, "total": total}))
    }

    /// The response times of each row, as counts up to 1 and up to 2 seconds.
    fn times(rows: &[MinuteRow]) -> Vec<[f64; 2]> {
        let of_row = |row: &MinuteRow| {
            let cumulative = row.times.as_ref()?.cumulative();
            let at =
                |le: f64| cumulative.bounds().iter().rfind(|(bound, _)| *bound <= le).map_or(0.0, |b| b.1);
            Some([at(1.0), at(2.0)])
        };
        rows.iter().filter_map(of_row).collect()
    }

    #[test]
    fn each_minute_holds_what_came_in_it() {
        let mut minutes = Minutes::default();
        let readings =
            [(0, 100, 10), (30, 110, 10), (59, 120, 15), (61, 121, 15), (90, 119, 15), (110, 131, 15)];
        let rows: Vec<MinuteRow> =
            readings.iter().flat_map(|(at, fast, slow)| minutes.take(&native(*at, *fast, *slow))).collect();
        assert_eq!(times(&rows), [[20.0, 25.0]], "the first reading only sets the mark");
        let rows = minutes.take(&native(125, 3, 0));
        assert_eq!(times(&rows), [[11.0, 11.0]], "one that is a little lower came late");
        assert_eq!(times(&minutes.take(&native(185, 4, 0))), [[3.0, 3.0]], "a restart begins at zero");
        assert!(minutes.take(&native(246, 4, 0)).len() == 1 && minutes.take(&native(310, 4, 0)).is_empty());
    }

    #[test]
    fn a_restart_loses_no_minute() {
        let mut minutes = Minutes::default();
        let mut rows = Vec::new();
        for minute in 0..100 {
            let so_many = u32::try_from(minute).unwrap() * 10;
            let at = minute * 60;
            rows.extend(minutes.take(&counts(at, so_many / 10, so_many)));
            rows.extend(minutes.take(&native(at + 1, so_many, so_many)));
        }
        let (before, mut again) = (minutes.history(), Minutes::default());
        again.restore(rows);
        assert_eq!(again.history(), before);
        let (rule, step) = (RuleName::parse("r").unwrap(), Duration::from_secs(60));
        assert_eq!((before.batches[&rule].len(), before.times[&rule].len(), before.step), (KEPT, KEPT, step));
        assert_eq!(before.times[&rule].iter().map(Histogram::count).sum::<f64>(), 20.0 * KEPT as f64);
    }

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
