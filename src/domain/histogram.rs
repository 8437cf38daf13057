//! Response times as histograms, classic or native: what is common to both, for judging and for people.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A histogram of seconds. Its counts are cumulative in time, or those of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Histogram {
    #[serde(rename = "buckets")]
    Classic(Buckets),
    Native(Native),
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::Classic(Buckets::default())
    }
}

impl Histogram {
    /// All observations.
    pub fn count(&self) -> f64 {
        match self {
            Histogram::Classic(buckets) => buckets.count(),
            Histogram::Native(native) => native.count(),
        }
    }

    /// What came since `earlier`; a shrunken count, or one of the other kind, means a restart, and then everything is new.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        match (self, earlier) {
            (Histogram::Classic(now), Histogram::Classic(then)) => Histogram::Classic(now.since(then)),
            (Histogram::Native(now), Histogram::Native(then)) => Histogram::Native(now.since(then)),
            (Histogram::Classic(_), Histogram::Native(_)) | (Histogram::Native(_), Histogram::Classic(_)) => {
                self.clone()
            }
        }
    }

    /// Adds `other`'s counts. Classic and native ones cannot be added: the one with more observations stays.
    pub fn add(&mut self, other: &Histogram) {
        match (self, other) {
            (Histogram::Classic(sum), Histogram::Classic(more)) => sum.add(more),
            (Histogram::Native(sum), Histogram::Native(more)) => sum.add(more),
            (mine, other) if other.count() > mine.count() => mine.clone_from(other),
            (_, _) => {}
        }
    }

    /// The same as cumulative counts at bounds, ascending, `+Inf` last.
    pub fn cumulative(&self) -> Buckets {
        match self {
            Histogram::Classic(buckets) => buckets.clone(),
            Histogram::Native(native) => native.cumulative(),
        }
    }

    /// The quantile in seconds; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        match self {
            Histogram::Classic(buckets) => buckets.quantile(q),
            Histogram::Native(native) => native.cumulative().quantile(q),
        }
    }
}

/// A classic histogram: bound in seconds → cumulative count, ascending, `+Inf` last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>", into = "BTreeMap<String, f64>")]
pub struct Buckets(Vec<(f64, f64)>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a bucket bound: use seconds such as \"0.25\", or \"+Inf\"")]
pub struct BucketError(String);

impl Buckets {
    /// Sorts by bound; NaN bounds are dropped.
    pub fn new(mut bounds: Vec<(f64, f64)>) -> Self {
        bounds.retain(|(le, _)| !le.is_nan());
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
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
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        self.0.retain_mut(|(le, count)| match other.at(*le) {
            Some(more) => {
                *count += more;
                true
            }
            None => false,
        });
    }

    /// What came since `earlier`; a shrunken count means a restart, and then everything is new.
    pub fn since(&self, earlier: &Buckets) -> Buckets {
        let reset = self.count() < earlier.count() || self.0.len() != earlier.0.len();
        if reset {
            return self.clone();
        }
        let pairs = self.0.iter().zip(&earlier.0);
        Self(pairs.map(|((le, now), (_, then))| (*le, (now - then).max(0.0))).collect())
    }

    fn at(&self, bound: f64) -> Option<f64> {
        self.0.iter().find(|(le, _)| *le == bound).map(|(_, count)| *count)
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
    type Error = BucketError;
    fn try_from(map: BTreeMap<String, f64>) -> Result<Self, BucketError> {
        let parse = |(le, count): (String, f64)| match le.parse::<f64>() {
            Ok(bound) if !bound.is_nan() => Ok((bound, count)),
            Ok(_) | Err(_) => Err(BucketError(le)),
        };
        map.into_iter().map(parse).collect::<Result<Vec<_>, _>>().map(Buckets::new)
    }
}

impl From<Buckets> for BTreeMap<String, f64> {
    fn from(buckets: Buckets) -> Self {
        let text = |le: f64| if le.is_infinite() { "+Inf".to_string() } else { le.to_string() };
        buckets.0.into_iter().map(|(le, count)| (text(le), count)).collect()
    }
}

/// A native histogram: bucket `i` holds what lies in `(b^(i-1), b^i]` with `b = 2^(2^-schema)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// −4 to 8.
    pub schema: i8,
    /// Observations of at most this many seconds are in `zero_count`.
    #[serde(default)]
    pub zero_threshold: f64,
    #[serde(default)]
    pub zero_count: f64,
    /// Count by bucket index; buckets that are not there are empty.
    #[serde(default)]
    pub counts: BTreeMap<i32, f64>,
}

impl Native {
    pub fn count(&self) -> f64 {
        self.zero_count + self.counts.values().sum::<f64>()
    }

    pub fn since(&self, earlier: &Native) -> Native {
        if self.count() < earlier.count() || self.schema != earlier.schema {
            return self.clone();
        }
        let mut came = self.clone();
        came.zero_count = (came.zero_count - earlier.zero_count).max(0.0);
        for (index, count) in &mut came.counts {
            *count = (*count - earlier.counts.get(index).copied().unwrap_or(0.0)).max(0.0);
        }
        came
    }

    /// Adds at the coarser of the two schemas: two neighbouring buckets make one of the next coarser schema.
    pub fn add(&mut self, other: &Native) {
        if self.counts.is_empty() && self.zero_count == 0.0 {
            self.clone_from(other);
            return;
        }
        let schema = self.schema.min(other.schema);
        let mut sum = self.coarser(schema);
        for (index, count) in other.coarser(schema).counts {
            *sum.counts.entry(index).or_default() += count;
        }
        sum.zero_count += other.zero_count;
        sum.zero_threshold = sum.zero_threshold.max(other.zero_threshold);
        *self = sum;
    }

    fn coarser(&self, schema: i8) -> Native {
        let halvings = u32::try_from(i32::from(self.schema) - i32::from(schema)).unwrap_or(0).min(12);
        let mut coarse = Native { schema, counts: BTreeMap::new(), ..*self };
        for (index, count) in &self.counts {
            // ceil(index / 2^halvings), also below zero.
            let coarser = (i64::from(*index) + (1 << halvings) - 1) >> halvings;
            *coarse.counts.entry(coarser as i32).or_default() += count;
        }
        coarse
    }

    pub fn cumulative(&self) -> Buckets {
        let width = 2f64.powi(-i32::from(self.schema));
        let mut sum = self.zero_count;
        let mut bounds = vec![(self.zero_threshold, sum)];
        let mut last = None;
        for (index, count) in &self.counts {
            // The lower end of a bucket after a gap is a bound too, else the quantile would be spread over the gap.
            if last != Some(index - 1) {
                bounds.push(((f64::from(index - 1) * width).exp2(), sum));
            }
            sum += count;
            bounds.push(((f64::from(*index) * width).exp2(), sum));
            last = Some(*index);
        }
        bounds.push((f64::INFINITY, sum));
        Buckets::new(bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_like_prometheus() {
        let buckets = Buckets::new(vec![(0.1, 50.0), (0.2, 100.0), (f64::INFINITY, 100.0)]);
        assert_eq!(buckets.quantile(0.5), Some(0.1));
        assert_eq!(buckets.quantile(0.75), Some(0.15000000000000002));
        assert_eq!(Buckets::default().quantile(0.95), None);
    }
}
