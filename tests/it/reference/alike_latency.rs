//! The tests on response times against the slow program, batch by batch, with classic and with fine buckets.
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollguard::domain::detect::latency::{NotSlower, Slower, Threshold, thresholds};
use rollguard::domain::detect::mixture::{Onset, Span};
use rollguard::domain::histogram::Buckets;

use super::alike::bounds;
use super::process::Process;
use super::traffic::{CLASSIC, batches, fine, times};
use super::{constants, same, slower};

const BATCHES: usize = 60;

fn draw(rng: &mut StdRng, bounds: &[f64], slower: f64) -> Buckets {
    let requests = if rng.random_bool(0.15) { 0 } else { rng.random_range(1..80) };
    times(rng, bounds, requests, slower)
}

/// One watch: how the spans, the new and the old response times come.
fn watch(seed: u64) -> (StdRng, Vec<Threshold>, Vec<(Span, Buckets, Buckets)>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let bounds = if seed.is_multiple_of(2) { CLASSIC.to_vec() } else { fine() };
    let usual = times(&mut rng, &bounds, 5_000, 1.0);
    let chosen = thresholds(&usual, [1.1, 1.35, 2.0][rng.random_range(0..3)]);
    let mut level = 1.0;
    let drawn = batches(&mut rng, BATCHES).into_iter().map(|batch| {
        if rng.random_bool(0.1) {
            level = [0.5, 1.0, 1.3, 1.6, 4.0][rng.random_range(0..5)];
        }
        (batch.span, draw(&mut rng, &bounds, level), draw(&mut rng, &bounds, level.sqrt()))
    });
    let drawn = drawn.collect();
    (rng, chosen, drawn)
}

fn check(ours: &Slower, theirs: &slower::Slower, seed: u64) {
    let (e_value, expected) = (ours.e_value(), theirs.e_value());
    assert!(same(e_value, expected), "seed {seed}: {e_value} is not {expected}");
    let (onset, early) = (ours.onset(), ours.may_have_begun_in_rollout());
    let allowed = |process: &Process, onset: Option<Onset>| {
        process.allows(onset) && process.may_have_begun_in_rollout().is_none_or(|said| said == early)
    };
    assert!(theirs.loudest().any(|process| allowed(process, onset)), "seed {seed}: {onset:?} {early}");
}

#[test]
fn slower_than_before_is_as_evident_as_by_definition() {
    for seed in 0..16 {
        let (mut rng, chosen, batches) = watch(seed);
        let bounds = bounds(&mut rng);
        let (mut ours, mut theirs) = (Slower::new(&chosen, bounds), slower::Slower::new(&chosen, bounds));
        for (span, new, _) in &batches {
            ours.update_since_before(*span, new);
            theirs.update_since_before(*span, new);
            if theirs.is_huge() {
                break;
            }
            check(&ours, &theirs, seed);
        }
    }
}

#[test]
fn slower_than_old_pods_is_as_evident_as_by_definition() {
    for seed in 100..116 {
        let (mut rng, chosen, batches) = watch(seed);
        let bounds = bounds(&mut rng);
        let (mut ours, mut theirs) = (Slower::new(&chosen, bounds), slower::Slower::new(&chosen, bounds));
        for (span, new, old) in &batches {
            ours.update_beside(*span, new, old);
            theirs.update_beside(*span, new, old);
            if theirs.is_huge() {
                break;
            }
            check(&ours, &theirs, seed);
        }
    }
}

#[test]
fn one_threshold_and_none_are_judged_too() {
    let (mut rng, chosen, batches) = watch(7);
    let bounds = bounds(&mut rng);
    let (mut ours, mut theirs) =
        (Slower::new(&chosen[..1], bounds), slower::Slower::new(&chosen[..1], bounds));
    let mut blind = Slower::new(&[], bounds);
    for (span, new, old) in &batches {
        ours.update_beside(*span, new, old);
        theirs.update_beside(*span, new, old);
        blind.update_beside(*span, new, old);
        check(&ours, &theirs, 7);
        assert!(!blind.alarmed() && blind.onset().is_none());
    }
}

#[test]
fn not_slower_is_proven_exactly_when_the_definition_says_so() {
    let mut found = [0, 0];
    for seed in 200..230 {
        let (mut rng, chosen, _) = watch(seed);
        let bounds = if seed.is_multiple_of(2) { CLASSIC.to_vec() } else { fine() };
        let level = rng.random_range(0.9..1.4);
        let (mut ours, mut seen) = (NotSlower::new(&chosen), Vec::new());
        for _ in 0..40 {
            seen.push(draw(&mut rng, &bounds, level));
            ours.update(&seen[seen.len() - 1]);
            let theirs = slower::not_slower(&chosen, &seen);
            if !same(theirs, constants::HEALTHY_NEEDED) {
                assert_eq!(ours.proven(), theirs >= constants::HEALTHY_NEEDED, "seed {seed}: {theirs}");
            }
        }
        found[usize::from(ours.proven())] += 1;
    }
    assert!(found[0] >= 5 && found[1] >= 5, "both answers are seen: {found:?}");
}
