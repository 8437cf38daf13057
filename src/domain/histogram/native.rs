//! Native histograms: sparse buckets whose bounds are powers of `2^(2^-schema)`, as Prometheus defines them.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{BUCKETS_MAX, BUCKETS_READ_MAX, Buckets, HistogramError, is_reset};

/// The schemas of exponential buckets.
pub const SCHEMAS: RangeInclusive<i32> = -4..=8;
/// The exponents of 2 between which all finite numbers above zero are.
const EXPONENTS: RangeInclusive<i64> = -1075..=1024;

/// What is in no bucket: observations of at most `threshold` seconds, and those below zero, which only a broken clock makes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Zero {
    pub threshold: f64,
    pub count: f64,
}

/// A native histogram: bucket `i` holds what lies in `(b^(i-1), b^i]` with `b = 2^(2^-schema)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Spans", into = "Spans")]
pub struct Native {
    /// 0 while there are no counts.
    schema: i8,
    /// Its threshold is 0 while its count is.
    zero: Zero,
    /// Count by bucket, ascending, each more than 0, none of them wholly within the zero threshold.
    counts: Vec<(i32, f64)>,
}

/// The form of recordings: absolute counts, in spans of neighbouring buckets as in Prometheus' protobuf format.
#[derive(Serialize, Deserialize)]
struct Spans {
    schema: i32,
    #[serde(default)]
    zero_threshold: f64,
    #[serde(default)]
    zero_count: f64,
    /// Offset and length; the first offset is a bucket's index, the others are gaps.
    #[serde(default)]
    spans: Vec<(i32, u32)>,
    #[serde(default)]
    counts: Vec<f64>,
}

impl Native {
    /// From buckets in any order.
    ///
    /// # Errors
    /// When a number is none that a histogram can have.
    pub fn new(schema: i32, zero: Zero, mut counts: Vec<(i32, f64)>) -> Result<Self, HistogramError> {
        let exact = i8::try_from(schema).ok().filter(|_| SCHEMAS.contains(&schema));
        let schema = exact.ok_or(HistogramError::Schema(schema))?;
        let countable = |count: f64| count.is_finite() && count >= 0.0;
        if !countable(zero.threshold) {
            return Err(HistogramError::Threshold);
        }
        if counts.len() > BUCKETS_READ_MAX {
            return Err(HistogramError::TooMany(counts.len()));
        }
        if !countable(zero.count) || counts.iter().any(|(_, count)| !countable(*count)) {
            return Err(HistogramError::Count);
        }
        for (index, _) in &counts {
            if !EXPONENTS.contains(&exponent(*index, schema)) {
                return Err(HistogramError::Index(i64::from(*index)));
            }
        }
        counts.sort_by_key(|(index, _)| *index);
        counts.dedup_by(|next, first| {
            let same = next.0 == first.0;
            first.1 += if same { next.1 } else { 0.0 };
            same
        });
        Ok(Self { schema, zero, counts }.tidied())
    }

    /// From spans of neighbouring buckets: the first offset is a bucket's index, the others are gaps.
    ///
    /// # Errors
    /// When a number is none that a histogram can have, or counts and spans do not fit together.
    pub fn from_spans(
        schema: i32,
        zero: Zero,
        spans: &[(i32, u32)],
        counts: &[f64],
    ) -> Result<Self, HistogramError> {
        let buckets: u64 = spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if usize::try_from(buckets) != Ok(counts.len()) {
            return Err(HistogramError::Spans { spans: buckets, counts: counts.len() });
        }
        let (mut next, mut left) = (0_i64, counts.iter());
        let mut indexed = Vec::with_capacity(counts.len());
        for (offset, length) in spans {
            next += i64::from(*offset);
            for count in left.by_ref().take(usize::try_from(*length).unwrap_or(usize::MAX)) {
                indexed.push((i32::try_from(next).map_err(|_| HistogramError::Index(next))?, *count));
                next += 1;
            }
        }
        Self::new(schema, zero, indexed)
    }

    pub fn count(&self) -> f64 {
        self.zero.count + self.counts.iter().map(|(_, count)| count).sum::<f64>()
    }

