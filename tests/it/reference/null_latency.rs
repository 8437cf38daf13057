//! How often the tests on response times are wrong when requests are slower by exactly the ratio that they allow.
use rand::{SeedableRng, rngs::StdRng};
use rollguard::domain::detect::latency::{Slower, thresholds};
use rollguard::domain::detect::mixture::Enough;

use super::null::{bounds, most, span};
use super::traffic::{CLASSIC, fine, times};

const RATIO: f64 = 1.35;
const BATCHES: u32 = 60;
const WATCHES: u32 = 160;
const ENOUGH: Enough = Enough { batches: 3, secs: 20.0 };

/// Watches that alarm: against old pods beside, and against the time before. Levels by batch: of the new pods over the old
/// ones, and of the old ones over the time before.
fn alarms(buckets: &[f64], new: fn(u32) -> f64, old: fn(u32) -> f64) -> (u32, u32) {
    let usual = times(&mut StdRng::seed_from_u64(1), buckets, 20_000, 1.0);
    let chosen = thresholds(&usual, RATIO);
    assert!(chosen.len() >= 3, "{chosen:?}");
    let (mut beside_alarms, mut before_alarms) = (0, 0);
    for seed in 0..WATCHES {
        let mut rng = StdRng::seed_from_u64(u64::from(seed) + 1000);
        let mut beside = Slower::new(&chosen, bounds(ENOUGH));
        let mut before = beside.clone();
        let (mut beside_alarmed, mut before_alarmed) = (false, false);
        for batch in 0..BATCHES {
            let level = old(batch);
            let news = times(&mut rng, buckets, 25, level * new(batch));
            beside.update_beside(span(batch), &news, &times(&mut rng, buckets, 50, level));
            before.update_since_before(span(batch), &news);
            beside_alarmed |= beside.alarmed();
            before_alarmed |= before.alarmed();
        }
        beside_alarms += u32::from(beside_alarmed);
        before_alarms += u32::from(before_alarmed);
    }
    (beside_alarms, before_alarms)
}

fn wave(batch: u32) -> f64 {
    0.5 + 0.5 * (f64::from(batch) / 7.0).sin()
}

fn holds_at_the_edge(buckets: &[f64]) {
    let (beside, before) = alarms(buckets, |_| RATIO, |_| 1.0);
    assert!(beside <= most(WATCHES) && before <= most(WATCHES), "{beside} and {before} of {WATCHES}");
}

#[test]
fn slower_by_the_ratio_alarms_as_seldom_as_promised_with_classic_buckets() {
    holds_at_the_edge(&CLASSIC);
}

#[test]
fn slower_by_the_ratio_alarms_as_seldom_as_promised_with_fine_buckets() {
    holds_at_the_edge(&fine());
}

#[test]
fn levels_that_drift_inside_the_null_alarm_as_seldom_as_promised() {
    // Slower beside old pods that get slower and faster themselves; and slower than before, more and less.
    let (beside, _) = alarms(&CLASSIC, |_| RATIO, |batch| 1.0 + wave(batch));
    let (_, before) = alarms(&CLASSIC, |batch| 1.0 + (RATIO - 1.0) * wave(batch), |_| 1.0);
    assert!(beside <= most(WATCHES) && before <= most(WATCHES), "{beside} and {before} of {WATCHES}");
    let (beside, before) = alarms(&CLASSIC, |_| 1.8, |_| 1.0);
    assert!(beside > WATCHES * 9 / 10 && before > WATCHES * 9 / 10, "{beside} and {before} of {WATCHES}");
}
