//! Native histograms in Prometheus' JSON answers: bounds and counts as text, from which schema and indices are found again.
use serde::Deserialize;

use crate::domain::histogram::{Buckets, Histogram, Native, SCHEMAS, Zero};

/// A moment and a histogram. Empty buckets are left out.
#[derive(Deserialize)]
pub(super) struct Told(pub(super) f64, Body);

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

/// Which of its bounds belong to a bucket: only the zero bucket has both.
const BOTH_BOUNDS: u8 = 3;
/// Bounds are exact but for rounding; those of buckets that somebody chose are this close only by chance.
const ROUNDING: f64 = 1e-6;

#[derive(Clone, Copy)]
struct Bucket {
    lower: f64,
    upper: f64,
    count: f64,
}

impl Told {
    /// Native, or classic when the bounds are no powers (custom buckets, schema -53). `None`: it is not made of numbers.
    pub(super) fn times(&self) -> Option<Histogram> {
        let mut zero = Zero::default();
        let mut buckets = Vec::with_capacity(self.1.buckets.len());
        for (rule, lower, upper, count) in &self.1.buckets {
            let one = Bucket { lower: number(lower)?, upper: number(upper)?, count: number(count)? };
            if *rule == BOTH_BOUNDS {
                zero.threshold = one.upper;
            }
            if *rule == BOTH_BOUNDS || one.upper <= 0.0 {
                zero.count += one.count;
            } else {
                buckets.push(one);
            }
        }
        buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
        match exponential(&buckets) {
            Some((schema, counts)) => Native::new(schema, zero, counts).ok().map(Histogram::Native),
            None => Some(Histogram::Classic(custom(zero, &buckets))),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

/// Schema and indices, if the bounds are those of a schema.
fn exponential(buckets: &[Bucket]) -> Option<(i32, Vec<(i32, f64)>)> {
    // The lowest bucket may be cut off by the zero bucket, the highest is open if it holds infinity.
    let Some(whole) = buckets.iter().rfind(|bucket| bucket.upper.is_finite()) else {
        return buckets.is_empty().then(|| (0, Vec::new()));
    };
    let schema = near_whole(-(whole.upper.log2() - whole.lower.log2()).log2())?;
    if !SCHEMAS.contains(&schema) {
        return None;
    }
    let index = |bound: f64| near_whole(bound.log2() * 2f64.powi(schema));
    let indexed = |bucket: &Bucket| {
        let index =
            if bucket.upper.is_finite() { index(bucket.upper) } else { index(bucket.lower).map(|i| i + 1) };
        index.map(|index| (index, bucket.count))
    };
    let counts: Option<Vec<(i32, f64)>> = buckets.iter().map(indexed).collect();
    counts.map(|counts| (schema, counts))
}

fn near_whole(x: f64) -> Option<i32> {
    let whole = x.round();
    let near = (x - whole).abs() <= ROUNDING * whole.abs().max(1.0) && whole.abs() < f64::from(i32::MAX);
    near.then_some(whole as i32)
}

/// Nothing lies between the buckets that are shown, so both bounds of each have exact counts.
fn custom(zero: Zero, buckets: &[Bucket]) -> Buckets {
    let mut sum = zero.count;
    let mut bounds = Vec::with_capacity(2 * buckets.len() + 2);
    if sum > 0.0 {
        bounds.push((zero.threshold, sum));
    }
    for bucket in buckets {
        if bucket.lower.is_finite() {
            bounds.push((bucket.lower, sum));
        }
        sum += bucket.count;
        bounds.push((bucket.upper, sum));
    }
    bounds.push((f64::INFINITY, sum));
    Buckets::new(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(buckets: serde_json::Value) -> Option<Histogram> {
        serde_json::from_value::<Told>(json!([1.5, {"count": "9", "sum": "2", "buckets": buckets}]))
            .unwrap()
            .times()
    }

    fn native(schema: i32, zero: (f64, f64), counts: &[(i32, f64)]) -> Option<Histogram> {
        let zero = Zero { threshold: zero.0, count: zero.1 };
        Some(Histogram::Native(Native::new(schema, zero, counts.to_vec()).unwrap()))
    }

    #[test]
    fn schema_and_indices_are_found_from_the_bounds() {
        for schema in SCHEMAS {
            let indices = [-9 * 2i32.pow(schema.max(0) as u32) / 2, -1, 0, 1, 3];
            let bound = |i: i32| (f64::from(i) * 2f64.powi(-schema)).exp2();
            let row = |i: &i32| json!([0, bound(i - 1).to_string(), bound(*i).to_string(), "2"]);
            let counts = indices.map(|i| (i, 2.0));
            assert_eq!(
                told(indices.iter().map(row).collect()),
                native(schema, (0.0, 0.0), &counts),
                "{schema}"
            );
        }
        let zero =
            json!([[1, "-2", "-1", "1"], [3, "-0.5", "0.5", "4"], [0, "0.5", "1", "1"], [0, "1", "2", "3"]]);
        assert_eq!(told(zero), native(0, (0.5, 5.0), &[(0, 1.0), (1, 3.0)]), "below zero");
        let cut = json!([
            [3, "-0.75", "0.75", "4"],
            [0, "0.75", "1", "1"],
            [0, "1", "2", "3"],
            [0, "8", "+Inf", "1"]
        ]);
        assert_eq!(told(cut), native(0, (0.75, 4.0), &[(0, 1.0), (1, 3.0), (4, 1.0)]));
        assert_eq!(told(json!([])), native(0, (0.0, 0.0), &[]));
        assert_eq!(told(json!([[0, "1", "x", "3"]])), None);
        assert_eq!(told(json!([[0, "1", "2", "-3"]])), None);
    }

    #[test]
    fn custom_buckets_are_classic() {
        let told =
            told(json!([[0, "-Inf", "0.1", "5"], [0, "0.25", "0.5", "3"], [0, "1", "+Inf", "1"]])).unwrap();
        let expected = [(0.1, 5.0), (0.25, 5.0), (0.5, 8.0), (1.0, 8.0), (f64::INFINITY, 9.0)];
        assert_eq!(told, Histogram::Classic(Buckets::new(expected.to_vec())));
    }
}
