//! The simulation of `benches/detect`: the peers' rules and the traffic models against examples worked by hand.
#![allow(dead_code, reason = "the modules are those of the bench, which uses all of them")]

#[path = "../../benches/detect/bounds.rs"]
mod bounds;
#[path = "../../benches/detect/cells.rs"]
mod cells;
#[path = "../../benches/detect/contest.rs"]
mod contest;
#[path = "../../benches/detect/ours.rs"]
mod ours;
#[path = "../../benches/detect/peers/mod.rs"]
mod peers;
#[path = "../../benches/detect/run.rs"]
mod run;
#[path = "../../benches/detect/score.rs"]
mod score;
#[path = "../../benches/detect/times.rs"]
mod times;
#[path = "../../benches/detect/track.rs"]
mod track;
#[path = "../../benches/detect/traffic.rs"]
mod traffic;
#[path = "../../benches/detect/world.rs"]
mod world;

use peers::alert::Alert;
use peers::argo::Argo;
use peers::flagger::Flagger;
use peers::kayenta::{is_high, statistic};
use rand::SeedableRng;
use rand::rngs::StdRng;
use times::{Grid, Kind, Speed, normal_cdf, quantile};
use traffic::{Bursts, Failures, Healthy, binomial, spread};

#[test]
fn flagger_rolls_back_on_the_tick_after_the_fifth_failed_check_and_forgets_none() {
    let mut flagger = Flagger::new(5);
    let checks = [false, true, false, true, true, false, false, false];
    assert!(checks.iter().all(|passed| !flagger.tick(Some(*passed))));
    // Five have failed by now; what this tick would measure no longer matters.
    assert!(flagger.tick(Some(true)));
    let mut without_data = Flagger::new(1);
    assert!(!without_data.tick(None));
    assert!(without_data.tick(Some(true)));
}

#[test]
fn argo_fails_at_the_fourth_failed_measurement_or_the_fifth_error_in_a_row() {
    let mut argo = Argo::new(3);
    let measured = [false, true, false, true, true, false, true];
    assert!(measured.iter().all(|success| !argo.measure(Some(*success))));
    assert!(argo.measure(Some(false)));
    let mut argo = Argo::new(3);
    let errors = [None, None, None, None, Some(true), None, None, None, None];
    assert!(errors.iter().all(|success| !argo.measure(*success)));
    assert!(argo.measure(None));
}

#[test]
fn an_alert_fires_when_it_has_held_for_its_time_without_a_break() {
    let mut alert = Alert::new(60);
    let held = |alert: &mut Alert, from: u32| (0..4).any(|n| alert.evaluate(from + 15 * n, Some(true)));
    assert!(!held(&mut alert, 15));
    assert!(alert.evaluate(75, Some(true)));
    assert!(!alert.evaluate(90, None));
    assert!(!held(&mut alert, 105));
    assert!(alert.evaluate(165, Some(true)));
}

#[test]
fn kayenta_needs_a_clear_order_and_a_narrow_interval() {
    // All five above all five: U = 25, (25 − 12.5 − 0.5) / √(25 · 11 / 12) = 2.5067 > 2.3263.
    let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [11.0, 12.0, 13.0, 14.0, 15.0]);
    assert!((statistic(&high, &low, 0.0) - 2.506_724).abs() < 1e-5);
    assert!(is_high(&low, &high));
    assert!(!is_high(&high, &low));
    // One of them below one: U = 24, 2.2978 < 2.3263.
    assert!(!is_high(&[1.0, 2.0, 3.0, 4.0, 11.5], &high));
    // Four against four cannot be enough: (16 − 8 − 0.5) / √(16 · 9 / 12) = 2.165.
    assert!(!is_high(&low[..4], &high[..4]));
    assert!(!is_high(&[0.0; 5], &[0.0; 5]));
    assert!(!is_high(&low, &low));
    assert!(!is_high(&[], &high));
    // Certainly higher (2.71), yet the interval begins at 11 − 10.5, which is under a quarter of the estimate of 11.
    assert!(!is_high(&[0.0, 0.0, 0.0, 0.5, 10.5], &[11.0, 11.0, 11.0, 11.0, 11.0]));
}

/// Ties count half: with x = {1, 2} and y = {2, 3} the ranks of x are 1 and 2.5, U = 0.5.
#[test]
fn ties_are_corrected_for() {
    let variance: f64 = 4.0 / 12.0 * (5.0 - 6.0 / 12.0);
    let expected = (3.5 - 3.0 - 2.0 + 0.5) / variance.sqrt();
    assert!((statistic(&[1.0, 2.0], &[2.0, 3.0], 0.0) - expected).abs() < 1e-12);
}

