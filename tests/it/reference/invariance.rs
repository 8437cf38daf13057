//! What must not change a verdict: the order of readings, repetitions, late ones, skewed clocks, and how requests are spread.
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::evidence::{Cause, Evidence, Strength};
use rollguard::domain::names::RuleName;
use rollguard::domain::signal::{Reading, Sample};

use super::traffic::{at, failures};
use super::world::{Pod, counts, judged, pods, readings, sample, shifted, watch};

const SECONDS: i64 = 120;

/// Releases from healthy to bad, and slow ones.
fn release() -> impl Strategy<Value = (u64, Vec<Pod>)> {
    let kinds = prop::sample::select(vec![(0.004, 1.0), (0.04, 1.0), (0.15, 1.0), (0.004, 2.0), (0.3, 3.0)]);
    (any::<u64>(), kinds.prop_map(pods))
}

fn is_counts(sample: &Sample) -> bool {
    matches!(sample.reading, Reading::Counts { .. })
}

/// What the watch says of its error rule at the end, also if it is nothing.
fn errors_shown(seconds: &[Vec<Sample>]) -> Evidence {
    let mut watch = watch();
    let mut last = watch.tick(at(0));
    for (samples, second) in seconds.iter().zip(0..) {
        samples.iter().for_each(|sample| watch.take(sample));
        last = watch.tick(at(second));
    }
    watch.shown(&last).into_iter().find(|evidence| evidence.rule == "error-rate").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_order_of_readings_within_a_second_changes_nothing((seed, pods) in release()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let seconds = readings(&mut rng, &pods, SECONDS);
        let mut shuffled = seconds.clone();
        shuffled.iter_mut().for_each(|samples| samples.shuffle(&mut rng));
        prop_assert_eq!(judged(&shuffled), judged(&seconds));
    }

    #[test]
    fn readings_that_come_twice_change_nothing((seed, pods) in release()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let seconds = readings(&mut rng, &pods, SECONDS);
        let mut repeated = seconds.clone();
        for samples in &mut repeated {
            samples.extend(samples.clone());
            samples.shuffle(&mut rng);
        }
        prop_assert_eq!(judged(&repeated), judged(&seconds));
    }

    /// A replica that lags shows counters as they were a few seconds ago.
    #[test]
    fn counts_that_come_late_change_nothing((seed, pods) in release()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let seconds = readings(&mut rng, &pods, SECONDS);
        let mut lagging = seconds.clone();
        for second in 40..seconds.len() {
            let behind = rng.random_range(1..6);
            lagging[second].extend(seconds[second - behind].iter().filter(|s| is_counts(s)).cloned());
        }
        prop_assert_eq!(judged(&lagging), judged(&seconds));
    }

    #[test]
    fn how_requests_are_spread_over_pods_is_no_evidence(seed in any::<u64>(), many in 2usize..9, ratio in 0.0f64..0.2) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut one, mut parts) = (Counts::default(), vec![Counts::default(); many]);
        let (mut whole, mut split) = (Vec::new(), Vec::new());
        for second in 0..SECONDS {
            for part in &mut parts {
                let came = failures(&mut rng, 5, ratio);
                part.add(came);
                one.add(came);
            }
            let of = |pod: String, c: Counts| sample(second, "v2", &pod, counts(c.bad, c.total));
            whole.push(vec![of("all".into(), one)]);
            split.push(parts.iter().enumerate().map(|(k, part)| of(format!("p{k}"), *part)).collect());
        }
        let (whole, split) = (errors_shown(&whole).numbers.unwrap(), errors_shown(&split).numbers.unwrap());
        prop_assert_eq!((whole.e_value, whole.bad, whole.total), (split.e_value, split.bad, split.total));
        prop_assert_eq!((whole.low, whole.high, whole.estimate), (split.low, split.high, split.estimate));
    }

    /// Readings that are missing lose no request: the next ones hold them.
    #[test]
    fn missing_readings_lose_nothing(seed in any::<u64>(), ratio in 0.0f64..0.3) {
        let mut rng = StdRng::seed_from_u64(seed);
        let seconds = readings(&mut rng, &pods((ratio, 1.0)), 55);
        let mut some = seconds.clone();
        let last = some.len() - 1;
        some[..last].iter_mut().for_each(|samples| samples.retain(|_| rng.random_bool(0.4)));
        let recent = |seconds: &[Vec<Sample>]| {
            let mut watch = watch();
            for (samples, second) in seconds.iter().zip(0..) {
                samples.iter().for_each(|sample| watch.take(sample));
                watch.tick(at(second));
            }
            // The batch under way is not counted yet.
            watch.tick(at(60));
            watch.figures().recent[&RuleName::parse("error-rate").unwrap()]
        };
        prop_assert_eq!(recent(&some), recent(&seconds));
        prop_assert_eq!(recent(&seconds).total, 55.0 * 30.0);
    }

    /// A container that restarts begins to count at nothing: what it counted since its last reading is lost, no more.
    #[test]
    fn a_restart_invents_nothing(seed in any::<u64>(), restarts in prop::collection::btree_set(15usize..50, 1..3)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut sum, mut all, mut seconds) = (Counts::default(), Counts::default(), Vec::new());
        for second in 0..55_usize {
            if restarts.contains(&second) {
                sum = Counts::default();
            }
            let came = failures(&mut rng, 10, 0.1);
            sum.add(came);
            all.add(came);
            seconds.push(vec![sample(second as i64, "v2", "pod", counts(sum.bad, sum.total))]);
        }
        // Two restarts within a few seconds of each other cannot be told from a counter that lags.
        prop_assume!(restarts.iter().zip(restarts.iter().skip(1)).all(|(a, b)| b - a > 3));
        let mut watch = watch();
        for (samples, second) in seconds.iter().zip(0..) {
            samples.iter().for_each(|sample| watch.take(sample));
            watch.tick(at(second));
        }
        watch.tick(at(60));
        prop_assert_eq!(watch.figures().recent[&RuleName::parse("error-rate").unwrap()], all);
    }
}

