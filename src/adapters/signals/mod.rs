//! Where measurements come from, and what all those sources share.
#[cfg(feature = "aws")]
pub mod cloudwatch;
pub mod exposition;
pub mod http;
pub mod prometheus;
pub mod scrape;
pub mod values;

use jiff::Timestamp;

use crate::config::Selector;
use crate::domain::detect::errors::Counts;
use crate::domain::histogram::{Buckets, Histogram};
use crate::domain::names::{RuleName, ServiceName};
use crate::domain::signal::{Reading, Sample};
use crate::ports::{AskPod, AskTarget};
use values::ValueQuery;

/// A rule of a service that is read from a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRule {
    pub service: ServiceName,
    pub rule: RuleName,
    pub query: Query,
}

/// Which series a rule is measured by. Equal queries of several services are asked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Counters: all requests, and the failed ones among them.
    Errors { total: Selector, bad: Selector },
    /// A histogram of response times in seconds, classic or native, named with or without `_bucket`.
    Latency { histogram: Selector },
    /// Any other number.
    Value(ValueQuery),
}

/// What one pod's series come to.
#[derive(Clone, Debug, PartialEq)]
enum Measured {
    Counts(Counts),
    Times(Histogram),
    Value(f64),
}

impl Measured {
    /// A pod without failures often has no series of failures at all. `None`: there is nothing to go by.
    fn counts(total: Option<f64>, bad: Option<f64>) -> Option<Self> {
        let (total, bad) = (total?, bad.unwrap_or(0.0));
        (total.is_finite() && bad.is_finite()).then_some(Self::Counts(Counts { bad, total }))
    }

    /// Counts of equal bounds are added. `None` without a finite `+Inf` bucket, or when any count is none.
    fn buckets(mut pairs: Vec<(f64, f64)>) -> Option<Self> {
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut bounds: Vec<(f64, f64)> = Vec::with_capacity(pairs.len());
        for (le, count) in pairs {
            match bounds.last_mut() {
                Some(last) if last.0 == le => last.1 += count,
                Some(_) | None => bounds.push((le, count)),
            }
        }
        let mut most = 0.0_f64;
        for (_, count) in &mut bounds {
            // Series that are not read at the same instant may decrease a little.
            most = most.max(*count);
            *count = if count.is_finite() { most } else { return None };
        }
        let whole = bounds.last().is_some_and(|(le, _)| *le == f64::INFINITY);
        whole.then(|| Self::Times(Histogram::Classic(Buckets::new(bounds))))
    }

    fn times(self) -> Option<Histogram> {
        match self {
            Self::Times(times) => Some(times),
            Self::Counts(_) | Self::Value(_) => None,
        }
    }

    fn reading(self, rule: &RuleName) -> Reading {
        let rule = rule.clone();
        match self {
            Self::Counts(Counts { bad, total }) => Reading::Counts { rule, bad, total },
            Self::Times(times) => Reading::Histogram { rule, times },
            Self::Value(value) => Reading::Value { rule, value },
        }
    }
}

fn sample(at: Timestamp, target: &AskTarget, pod: Option<&AskPod>, reading: Reading) -> Sample {
    Sample {
        at,
        service: target.target.service.clone(),
        target: Some(target.target.target.clone()),
        release: pod.and_then(|pod| pod.release.clone()),
        pod: pod.map(|pod| pod.name.clone()),
        reading,
    }
}

fn no_data(
    at: Timestamp,
    target: &AskTarget,
    pod: Option<&AskPod>,
    rule: &RuleName,
    reason: impl Into<String>,
) -> Sample {
    sample(at, target, pod, Reading::NoData { rule: rule.clone(), reason: reason.into() })
}

/// A query and whose rules it measures.
struct Group {
    query: Query,
    readers: Vec<(ServiceName, RuleName)>,
}

impl Group {
    fn rules_of(&self, service: &ServiceName) -> impl Iterator<Item = &RuleName> {
        self.readers.iter().filter(move |(reader, _)| reader == service).map(|(_, rule)| rule)
    }
}

/// Rules by the query that measures them.
fn by_query(rules: Vec<SourceRule>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for SourceRule { service, rule, query } in rules {
        match groups.iter_mut().find(|group| group.query == query) {
            Some(group) => group.readers.push((service, rule)),
            None => groups.push(Group { query, readers: vec![(service, rule)] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn buckets_are_cumulative_whole_and_finite() {
        let Some(Measured::Times(buckets)) =
            Measured::buckets(vec![(INF, 9.0), (0.5, 4.0), (0.5, 1.0), (1.0, 3.0)])
        else {
            panic!("no buckets")
        };
        assert_eq!(buckets.cumulative().bounds(), [(0.5, 5.0), (1.0, 5.0), (INF, 9.0)]);
        assert_eq!(Measured::buckets(vec![(0.5, 4.0)]), None, "no +Inf");
        assert_eq!(Measured::buckets(vec![(0.5, f64::NAN), (INF, 4.0)]), None);
        assert_eq!(Measured::buckets(vec![]), None);
    }

    #[test]
    fn no_failures_are_zero_but_nothing_and_nan_are_no_counts() {
        let counts = |bad, total| Some(Measured::Counts(Counts { bad, total }));
        assert_eq!(Measured::counts(Some(5.0), None), counts(0.0, 5.0));
        assert_eq!(Measured::counts(Some(0.0), Some(0.0)), counts(0.0, 0.0));
        assert_eq!(Measured::counts(None, Some(1.0)), None);
        assert_eq!(Measured::counts(Some(5.0), Some(f64::NAN)), None);
        assert_eq!(Measured::counts(Some(f64::NAN), None), None);
    }
}
