//! Readings that are no numbers, or negative ones, never change a verdict.
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollguard::domain::evidence::Strength;
use rollguard::domain::histogram::{Buckets, Histogram};
use rollguard::domain::names::RuleName;
use rollguard::domain::signal::{Reading, Sample};

use super::traffic::CLASSIC;
use super::world::{counts, judged, pods, readings, sample};

const NONSENSE: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];

fn nonsense(rng: &mut StdRng, pod: &str, release: &str, second: i64) -> Sample {
    let mut number = || NONSENSE[rng.random_range(0..NONSENSE.len())];
    let (a, b) = (number(), number());
    let reading = match second % 4 {
        0 => counts(a, 500.0),
        1 => counts(3.0, a),
        2 => counts(a, b),
        _ => {
            let mut buckets = CLASSIC.map(|le| (le, 50.0));
            buckets[(second / 4) as usize % 12].1 = a;
            let times = Histogram::Classic(Buckets::new(buckets.to_vec()));
            Reading::Histogram { rule: RuleName::parse("latency").unwrap(), times }
        }
    };
    sample(second, release, pod, reading)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn nonsense_among_the_readings_changes_nothing(seed in any::<u64>(), new in prop::sample::select(vec![(0.004, 1.0), (0.15, 1.0), (0.004, 2.0)])) {
        let mut rng = StdRng::seed_from_u64(seed);
        let pods = pods(new);
        let seconds = readings(&mut rng, &pods, 120);
        let mut spoiled = seconds.clone();
        for (samples, second) in spoiled.iter_mut().zip(0..) {
            for pod in &pods {
                let place = rng.random_range(0..=samples.len());
                samples.insert(place, nonsense(&mut rng, &pod.name, pod.release, second));
            }
        }
        prop_assert_eq!(judged(&spoiled), judged(&seconds));
    }
}

/// A source that answers with nonsense only does not answer.
#[test]
fn nonsense_alone_is_no_data() {
    let mut rng = StdRng::seed_from_u64(1);
    let seconds: Vec<Vec<Sample>> = (0..200).map(|s| vec![nonsense(&mut rng, "v2-0", "v2", s)]).collect();
    let last = judged(&seconds).pop().unwrap().verdict;
    assert_eq!((last.strength, last.rule.as_deref()), (Strength::Urgent, Some("blind")), "{}", last.reason);
}
