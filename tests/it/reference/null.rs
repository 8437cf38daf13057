//! How often the tests on counts are wrong at the edge of their nulls, over whole watches that are looked at after every batch.
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Poisson};
use rollguard::domain::detect::crash::Restarts;
use rollguard::domain::detect::errors::{Absolute, Relative};
use rollguard::domain::detect::mixture::{Bounds, Enough, Span};

use super::constants::{RELATIVE_NULL, USUAL_RESTARTS};
use super::traffic::{at, failures};

/// A large one, so that the number of alarms says something about it.
const ALPHA: f64 = 0.05;
const BATCHES: u32 = 120;
const WATCHES: u32 = 600;

pub(super) fn bounds(enough: Enough) -> Bounds {
    Bounds { alpha: ALPHA, enough, batches: BATCHES, dispersion: 1.0, together: 1 }
}

pub(super) fn span(batch: u32) -> Span {
    Span { since: at(i64::from(batch) * 5), secs: 5.0, in_rollout: true }
}

/// At most so many of `watches` alarm if each does with a chance of α: more come by luck in 1 of 1,000 such tests.
pub(super) fn most(watches: u32) -> u32 {
    let n = f64::from(watches);
    (n * ALPHA + 3.09 * (n * ALPHA * (1.0 - ALPHA)).sqrt()) as u32
}

/// Watches in which the evidence passes 1/α at any look. `watch` gets the truth's seed and says what it sees after a batch.
fn alarms(mut watch: impl FnMut(&mut StdRng) -> Box<dyn FnMut(&mut StdRng, u32) -> f64>) -> u32 {
    let runs = (0..WATCHES).filter(|seed| {
        let mut rng = StdRng::seed_from_u64(u64::from(*seed));
        let mut look = watch(&mut rng);
        (0..BATCHES).any(|batch| look(&mut rng, batch) >= 1.0 / ALPHA)
    });
    runs.count() as u32
}

/// A single batch may decide, so that the clip is not what keeps the promise; or several must, as in a watch.
const ENOUGH: [Enough; 2] = [Enough::AT_ONCE, Enough { batches: 3, secs: 20.0 }];

/// New pods with a failure ratio by batch, against the half-way null of a threshold of 5 %.
fn absolute_alarms(enough: Enough, ratio: fn(u32) -> f64) -> u32 {
    alarms(|_| {
        let mut test = Absolute::rollback(0.05, bounds(enough));
        Box::new(move |rng, batch| {
            test.update(span(batch), failures(rng, 40, ratio(batch)));
            test.e_value()
        })
    })
}

/// A ratio that comes and goes, up to 2.5 %.
fn drifting(batch: u32) -> f64 {
    0.025 * (0.5 + 0.5 * (f64::from(batch) / 9.0).sin())
}

#[test]
fn errors_at_the_null_alarm_as_seldom_as_promised() {
    for enough in ENOUGH {
        let (edge, drift) = (absolute_alarms(enough, |_| 0.025), absolute_alarms(enough, drifting));
        assert!(edge <= most(WATCHES) && drift <= most(WATCHES), "{enough:?}: {edge} and {drift}");
        let found = absolute_alarms(enough, |_| 0.08);
        assert!(found > WATCHES * 9 / 10, "{enough:?}: {found} of {WATCHES} at 8 %");
    }
}

/// New pods that fail `times` as often as old ones, at a level that both share and that may change.
fn relative_alarms(enough: Enough, times: f64, level: fn(u32) -> f64) -> u32 {
    alarms(|_| {
        let mut test = Relative::new(bounds(enough));
        Box::new(move |rng, batch| {
            let old = level(batch);
            test.update(span(batch), failures(rng, 40, old * times), failures(rng, 90, old));
            test.e_value()
        })
    })
}

#[test]
fn new_pods_at_the_null_alarm_as_seldom_as_promised() {
    let incident: fn(u32) -> f64 = |batch| if (30..60).contains(&batch) { 0.4 } else { 0.02 };
    for enough in ENOUGH {
        for level in [|_| 0.06, |batch| drifting(batch) * 4.0, incident] {
            let wrong = relative_alarms(enough, RELATIVE_NULL, level);
            assert!(wrong <= most(WATCHES), "{enough:?}: {wrong}");
        }
        let found = relative_alarms(enough, 5.0, |_| 0.06);
        assert!(found > WATCHES * 9 / 10, "{enough:?}: {found} of {WATCHES} at 5 times");
    }
}

#[test]
fn restarts_at_the_usual_rate_alarm_as_seldom_as_promised() {
    let wrong = |times: f64| {
        alarms(|rng| {
            let mut test = Restarts::new(ALPHA, BATCHES);
            let pods = rng.random_range(1..200);
            Box::new(move |rng, batch| {
                let mean = pods as f64 * 5.0 * USUAL_RESTARTS * times;
                test.update(span(batch), Poisson::new(mean).unwrap().sample(rng), pods);
                test.e_value()
            })
        })
    };
    let (edge, found) = (wrong(1.0), wrong(50.0));
    assert!(edge <= most(WATCHES), "{edge}");
    assert!(found > WATCHES * 8 / 10, "{found} of {WATCHES}");
}

/// Whoever stops when it looks best sees no more evidence than 1 on the average: the mean over watches, and its error.
fn stopped(ratio: f64, stop: impl Fn(&[f64]) -> bool) -> (f64, f64) {
    let seen: Vec<f64> = (0..2 * WATCHES)
        .map(|seed| {
            let mut rng = StdRng::seed_from_u64(u64::from(seed));
            let mut test = Absolute::rollback(0.05, bounds(ENOUGH[1]));
            let mut looks = Vec::new();
            for batch in 0..BATCHES {
                test.update(span(batch), failures(&mut rng, 40, ratio));
                looks.push(test.e_value());
                if stop(&looks) {
                    break;
                }
            }
            test.e_value()
        })
        .collect();
    let n = seen.len() as f64;
    let mean = seen.iter().sum::<f64>() / n;
    let variance = seen.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[test]
fn stopping_when_it_looks_best_gains_nothing() {
    let greedy = |looks: &[f64]| looks.last().is_some_and(|e| *e >= 2.0);
    let falling = |looks: &[f64]| looks.len() > 1 && looks[looks.len() - 1] < looks[looks.len() - 2];
    let (greedy, falling) = (stopped(0.025, greedy), stopped(0.025, falling));
    assert!(greedy.0 <= 1.0 + 3.1 * greedy.1, "{greedy:?}");
    assert!(falling.0 <= 1.0 + 3.1 * falling.1, "{falling:?}");
    let at_eight_percent = stopped(0.08, |looks| looks.last().is_some_and(|e| *e >= 20.0));
    assert!(at_eight_percent.0 > 10.0, "{at_eight_percent:?}");
}
