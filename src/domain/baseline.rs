//! What was usual before a release, learned from its history batch by batch and frozen as numbers.
use std::time::Duration;

use super::detect::errors::Counts;
use super::detect::latency::above;
use super::histogram::{Buckets, Histogram};
use super::watch::Baseline;

/// Failures that the estimate of dispersion is shrunk by: little history says little about clusters.
const SHRINK: f64 = 5.0;
const DISPERSION_MAX: f64 = 4.0;
/// Of the usual requests, the share that counts as slow when their clusters are looked for: few enough to be a tail, many
/// enough to be counted.
const SLOW_SHARE: f64 = 0.1;

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

/// The same for response times: their distribution, and how much slow requests come together.
pub fn learn_times(batches: &[Histogram], step: Duration) -> Baseline {
    let mut sum = Histogram::default();
    batches.iter().for_each(|batch| sum.add(batch));
    Baseline {
        total: sum.count(),
        dispersion: dispersion_of_slow(batches, &sum.cumulative()),
        seconds: step.as_secs_f64() * batches.len() as f64,
        p95_ms: sum.p95_ms(),
        times: Some(sum),
        ..Baseline::default()
    }
}

/// A queue that fills for some seconds makes many requests slow at once. Slow is what is above the bucket bound that about a
/// tenth of the usual requests exceed.
fn dispersion_of_slow(batches: &[Histogram], sum: &Buckets) -> f64 {
    let distance = |bound: &f64| (above(sum, *bound) / sum.count() / SLOW_SHARE).ln().abs();
    let finite = sum.bounds().iter().map(|(le, _)| *le).filter(|le| le.is_finite());
    let Some(bound) = finite.min_by(|a, b| distance(a).total_cmp(&distance(b))) else { return 1.0 };
    let slow = |times: &Buckets| Counts { bad: above(times, bound), total: times.count() };
    let counts: Vec<Counts> = batches.iter().map(|batch| slow(&batch.cumulative())).collect();
    dispersion(&counts, slow(sum))
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

/// Pearson's dispersion `Σ (e − n p)² / (n p (1 − p)) / (K − 1)`, less its own standard error, shrunk to 1 and held in [1, 4].
/// Without that error taken off, independent failures would look a little clustered in every other history, and all those
/// watches would be slower for nothing.
fn dispersion(batches: &[Counts], sum: Counts) -> f64 {
    let served: Vec<&Counts> = batches.iter().filter(|b| b.total > 0.0).collect();
    let p = sum.bad / sum.total.max(1.0);
    if served.len() < 2 || p <= 0.0 || p >= 1.0 {
        return 1.0;
    }
    let (pq, free) = (p * (1.0 - p), (served.len() - 1) as f64);
    let raw = served.iter().map(|b| (b.bad - b.total * p).powi(2) / (b.total * pq)).sum::<f64>() / free;
    // The variance of each term is 2 + (1 − 6 p q) / (n p q): that of a binomial count's squared deviation.
    let variance = served.iter().map(|b| 2.0 + (1.0 - 6.0 * pq) / (b.total * pq)).sum::<f64>();
    let error = variance.max(0.0).sqrt() / free;
    let weight = sum.bad / (sum.bad + SHRINK);
    (weight * (raw - error) + (1.0 - weight)).clamp(1.0, DISPERSION_MAX)
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

    /// A hundred requests of which so many took between 0.2 and 0.4 seconds, the others less.
    fn slow(count: f64) -> Histogram {
        let bounds = vec![(0.1, 60.0), (0.2, 100.0 - count), (0.4, 100.0), (f64::INFINITY, 100.0)];
        Histogram::Classic(Buckets::new(bounds))
    }

    #[test]
    fn slow_requests_that_come_together_raise_the_dispersion_of_times() {
        let (step, repeat) = (Duration::from_secs(5), |pattern: &[f64]| {
            (0..40)
                .flat_map(|_| pattern.iter().map(|count| slow(*count)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        });
        assert_eq!(learn_times(&[], step).dispersion, 1.0);
        assert_eq!(learn_times(&repeat(&[0.0]), step).dispersion, 1.0, "nothing was slow");
        assert_eq!(learn_times(&repeat(&[10.0, 10.0]), step).dispersion, 1.0, "evenly slow");
        let independent = learn_times(&repeat(&[7.0, 10.0, 13.0, 10.0, 6.0, 14.0]), step).dispersion;
        assert!((1.0..1.2).contains(&independent), "{independent}");
        let queued = learn_times(&repeat(&[2.0, 2.0, 2.0, 2.0, 42.0]), step).dispersion;
        assert_eq!(queued, DISPERSION_MAX);
        let alone = learn_times(&[slow(10.0)], step).dispersion;
        assert_eq!(alone, 1.0, "one batch shows no clusters");
    }
}
