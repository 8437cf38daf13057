//! From cumulative counters to what happened in a batch: resets, late starts and gaps.
use std::collections::BTreeMap;

use super::errors::Counts;

/// The last cumulative reading of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    last: Option<Counts>,
}

/// A counter begins at zero after a reset; one that is nearly where it was is merely late.
const LATE: f64 = 0.8;

impl Counter {
    /// Whether nothing was read of it yet.
    pub fn is_unread(&self) -> bool {
        self.last.is_none()
    }

    /// What came since the last reading. A counter that shrank was reset: all of it is new. One that shrank by less than a
    /// fifth is an older reading that came late, as from a replica that lags: it is left out. The first reading counts from
    /// zero if the stream is `fresh` (it started inside the watch), else it only sets the mark. A gap just makes the next
    /// difference cover longer. Readings that are no numbers are ignored.
    pub fn advance(&mut self, now: Counts, fresh: bool) -> Counts {
        let readable = |x: f64| x.is_finite() && x >= 0.0;
        if !readable(now.bad) || !readable(now.total) {
            return Counts::default();
        }
        let now = Counts { bad: now.bad.min(now.total), total: now.total };
        match self.last {
            Some(last) if now.total < last.total && now.total >= last.total * LATE => Counts::default(),
            Some(last) => {
                self.last = Some(now);
                difference(last, now)
            }
            None => {
                self.last = Some(now);
                if fresh { now } else { Counts::default() }
            }
        }
    }
}

/// The counters of all the pods of a target.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pods: BTreeMap<String, Counter>,
}

/// Streams beyond this are not counted; the caller makes that visible.
pub const STREAMS_MAX: usize = 5_000;

impl Counters {
    /// See [`Counter::advance`].
    pub fn advance(&mut self, pod: &str, now: Counts, fresh: bool) -> Counts {
        if let Some(counter) = self.pods.get_mut(pod) {
            return counter.advance(now, fresh);
        }
        if self.pods.len() >= STREAMS_MAX {
            return Counts::default();
        }
        self.pods.entry(pod.to_string()).or_default().advance(now, fresh)
    }

    /// Forgets the pods that are not among these.
    pub fn keep_only(&mut self, there: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| there(pod));
    }
}

fn difference(last: Counts, now: Counts) -> Counts {
    if now.total < last.total {
        return now;
    }
    let total = now.total - last.total;
    // Failures that shrank a little while requests grew: their series came late. Far fewer: both were reset and overtook.
    let bad = match now.bad - last.bad {
        more if more >= 0.0 => more,
        _ if now.bad >= last.bad * LATE => 0.0,
        _ => now.bad,
    };
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
