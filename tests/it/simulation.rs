//! Thousands of schedules in which everything goes wrong at once, each drawn from a seed; what must always hold is checked.
//!
//! A daemon here is the real watcher with its drivers, outbox and journal on a runtime of its own, over a cluster, a clock, a
//! channel and people that are simulated. A schedule has no other source of chance than its seed.
pub(crate) mod hands;
pub(crate) mod invariants;
pub(crate) mod life;
pub(crate) mod schedule;
pub(crate) mod story;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::say;
use rollguard::domain::policy::Mode;
use schedule::{Happening, Schedule};
use story::Story;
use world::Trouble;

/// Schedules of `tests/run simulation`, unless `ROLLGUARD_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 2000;
/// Chosen once, so that a run of the tests says the same as the last one.
const FIRST_SEED: u64 = 1_000;

#[derive(Debug, Default)]
struct Tally {
    schedules: u64,
    points: u64,
    rollbacks: usize,
    deliveries: u64,
    violations: BTreeMap<u64, Vec<String>>,
}

fn run(seed: u64, tally: &Mutex<Tally>) {
    let schedule = Schedule::draw(seed);
    let mut story = Story::of(&schedule);
    let points = story.tell();
    let wrong = invariants::violations(&schedule, &story);
    let mut tally = tally.lock().unwrap();
    tally.schedules += 1;
    tally.points += points;
    tally.rollbacks += story.world.state().workloads.effects().len();
    tally.deliveries += story.world.state().taken.values().map(|n| u64::from(*n)).sum::<u64>();
    if !wrong.is_empty() {
        println!(
            "seed {seed}: {wrong:#?}\nagain: ROLLGUARD_SEED={seed} cargo test --test it simulation::one_seed -- --nocapture"
        );
        tally.violations.insert(seed, wrong);
    }
}

fn run_all(seeds: impl Iterator<Item = u64>) {
    let seeds: Vec<u64> = seeds.collect();
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
            run(*seed, &tally);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let Tally { schedules, points, rollbacks, deliveries, violations } = tally.into_inner().unwrap();
    say(&format!(
        "schedules: {schedules}, points: {points}, rollbacks: {rollbacks}, deliveries: {deliveries}, violations: {}",
        violations.len()
    ));
    assert!(violations.is_empty(), "seeds {:?}", violations.keys().collect::<Vec<_>>());
    assert_eq!(schedules, seeds.len() as u64, "a schedule panicked");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn kept_seeds() {
    let lines = include_str!("simulation/seeds.txt").lines();
    let seeds = lines.filter_map(|line| line.split('#').next()).filter(|seed| !seed.trim().is_empty());
    run_all(seeds.map(|seed| seed.trim().parse().unwrap()));
}

/// `ROLLGUARD_SEED=…` tells one schedule with all that happened in it.
#[test]
fn one_seed() {
    let Some(seed) = number("ROLLGUARD_SEED") else { return };
    let schedule = Schedule::draw(seed);
    println!("{schedule:#?}");
    let mut story = Story::of(&schedule);
    story.tell();
    for record in story.world.journal.records() {
        let body = record.body.to_string();
        println!(
            "{} {} {} {} {}",
            record.at,
            record.epoch,
            record.stream.as_str(),
            record.kind,
            &body[..body.len().min(200)]
        );
    }
    println!("{:#?}", story.world.state().taken);
    assert_eq!(invariants::violations(&schedule, &story), Vec::<String>::new());
}

#[test]
fn the_same_seed_is_the_same_story() {
    let told = |seed| {
        let schedule = Schedule::draw(seed);
        let mut story = Story::of(&schedule);
        story.tell();
        story.world.journal.records()
    };
    for seed in 0..10 {
        let (one, other) = (told(seed), told(seed));
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!((differs, one.len()), (None, other.len()), "seed {seed}");
    }
}

#[test]
fn a_clock_that_is_set_back_holds_up_no_rollback() {
    for at in [65, 70, 75, 80] {
        let calm = Schedule::calm(Mode::Auto, Trouble::CrashLoop);
        let schedule = Schedule { happenings: vec![(at, Happening::ClockSet(-3000))], ..calm };
        let mut story = Story::of(&schedule);
        story.tell();
        assert_eq!(invariants::violations(&schedule, &story), Vec::<String>::new(), "set back at {at}");
        let over = story.world.second();
        assert!(over < 1000, "set back at {at}: it took {over} s");
    }
}

#[test]
#[ignore = "tests/run simulation"]
fn schedules() {
    let count = number("ROLLGUARD_SCHEDULES").unwrap_or(SCHEDULES);
    run_all(FIRST_SEED..FIRST_SEED + count);
}
