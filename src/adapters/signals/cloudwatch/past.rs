//! What a service did before a release: the hour before it, and the same clock time of earlier days.
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::fetch::{Answers, Points, Series, Span, fetch};
use super::{CloudWatchRule, CloudWatchSource, PERIOD, after, before, counts, seconds};
use crate::config::CloudWatchQuery;
use crate::domain::detect::errors::Counts;
use crate::domain::watch::Earlier;
use crate::ports::{AskTarget, History};

const DAY_SECS: i64 = 86_400;
/// Earlier days that are looked at, and how much of each: as long as a watch usually is.
const DAYS: i64 = 3;
const EARLIER_SECS: i64 = 30 * 60;
/// A release waits for its history, and not for long.
const HISTORY_MAX: Duration = Duration::from_secs(8);

impl CloudWatchSource {
    pub(super) async fn past(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        let mut history = History { step: Duration::from_secs(PERIOD.unsigned_abs()), ..History::default() };
        let rules: Vec<&CloudWatchRule> = self.rules_of(about).collect();
        let settled = before(to.as_second() - seconds(self.options.settle));
        let span = Span { from: after(from.as_second()), to: settled };
        if rules.is_empty() {
            return history;
        }
        if span.from >= span.to {
            history.missing = Some("the period asked for is empty".into());
            return history;
        }
        let all: BTreeSet<Series<'_>> = rules.iter().flat_map(|rule| self.series(&rule.query)).collect();
        let counters = rules.iter().filter(|rule| matches!(rule.query, CloudWatchQuery::Errors { .. }));
        let counted: BTreeSet<Series<'_>> = counters.flat_map(|rule| self.series(&rule.query)).collect();
        let client = self.client().await;
        // A request has one span of time, so each day is a request of its own; they are made at once.
        let days = (1..=DAYS).map(|day| fetch(client, counted.clone(), day_before(to, day), HISTORY_MAX));
        let days = futures::future::join_all(days);
        let (hour, days) = tokio::join!(fetch(client, all, span, HISTORY_MAX), days);
        for rule in rules {
            let added = self.add(&mut history, rule, span, &hour, &days);
            history.missing = history.missing.or(added.err());
        }
        history
    }

    /// One rule's past. The error says what is missing of it.
    fn add(
        &self,
        history: &mut History,
        rule: &CloudWatchRule,
        span: Span,
        hour: &Answers<'_>,
        days: &[Answers<'_>],
    ) -> Result<(), String> {
        let name = rule.rule.clone();
        match &rule.query {
            CloudWatchQuery::Errors { total, bad } => {
                let (total, bad) = (self.sum_of(total), self.sum_of(bad));
                let minutes = counts(hour, total, bad)?;
                let first = *minutes.first_key_value().ok_or("no datapoints")?.0;
                // Minutes in which nothing happened have no datapoint, and are part of what is usual.
                let every = (first..span.to).step_by(PERIOD.unsigned_abs() as usize);
                let batches = every.map(|minute| minutes.get(&minute).copied().unwrap_or_default());
                history.batches.insert(name.clone(), batches.collect());
                let mut earlier = Vec::new();
                for day in days {
                    earlier.extend(whole_day(counts(day, total, bad)?.into_values()));
                }
                history.earlier.insert(name, earlier);
            }
            CloudWatchQuery::Value { metric, statistic, scale } => {
                let points: &Points = hour.points(Series { metric, statistic })?;
                if points.is_empty() {
                    return Err("no datapoints".into());
                }
                history.values.insert(name, points.values().map(|value| value * scale).collect());
            }
        }
        Ok(())
    }
}

/// The time of day of the watch that begins at `to`, so many days earlier.
fn day_before(to: Timestamp, day: i64) -> Span {
    let from = before(to.as_second()) - day * DAY_SECS;
    Span { from, to: from + EARLIER_SECS }
}

/// `None` if nothing is known of that day.
fn whole_day(minutes: impl Iterator<Item = Counts>) -> Option<Earlier> {
    let mut counts = Counts::default();
    minutes.for_each(|minute| counts.add(minute));
    (counts.total > 0.0).then_some(Earlier { counts, times: None })
}