#[test]
fn every_kind_of_failures_has_the_ratio_that_it_says() {
    let models = [
        (Healthy::Independent { ratio: 0.01 }, 0.01),
        (Healthy::Clusters { ratio: 0.01 }, 0.01),
        (Healthy::Runs { ratio: 0.01 }, 0.01),
        (Healthy::BetaBinomial { ratio: 0.01 }, 0.01),
        // 3.5 s of 50 % every 303.5 s.
        (Healthy::Bursts { ratio: 0.001 }, 0.001 + 0.5 * 3.5 / 303.5),
    ];
    for (model, expected) in models {
        let mut rng = StdRng::seed_from_u64(7);
        let mut failures = Failures::new(&mut rng, model, 20.0);
        let batches = 200_000_u32;
        let failed: u64 = (0..batches).map(|n| failures.draw(&mut rng, n * 5, 5, 100)).sum();
        let ratio = failed as f64 / f64::from(batches) / 100.0;
        assert!((ratio / expected - 1.0).abs() < 0.03, "{model:?}: {ratio}");
    }
}

/// Variance of a batch's failures over the binomial one.
fn dispersion(model: Healthy) -> f64 {
    let mut rng = StdRng::seed_from_u64(8);
    let mut failures = Failures::new(&mut rng, model, 20.0);
    let counts: Vec<f64> = (0..200_000_u32).map(|n| failures.draw(&mut rng, n * 5, 5, 100) as f64).collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64;
    variance / (mean * (1.0 - mean / 100.0))
}

#[test]
fn clusters_and_beta_binomial_failures_are_as_dispersed_as_they_should_be() {
    assert!((dispersion(Healthy::Independent { ratio: 0.01 }) - 1.0).abs() < 0.02);
    assert!((dispersion(Healthy::BetaBinomial { ratio: 0.01 }) / 8.0 - 1.0).abs() < 0.05);
    // A compound of geometric lengths with mean 5 has E[L²]/E[L] = 9, over 0.99. With a hundred requests in a batch,
    // hardly any run lasts into the next.
    for model in [Healthy::Clusters { ratio: 0.01 }, Healthy::Runs { ratio: 0.01 }] {
        let found = dispersion(model);
        assert!((found * 0.99 / 9.0 - 1.0).abs() < 0.04, "{model:?}: {found}");
    }
}

#[test]
fn failures_are_spread_over_pods_without_losing_any() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut sums = [0; 3];
    for _ in 0..20_000 {
        let parts = spread(&mut rng, 6, &[2, 10, 8]);
        assert_eq!(parts.iter().sum::<u64>(), 6);
        assert!(parts.iter().zip([2, 10, 8]).all(|(mine, served)| *mine <= served));
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }
    let share = |n: u64| n as f64 / 120_000.0;
    assert!((share(sums[1]) - 0.5).abs() < 0.02 && (share(sums[0]) - 0.1).abs() < 0.02, "{sums:?}");
    assert_eq!(spread(&mut rng, 20, &[2, 10, 8]), [2, 10, 8]);
    assert_eq!(spread(&mut rng, 0, &[0, 0]), [0, 0]);
}

#[test]
fn bursts_cover_their_share_of_time() {
    let mut rng = StdRng::seed_from_u64(10);
    let mut bursts = Bursts::new(&mut rng);
    let steps = 400_000;
    let covered: f64 = (0..steps)
        .map(|n| {
            let from = f64::from(n) * 5.0;
            bursts.share(&mut rng, from, from + 5.0)
        })
        .sum();
    assert!((covered / f64::from(steps) / (3.5 / 303.5) - 1.0).abs() < 0.03, "{covered}");
}

#[test]
fn response_times_drawn_one_by_one_and_by_the_bucket_agree() {
    for kind in [Kind::Classic, Kind::Native] {
        let grid = Grid::new(kind);
        for speed in [Speed::USUAL, Speed { factor: 1.6, tail: true }] {
            let p = grid.probabilities(speed);
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let mut rng = StdRng::seed_from_u64(11);
            let (mut few, mut many) = (vec![0; grid.buckets()], vec![0; grid.buckets()]);
            (0..10_000).for_each(|_| grid.draw(&mut rng, 20, speed, &p, &mut few));
            (0..10).for_each(|_| grid.draw(&mut rng, 20_000, speed, &p, &mut many));
            assert_eq!((few.iter().sum::<u64>(), many.iter().sum::<u64>()), (200_000, 200_000));
            for counts in [few, many] {
                let worst = counts.iter().zip(&p).map(|(n, p)| (*n as f64 / 2e5 - p).abs());
                assert!(worst.fold(0.0, f64::max) < 0.006, "{kind:?} {speed:?}");
            }
        }
    }
}

