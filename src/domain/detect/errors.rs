//! Tests on error counts: the absolute rule, new against old pods, and new against the service's own past.
use serde::{Deserialize, Serialize};

use super::mixture::{Bounds, Mixture, Onset, Span};

/// Failures among requests in one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub bad: f64,
    pub total: f64,
}

impl Counts {
    pub fn ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| self.bad / self.total)
    }
    pub fn add(&mut self, other: Counts) {
        self.bad += other.bad;
        self.total += other.total;
    }
}

/// Is the failure ratio above a null? Used for the absolute rule (the null is half of the threshold), for pages, and for
/// the comparison with the time before.
///
/// The absolute rule's estimate since the onset must pass the whole threshold too: testing the threshold itself would need
/// 18 times more requests to see 6 % than testing its half does.
#[derive(Clone, Debug)]
pub struct Absolute {
    null: f64,
    /// Log-likelihood ratio of one failed and of one good request, per alternative.
    of_failed: [f64; 6],
    of_good: [f64; 6],
    mixture: Mixture<6>,
}

/// Alternatives as multiples of the threshold (0.05 … 0.75 for a threshold of 5 %).
const ROLLBACK_GRID: [f64; 6] = [1.0, 1.6, 2.6, 4.4, 8.0, 15.0];
/// Alternatives of the page-level test as multiples of its null (1 % for a threshold of 5 %).
const PAGE_GRID: [f64; 6] = [1.5, 2.5, 5.0, 10.0, 25.0, 60.0];
/// The half-way null, as a share of the threshold.
pub const NULL_SHARE: f64 = 0.5;
/// The null of the page-level test, as a share of the threshold.
const PAGE_NULL_SHARE: f64 = 0.2;
/// A service that has always failed this often is not paged for: this many times its usual ratio is the null then.
const PAGE_USUAL_RATIO: f64 = 1.5;
/// No alternative is nearer to certainty than this.
const RATIO_MAX: f64 = 0.95;
/// Failures may be this many times as frequent as before the release.
const BEFORE_AFTER_RATIO: f64 = 3.0;
const BEFORE_AFTER_GRID: [f64; 6] = [1.5, 2.5, 5.0, 10.0, 40.0, 100.0];

impl Absolute {
    /// Evidence for a rollback at `threshold` (0.05 for 5 %).
    pub fn rollback(threshold: f64, bounds: Bounds) -> Self {
        Self::against(threshold * NULL_SHARE, ROLLBACK_GRID.map(|m| m * threshold), bounds)
    }

    /// Evidence that a person should look: past a fifth of the threshold, and past what is `usual`.
    pub fn page(threshold: f64, usual: f64, bounds: Bounds) -> Self {
        let null = (threshold * PAGE_NULL_SHARE).max(usual * PAGE_USUAL_RATIO).min(threshold);
        Self::against(null, PAGE_GRID.map(|m| m * null), bounds)
    }

    /// Evidence that errors are several times the `usual` ratio of the time before.
    pub fn before_after(usual: f64, bounds: Bounds) -> Self {
        let null = (usual * BEFORE_AFTER_RATIO).min(RATIO_MAX / 2.0);
        Self::against(null, BEFORE_AFTER_GRID.map(|m| m * null), bounds)
    }

    fn against(null: f64, grid: [f64; 6], bounds: Bounds) -> Self {
        let null = null.clamp(1e-6, RATIO_MAX / 2.0);
        let grid = grid.map(|p| p.clamp(null * 1.01, RATIO_MAX));
        Self {
            null,
            of_failed: grid.map(|p| (p / null).ln()),
            of_good: grid.map(|p| ((1.0 - p) / (1.0 - null)).ln()),
            mixture: Mixture::new(bounds),
        }
    }

    pub fn update(&mut self, span: Span, counts: Counts) {
        let good = counts.total - counts.bad;
        let ratios = std::array::from_fn(|g| counts.bad * self.of_failed[g] + good * self.of_good[g]);
        self.mixture.update(span, &ratios, counts.bad, counts.total);
    }
    /// The ratio that it tests against.
    pub fn null(&self) -> f64 {
        self.null
    }
    pub fn e_value(&self) -> f64 {
        self.mixture.e_value()
    }
    pub fn alarmed(&self) -> bool {
        self.mixture.alarmed()
    }
    pub fn onset(&self) -> Option<Onset> {
        self.mixture.onset()
    }
    pub fn may_have_begun_in_rollout(&self) -> bool {
        self.mixture.may_have_begun_in_rollout()
    }
    /// The e-value at which it alarms.
    pub fn threshold(&self) -> f64 {
        self.mixture.threshold()
    }
}

/// Do new pods fail more often than old ones serving beside them? Conditional on the failures of both together, so that
/// a level that they share cancels. Only ever used together with [`Absolute`]: alone it is not robust.
#[derive(Clone, Debug)]
pub struct Relative {
    mixture: Mixture<5>,
}

/// New pods may fail up to this many times as often: certifies an excess of at least 1 % at a threshold of 5 %.
const RELATIVE_NULL: f64 = 5.0 / 3.0;
const RELATIVE_GRID: [f64; 5] = [2.5, 5.0, 12.0, 40.0, 200.0];