    /// See [`super::Histogram::since`]. Where resolution or zero threshold changed on the way, the coarser one counts.
    pub fn since(&self, earlier: &Native) -> Native {
        let (now, then) = self.alike(earlier);
        let mut lost = (then.zero.count - now.zero.count).max(0.0);
        let mut counts = Vec::with_capacity(now.counts.len());
        for (index, now, then) in pairs(&now.counts, &then.counts) {
            lost += (then - now).max(0.0);
            counts.push((index, now - then));
        }
        if is_reset(lost, earlier.count()) {
            return self.clone();
        }
        let zero = Zero { count: (now.zero.count - then.zero.count).max(0.0), ..now.zero };
        Native { schema: now.schema, zero, counts }.tidied()
    }

    /// Adds at the coarser of the two resolutions and the wider of the two zero thresholds.
    pub fn add(&mut self, other: &Native) {
        let (mine, more) = self.alike(other);
        let counts = pairs(&mine.counts, &more.counts).map(|(index, a, b)| (index, a + b)).collect();
        let zero = Zero { count: mine.zero.count + more.zero.count, ..mine.zero };
        *self = Native { schema: mine.schema, zero, counts }.tidied();
    }

    /// Both with the same schema and the same zero threshold.
    fn alike<'a>(&'a self, other: &'a Native) -> (Cow<'a, Native>, Cow<'a, Native>) {
        let schema = match (self.counts.is_empty(), other.counts.is_empty()) {
            (false, true) => self.schema,
            (true, false) => other.schema,
            (true, true) | (false, false) => self.schema.min(other.schema),
        };
        let threshold = self.zero.threshold.max(other.zero.threshold);
        (self.with(schema, threshold), other.with(schema, threshold))
    }

    fn with(&self, schema: i8, threshold: f64) -> Cow<'_, Native> {
        if schema == self.schema && threshold == self.zero.threshold {
            return Cow::Borrowed(self);
        }
        let mut one = self.coarser(schema);
        one.zero.threshold = threshold;
        one.swallow();
        Cow::Owned(one)
    }

    fn coarser(&self, schema: i8) -> Native {
        let halvings = i32::from(self.schema) - i32::from(schema);
        if halvings <= 0 {
            return Native { schema, ..self.clone() };
        }
        let mut counts: Vec<(i32, f64)> = Vec::with_capacity(self.counts.len());
        for (index, count) in &self.counts {
            // ceil(index / 2^halvings), also below zero.
            let coarse = ((index - 1) >> halvings) + 1;
            match counts.last_mut() {
                Some(last) if last.0 == coarse => last.1 += count,
                Some(_) | None => counts.push((coarse, *count)),
            }
        }
        Native { schema, counts, ..*self }
    }

    /// Buckets wholly within the zero threshold belong to it. One that reaches beyond it stays.
    fn swallow(&mut self) {
        let within = self.counts.partition_point(|(index, _)| self.bound(*index) <= self.zero.threshold);
        self.zero.count += self.counts.drain(..within).map(|(_, count)| count).sum::<f64>();
    }

    /// Restores what the fields promise, and the limit on memory.
    fn tidied(mut self) -> Self {
        self.counts.retain(|(_, count)| *count > 0.0);
        if self.zero.count > 0.0 {
            self.swallow();
        } else {
            self.zero.threshold = 0.0;
        }
        while self.counts.len() > BUCKETS_MAX && i32::from(self.schema) > *SCHEMAS.start() {
            self = self.coarser(self.schema - 1);
        }
        if self.counts.is_empty() {
            self.schema = 0;
        }
        self
    }

    /// The upper bound of a bucket, in seconds.
    fn bound(&self, index: i32) -> f64 {
        (f64::from(index) * 2f64.powi(-i32::from(self.schema))).exp2()
    }

    pub fn cumulative(&self) -> Buckets {
        let mut sum = self.zero.count;
        let mut bounds = Vec::with_capacity(2 * self.counts.len() + 2);
        let straddled = self.counts.first().is_some_and(|(i, _)| self.bound(i - 1) < self.zero.threshold);
        if sum > 0.0 && !straddled {
            bounds.push((self.zero.threshold, sum));
        }
        let mut last = None;
        for (index, count) in &self.counts {
            let lower = self.bound(index - 1);
            // The lower end of a bucket after a gap is a bound too, else the quantile would be spread over the gap.
            if last != Some(index - 1) && lower > self.zero.threshold {
                bounds.push((lower, sum));
            }
            sum += count;
            bounds.push((self.bound(*index), sum));
            last = Some(*index);
        }
        if bounds.last().is_some_and(|(le, _)| le.is_finite()) {
            bounds.push((f64::INFINITY, sum));
        }
        Buckets::sorted(bounds)
    }

    /// Exponential within its bucket and linear within the zero bucket, as `HistogramQuantile` in `promql/quantile.go` of
    /// Prometheus since 3.0.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (all, mut below) = (self.count(), self.zero.count);
        let rank = q * all;
        if all <= 0.0 {
            return None;
        }
        if below > 0.0 && below >= rank {
            return Some(self.zero.threshold * (rank / below).max(0.0));
        }
        let mut highest = self.zero.threshold;
        for (index, count) in &self.counts {
            let (lower, upper) = (self.bound(index - 1).max(self.zero.threshold), self.bound(*index));
            highest = if upper.is_finite() { upper } else { lower };
            if below + count >= rank && upper.is_finite() {
                return Some(between(lower, upper, (rank - below) / count));
            }
            below += count;
        }
        Some(highest)
    }
}

