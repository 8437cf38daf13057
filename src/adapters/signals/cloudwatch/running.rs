//! From minutes to counters: what came since the release, each minute once, whenever its datapoint comes.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::after;
use crate::domain::detect::errors::Counts;
use crate::domain::names::{RuleName, TargetId};

/// One entry per target and rule that is configured: it does not grow.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<BTreeMap<TargetId, Since>>);

#[derive(Debug)]
struct Since {
    released_at: Timestamp,
    tallies: BTreeMap<RuleName, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    sum: Counts,
    /// Minutes that are in the sum and may be read again.
    counted: BTreeSet<i64>,
}

impl Since {
    fn new(released_at: Timestamp) -> Self {
        Self { released_at, tallies: BTreeMap::new() }
    }
    /// The first minute that is wholly after the release.
    fn first_minute(&self) -> i64 {
        after(self.released_at.as_second())
    }
}

impl Running {
    /// A release: its counters begin at zero. What was counted before it was another version's.
    pub(super) fn begin(&self, target: &TargetId, released_at: Timestamp) {
        self.with(|all| {
            all.insert(target.clone(), Since::new(released_at));
        });
    }

    pub(super) fn first_minute(&self, target: &TargetId, now: Timestamp) -> i64 {
        self.with(|all| of(all, target, now).first_minute())
    }

    pub(super) fn released_at(&self, target: &TargetId, now: Timestamp) -> Timestamp {
        self.with(|all| of(all, target, now).released_at)
    }

    /// Adds the minutes that have not been counted yet; answers the sum since the release. No minute before `forget` will
    /// be read again.
    pub(super) fn count(
        &self,
        target: &TargetId,
        rule: &RuleName,
        now: Timestamp,
        minutes: BTreeMap<i64, Counts>,
        forget: i64,
    ) -> Counts {
        self.with(|all| {
            let since = of(all, target, now);
            let first = since.first_minute();
            let tally = since.tallies.entry(rule.clone()).or_default();
            tally.counted.retain(|minute| *minute >= forget);
            for (minute, counts) in minutes.into_iter().filter(|(minute, _)| *minute >= first) {
                if tally.counted.insert(minute) {
                    tally.sum.add(counts);
                }
            }
            tally.sum
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<TargetId, Since>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// After a restart nobody told us of the release: only what comes from now on is surely its own.
fn of<'a>(all: &'a mut BTreeMap<TargetId, Since>, target: &TargetId, now: Timestamp) -> &'a mut Since {
    all.entry(target.clone()).or_insert_with(|| Since::new(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetName};
    use proptest::prelude::*;

    fn target() -> TargetId {
        let (service, target) = (ServiceName::parse("shop"), TargetName::parse("web"));
        TargetId { service: service.unwrap(), target: target.unwrap() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sum(running: &Running, minutes: &[i64]) -> f64 {
        let one = Counts { bad: 0.0, total: 1.0 };
        let rule = RuleName::parse("error-rate").unwrap();
        running.count(&target(), &rule, at(0), minutes.iter().map(|m| (*m, one)).collect(), i64::MIN).total
    }

    #[test]
    fn only_whole_minutes_after_the_release_count_and_each_once() {
        let running = Running::default();
        running.begin(&target(), at(90));
        assert_eq!(running.first_minute(&target(), at(0)), 120);
        assert_eq!(sum(&running, &[0, 60]), 0.0);
        assert_eq!(sum(&running, &[60, 120, 240]), 2.0);
        assert_eq!(sum(&running, &[120, 180, 240]), 3.0, "one that came late");
        running.begin(&target(), at(240));
        assert_eq!(sum(&running, &[120, 180, 240]), 1.0, "another release");
    }

    proptest! {
        #[test]
        fn every_order_of_reading_gives_the_same_sum(
            reads in proptest::collection::vec(proptest::collection::vec(0i64..30, 0..10), 1..20),
        ) {
            let running = Running::default();
            running.begin(&target(), at(0));
            let mut last = 0.0;
            for minutes in &reads {
                let now = sum(&running, &minutes.iter().map(|m| m * 60).collect::<Vec<_>>());
                prop_assert!(now >= last);
                last = now;
            }
            let distinct: BTreeSet<i64> = reads.into_iter().flatten().collect();
            prop_assert_eq!(last, distinct.len() as f64);
        }
    }
}
