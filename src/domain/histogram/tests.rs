//! What holds for all histograms: adding, differences, coarsening, quantiles and their JSON form.
use proptest::prelude::*;
use serde_json::json;

use super::*;

const INF: f64 = f64::INFINITY;

fn native(schema: i32, zero: (f64, f64), counts: &[(i32, f64)]) -> Native {
    let zero = Zero { threshold: zero.0, count: zero.1 };
    Native::new(schema, zero, counts.to_vec()).unwrap()
}

fn classic(bounds: &[(f64, f64)]) -> Buckets {
    Buckets::new(bounds.to_vec())
}

#[test]
fn classic_quantiles_interpolate_like_prometheus() {
    let buckets = classic(&[(0.1, 50.0), (0.2, 100.0), (INF, 100.0)]);
    assert_eq!(buckets.quantile(0.5), Some(0.1));
    assert_eq!(buckets.quantile(0.75), Some(0.15000000000000002));
    assert_eq!(Buckets::default().quantile(0.95), None);
    assert_eq!(classic(&[(0.1, 0.0), (INF, 9.0)]).quantile(0.5), Some(0.1), "beyond the last bound");
}

/// Half of a bucket's observations are up to its geometric mean.
#[test]
fn native_quantiles_interpolate_like_prometheus() {
    let one = native(0, (0.0, 0.0), &[(1, 1.0)]);
    assert!((one.quantile(0.5).unwrap() - 2f64.sqrt()).abs() < 1e-12);
    let several = native(0, (0.001, 2.0), &[(0, 2.0), (1, 3.0), (2, 1.0), (3, 4.0)]);
    for (q, expected) in [(0.0, 0.0), (0.1, 0.0006), (0.9, 4.0 * 2f64.powf(0.7)), (1.0, 8.0)] {
        let found = several.quantile(q).unwrap();
        assert!((found - expected).abs() < 1e-12, "{q}: {found} instead of {expected}");
    }
    assert_eq!(Native::default().quantile(0.5), None);
    let largest = native(0, (0.0, 0.0), &[(1025, 1.0)]);
    assert_eq!(largest.quantile(0.5), Some(f64::from(1024).exp2().min(largest_bound())), "infinity");
}

fn largest_bound() -> f64 {
    native(0, (0.0, 0.0), &[(1025, 1.0)]).cumulative().bounds()[0].0
}

#[test]
fn native_buckets_have_their_bounds() {
    let times = native(1, (0.001, 4.0), &[(-2, 1.0), (-1, 2.0), (2, 3.0)]);
    let half = 0.5_f64.sqrt();
    let expected = [(0.001, 4.0), (0.5_f64.powf(1.5), 4.0), (0.5, 5.0), (half, 7.0), (2_f64.sqrt(), 7.0)];
    let found = times.cumulative();
    for (found, expected) in found.bounds().iter().zip(expected) {
        assert!((found.0 - expected.0).abs() < 1e-12 && found.1 == expected.1, "{found:?} {expected:?}");
    }
    assert_eq!(found.bounds()[5..], [(2.0, 10.0), (INF, 10.0)]);
}

#[test]
fn a_wider_zero_threshold_swallows_buckets() {
    let mut sum = native(0, (0.0, 0.0), &[(-9, 1.0), (-8, 2.0), (1, 5.0)]);
    sum.add(&native(0, (2f64.powi(-8), 3.0), &[(1, 1.0)]));
    assert_eq!(sum, native(0, (2f64.powi(-8), 6.0), &[(1, 6.0)]));
    let earlier = native(0, (0.0, 0.0), &[(-9, 1.0), (1, 5.0)]);
    assert_eq!(sum.since(&earlier), native(0, (2f64.powi(-8), 5.0), &[(1, 1.0)]));
}

#[test]
fn a_finer_schema_on_the_way_is_reduced() {
    let coarse = native(0, (0.0, 0.0), &[(0, 10.0), (1, 10.0)]);
    let fine = native(1, (0.0, 0.0), &[(-1, 6.0), (0, 5.0), (1, 12.0), (2, 1.0)]);
    assert_eq!(fine.since(&coarse), native(0, (0.0, 0.0), &[(0, 1.0), (1, 3.0)]));
}

/// `[fast, slow]` observations, cumulative in time, of either kind.
fn both_kinds(fast: f64, slow: f64) -> [Histogram; 2] {
    [
        Histogram::Classic(classic(&[(0.1, fast), (INF, fast + slow)])),
        Histogram::Native(native(0, (0.0, 0.0), &[(-3, fast), (1, slow)])),
    ]
}

