//! The log-likelihood ratios of counts, each from its textbook form, and the sums that prove health.
use rollguard::domain::detect::errors::Counts;

use super::constants::*;

/// Failures among requests: binomial, `p` against `null`; the number of ways cancels.
fn binomial(counts: Counts, p: f64, null: f64) -> f64 {
    let likelihood = |p: f64| counts.bad * p.ln() + (counts.total - counts.bad) * (1.0 - p).ln();
    likelihood(p) - likelihood(null)
}

/// A null and the failure ratios against it.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    null: f64,
    alternatives: Vec<f64>,
}

impl Grid {
    fn new(null: f64, alternatives: impl Iterator<Item = f64>) -> Self {
        let null = null.clamp(1e-6, RATIO_MAX / 2.0);
        let alternatives = alternatives.map(|p| p.clamp(null * 1.01, RATIO_MAX)).collect();
        Self { null, alternatives }
    }
    pub(super) fn rollback(threshold: f64) -> Self {
        Self::new(threshold * ROLLBACK_NULL, ROLLBACK_GRID.iter().map(|m| m * threshold))
    }
    pub(super) fn page(threshold: f64, usual: f64) -> Self {
        let null = threshold.min((threshold * PAGE_NULL).max(usual * PAGE_USUAL));
        Self::new(null, PAGE_GRID.iter().map(|m| m * null))
    }
    pub(super) fn before_after(usual: f64) -> Self {
        let null = (usual * BEFORE_NULL).min(RATIO_MAX / 2.0);
        Self::new(null, BEFORE_GRID.iter().map(|m| m * null))
    }
    pub(super) fn log_ratios(&self, counts: Counts) -> Vec<f64> {
        self.alternatives.iter().map(|p| binomial(counts, *p, self.null)).collect()
    }
}

/// New pods' share of all failures, given how many there were.
pub(super) fn relative(new: Counts, old: Counts) -> Vec<f64> {
    let share = |ratio: f64| ratio * new.total / (ratio * new.total + old.total);
    let failures = Counts { bad: new.bad, total: new.bad + old.bad };
    RELATIVE_GRID.iter().map(|ratio| binomial(failures, share(*ratio), share(RELATIVE_NULL))).collect()
}

/// Restarts: Poisson with the exposure in pod-seconds.
pub(super) fn restarts(count: f64, exposure: f64) -> Vec<f64> {
    let likelihood = |rate: f64| count * (rate * exposure).ln() - rate * exposure;
    RESTARTS_GRID.iter().map(|rate| likelihood(*rate) - likelihood(USUAL_RESTARTS)).collect()
}

/// Evidence that the failure ratio is under "1 % more than usual".
pub(super) fn healthy(batches: &[Counts], usual: f64) -> f64 {
    let limit = (HEALTHY_EXCESS + usual).min(0.5);
    let product =
        |share: &f64| batches.iter().map(|batch| binomial(*batch, share * limit, limit)).sum::<f64>();
    HEALTHY_GRID.iter().map(product).map(f64::exp).sum::<f64>() / HEALTHY_GRID.len() as f64
}
