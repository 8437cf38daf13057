//! Plain values: which series they come from, how several become one, and what counters grow by where they are scraped.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::{Combine, Selector};
use crate::domain::names::{RuleName, TargetId};

/// Which series make up a value, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueQuery {
    pub series: Selector,
    pub combine: Combine,
    /// Set for counters: their growth per second in the last so long.
    pub rate: Option<Duration>,
    /// Whether each pod has series of its own. Otherwise all that there are become one value.
    pub pods: bool,
}

/// More series of one pod and rule are a selector that means something else.
pub(super) const SERIES_MAX: usize = 1000;

/// `None` without values, and when the result is no number.
pub(super) fn combined(combine: Combine, values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    let sum = || values.iter().sum::<f64>();
    let value = match (combine, values.as_slice()) {
        (_, []) => return None,
        (Combine::Max, all) => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        (Combine::Min, all) => all.iter().copied().fold(f64::INFINITY, f64::min),
        (Combine::Sum, _) => sum(),
        (Combine::Mean, all) => sum() / all.len() as f64,
    };
    let numbers = values.iter().all(|value| value.is_finite());
    (numbers && value.is_finite()).then_some(value)
}

/// The values of one pod's counters, by their labels.
pub(super) type Counters = BTreeMap<u64, f64>;

/// A pod's counters are forgotten when they were not read for so long.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);
/// Not every reading begins a window: a dozen beginnings are enough.
const BEGINNINGS: i32 = 12;

/// Remembers counters between two readings of a page. A counter that decreased began anew, and one that was not there
/// before began at zero.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<String, Growing>>);

#[derive(Debug)]
struct Growing {
    read_at: Timestamp,
    read: Counters,
    grown: Counters,
    /// What had grown by then, oldest first.
    begun: VecDeque<(Timestamp, Counters)>,
}

/// Whose counters are read, and when.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) at: Timestamp,
    pub(super) target: &'a TargetId,
    pub(super) pod: &'a str,
}

impl Rates {
    /// Growth per second of each counter; `None` before there are two readings.
    pub(super) fn advance(
        &self,
        of: Reading<'_>,
        rule: &RuleName,
        window: Duration,
        now: Counters,
    ) -> Option<Vec<f64>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{}/{}/{rule}", of.target, of.pod);
        let known = all.get_mut(&key).filter(|one| of.at.duration_since(one.read_at) < FORGOTTEN);
        let Some(growing) = known else {
            all.retain(|_, one| of.at.duration_since(one.read_at) < FORGOTTEN);
            let begun = VecDeque::from([(of.at, Counters::new())]);
            all.insert(key, Growing { read_at: of.at, read: now, grown: Counters::new(), begun });
            return None;
        };
        growing.advance(of.at, now);
        growing.per_second(of.at, window)
    }
}

impl Growing {
    fn advance(&mut self, at: Timestamp, now: Counters) {
        for (series, value) in &now {
            let before = self.read.get(series).copied().unwrap_or(0.0);
            let came = if *value < before { *value } else { value - before };
            *self.grown.entry(*series).or_default() += came;
        }
        self.grown.retain(|series, _| now.contains_key(series));
        (self.read_at, self.read) = (at, now);
    }

    fn per_second(&mut self, at: Timestamp, window: Duration) -> Option<Vec<f64>> {
        let since = |begun: &(Timestamp, Counters)| at.duration_since(begun.0).as_secs_f64();
        while self.begun.get(1).is_some_and(|next| since(next) >= window.as_secs_f64()) {
            self.begun.pop_front();
        }
        let spacing = (window / BEGINNINGS.unsigned_abs()).as_secs_f64();
        let (first, secs) = self.begun.front().map(|first| (first.1.clone(), since(first)))?;
        if self.begun.back().is_some_and(|last| since(last) >= spacing) {
            self.begun.push_back((at, self.grown.clone()));
        }
        let rate = |(series, grown): (&u64, &f64)| (grown - first.get(series).copied().unwrap_or(0.0)) / secs;
        (secs > 0.0).then(|| self.grown.iter().map(rate).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_series_become_one_value() {
        let of = |combine, values: &[f64]| combined(combine, values.iter().copied());
        let each = [Combine::Max, Combine::Min, Combine::Sum, Combine::Mean];
        assert_eq!(each.map(|c| of(c, &[1.0, 2.0, 6.0])), [Some(6.0), Some(1.0), Some(9.0), Some(3.0)]);
        assert_eq!(each.map(|c| of(c, &[])), [None; 4]);
        assert_eq!(each.map(|c| of(c, &[1.0, f64::NAN])), [None; 4]);
        assert_eq!(of(Combine::Sum, &[f64::MAX, f64::MAX]), None);
    }

    #[test]
    fn rates_survive_restarts_gaps_and_new_series() {
        let target: TargetId = TargetId {
            service: "shop".to_string().try_into().unwrap(),
            target: "web".to_string().try_into().unwrap(),
        };
        let rule = RuleName::parse("deadlocks").unwrap();
        let rates = Rates::default();
        let read = |second: i64, pod: &str, counters: &[(u64, f64)]| {
            let at = Timestamp::from_second(second).unwrap();
            let of = Reading { at, target: &target, pod };
            rates.advance(of, &rule, Duration::from_secs(60), counters.iter().copied().collect())
        };
        assert_eq!(read(0, "a", &[(1, 100.0)]), None, "a pod's whole life is no growth");
        assert_eq!(read(10, "a", &[(1, 120.0)]), Some(vec![2.0]));
        assert_eq!(read(10, "b", &[(1, 0.0)]), None, "another pod");
        assert_eq!(read(20, "a", &[(1, 5.0)]), Some(vec![1.25]), "20 and 5 after a restart, in 20 s");
        assert_eq!(read(20, "a", &[(1, 5.0)]), Some(vec![1.25]), "read twice");
        assert_eq!(read(25, "a", &[(1, 5.0), (2, 50.0)]), Some(vec![1.0, 2.0]), "a series that is new");
        // Only the last minute counts: 300 in the 60 seconds from 20 to 80.
        assert_eq!(read(80, "a", &[(1, 305.0)]), Some(vec![5.0]));
        assert_eq!(read(2000, "a", &[(1, 900.0)]), None, "forgotten");
    }
}
