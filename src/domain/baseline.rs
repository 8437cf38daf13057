//! What was usual before a release, learned from its history batch by batch and frozen as numbers.
use std::time::Duration;

use super::detect::errors::Counts;
use super::histogram::Histogram;
use super::watch::Baseline;

/// Failures that the estimate of dispersion is shrunk by: little history says little about clusters.
const SHRINK: f64 = 5.0;
const DISPERSION_MAX: f64 = 4.0;

/// Learns from batches of `step`, oldest first. Short or no history is no obstacle: the dispersion is then 1.
pub fn learn(batches: &[Counts], step: Duration) -> Baseline {
    let mut sum = Counts::default();
    batches.iter().for_each(|b| sum.add(*b));
    Baseline {
        bad: sum.bad,
        total: sum.total,
        dispersion: dispersion(batches, sum),
        seconds: step.as_secs_f64() * batches.len() as f64,
        ..Baseline::default()
    }
}

/// The same for response times: their distribution. How much slow requests come together is not learned: the dispersion is 1.
pub fn learn_times(batches: &[Histogram], step: Duration) -> Baseline {
    let mut sum = Histogram::default();
    batches.iter().for_each(|batch| sum.add(batch));
    Baseline {
        total: sum.count(),
        dispersion: 1.0,
        seconds: step.as_secs_f64() * batches.len() as f64,
        p95_ms: sum.p95_ms(),
        times: Some(sum),
        ..Baseline::default()
    }
}

/// The usual level of a plain value.
pub fn learn_level(values: &[f64], step: Duration) -> Baseline {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
    Baseline {
        dispersion: 1.0,
        seconds: step.as_secs_f64() * values.len() as f64,
        level: (!finite.is_empty()).then_some(mean),
        ..Baseline::default()
    }
}

/// Pearson's dispersion `Σ (e − n p)² / (n p (1 − p)) / (K − 1)`, shrunk to 1 and held in [1, 4].
fn dispersion(batches: &[Counts], sum: Counts) -> f64 {
    let served: Vec<&Counts> = batches.iter().filter(|b| b.total > 0.0).collect();
    let p = sum.bad / sum.total.max(1.0);
    if served.len() < 2 || p <= 0.0 || p >= 1.0 {
        return 1.0;
    }
    let term = |b: &&Counts| (b.bad - b.total * p).powi(2) / (b.total * p * (1.0 - p));
    let raw = served.iter().map(term).sum::<f64>() / (served.len() - 1) as f64;
    let weight = sum.bad / (sum.bad + SHRINK);
    (weight * raw + (1.0 - weight)).clamp(1.0, DISPERSION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(pattern: &[f64], times: usize) -> Vec<Counts> {
        let one = pattern.iter().map(|bad| Counts { bad: *bad, total: 100.0 });
        (0..times).flat_map(|_| one.clone().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn clusters_raise_the_dispersion_and_quiet_history_does_not() {
        let step = Duration::from_secs(5);
        assert_eq!(learn(&[], step).dispersion, 1.0);
        assert_eq!(learn(&batches(&[0.0], 100), step).dispersion, 1.0);
        assert_eq!(learn(&batches(&[1.0, 1.0, 1.0], 40), step).dispersion, 1.0);
        let clustered = learn(&batches(&[0.0, 0.0, 0.0, 0.0, 5.0], 40), step);
        assert!(clustered.dispersion > 3.0, "{}", clustered.dispersion);
        assert_eq!((clustered.bad, clustered.total, clustered.seconds), (200.0, 20_000.0, 1000.0));
    }
}
