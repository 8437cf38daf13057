//! Response times as histograms, classic or native: what is common to both, for judging and for people.
mod classic;
mod native;

use serde::{Deserialize, Serialize};

pub use classic::{Buckets, parse_bound};
pub use native::{Native, SCHEMAS, Zero};

/// A histogram of seconds. Its counts are cumulative in time, or those of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Histogram {
    #[serde(rename = "buckets")]
    Classic(Buckets),
    Native(Native),
}

/// Why something is no histogram. Read by people who write recordings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    #[error("{0:?} is not a bucket bound: use seconds such as \"0.25\", or \"+Inf\"")]
    Bound(String),
    #[error("a bucket's count is not a finite number of at least 0")]
    Count,
    #[error("the bucket \"+Inf\" is missing: it holds the count of all observations")]
    NoInf,
    #[error("the schema {0} is none of an exponential histogram: it must be from -4 to 8")]
    Schema(i32),
    #[error("the zero threshold is not a finite number of at least 0")]
    Threshold,
    #[error("the spans hold {spans} buckets, but there are {counts} counts")]
    Spans { spans: u64, counts: usize },
    #[error("bucket {0} is outside the numbers: check the offsets of the spans")]
    Index(i64),
    #[error("there are {0} buckets, more than any client sends")]
    TooMany(usize),
}

/// More buckets than this are not kept: neighbours are put together, which loses resolution and no observation.
const BUCKETS_MAX: usize = 512;
/// Input with more buckets than this is refused before it is worked on.
const BUCKETS_READ_MAX: usize = 65_536;
/// A counter that lost no more than this part is late or was read in the middle of a change; one that lost more is new.
const LOSS_MAX: f64 = 0.2;

/// Whether what has `lost` so many of `earlier` observations must have begun again.
fn is_reset(lost: f64, earlier: f64) -> bool {
    lost > LOSS_MAX * earlier
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::Classic(Buckets::default())
    }
}

impl Histogram {
    /// The same with nothing counted: where counting began.
    pub fn emptied(&self) -> Histogram {
        match self {
            Histogram::Classic(buckets) => {
                let zero = buckets.bounds().iter().map(|(le, _)| (*le, 0.0));
                Histogram::Classic(Buckets::sorted(zero.collect()))
            }
            Histogram::Native(_) => Histogram::Native(Native::default()),
        }
    }

    /// All observations.
    pub fn count(&self) -> f64 {
        match self {
            Histogram::Classic(buckets) => buckets.count(),
            Histogram::Native(native) => native.count(),
        }
    }

    /// What came since `earlier`. One of the other kind, or one that lost more than a fifth of its observations, has begun
    /// again, and then everything is new; a bucket that lost a few is late, and nothing came in it.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        match (self, earlier) {
            (Histogram::Classic(now), Histogram::Classic(then)) => Histogram::Classic(now.since(then)),
            (Histogram::Native(now), Histogram::Native(then)) => Histogram::Native(now.since(then)),
            (Histogram::Classic(_), Histogram::Native(_)) | (Histogram::Native(_), Histogram::Classic(_)) => {
                self.clone()
            }
        }
    }

    /// What came between this reading and `now`, which takes its place. One that counts less without having begun again is an
    /// older one that came late: nothing came, and this one stays, or else the next would count its loss once more.
    pub fn advance(&mut self, now: &Histogram) -> Histogram {
        let came = now.since(self);
        if now.count() < self.count() && came != *now {
            return Histogram::default();
        }
        self.clone_from(now);
        came
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

    /// The 95th percentile, for people and for verification.
    pub fn p95_ms(&self) -> Option<f64> {
        self.quantile(0.95).map(|seconds| seconds * 1000.0)
    }

    /// The quantile in seconds, as Prometheus' `histogram_quantile` works it out; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        match self {
            Histogram::Classic(buckets) => buckets.quantile(q),
            Histogram::Native(native) => native.quantile(q),
        }
    }
}

#[cfg(test)]
mod tests;
