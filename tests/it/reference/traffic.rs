//! Seeded traffic for the tests: counts and response times of batches, quiet and bursty, short and long.
use jiff::Timestamp;
use rand::{Rng, rngs::StdRng};
use rand_distr::{Binomial, Distribution, LogNormal};
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::detect::mixture::Span;
use rollguard::domain::histogram::Buckets;

pub(super) const CLASSIC: [f64; 12] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

pub(super) fn failures(rng: &mut StdRng, total: u32, ratio: f64) -> Counts {
    let bad = Binomial::new(u64::from(total), ratio).unwrap().sample(rng);
    Counts { bad: bad as f64, total: f64::from(total) }
}

/// Bounds that grow by a tenth each, as in a native histogram.
pub(super) fn fine() -> Vec<f64> {
    let bounds = (0..90).map(|k| 0.005 * 1.09_f64.powi(k));
    bounds.chain([f64::INFINITY]).collect()
}

/// Requests of a service with a median of 80 ms, slowed by a factor.
pub(super) fn times(rng: &mut StdRng, bounds: &[f64], requests: u32, slower: f64) -> Buckets {
    let usual = LogNormal::new(0.08_f64.ln(), 0.6).unwrap();
    let mut counts = vec![0.0; bounds.len()];
    for _ in 0..requests {
        let secs = usual.sample(rng) * slower;
        counts[bounds.partition_point(|le| *le < secs)] += 1.0;
    }
    let mut sum = 0.0;
    let cumulative = bounds.iter().zip(counts).map(|(le, count)| {
        sum += count;
        (*le, sum)
    });
    Buckets::new(cumulative.collect())
}

/// One batch of both versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) span: Span,
    pub(super) new: Counts,
    pub(super) old: Counts,
}

/// Batches of all lengths: usual ones, gaps of minutes, many without requests, bursts of failures, and levels that change.
pub(super) fn batches(rng: &mut StdRng, count: usize) -> Vec<Batch> {
    let (mut second, mut level) = (0, 0.01);
    let rollout = rng.random_range(0..count * 5);
    let requests = [3, 50, 2_000][rng.random_range(0..3)];
    let mut batch = |rng: &mut StdRng| {
        let secs = [5, 5, 5, 5, 1, 2, 15, 60, 600][rng.random_range(0..9)];
        if rng.random_bool(0.05) {
            level = [0.0, 0.001, 0.02, 0.06, 0.3, 1.0][rng.random_range(0..6)];
        }
        let burst = rng.random_bool(0.03);
        let mut draw = |ratio: f64| {
            let total = if rng.random_bool(0.15) { 0 } else { rng.random_range(0..=requests) };
            failures(rng, total, if burst { 0.5 } else { ratio })
        };
        let (new, old) = (draw(level), draw(level * 0.4));
        let span = Span { since: at(second), secs: secs as f64, in_rollout: second < rollout as i64 };
        second += secs;
        Batch { span, new, old }
    };
    (0..count).map(|_| batch(rng)).collect()
}
