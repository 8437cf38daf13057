//! Classic histograms: cumulative counts at bounds that the service's author chose.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BUCKETS_MAX, BUCKETS_READ_MAX, HistogramError, is_reset};

/// A classic histogram: bound in seconds → cumulative count, ascending, `+Inf` last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>", into = "BTreeMap<String, f64>")]
pub struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// Sorts by bound. Bounds that are NaN are dropped, and so are some where there are very many: the others' counts
    /// stay right without them.
    pub fn new(mut bounds: Vec<(f64, f64)>) -> Self {
        bounds.retain(|(le, _)| !le.is_nan());
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        bounds.dedup_by(|next, first| next.0 == first.0);
        if bounds.len() > BUCKETS_MAX {
            let (stride, last) = (bounds.len().div_ceil(BUCKETS_MAX), bounds.len() - 1);
            let mut index = 0..;
            bounds.retain(|_| index.next().is_some_and(|i: usize| (last - i).is_multiple_of(stride)));
        }
        Self(bounds)
    }

    /// From bounds and counts that somebody else wrote, in any order.
    ///
    /// # Errors
    /// When a count is none, `+Inf` is missing, or there are too many.
    pub fn read(bounds: Vec<(f64, f64)>) -> Result<Self, HistogramError> {
        if bounds.len() > BUCKETS_READ_MAX {
            return Err(HistogramError::TooMany(bounds.len()));
        }
        if bounds.iter().any(|(_, count)| !count.is_finite() || *count < 0.0) {
            return Err(HistogramError::Count);
        }
        let Self(mut bounds) = Self::new(bounds);
        if bounds.last().is_some_and(|(le, _)| *le != f64::INFINITY) {
            return Err(HistogramError::NoInf);
        }
        // Series that are not read at the same instant may decrease a little.
        let mut most = 0.0_f64;
        for (_, count) in &mut bounds {
            most = most.max(*count);
            *count = most;
        }
        Ok(Self(bounds))
    }

    /// Bounds that are in order already.
    pub(super) fn sorted(bounds: Vec<(f64, f64)>) -> Self {
        Self(bounds)
    }

    pub fn bounds(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// All observations, which is the count of the last bucket.
    pub fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Adds `other`'s counts bound by bound; bounds that only one side has are dropped, so that counts stay cumulative.
    pub fn add(&mut self, other: &Buckets) {
        if other.0.is_empty() {
            return;
        }
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        self.0.retain_mut(|(le, count)| match other.0.binary_search_by(|(bound, _)| bound.total_cmp(le)) {
            Ok(same) => {
                *count += other.0[same].1;
                true
            }
            Err(_) => false,
        });
    }

    /// See [`super::Histogram::since`]. A bound that `earlier` did not have is of a client that leaves out empty buckets;
    /// one that is there no more is of another layout, and everything is new.
    pub fn since(&self, earlier: &Buckets) -> Buckets {
        let (mut lost, mut most, mut rest) = (0.0_f64, 0.0_f64, earlier.0.as_slice());
        let mut then = 0.0;
        let mut came = Vec::with_capacity(self.0.len());
        for (le, now) in &self.0 {
            if let Some(((bound, count), later)) = rest.split_first()
                && bound == le
            {
                (then, rest) = (*count, later);
            }
            lost = lost.max(then - now);
            most = most.max(now - then);
            came.push((*le, most));
        }
        let same_layout = rest.is_empty();
        if !same_layout || is_reset(lost, earlier.count()) { self.clone() } else { Self(came) }
    }

    /// The quantile in seconds, linear within its bucket as Prometheus' `histogram_quantile`; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if self.count() <= 0.0 {
            return None;
        }
        let (mut lower_le, mut lower_count) = (0.0, 0.0);
        for (le, count) in &self.0 {
            if *count >= rank {
                if le.is_infinite() {
                    return Some(lower_le);
                }
                if *le <= 0.0 {
                    return Some(*le);
                }
                let share =
                    if *count > lower_count { (rank - lower_count) / (count - lower_count) } else { 1.0 };
                return Some(lower_le + (le - lower_le) * share);
            }
            (lower_le, lower_count) = (*le, *count);
        }
        Some(lower_le)
    }
}

impl TryFrom<BTreeMap<String, f64>> for Buckets {
    type Error = HistogramError;
    fn try_from(map: BTreeMap<String, f64>) -> Result<Self, HistogramError> {
        let parsed = |(le, count): (String, f64)| Ok((parse_bound(&le)?, count));
        Self::read(map.into_iter().map(parsed).collect::<Result<_, _>>()?)
    }
}

/// A bound as it is written: seconds, or `+Inf`.
///
/// # Errors
/// When it is no number.
pub fn parse_bound(le: &str) -> Result<f64, HistogramError> {
    let bound = le.parse::<f64>().ok().filter(|bound| !bound.is_nan());
    bound.ok_or_else(|| HistogramError::Bound(le.to_string()))
}

impl From<Buckets> for BTreeMap<String, f64> {
    fn from(buckets: Buckets) -> Self {
        let text = |le: f64| if le.is_infinite() { "+Inf".to_string() } else { le.to_string() };
        buckets.0.into_iter().map(|(le, count)| (text(le), count)).collect()
    }
}
