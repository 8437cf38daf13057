//! More failures, more restarts and slower requests are never less evidence, and never sooner health.
use proptest::prelude::*;
use rollguard::domain::detect::crash::Restarts;
use rollguard::domain::detect::errors::{Absolute, Counts, Relative};
use rollguard::domain::detect::healthy::Healthy;
use rollguard::domain::detect::latency::{NotSlower, Slower, Threshold, thresholds};
use rollguard::domain::detect::mixture::{Bounds, Enough};
use rollguard::domain::histogram::Buckets;

use super::null::span;
use super::traffic::CLASSIC;

const BOUNDS: Bounds = Bounds {
    alpha: 1e-3,
    enough: Enough { batches: 3, secs: 20.0 },
    batches: 60,
    dispersion: 1.5,
    together: 1,
};

/// Never less, up to rounding.
fn at_least(more: f64, less: f64) -> bool {
    more >= less * (1.0 - 1e-12)
}

/// Requests, how many of them fail, and how many more might.
fn counts() -> impl Strategy<Value = (Counts, Counts)> {
    (0u32..60, 0.0f64..=1.0, 0.0f64..=1.0).prop_map(|(total, few, more)| {
        let total = f64::from(total);
        let bad = (total * few * few).floor();
        let worse = bad + ((total - bad) * more * more).floor();
        (Counts { bad, total }, Counts { bad: worse, total })
    })
}

fn cumulative(counts: [u32; 12]) -> Buckets {
    let mut sum = 0.0;
    let add = |(le, count): (f64, u32)| {
        sum += f64::from(count);
        (le, sum)
    };
    Buckets::new(CLASSIC.into_iter().zip(counts).map(add).collect())
}

/// Requests by bucket, and the same with some of each moved to the next slower bucket.
fn slowed() -> impl Strategy<Value = (Buckets, Buckets)> {
    (prop::array::uniform12(0u32..12), prop::array::uniform12(0u32..12)).prop_map(|(counts, moved)| {
        let mut slower = counts;
        for k in 0..11 {
            let moved = moved[k].min(counts[k]);
            slower[k] -= moved;
            slower[k + 1] += moved;
        }
        (cumulative(counts), cumulative(slower))
    })
}

fn usual() -> Vec<Threshold> {
    thresholds(&cumulative([10, 20, 100, 400, 900, 700, 300, 120, 60, 20, 8, 4]), 1.35)
}

proptest! {
    #[test]
    fn more_failures_are_no_less_evidence(batches in prop::collection::vec((counts(), counts()), 1..60)) {
        let new = || (Absolute::rollback(0.05, BOUNDS), Relative::new(BOUNDS), Healthy::new(0.0));
        let ((mut few, mut few_beside, mut healthier), (mut more, mut more_beside, mut sicker)) = (new(), new());
        for (batch, ((bad, worse), (old, _))) in batches.into_iter().enumerate() {
            let span = span(batch as u32);
            few.update(span, bad);
            more.update(span, worse);
            few_beside.update(span, bad, old);
            more_beside.update(span, worse, old);
            healthier.update(bad);
            sicker.update(worse);
            prop_assert!(at_least(more.e_value(), few.e_value()), "{} {}", more.e_value(), few.e_value());
            prop_assert!(at_least(more_beside.e_value(), few_beside.e_value()));
            prop_assert!(healthier.proven() || !sicker.proven());
        }
    }

    #[test]
    fn failures_of_old_pods_are_no_evidence_against_new_ones(batches in prop::collection::vec((counts(), counts()), 1..60)) {
        let (mut few, mut more) = (Relative::new(BOUNDS), Relative::new(BOUNDS));
        for (batch, ((new, _), (old, worse))) in batches.into_iter().enumerate() {
            few.update(span(batch as u32), new, old);
            more.update(span(batch as u32), new, worse);
            prop_assert!(at_least(few.e_value(), more.e_value()), "{} {}", few.e_value(), more.e_value());
        }
    }

    #[test]
    fn more_restarts_are_no_less_evidence(batches in prop::collection::vec((0u8..3, 0u8..3, 1usize..9), 1..60)) {
        let (mut few, mut more) = (Restarts::new(3e-4, 60), Restarts::new(3e-4, 60));
        for (batch, (count, extra, pods)) in batches.into_iter().enumerate() {
            few.update(span(batch as u32), f64::from(count), pods);
            more.update(span(batch as u32), f64::from(count + extra), pods);
            prop_assert!(at_least(more.e_value(), few.e_value()));
        }
    }

    #[test]
    fn slower_requests_are_no_less_evidence(batches in prop::collection::vec((slowed(), slowed()), 1..30)) {
        let new = || (Slower::new(&usual(), BOUNDS), Slower::new(&usual(), BOUNDS), NotSlower::new(&usual()));
        let ((mut fast, mut fast_beside, mut healthier), (mut slow, mut slow_beside, mut sicker)) = (new(), new());
        for (batch, ((times, slowed), (old, _))) in batches.iter().enumerate() {
            let span = span(batch as u32);
            fast.update_since_before(span, times);
            slow.update_since_before(span, slowed);
            fast_beside.update_beside(span, times, old);
            slow_beside.update_beside(span, slowed, old);
            healthier.update(times);
            sicker.update(slowed);
            prop_assert!(at_least(slow.e_value(), fast.e_value()), "{} {}", slow.e_value(), fast.e_value());
            prop_assert!(at_least(slow_beside.e_value(), fast_beside.e_value()));
            prop_assert!(healthier.proven() || !sicker.proven());
        }
    }
}
