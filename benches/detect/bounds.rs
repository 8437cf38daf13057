//! What no method can beat, and how sure a count of rare events is.
use rollguard::domain::detect::latency::above_interpolated;
use rollguard::domain::histogram::Buckets;

use super::times::{Grid, Kind, MEDIAN_SECS, SIGMA, TAIL, normal_cdf};

const ALPHA: f64 = 1e-3;
/// Half of the runbook's 5 %: the greatest error ratio at which a rollback counts as false.
const NULL_RATIO: f64 = 0.025;
/// The greatest slowdown at which a rollback counts as false.
const NULL_SLOWDOWN: f64 = 1.35;

/// Requests that are needed on average to tell this error ratio from healthy (Wald).
pub(crate) fn requests_for_errors(ratio: f64) -> f64 {
    let (p, q) = (ratio, NULL_RATIO);
    (1.0 / ALPHA).ln() / (p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln())
}

/// The same for response times that all grew by `factor`.
pub(crate) fn requests_for_slowdown(factor: f64) -> f64 {
    (1.0 / ALPHA).ln() / ((factor / NULL_SLOWDOWN).ln().powi(2) / (2.0 * SIGMA * SIGMA))
}

/// The same for a tail that is slower, from what the buckets show: against all response times that are stochastically no slower
/// than the slowdown that is not held against a release, where the usual share above a bound is what the rule itself reads
/// between two bounds. The nearest of them is found by pooling neighbours where the ratio of shares would rise (isotonic
/// regression); with fine buckets and a slowdown of everything that gives the closed form above.
pub(crate) fn requests_for_tail(kind: Kind) -> f64 {
    let bounds = Grid::new(kind).bounds;
    let slower_than = |secs: f64, factor: f64| 1.0 - normal_cdf((secs / (MEDIAN_SECS * factor)).ln() / SIGMA);
    let usual_counts = bounds.iter().map(|le| (*le, 1.0 - slower_than(*le, 1.0)));
    let usual = Buckets::new(usual_counts.chain([(f64::INFINITY, 1.0)]).collect());
    let new = |le: f64| (1.0 - TAIL.0) * slower_than(le, 1.0) + TAIL.0 * slower_than(le, TAIL.1);
    let null = |le: f64| above_interpolated(&usual, le / NULL_SLOWDOWN);
    let mut pools: Vec<(f64, f64)> = Vec::new();
    let (mut p_left, mut q_left) = (1.0, 1.0);
    for le in bounds.into_iter().chain([f64::INFINITY]) {
        let (p, q) = if le.is_finite() { (new(le), null(le)) } else { (0.0, 0.0) };
        pools.push(((p_left - p).max(1e-12), (q_left - q).max(0.0)));
        (p_left, q_left) = (p, q);
        while let [.., before, last] = pools.as_mut_slice()
            && before.1 * last.0 < last.1 * before.0
        {
            (before.0, before.1) = (before.0 + last.0, before.1 + last.1);
            pools.pop();
        }
    }
    (1.0 / ALPHA).ln() / pools.iter().map(|(p, q)| p * (p / q.max(1e-12)).ln()).sum::<f64>()
}

/// The exact (Clopper-Pearson) one-sided 95 % upper limit of a probability after `hits` in `runs`.
pub(crate) fn upper_limit(hits: u64, runs: u64) -> f64 {
    if hits >= runs {
        return 1.0;
    }
    let (mut low, mut high) = (hits as f64 / runs as f64, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if at_most(hits, runs, middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// P(at most `hits` of `runs`), summed in logarithms.
fn at_most(hits: u64, runs: u64, p: f64) -> f64 {
    let n = runs as f64;
    let mut log_term = n * (1.0 - p).ln();
    let mut sum = log_term.exp();
    for k in 1..=hits {
        let k = k as f64;
        log_term += ((n - k + 1.0) / k).ln() + p.ln() - (1.0 - p).ln();
        sum += log_term.exp();
    }
    sum
}
