//! The tests on counts against the slow program, batch by batch: evidence, onset, and whether it began in the rollout.
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollguard::domain::detect::crash::Restarts;
use rollguard::domain::detect::errors::{Absolute, Counts, Relative};
use rollguard::domain::detect::healthy::Healthy;
use rollguard::domain::detect::mixture::{Bounds, Enough, Mixture, Span};

use super::process::Process;
use super::ratios::{self, Grid};
use super::same;
use super::traffic::{Batch, at, batches, failures};

const WATCHES: u64 = 12;
const BATCHES: usize = 150;

/// Bounds as different as they come.
pub(super) fn bounds(rng: &mut StdRng) -> Bounds {
    Bounds {
        alpha: [1e-2, 4e-4, 1.5e-4][rng.random_range(0..3)],
        enough: [
            Enough { batches: 3, secs: 20.0 },
            Enough { batches: 2, secs: 10.0 },
            Enough { batches: 3, secs: 15.0 },
            Enough::AT_ONCE,
        ][rng.random_range(0..4)],
        batches: [1, 2, 100, 360][rng.random_range(0..4)],
        dispersion: rng.random_range(1.0..4.0),
        together: rng.random_range(1..5),
    }
}

/// What both say after each batch.
struct Pair {
    ours: Absolute,
    theirs: Process,
    grid: Grid,
}

impl Pair {
    fn all(rng: &mut StdRng) -> [Pair; 3] {
        let (threshold, usual) = (rng.random_range(0.005..0.5), [0.0, 0.002, 0.3][rng.random_range(0..3)]);
        let bounds = bounds(rng);
        let kinds = [
            (Absolute::rollback(threshold, bounds), Grid::rollback(threshold)),
            (Absolute::page(threshold, usual, bounds), Grid::page(threshold, usual)),
            (Absolute::before_after(usual, bounds), Grid::before_after(usual)),
        ];
        kinds.map(|(ours, grid)| Pair { ours, theirs: Process::new(6, bounds), grid })
    }

    fn update(&mut self, span: Span, counts: Counts) {
        self.ours.update(span, counts);
        self.theirs.update(span, &self.grid.log_ratios(counts), counts.bad, counts.total);
    }

    fn check(&self) {
        let (ours, theirs) = (self.ours.e_value(), self.theirs.e_value());
        assert!(same(ours, theirs), "{:?}: {ours} is not {theirs}", self.grid);
        assert_eq!(self.ours.alarmed(), ours >= self.ours.threshold());
        assert!(self.theirs.allows(self.ours.onset()), "{:?} {:?}", self.grid, self.ours.onset());
        if let Some(early) = self.theirs.may_have_begun_in_rollout() {
            assert_eq!(self.ours.may_have_begun_in_rollout(), early, "{:?}", self.grid);
        }
    }
}

fn compare_absolute(rng: &mut StdRng, batches: &[Batch]) {
    for mut pair in Pair::all(rng) {
        for batch in batches {
            pair.update(batch.span, batch.new);
            if pair.theirs.is_huge() {
                break;
            }
            pair.check();
        }
    }
}

#[test]
fn errors_above_a_ratio_are_as_evident_as_by_definition() {
    for seed in 0..WATCHES {
        let mut rng = StdRng::seed_from_u64(seed);
        let batches = batches(&mut rng, BATCHES);
        compare_absolute(&mut rng, &batches);
    }
}

#[test]
fn new_against_old_pods_is_as_evident_as_by_definition() {
    for seed in 0..2 * WATCHES {
        let mut rng = StdRng::seed_from_u64(100 + seed);
        let bounds = bounds(&mut rng);
        let (mut ours, mut theirs) = (Relative::new(bounds), Process::new(5, bounds));
        for Batch { span, new, old } in batches(&mut rng, BATCHES) {
            ours.update(span, new, old);
            // Nothing can be compared while one side does not serve.
            if new.total > 0.0 && old.total > 0.0 {
                theirs.update(span, &ratios::relative(new, old), new.bad, new.total);
            }
            if theirs.is_huge() {
                break;
            }
            let (ours, theirs) = (ours.e_value(), theirs.e_value());
            assert!(same(ours, theirs), "seed {seed}: {ours} is not {theirs}");
        }
    }
}

