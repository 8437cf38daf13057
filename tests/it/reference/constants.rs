//! The constants of the tests, stated once more: whoever tunes one says so in both places.

/// Chance that the trouble began with the first batch.
pub(super) const FIRST_WEIGHT: f64 = 0.5;
/// An onset that explains the data e³ times worse than the likeliest one is still possible.
pub(super) const PLAUSIBLE: f64 = 3.0;

/// Errors above a threshold: the null and the alternatives as multiples of it.
pub(super) const ROLLBACK_NULL: f64 = 0.5;
pub(super) const ROLLBACK_GRID: [f64; 6] = [1.0, 1.6, 2.6, 4.4, 8.0, 15.0];
/// The page-level null as a multiple of the threshold and of what is usual; the alternatives as multiples of the null.
pub(super) const PAGE_NULL: f64 = 0.2;
pub(super) const PAGE_USUAL: f64 = 1.5;
pub(super) const PAGE_GRID: [f64; 6] = [1.5, 2.5, 5.0, 10.0, 25.0, 60.0];
/// The same against the time before.
pub(super) const BEFORE_NULL: f64 = 3.0;
pub(super) const BEFORE_GRID: [f64; 6] = [1.5, 2.5, 5.0, 10.0, 40.0, 100.0];
/// No alternative is nearer to certainty, and no null is more than half of it.
pub(super) const RATIO_MAX: f64 = 0.95;

/// New against old pods: how many times as many failures.
pub(super) const RELATIVE_NULL: f64 = 5.0 / 3.0;
pub(super) const RELATIVE_GRID: [f64; 5] = [2.5, 5.0, 12.0, 40.0, 200.0];

/// Restarts per pod and second.
pub(super) const USUAL_RESTARTS: f64 = 1.0 / 21_600.0;
pub(super) const RESTARTS_GRID: [f64; 4] = [1.0 / 600.0, 1.0 / 300.0, 1.0 / 120.0, 1.0 / 45.0];

/// Response times: factors of the odds, and how many of the slowest thresholds are looked at alone too.
pub(super) const ODDS: [f64; 4] = [1.6, 2.5, 5.0, 20.0];
pub(super) const TAILS: usize = 3;
/// What the old pods show: requests that the time before weighs as, what is kept of them per batch, and limits of a share.
pub(super) const PRIOR_REQUESTS: f64 = 200.0;
pub(super) const KEPT: f64 = 0.98;
pub(super) const SHARES: (f64, f64) = (1e-4, 0.8);
pub(super) const APART: f64 = 0.9;

/// Health: failure ratios per percent of excess that is tested against, odds of being slow, and the evidence needed.
pub(super) const HEALTHY_EXCESS: f64 = 0.01;
pub(super) const HEALTHY_GRID: [f64; 4] = [0.02, 0.1, 0.3, 0.6];
pub(super) const HEALTHY_ODDS: [f64; 3] = [1.0 / 1.3, 1.0 / 1.6, 1.0 / 2.5];
pub(super) const HEALTHY_NEEDED: f64 = 100.0;
