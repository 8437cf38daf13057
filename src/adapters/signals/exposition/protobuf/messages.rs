//! The messages of `io.prometheus.client`, as far as they matter here: `metrics.proto` of prometheus/client_model.
use crate::domain::histogram::{Native, Zero};

/// A label of a metric.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

/// One of a family; the message that is set tells its type.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(super) gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    pub(super) counter: Option<Number>,
    #[prost(message, optional, tag = "4")]
    pub(super) summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    pub(super) untyped: Option<Number>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<Histogram>,
}

/// `Gauge`, `Counter` and `Untyped` are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Number {
    #[prost(double, optional, tag = "1")]
    pub(super) value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Summary {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) quantile: Vec<Quantile>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Quantile {
    #[prost(double, optional, tag = "1")]
    pub(super) quantile: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub(super) value: Option<f64>,
}

/// Classic buckets, native ones, or both. The counts of native ones are differences of whole numbers, or plain floats.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "4")]
    pub(super) sample_count_float: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub(super) zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(double, optional, tag = "8")]
    pub(super) zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "9")]
    pub(super) negative_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    pub(super) negative_delta: Vec<i64>,
    #[prost(double, repeated, packed = "false", tag = "11")]
    pub(super) negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) positive_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(super) positive_delta: Vec<i64>,
    #[prost(double, repeated, packed = "false", tag = "14")]
    pub(super) positive_count: Vec<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "4")]
    pub(super) cumulative_count_float: Option<f64>,
    #[prost(double, optional, tag = "2")]
    pub(super) upper_bound: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

impl Metric {
    /// The value of a metric that is one number.
    pub(super) fn number(&self) -> Option<f64> {
        let single = [&self.counter, &self.gauge, &self.untyped].into_iter().flatten().next();
        single.map(|number| number.value.unwrap_or(0.0))
    }
}

impl Histogram {
    pub(super) fn count(&self) -> f64 {
        either(self.sample_count_float, self.sample_count)
    }

    /// A native one always has a span or a zero bucket, even without observations.
    pub(super) fn is_native(&self) -> bool {
        let spans = !self.positive_span.is_empty() || !self.negative_span.is_empty();
        spans || self.zero_threshold.is_some_and(|t| t > 0.0) || self.zero() > 0.0
    }

    fn zero(&self) -> f64 {
        either(self.zero_count_float, self.zero_count)
    }

    /// The native part; `None` when its numbers make no histogram.
    pub(super) fn native(&self) -> Option<Native> {
        let below: f64 = absolute(&self.negative_delta, &self.negative_count)?.iter().sum();
        let zero = Zero { threshold: self.zero_threshold.unwrap_or(0.0), count: self.zero() + below };
        let spans: Vec<(i32, u32)> = self.positive_span.iter().map(|s| (s.offset(), s.length())).collect();
        let counts = absolute(&self.positive_delta, &self.positive_count)?;
        Native::from_spans(self.schema.unwrap_or(0), zero, &spans, &counts).ok()
    }
}

impl Bucket {
    pub(super) fn count(&self) -> f64 {
        either(self.cumulative_count_float, self.cumulative_count)
    }
}

/// The float is set only in histograms of floats.
fn either(float: Option<f64>, whole: Option<u64>) -> f64 {
    float.filter(|count| *count != 0.0).unwrap_or_else(|| whole.unwrap_or(0) as f64)
}

/// Counts from their differences; those of floats are absolute already.
fn absolute(deltas: &[i64], floats: &[f64]) -> Option<Vec<f64>> {
    if !floats.is_empty() {
        return Some(floats.to_vec());
    }
    let mut sum = 0_i64;
    let mut add = |delta: &i64| {
        sum = sum.checked_add(*delta)?;
        Some(sum as f64)
    };
    deltas.iter().map(&mut add).collect()
}
