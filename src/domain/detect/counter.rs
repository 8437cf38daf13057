//! From cumulative counters to what happened in a batch: resets, late starts and gaps.
use std::collections::BTreeMap;

use super::errors::Counts;

/// The last cumulative reading of each pod.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    last: BTreeMap<String, Counts>,
}

/// Streams beyond this are not counted; the caller makes that visible.
const STREAMS_MAX: usize = 5_000;
/// A counter begins at zero after a reset; one that is nearly where it was is merely late.
const LATE: f64 = 0.8;

impl Counters {
    /// What came since the last reading of this pod. A counter that shrank was reset: all of it is new. One that shrank by
    /// less than a fifth is an older reading that came late, as from a replica that lags: it is left out. A pod first seen
    /// counts from zero if it is `fresh` (it started inside the watch), else its first reading only sets the mark. A gap
    /// just makes the next difference cover longer. Readings that are no numbers are ignored.
    pub fn advance(&mut self, pod: &str, now: Counts, fresh: bool) -> Counts {
        let readable = |x: f64| x.is_finite() && x >= 0.0;
        if !readable(now.bad) || !readable(now.total) {
            return Counts::default();
        }
        let now = Counts { bad: now.bad.min(now.total), total: now.total };
        if let Some(last) = self.last.get_mut(pod) {
            if now.total < last.total && now.total >= last.total * LATE {
                return Counts::default();
            }
            return difference(std::mem::replace(last, now), now);
        }
        if self.full() {
            return Counts::default();
        }
        self.last.insert(pod.to_string(), now);
        if fresh { now } else { Counts::default() }
    }

    /// Forgets the pods that are not among these.
    pub fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.last.retain(|pod, _| there(pod));
    }

    pub fn full(&self) -> bool {
        self.last.len() >= STREAMS_MAX
    }
}

fn difference(last: Counts, now: Counts) -> Counts {
    if now.total < last.total {
        return now;
    }
    let total = now.total - last.total;
    let bad = if now.bad < last.bad { now.bad } else { now.bad - last.bad };
    Counts { bad: bad.min(total), total }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(bad: f64, total: f64) -> Counts {
        Counts { bad, total }
    }

    #[test]
    fn resets_fresh_pods_and_nonsense() {
        let mut counters = Counters::default();
        assert_eq!(counters.advance("old", counts(5.0, 100.0), false), counts(0.0, 0.0));
        assert_eq!(counters.advance("old", counts(6.0, 130.0), false), counts(1.0, 30.0));
        assert_eq!(counters.advance("old", counts(2.0, 10.0), false), counts(2.0, 10.0), "reset");
        assert_eq!(counters.advance("old", counts(2.0, 40.0), false), counts(0.0, 30.0));
        assert_eq!(counters.advance("old", counts(2.0, 35.0), false), counts(0.0, 0.0), "late");
        assert_eq!(counters.advance("old", counts(3.0, 41.0), false), counts(1.0, 1.0));
        assert_eq!(counters.advance("new", counts(3.0, 7.0), true), counts(3.0, 7.0));
        assert_eq!(counters.advance("new", counts(f64::NAN, 9.0), true), counts(0.0, 0.0));
        assert_eq!(counters.advance("new", counts(4.0, 9.0), true), counts(1.0, 2.0));
    }

    proptest! {
        #[test]
        fn skipping_readings_loses_nothing(steps in proptest::collection::vec((0u32..50, 0u32..50, any::<bool>()), 1..60)) {
            let (mut every, mut some) = (Counters::default(), Counters::default());
            let (mut sum_every, mut sum_some, mut now) = (Counts::default(), Counts::default(), Counts::default());
            let last = steps.len() - 1;
            for (i, (bad, good, read)) in steps.into_iter().enumerate() {
                now.add(counts(f64::from(bad), f64::from(bad + good)));
                sum_every.add(every.advance("p", now, true));
                if read || i == last {
                    sum_some.add(some.advance("p", now, true));
                }
            }
            prop_assert_eq!(sum_every, sum_some);
            prop_assert_eq!(sum_every, now);
        }
    }
}