#[test]
fn restarts_are_as_evident_as_by_definition() {
    for seed in 0..2 * WATCHES {
        let mut rng = StdRng::seed_from_u64(200 + seed);
        let (alpha, watch, often) = (1.5e-4, [90, 360][rng.random_range(0..2)], rng.random_range(0.0..0.3));
        let bounds = Bounds { alpha, enough: Enough::AT_ONCE, batches: watch, dispersion: 1.0, together: 1 };
        let (mut ours, mut theirs) = (Restarts::new(alpha, watch), Process::new(4, bounds));
        for Batch { span, .. } in batches(&mut rng, BATCHES) {
            let (count, pods) = (failures(&mut rng, 3, often).bad, rng.random_range(1..30));
            ours.update(span, count, pods);
            let exposure = pods as f64 * span.secs;
            theirs.update(span, &ratios::restarts(count, exposure), count, exposure);
            if theirs.is_huge() {
                break;
            }
            assert!(same(ours.e_value(), theirs.e_value()), "{} {}", ours.e_value(), theirs.e_value());
            assert!(theirs.allows(ours.onset()), "{:?}", ours.onset());
        }
    }
}

#[test]
fn health_is_proven_exactly_when_the_definition_says_so() {
    let mut found = [0, 0];
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(300 + seed);
        let (usual, ratio) = ([0.0, 0.03, 0.6][seed as usize % 3], rng.random_range(0.0..0.012));
        let (mut ours, mut seen) = (Healthy::new(usual), Vec::new());
        for _ in 0..60 {
            let total = rng.random_range(0..200);
            seen.push(failures(&mut rng, total, ratio + usual * 0.9));
            ours.update(seen[seen.len() - 1]);
            let theirs = ratios::healthy(&seen, usual);
            if !same(theirs, super::constants::HEALTHY_NEEDED) {
                assert_eq!(ours.proven(), theirs >= super::constants::HEALTHY_NEEDED, "{theirs}");
            }
        }
        found[usize::from(ours.proven())] += 1;
    }
    assert!(found[0] >= 10 && found[1] >= 10, "both answers are seen: {found:?}");
}

/// What was found by chance once: sums that vanish, because nothing may begin after the first batch and that one was
/// refuted beyond all numbers.
#[test]
fn sums_that_vanish_leave_no_onset_to_compare() {
    let clipped = |step: f64| [step * 1000.0, 0.0, 0.0];
    let steps = [
        ([0.0; 3], 1),
        (clipped(-2.78), 1),
        ([0.0; 3], 1),
        ([1.83, 0.0, 0.0], 1),
        (clipped(1.29), 7),
        ([520.7, -2903.1, -594.0], 2),
        ([652.5, 0.0, -2416.1], 7),
    ];
    let enough = Enough { batches: 3, secs: 20.0 };
    let bounds = Bounds { alpha: 1e-3, enough, batches: 1, dispersion: 3.702_742_554_306_81, together: 2 };
    let (mut ours, mut theirs) = (Mixture::<3>::new(bounds), Process::new(3, bounds));
    let mut second = 0;
    for (ratios, secs) in steps {
        let span = Span { since: at(second), secs: f64::from(secs), in_rollout: false };
        second += i64::from(secs);
        ours.update(span, &ratios, 1.0, 2.0);
        theirs.update(span, &ratios, 1.0, 2.0);
        assert!(same(ours.e_value(), theirs.e_value()) && theirs.allows(ours.onset()), "{:?}", ours.onset());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any numbers at all, with an onset that is forgotten and found again.
    #[test]
    fn the_mixture_is_the_sum_of_its_products(
        steps in prop::collection::vec((prop::array::uniform3(-3.0f64..3.0), 1i64..40, any::<bool>(), 0u8..4), 1..80),
        dispersion in 1.0f64..4.0,
        batches in 1u32..100,
    ) {
        let enough = Enough { batches: 3, secs: 20.0 };
        let bounds = Bounds { alpha: 1e-3, enough, batches, dispersion, together: 2 };
        let (mut ours, mut theirs) = (Mixture::<3>::new(bounds), Process::new(3, bounds));
        let mut second = 0;
        for (ratios, secs, in_rollout, kind) in steps {
            let span = Span { since: at(second), secs: secs as f64, in_rollout };
            // One in four says nothing, one in four is far beyond the clip.
            let ratios = ratios.map(|r| r * [0.0, 1.0, 1.0, 1000.0][usize::from(kind)]);
            second += secs;
            ours.update(span, &ratios, 1.0, 2.0);
            theirs.update(span, &ratios, 1.0, 2.0);
            prop_assert!(same(ours.e_value(), theirs.e_value()), "{} {}", ours.e_value(), theirs.e_value());
            prop_assert!(theirs.allows(ours.onset()), "{:?}", ours.onset());
            if let Some(early) = theirs.may_have_begun_in_rollout() {
                prop_assert_eq!(ours.may_have_begun_in_rollout(), early);
            }
        }
    }

    #[test]
    fn any_counts_are_as_evident_as_by_definition(seed in any::<u64>(), count in 1usize..60) {
        let mut rng = StdRng::seed_from_u64(seed);
        let batches = batches(&mut rng, count);
        compare_absolute(&mut rng, &batches);
    }
}