#[test]
fn a_late_reading_neither_counts_nor_moves_the_mark() {
    for kind in 0..2 {
        let mut mark = both_kinds(50.0, 50.0)[kind].clone();
        let readings = [(55.0, 60.0), (54.0, 58.0), (60.0, 60.0), (2.0, 1.0), (2.0, 2.0)];
        let came = readings.map(|(fast, slow)| mark.advance(&both_kinds(fast, slow)[kind]).count());
        assert_eq!(came, [15.0, 0.0, 5.0, 3.0, 1.0], "later, late, later, begun again, later");
        assert_eq!(mark, both_kinds(2.0, 2.0)[kind]);
    }
}

#[test]
fn resets_are_new_and_late_readings_nothing() {
    let then = native(0, (0.0, 0.0), &[(0, 50.0), (1, 50.0)]);
    let restarted = native(0, (0.0, 0.0), &[(0, 3.0)]);
    assert_eq!(restarted.since(&then), restarted);
    let busy = native(0, (0.0, 0.0), &[(1, 130.0)]);
    assert_eq!(busy.since(&then), busy, "more than before, but a bucket is gone");
    let late = native(0, (0.0, 0.0), &[(0, 45.0), (1, 50.0)]);
    assert_eq!(late.since(&then).count(), 0.0);

    let then = classic(&[(0.1, 50.0), (INF, 100.0)]);
    let restarted = classic(&[(0.1, 3.0), (INF, 3.0)]);
    assert_eq!(restarted.since(&then), restarted);
    let busy = classic(&[(0.1, 2.0), (INF, 130.0)]);
    assert_eq!(busy.since(&then), busy);
    assert_eq!(classic(&[(0.1, 45.0), (INF, 95.0)]).since(&then).count(), 0.0);
    let other_layout = classic(&[(0.2, 500.0), (INF, 500.0)]);
    assert_eq!(other_layout.since(&then), other_layout);
    let appeared = classic(&[(0.1, 51.0), (0.2, 54.0), (INF, 105.0)]);
    assert_eq!(appeared.since(&then).bounds(), [(0.1, 1.0), (0.2, 4.0), (INF, 5.0)]);
}

