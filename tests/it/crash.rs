//! A process that dies at every point, and again at every point on its way back: the world must end the same.
//!
//! At every point (before and after each durable write, each look, each change, each check, each delivery and each wait) the
//! durable world is put aside as a process that dies there leaves it, and a new life begins with it. Every point of that
//! second life is put aside in turn, and a third life begins there. Points that leave exactly the same world (the same
//! writes, the same targets, the same time) have the same future, since nothing else outlives a process: those are counted
//! each, and lived once.
mod cases;
mod journal;
mod life;
mod watch;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use rollguard::domain::policy::Mode;
use rollguard::domain::run::End;

use crate::simulation::world::Trouble;
use crate::support::say;

use cases::{CASES, Case};
use life::{WATCH_SECS, life};
use watch::WATCHES;
use world::{Manner, World};

/// What was found over all points of one case, or of all.
#[derive(Clone, Debug, Default)]
struct Tally {
    points: usize,
    second_points: usize,
    lives: usize,
    doubled: usize,
    lost: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.points += other.points;
        self.second_points += other.second_points;
        self.lives += other.lives;
        self.doubled += other.doubled;
        self.lost += other.lost;
        self.wrong.extend(other.wrong.iter().cloned());
    }

    fn line(&self) -> String {
        let Tally { points, second_points, doubled, lost, .. } = self;
        format!(
            "crash points: {points}, second-life points: {second_points}, doubled effects: {doubled}, lost effects: {lost}"
        )
    }

    /// What there is too often and too seldom, beside what it depends on the point whether it is there.
    fn compare(&mut self, found: Vec<String>, wanted: &[&str], may_be: &[&str], what: &str) {
        let mut missing: Vec<&str> = wanted.to_vec();
        let mut more = Vec::new();
        for one in found {
            match missing.iter().position(|wanted| *wanted == one) {
                Some(place) => drop(missing.swap_remove(place)),
                None if may_be.contains(&one.as_str()) => {}
                None => more.push(one),
            }
        }
        self.doubled += more.len();
        self.lost += missing.len();
        if !more.is_empty() || !missing.is_empty() {
            self.wrong.push(format!("{what}: missing {missing:?}, too often {more:?}"));
        }
    }

    /// What must hold when everything is over, however often the process died.
    fn check(&mut self, world: &World, end: Option<End>, what: &str) {
        let case = world.case;
        self.lives += 1;
        self.compare(world.effects(), case.effects, &[], what);
        self.compare(world.told(), case.told, case.may_be_told, what);
        let mut wrong = world.wrong();
        if end != Some(case.end) {
            wrong.push(format!("it ends {end:?}"));
        }
        let held = case.effects.iter().filter(|effect| effect.ends_with("suspend")).count();
        if world.recorded("owner_held").len() != held {
            wrong.push("it is not remembered once that the owner is held".to_string());
        }
        let ends = ["watch_ended", "approval_expired", "aborted", "denied", "superseded"];
        let ended: Vec<Timestamp> = ends.iter().flat_map(|kind| world.recorded(kind)).collect();
        match (&world.recorded("verified")[..], &ended[..]) {
            ([verified], [ended]) => {
                let watched = ended.duration_since(*verified).as_secs();
                if watched < WATCH_SECS as i64 {
                    wrong.push(format!("it was watched for {watched} s only"));
                }
            }
            ([], [_]) if !case.told.contains(&"verified") => {}
            (verified, ended) => {
                wrong.push(format!(
                    "it was verified {} times and ended {} times",
                    verified.len(),
                    ended.len()
                ));
            }
        }
        self.wrong.extend(wrong.into_iter().map(|wrong| format!("{what}: {wrong}")));
    }
}

/// Every first death and, after each, every second one.
async fn explore(case: &'static Case, manner: Manner) -> Tally {
    let mut tally = Tally::default();
    let name = format!("{} ({manner:?})", case.name);
    let calm = World::new(case, manner);
    calm.keep_trail();
    let end = life(&calm).await;
    tally.check(&calm, end, &format!("{name}, never killed"));
    let (mut begun, mut gone_on) = (BTreeSet::new(), BTreeSet::new());
    for (first, moment) in calm.trail().iter().enumerate() {
        tally.points += 1;
        if !begun.insert(moment.key) {
            continue;
        }
        let world = calm.at(moment).await;
        world.keep_trail();
        let end = life(&world).await;
        tally.check(&world, end, &format!("{name}, killed at {first}"));
        for (second, moment) in world.trail().iter().enumerate() {
            tally.second_points += 1;
            if !gone_on.insert(moment.key) {
                continue;
            }
            let world = world.at(moment).await;
            let end = life(&world).await;
            tally.check(&world, end, &format!("{name}, killed at {first}, then at {second}"));
        }
    }
    tally
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What is explored by itself.
enum Job {
    Plan(&'static Case, Manner),
    Watch(Mode, Trouble),
}

impl Job {
    fn all() -> Vec<Self> {
        let lost = CASES.iter().filter(|case| case.loses_answers);
        let watches = WATCHES.into_iter().map(|(mode, trouble)| Job::Watch(mode, trouble));
        let plans = CASES.iter().map(|case| Job::Plan(case, Manner::Plain));
        watches.chain(plans).chain(lost.map(|case| Job::Plan(case, Manner::AnswersLost))).collect()
    }

    fn run(&self) -> Tally {
        let (name, tally) = match self {
            Job::Plan(case, manner) => {
                (format!("{} ({manner:?})", case.name), runtime().block_on(explore(case, *manner)))
            }
            Job::Watch(mode, trouble) => {
                (format!("a bad release is watched ({mode:?}, {trouble:?})"), watch::explore(*mode, *trouble))
            }
        };
        println!("{name}: {}, {} lives", tally.line(), tally.lives);
        tally
    }
}

#[test]
fn every_crash_point_ends_in_the_same_world() {
    let (jobs, next) = (Job::all(), AtomicUsize::new(0));
    let work = || {
        let mut done = Tally::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
            done.add(&job.run());
        }
        done
    };
    let mut total = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| total.add(&worker.join().unwrap()));
    });
    say(&total.line());
    let some = &total.wrong[..total.wrong.len().min(9)];
    assert!(total.wrong.is_empty(), "{} wrong, such as {some:#?}", total.wrong.len());
    assert_eq!((total.doubled, total.lost), (0, 0));
    assert!(total.points >= 150, "only {} points", total.points);
}

#[test]
fn every_step_can_be_repeated() {
    let mut tally = Tally::default();
    for case in CASES {
        runtime().block_on(async {
            let world = World::new(case, Manner::Twice);
            let end = life(&world).await;
            tally.check(&world, end, case.name);
        });
    }
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}