/// The part `share` of the way between two bounds, on a logarithmic scale where there is one.
fn between(lower: f64, upper: f64, share: f64) -> f64 {
    if lower > 0.0 { lower * (upper / lower).powf(share) } else { upper * share }
}

/// The exponent of 2 within which a bucket lies: its upper bound is at most 2 to that power.
fn exponent(index: i32, schema: i8) -> i64 {
    let (index, schema) = (i64::from(index), i32::from(schema));
    // One bucket beyond the largest number is that of infinity.
    let inner = index - i64::from(index > 0);
    if schema >= 0 { inner >> schema } else { inner.saturating_mul(1 << -schema) }
}

/// Two ascending lists of buckets side by side; 0 where one has no such bucket.
fn pairs<'a>(a: &'a [(i32, f64)], b: &'a [(i32, f64)]) -> Pairs<'a> {
    Pairs { a: a.iter().peekable(), b: b.iter().peekable() }
}

struct Pairs<'a> {
    a: Peekable<std::slice::Iter<'a, (i32, f64)>>,
    b: Peekable<std::slice::Iter<'a, (i32, f64)>>,
}

impl Iterator for Pairs<'_> {
    type Item = (i32, f64, f64);
    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.a.peek(), self.b.peek()) {
            (Some(a), Some(b)) => a.0.cmp(&b.0),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let a = if order.is_le() { self.a.next() } else { None };
        let b = if order.is_ge() { self.b.next() } else { None };
        let index = a.or(b)?.0;
        Some((index, a.map_or(0.0, |a| a.1), b.map_or(0.0, |b| b.1)))
    }
}

impl TryFrom<Spans> for Native {
    type Error = HistogramError;
    fn try_from(read: Spans) -> Result<Self, HistogramError> {
        let zero = Zero { threshold: read.zero_threshold, count: read.zero_count };
        Native::from_spans(read.schema, zero, &read.spans, &read.counts)
    }
}

impl From<Native> for Spans {
    fn from(native: Native) -> Self {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut next = None;
        for (index, _) in &native.counts {
            match (spans.last_mut(), next) {
                (Some(span), Some(next)) if next == *index => span.1 += 1,
                (_, next) => spans.push((index - next.unwrap_or(0), 1)),
            }
            next = Some(index + 1);
        }
        Spans {
            schema: native.schema.into(),
            zero_threshold: native.zero.threshold,
            zero_count: native.zero.count,
            spans,
            counts: native.counts.into_iter().map(|(_, count)| count).collect(),
        }
    }
}