#[test]
fn recordings_hold_spans_and_what_is_no_histogram_is_refused() {
    let times = Histogram::Native(native(3, (0.001, 1.0), &[(-9, 2.0), (-8, 3.0), (4, 1.0)]));
    let text = json!({"native": {"schema": 3, "zero_threshold": 0.001, "zero_count": 1.0,
        "spans": [[-9, 2], [11, 1]], "counts": [2.0, 3.0, 1.0]}});
    assert_eq!(serde_json::to_value(&times).unwrap(), text);
    assert_eq!(serde_json::from_value::<Histogram>(text).unwrap(), times);
    for (bad, why) in [
        (json!({"native": {"schema": 9}}), "the schema 9"),
        (json!({"native": {"schema": 0, "spans": [[0, 2]], "counts": [1]}}), "2 buckets"),
        (json!({"native": {"schema": 0, "spans": [[0, 4294967295u32]], "counts": []}}), "4294967295 buckets"),
        (json!({"native": {"schema": 0, "spans": [[2000, 1]], "counts": [1]}}), "bucket 2000"),
        (
            json!({"native": {"schema": 0, "spans": [[i32::MAX, 1], [i32::MAX, 1]], "counts": [1, 1]}}),
            "bucket",
        ),
        (json!({"native": {"schema": 0, "spans": [[0, 1]], "counts": [-1]}}), "count"),
        (json!({"native": {"schema": 0, "zero_threshold": -1}}), "threshold"),
        (json!({"buckets": {"0.1": 1}}), "+Inf"),
        (json!({"buckets": {"x": 1, "+Inf": 1}}), "\"x\" is not a bucket bound"),
        (json!({"buckets": {"+Inf": -1}}), "count"),
    ] {
        let error = serde_json::from_value::<Histogram>(bad.clone()).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn memory_is_bounded_and_no_observation_lost() {
    let many: Vec<(i32, f64)> = (-40_000..20_000).map(|i| (i, 1.0)).collect();
    let kept = Native::new(8, Zero::default(), many).unwrap();
    assert_eq!(kept.count(), 60_000.0);
    assert!(kept.cumulative().bounds().len() <= BUCKETS_MAX + 2);
    let bounds: Vec<(f64, f64)> = (1..=5000).map(|i| (f64::from(i), f64::from(i))).collect();
    let kept = Buckets::new(bounds);
    assert!(kept.bounds().len() <= BUCKETS_MAX && kept.count() == 5000.0);
    assert!(kept.bounds().iter().all(|(le, count)| le == count));
    let too_many = vec![(0, 1.0); BUCKETS_READ_MAX + 1];
    assert!(matches!(Native::new(8, Zero::default(), too_many), Err(HistogramError::TooMany(_))));
}

prop_compose! {
    fn any_native()(
        schema in SCHEMAS,
        threshold in (0u32..100).prop_map(|n| f64::from(n) / 1024.0),
        zero in 0u32..5,
        counts in proptest::collection::vec((0.0001..60.0f64, 0u32..50), 0..40),
    ) -> Native {
        let index = |seconds: f64| (seconds.log2() * 2f64.powi(schema)).ceil() as i32;
        let counts: Vec<(i32, f64)> = counts.into_iter().map(|(s, n)| (index(s), f64::from(n))).collect();
        native(schema, (threshold, f64::from(zero)), &counts)
    }
}

fn sum(a: &Native, b: &Native) -> Native {
    let mut sum = a.clone();
    sum.add(b);
    sum
}

/// Both count the same up to every bound that both have.
fn agree(a: &Native, b: &Native) -> Result<(), TestCaseError> {
    prop_assert!((a.count() - b.count()).abs() < 1e-6);
    let (a, b) = (a.cumulative(), b.cumulative());
    for (le, count) in a.bounds() {
        if let Some((_, other)) = b.bounds().iter().find(|(bound, _)| bound == le) {
            prop_assert!((count - other).abs() < 1e-6, "at {le}: {count} and {other}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn adding_does_not_depend_on_the_order(a in any_native(), b in any_native(), c in any_native()) {
        prop_assert_eq!(sum(&a, &b), sum(&b, &a));
        agree(&sum(&sum(&a, &b), &c), &sum(&a, &sum(&b, &c)))?;
        prop_assert!((sum(&a, &b).count() - a.count() - b.count()).abs() < 1e-6);
        prop_assert_eq!(sum(&a, &Native::default()), a);
    }

    #[test]
    fn coarsening_keeps_what_is_below_the_bounds_that_stay(a in any_native(), schema in -4i32..=8) {
        // Adding an empty bucket's worth of a coarser one reduces the resolution.
        let coarse = native(schema, (0.0, 0.0), &[(0, 1e-12)]);
        agree(&sum(&a, &coarse), &a)?;
    }

    #[test]
    fn the_difference_and_the_earlier_one_are_the_later_one(earlier in any_native(), more in any_native()) {
        let later = sum(&earlier, &more);
        agree(&sum(&earlier, &later.since(&earlier)), &later)?;
        prop_assert_eq!(later.since(&later).count(), 0.0);
    }

    #[test]
    fn json_is_read_as_it_was_written(a in any_native()) {
        let times = Histogram::Native(a);
        let text = serde_json::to_string(&times).unwrap();
        prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), times);
    }

    #[test]
    fn cumulative_counts_grow_and_quantiles_are_within_their_bounds(a in any_native(), q in 0.0..=1.0f64) {
        let cumulative = a.cumulative();
        prop_assert!(cumulative.bounds().is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{cumulative:?}");
        prop_assert_eq!(cumulative.count(), if a.count() > 0.0 { a.count() } else { 0.0 });
        if let Some(seconds) = a.quantile(q) {
            let coarse = cumulative.quantile(q).unwrap();
            let same_bucket = |le: f64| (seconds < le * (1.0 - 1e-9)) == (coarse < le * (1.0 - 1e-9))
                || (seconds / le - 1.0).abs() < 1e-9 || (coarse / le - 1.0).abs() < 1e-9;
            prop_assert!(cumulative.bounds().iter().all(|(le, _)| same_bucket(*le)), "{seconds} {coarse}");
        }
    }

    #[test]
    fn classic_ones_add_and_subtract(
        earlier in proptest::collection::vec(0u32..100, 4),
        more in proptest::collection::vec(0u32..100, 4),
    ) {
        let of = |counts: &[u32]| {
            let mut sum = 0.0;
            let mut at = |le: f64, n: u32| { sum += f64::from(n); (le, sum) };
            classic(&[at(0.1, counts[0]), at(0.2, counts[1]), at(0.4, counts[2]), at(INF, counts[3])])
        };
        let mut later = of(&earlier);
        later.add(&of(&more));
        let mut turned = of(&more);
        turned.add(&of(&earlier));
        prop_assert_eq!(&later, &turned);
        prop_assert_eq!(later.since(&of(&earlier)), of(&more));
        let text = serde_json::to_string(&Histogram::Classic(later.clone())).unwrap();
        prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), Histogram::Classic(later));
    }
}
