//! Kill the driver of a run at every point, then its second life at every distance: the world must end the same.
mod points;
mod world;

use std::sync::Arc;

use jiff::Timestamp;
use rollguard::domain::answer::Wanted;
use rollguard::domain::event::{RUN_STREAMS, RunEvent, from_record};
use rollguard::domain::opening::{Request, open};
use rollguard::domain::plan::kubernetes::restart;
use rollguard::domain::plan::{Goal, Plan, draft};
use rollguard::domain::policy::{Decided, Decision};
use rollguard::domain::probe::Probe;
use rollguard::domain::run::{End, Phase, Run, evolve};
use rollguard::domain::survey::{KubernetesSurvey, Survey};
use rollguard::domain::verification::{CheckKind, CheckSpec};
use rollguard::engine::driver::{Note, Tools, drive};
use rollguard::engine::ledger::{Entry, Ledger};
use rollguard::engine::snapshot::Picture;
use rollguard::ports::Journal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::lever::Lever;
use points::{Fuel, FueledJournal};
use world::{Kin, Memo, World, survey};

const RUN: &str = "shop-crash1";
const WATCH_SECS: u64 = 1800;

/// Back to v1, and where answers are lost a restart of it, too: pairs of crash points grow with the square of the steps.
fn plan(world: &World) -> Plan {
    let survey = survey(world);
    let good = survey.history[0].version.clone();
    let restored = KubernetesSurvey { version: good.clone(), ..survey.clone() };
    let mut plan = draft(&Survey::Kubernetes(survey), &Goal::Version(good), RUN, 600).unwrap();
    if world.restarts_too() {
        plan.steps.extend(restart(&restored, world.now(), 600).unwrap());
    }
    plan
}

fn request(plan: Plan) -> Request<'static> {
    let service = Box::leak(Box::new(plan.service.clone()));
    let health = CheckKind::Outside(Probe::http("http://shop/health", Wanted::status(200)));
    Request {
        service,
        incident: "shop/backend.v2.0".into(),
        decided: Decided {
            decision: Decision::Rollback,
            would: None,
            reason: "it is bad".into(),
            barred: vec![],
        },
        verdict: None,
        requested_by: Some("ann".into()),
        released_at: None,
        plan,
        checks: vec![CheckSpec { name: "API health".into(), kind: health }],
        approval_secs: 900,
        verify_secs: 600,
        watch_secs: WATCH_SECS,
        status_page: None,
        kept: vec![],
        configuration: None,
    }
}

/// One life of the process: adopt what the journal holds and drive it, until it is over or the fuel is.
async fn life(world: &Arc<World>, fuel: u32) -> u32 {
    let fuel = Arc::new(Fuel::new(fuel));
    world.board(&fuel);
    let journal: Arc<dyn Journal> = Arc::new(FueledJournal::new(world.journal.clone(), fuel.clone()));
    let driving = async {
        let epoch = journal.claim().await.unwrap();
        let picture = Picture::default();
        let notifiers: Arc<[_]> = Arc::new([world.notifier()]);
        let clock = world.clock();
        let ledger = Ledger::new(journal.clone(), notifiers, clock.clone(), picture.clone(), epoch);
        let run = recall_or_open(world, &journal, &ledger).await;
        let (notes, mut told) = mpsc::channel::<Note>(64);
        let viewer = picture.viewer();
        let stop = CancellationToken::new();
        let (target, checks) = (world.target(), world.checks());
        let kill = Lever::default().switch();
        let tools = Tools { ledger, clock, target, checks, kill, picture, viewer, notes, stop };
        let (_inputs, receiver) = mpsc::channel(8);
        drive(run, tools, receiver).await.unwrap();
        while told.try_recv().is_ok() {}
    };
    tokio::select! {
        () = driving => {}
        () = fuel.ran_out() => {}
    }
    fuel.burned()
}

/// Opens the run in the first life; every later one only folds.
async fn recall_or_open(world: &World, journal: &Arc<dyn Journal>, ledger: &Ledger) -> Run {
    let recalled = recall(journal).await;
    if recalled.opened.is_some() {
        return recalled;
    }
    let at = world.now();
    let (run, events) = open(request(plan(world)), RUN.into(), at, ledger.epoch());
    let entries: Vec<Entry> = events.into_iter().map(|event| Entry::Run { run: RUN.into(), event }).collect();
    ledger.commit(at, &entries, vec![], vec![]).await.unwrap();
    run
}

async fn recall(journal: &Arc<dyn Journal>) -> Run {
    let mut run = Run::default();
    for stream in journal.streams(RUN_STREAMS).await.unwrap() {
        for record in journal.read(&stream).await.unwrap() {
            let event: RunEvent = from_record(&record).unwrap();
            run = evolve(run, &event, record.at);
        }
    }
    run
}

fn count(world: &World, kind: &str) -> u32 {
    let records = world.journal.records();
    records.iter().filter(|record| record.kind == kind).count().try_into().unwrap()
}

/// What must hold when everything is over, however often it was killed.
async fn check(world: &Arc<World>, kin: Kin, what: &str) {
    let journal: Arc<dyn Journal> = world.journal.clone();
    let run = recall(&journal).await;
    assert_eq!(run.phase, Phase::Closed(End::Unseen), "{what}: it is verified, and nothing is measured here");
    assert_eq!(world.applied(), 1, "{what}: the template is restored exactly once");
    let restarts = usize::from(world.restarts_too());
    assert_eq!(world.restarts(), restarts, "{what}: the pods are restarted exactly once");
    let held: Vec<u32> = vec![world.held(), count(world, "owner_held")];
    assert_eq!(
        held,
        vec![u32::from(kin == Kin::Owned); 2],
        "{what}: the owner is suspended once, and that is known"
    );
    let verified: Vec<Timestamp> =
        world.journal.records().iter().filter(|r| r.kind == "verified").map(|r| r.at).collect();
    assert_eq!(verified.len(), 1, "{what}");
    let watched = run.closed_at.unwrap().duration_since(verified[0]).as_secs();
    assert!(watched >= WATCH_SECS as i64, "{what}: watched for {watched} s only");
    let keys = world.messages().await;
    for key in ["verified", "closed", "resolve"] {
        let count = keys.iter().filter(|k| **k == format!("{RUN}/{key}")).count();
        assert_eq!(count, 1, "{what}: message {key} is enqueued {count} times");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_crash_point_ends_in_the_same_world() {
    for (memo, kin) in [
        (Memo::Kept, Kin::Alone),
        (Memo::AnswersLost, Kin::Alone),
        (Memo::Kept, Kin::Owned),
        (Memo::AnswersLost, Kin::Owned),
    ] {
        let calm = Arc::new(World::new(memo, kin));
        let points = life(&calm, u32::MAX).await;
        check(&calm, kin, "without a crash").await;
        assert!(points > 20, "only {points} points");
        let mut second_points = 0;
        for first in 0..points {
            for second in 0..=points {
                let world = Arc::new(World::new(memo, kin));
                life(&world, first).await;
                let burned = life(&world, second).await;
                let what = format!("{memo:?}, {kin:?}: killed at {first}, then at {second}");
                // A second life that reaches its end makes every longer one the same.
                let done = burned < second;
                life(&world, u32::MAX).await;
                check(&world, kin, &what).await;
                second_points += 1;
                if done {
                    break;
                }
            }
        }
        println!(
            "{memo:?}, {kin:?}: crash points: {points}, second-life points: {second_points}, doubled effects: 0, lost effects: 0"
        );
    }
}