/// Strength and cause at the end, and the second of the first call for a rollback.
fn outcome(seconds: &[Vec<Sample>]) -> (Strength, Cause, Option<usize>) {
    let assessments = judged(seconds);
    let last = &assessments[assessments.len() - 1].verdict;
    let decided = assessments.iter().position(|a| a.verdict.strength == Strength::Rollback);
    (last.strength, last.cause, decided)
}

#[test]
fn clocks_that_differ_by_two_seconds_change_no_clear_verdict() {
    for (seed, new) in [(1, (0.004, 1.0)), (2, (0.2, 1.0)), (3, (0.004, 3.0))] {
        let mut rng = StdRng::seed_from_u64(seed);
        let seconds = readings(&mut rng, &pods(new), 150);
        let mut skewed = seconds.clone();
        for samples in &mut skewed {
            for sample in samples {
                // Each pod's node has a clock of its own.
                let pod = sample.pod.clone().unwrap_or_default();
                let skew = pod.bytes().map(|b| i64::from(b) * 997).sum::<i64>() % 4001 - 2000;
                sample.at = shifted(sample.at, skew);
            }
        }
        let (straight, askew) = (outcome(&seconds), outcome(&skewed));
        assert_eq!((askew.0, askew.1), (straight.0, straight.1), "{new:?}");
        let near = |(a, b): (usize, usize)| a.abs_diff(b) <= 5;
        assert!(straight.2.zip(askew.2).is_none_or(near), "{new:?}: {straight:?} {askew:?}");
        assert_eq!(straight.2.is_some(), askew.2.is_some());
        assert_eq!(straight.2.is_some(), new != (0.004, 1.0), "{straight:?}");
    }
}

#[test]
fn pods_that_come_and_go_change_no_clear_verdict() {
    for (seed, ratio, expected) in [(1, 0.2, Strength::Rollback), (2, 0.002, Strength::Quiet)] {
        let mut rng = StdRng::seed_from_u64(seed);
        // Every pod lives for twenty seconds, and another one takes its place.
        let lives = |release: &'static str, ratio: f64| {
            (0..27_i64).map(move |k| {
                let start = k / 3 * 20 + k % 3 * 5;
                Pod { release, name: format!("{release}-{k}"), ratio, slower: 1.0, there: start..start + 25 }
            })
        };
        let pods: Vec<Pod> = lives("v2", ratio).chain(lives("v1", 0.002)).collect();
        let found = outcome(&readings(&mut rng, &pods, 180));
        assert_eq!(found.0, expected, "{found:?}");
        assert!(found.2.is_none_or(|second| second <= 40), "{found:?}");
    }
}