impl Relative {
    pub fn new(bounds: Bounds) -> Self {
        Self { mixture: Mixture::new(bounds) }
    }

    pub fn update(&mut self, span: Span, new: Counts, old: Counts) {
        if new.total <= 0.0 || old.total <= 0.0 {
            return;
        }
        if new.bad + old.bad <= 0.0 {
            // Most batches: nothing failed on either side, and nothing is learned of the ratio.
            return self.mixture.update(span, &[0.0; 5], 0.0, new.total);
        }
        let share = |ratio: f64| ratio * new.total / (ratio * new.total + old.total);
        let null = share(RELATIVE_NULL);
        let ratios = RELATIVE_GRID.map(|r| {
            let p = share(r);
            new.bad * (p / null).ln() + old.bad * ((1.0 - p) / (1.0 - null)).ln()
        });
        self.mixture.update(span, &ratios, new.bad, new.total);
    }
    pub fn e_value(&self) -> f64 {
        self.mixture.e_value()
    }
    pub fn alarmed(&self) -> bool {
        self.mixture.alarmed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use crate::domain::detect::mixture::Enough;
    use jiff::Timestamp;

    const BOUNDS: Bounds = Bounds {
        alpha: 4e-4,
        enough: Enough { batches: 3, secs: 20.0 },
        batches: 360,
        dispersion: 1.0,
        together: 1,
    };
    const RELATIVE: Bounds = Bounds { alpha: 1e-2, enough: Enough { batches: 2, secs: 10.0 }, ..BOUNDS };

    fn at(batch: i64) -> Span {
        let since = Timestamp::from_second(batch * 5).unwrap();
        Span { since, secs: 5.0, in_rollout: true }
    }

    fn draw(rng: &mut StdRng, total: u32, p: f64) -> Counts {
        let bad = (0..total).filter(|_| rng.random_bool(p)).count();
        Counts { bad: bad as f64, total: f64::from(total) }
    }

    /// Batches until the rollback-level test alarms with its estimate past 5 %, within a 30-minute watch.
    fn batches_to_alarm(seed: u64, per_batch: u32, p: f64) -> Option<i64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut test = Absolute::rollback(0.05, BOUNDS);
        (0..360).find(|&batch| {
            test.update(at(batch), draw(&mut rng, per_batch, p));
            test.alarmed() && test.onset().is_some_and(|o| o.bad / o.total >= 0.05)
        })
    }

    #[test]
    fn healthy_traffic_does_not_alarm_and_bad_traffic_does_soon() {
        let false_alarms = (0..400).filter(|&s| batches_to_alarm(s, 50, 0.01).is_some()).count();
        assert_eq!(false_alarms, 0);
        for seed in 0..50 {
            let batches = batches_to_alarm(seed, 50, 0.15).expect("15 % is found");
            assert!(batches <= 6, "seed {seed}: {batches} batches");
        }
    }

    #[test]
    fn a_shared_level_is_no_relative_evidence() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut shared = Relative::new(RELATIVE);
        let mut worse = Relative::new(RELATIVE);
        for batch in 0..60 {
            let old = draw(&mut rng, 100, 0.2);
            shared.update(at(batch), draw(&mut rng, 40, 0.2), old);
            worse.update(at(batch), draw(&mut rng, 40, 0.6), draw(&mut rng, 100, 0.01));
        }
        assert!(!shared.alarmed(), "{}", shared.e_value());
        assert!(worse.alarmed());
    }

    #[test]
    fn before_after_needs_more_than_the_usual_level() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut usual = Absolute::before_after(0.08, RELATIVE);
        let mut worse = Absolute::before_after(0.08, RELATIVE);
        for batch in 0..60 {
            usual.update(at(batch), draw(&mut rng, 50, 0.08));
            worse.update(at(batch), draw(&mut rng, 50, 0.5));
        }
        assert!(!usual.alarmed());
        assert!(worse.alarmed());
    }

    /// A service has thousands of streams.
    const STATE_BYTES_MAX: usize = 512;
    const _: () =
        assert!(size_of::<Absolute>() <= STATE_BYTES_MAX && size_of::<Relative>() <= STATE_BYTES_MAX);

    /// What can be copied bit by bit owns no memory elsewhere, so an update has none to allocate.
    #[test]
    fn their_state_lies_in_one_place() {
        assert!(!std::mem::needs_drop::<Absolute>() && !std::mem::needs_drop::<Relative>());
    }

    proptest! {
        #[test]
        fn evidence_is_finite_and_not_negative(batches in proptest::collection::vec((0u32..2000, 0.0f64..1.0), 1..400)) {
            let mut test = Absolute::rollback(0.05, BOUNDS);
            let mut relative = Relative::new(RELATIVE);
            for (i, (total, share)) in batches.into_iter().enumerate() {
                let counts = Counts { bad: (f64::from(total) * share).floor(), total: f64::from(total) };
                test.update(at(i as i64), counts);
                relative.update(at(i as i64), counts, Counts { bad: 0.0, total: f64::from(total) });
                prop_assert!(test.e_value().is_finite() && test.e_value() >= 0.0);
                prop_assert!(relative.e_value().is_finite() && relative.e_value() >= 0.0);
            }
        }
    }
}
