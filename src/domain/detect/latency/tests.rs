//! Thresholds lie on real bounds, interpolation never makes usual requests look faster, and the null holds by simulation.
use jiff::Timestamp;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, LogNormal};

use super::*;
use crate::domain::detect::mixture::Enough;

const LES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
const BOUNDS: Bounds = Bounds {
    alpha: 1e-2,
    enough: Enough { batches: 3, secs: 20.0 },
    batches: 360,
    dispersion: 1.0,
    together: 1,
};

fn buckets(times: impl Iterator<Item = f64>) -> Buckets {
    let mut counts = [0.0; 12];
    for secs in times {
        for (le, count) in LES.iter().zip(&mut counts) {
            *count += f64::from(u8::from(secs <= *le));
        }
    }
    Buckets::new(LES.into_iter().zip(counts).collect())
}

fn draw(rng: &mut StdRng, requests: usize, slower: f64) -> Buckets {
    let times = LogNormal::new(0.08_f64.ln(), 0.6).unwrap();
    buckets((0..requests).map(|_| times.sample(rng) * slower))
}

fn span(batch: i64) -> Span {
    Span { since: Timestamp::from_second(batch * 5).unwrap(), secs: 5.0, in_rollout: true }
}

#[test]
fn thresholds_are_real_bounds_with_usual_shares_that_are_no_understatement() {
    let usual = draw(&mut StdRng::seed_from_u64(1), 20_000, 1.0);
    let chosen = thresholds(&usual, 1.35);
    assert!((2..=5).contains(&chosen.len()), "{chosen:?}");
    for threshold in chosen {
        assert!(LES.contains(&threshold.above));
        let slower = draw(&mut StdRng::seed_from_u64(2), 20_000, 1.35);
        let truly = above(&slower, threshold.above) / slower.count();
        assert!(truly <= threshold.usual_share + 0.005, "{threshold:?}: {truly}");
    }
}

#[test]
fn usual_times_in_one_bucket_give_a_threshold_above_it_or_none() {
    let fast = buckets((0..1000).map(|_| 0.001));
    assert!(thresholds(&fast, 1.35).iter().all(|t| t.above > 0.005));
    assert_eq!(thresholds(&buckets((0..1000).map(|_| 60.0)), 1.35), vec![]);
    assert_eq!(thresholds(&Buckets::default(), 1.35), vec![]);
}

#[test]
fn no_more_alarms_than_promised_at_the_edge_of_the_null() {
    let reference = draw(&mut StdRng::seed_from_u64(9), 50_000, 1.0);
    let chosen = thresholds(&reference, 1.35);
    let (mut beside_alarms, mut before_alarms) = (0, 0);
    let runs = 300;
    for seed in 0..runs {
        let mut rng = StdRng::seed_from_u64(1000 + seed);
        let (mut beside, mut before) = (Slower::new(&chosen, BOUNDS), Slower::new(&chosen, BOUNDS));
        for batch in 0..120 {
            let (new, old) = (draw(&mut rng, 25, 1.35), draw(&mut rng, 75, 1.0));
            beside.update_beside(span(batch), &new, &old);
            before.update_since_before(span(batch), &new);
        }
        beside_alarms += u64::from(beside.alarmed());
        before_alarms += u64::from(before.alarmed());
    }
    // α is 1 %: more than 9 of 300 would come by chance in fewer than 1 of 1,000 such tests.
    assert!(beside_alarms <= 9 && before_alarms <= 9, "{beside_alarms} and {before_alarms} of {runs}");
}

#[test]
fn sixty_percent_slower_is_found_soon_and_not_slower_is_proven() {
    let reference = draw(&mut StdRng::seed_from_u64(9), 50_000, 1.0);
    let chosen = thresholds(&reference, 1.35);
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut slower = Slower::new(&chosen, BOUNDS);
        let mut healthy = NotSlower::new(&thresholds(&reference, 1.25));
        let found = (0..40).find(|&batch| {
            slower.update_since_before(span(batch), &draw(&mut rng, 50, 1.6));
            slower.alarmed()
        });
        assert!(found.is_some_and(|batch| batch <= 18), "seed {seed}: {found:?}");
        (0..60).for_each(|_| healthy.update(&draw(&mut rng, 50, 1.0)));
        assert!(healthy.proven());
    }
}

proptest! {
    #[test]
    fn interpolation_lies_between_the_neighbouring_bounds(times in prop::collection::vec(0.001f64..12.0, 1..200), bound in 0.001f64..11.0) {
        let usual = buckets(times.iter().copied());
        let truly = times.iter().filter(|t| **t > bound).count() as f64;
        let found = above_interpolated(&usual, bound);
        let next = above(&usual, bound);
        prop_assert!(found >= next - 1e-9, "{found} {next}");
        prop_assert!(found <= usual.count() + 1e-9);
        // Within one bucket of the truth, on the cautious side at both ends.
        let lower = LES.iter().rev().find(|le| **le <= bound).map_or(usual.count(), |le| above(&usual, *le));
        prop_assert!(found <= lower + 1e-9 && truly <= lower);
    }
}