#[test]
fn quantiles_are_those_of_the_lognormal() {
    let grid = Grid::new(Kind::Native);
    let p = grid.probabilities(Speed::USUAL);
    let counts: Vec<u64> = p.iter().map(|p| (p * 1e9) as u64).collect();
    // 80 ms · e^(0.6 · 1.644854) = 214.6 ms, and e^(0.6 · 2.326348) = 323.1 ms for p99.
    for (q, expected) in [(0.5, 0.08), (0.95, 0.2146), (0.99, 0.3231)] {
        let found = quantile(&grid, &counts, q).unwrap();
        assert!((found / expected - 1.0).abs() < 0.005, "{q}: {found}");
    }
    assert_eq!(quantile(&grid, &vec![0; grid.buckets()], 0.5), None);
    // Linear in a classic bucket: half of (0.05, 0.1].
    let classic = Grid::new(Kind::Classic);
    let mut counts = vec![0; classic.buckets()];
    counts[4] = 10;
    assert!((quantile(&classic, &counts, 0.5).unwrap() - 0.075).abs() < 1e-12);
    counts[11] = 1000;
    assert_eq!(quantile(&classic, &counts, 0.99), Some(10.0));
    assert!((normal_cdf(1.959_964) - 0.975).abs() < 1e-6 && (normal_cdf(-2.326_348) - 0.01).abs() < 1e-6);
}

#[test]
fn the_bounds_are_those_of_the_study() {
    for (ratio, requests) in [(0.06, 380.0), (0.15, 45.0), (0.5, 5.9)] {
        let bound = bounds::requests_for_errors(ratio);
        assert!((bound / requests - 1.0).abs() < 0.01, "{ratio}: {bound}");
    }
    assert!((bounds::requests_for_slowdown(1.6) - 172.0).abs() < 1.0);
    assert!(bounds::requests_for_tail(Kind::Native) > bounds::requests_for_slowdown(3.0));
}

/// Zero of n: 1 − 0.05^(1/n). One of 10: the root of 0.05 = (1−p)^10 + 10 p (1−p)^9 is 0.39416.
#[test]
fn limits_are_exact() {
    assert!((bounds::upper_limit(0, 20_000) - 1.497_754e-4).abs() < 1e-8);
    assert!((bounds::upper_limit(1, 10) - 0.394_163).abs() < 1e-5);
    assert!((bounds::upper_limit(4, 4000) - 0.002_287).abs() < 2e-6);
    assert_eq!(bounds::upper_limit(3, 3), 1.0);
}

fn cell(name: &str, watches: u64) -> cells::Cell {
    let found = cells::all().into_iter().find(|cell| cell.name == name);
    cells::Cell { watches, ..found.unwrap_or_else(|| panic!("there is no cell {name:?}")) }
}

#[test]
fn what_comes_out_does_not_depend_on_the_threads() {
    for name in ["15 %, 10 rps, rolling", "+200 % classic, 10 rps, old pods stay"] {
        let cell = cell(name, 5);
        let runs = [1, 3].map(|threads| run::cell(&cell, threads, true).unwrap());
        let [one, three] = runs.map(|outcomes| format!("{outcomes:?}"));
        assert_eq!(one, three);
    }
}

/// With 15 % errors at 100 rps every minute's and every window's ratio is past 5 %: only the rules' own delays are left.
#[test]
fn the_peers_need_what_their_rules_need() {
    let cell = cell("15 %, 100 rps, old pods stay", 3);
    let row = score::row(&cell, &run::cell(&cell, 1, true).unwrap());
    let medians: Vec<f64> = row.peers.iter().map(|peer| peer.median.unwrap()).collect();
    assert_eq!(medians, [360.0, 360.0, 240.0, 315.0, 75.0, 300.0]);
    assert!(row.ours.median.is_some_and(|secs| (5.0..=30.0).contains(&secs)), "{:?}", row.ours);
}

#[test]
fn cells_have_names_of_their_own() {
    let mut names: Vec<String> = cells::all().into_iter().map(|cell| cell.name).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn a_binomial_of_nothing_is_nothing() {
    let mut rng = StdRng::seed_from_u64(12);
    assert_eq!(
        (binomial(&mut rng, 0, 0.5), binomial(&mut rng, 9, 0.0), binomial(&mut rng, 9, 1.5)),
        (0, 0, 9)
    );
}
