//! One life of the process over a world: the real driver and the real outbox, over the real ledger, until all is over.
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rollguard::domain::answer::Wanted;
use rollguard::domain::approval::Asking;
use rollguard::domain::event::{RUN_STREAMS, RunEvent, from_record};
use rollguard::domain::opening::{Request, open};
use rollguard::domain::policy::asking::{Approvals, Then, Unanswered};
use rollguard::domain::policy::{Decided, Decision};
use rollguard::domain::probe::Probe;
use rollguard::domain::run::{End, Run, evolve};
use rollguard::domain::verification::{CheckKind, CheckSpec};
use rollguard::engine::driver::{Input, Note, Tools, drive};
use rollguard::engine::kill::KillSwitch;
use rollguard::engine::leadership::Tenure;
use rollguard::engine::ledger::{Entry, Ledger};
use rollguard::engine::outbox::Outbox;
use rollguard::engine::snapshot::Picture;
use rollguard::ports::{Journal, Notifier};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::cases::RUN;
use super::world::{Patient, World};

pub(super) const WATCH_SECS: u64 = 1800;

fn request(world: &World) -> Request<'static> {
    let plan = (*world.plan).clone();
    let service = Box::leak(Box::new(plan.service.clone()));
    let health = CheckKind::Outside(Probe::http("http://shop/health", Wanted::status(200)));
    let decision = if world.case.asks { Decision::Ask } else { Decision::Rollback };
    Request {
        service,
        incident: "shop/backend.v2.0".into(),
        decided: Decided { decision, would: None, reason: "it is bad".into(), barred: vec![], policy: None },
        verdict: None,
        requested_by: Some("ann".into()),
        released_at: None,
        plan,
        checks: vec![CheckSpec { name: "API health".into(), kind: health }],
        severity: 2,
        asking: asking(world),
        verify_secs: 600,
        watch_secs: WATCH_SECS,
        status_page: None,
        kept: vec![],
        changed: vec![],
        configuration: None,
    }
}

fn asking(world: &World) -> Asking {
    let unanswered =
        |(secs, then): &(u64, Then)| Unanswered { after: Duration::from_secs(*secs), then: *then };
    Asking {
        approvals: Approvals { needed: world.case.needed, ..Approvals::default() },
        unanswered: world.case.unanswered.iter().map(unanswered).collect(),
        alone: true,
        ..Asking::within(900)
    }
}

/// Adopts what the journal holds and drives it until it is over and everybody was told; answers how it ended.
pub(super) async fn life(world: &Arc<World>) -> Option<End> {
    let (journal, hands) = (world.open_journal(), world.hands());
    let epoch = journal.claim().await.unwrap();
    let (picture, stop) = (Picture::default(), CancellationToken::new());
    let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([hands.clone() as Arc<dyn Notifier>]);
    let ledger = Ledger::new(journal.clone(), notifiers.clone(), hands.clone(), picture.clone(), epoch);
    let run = recall_or_open(world, &journal, &ledger).await;
    let outbox = Outbox {
        journal: journal.clone(),
        notifiers: notifiers.into(),
        clock: Arc::new(Patient(world.clone())),
        ledger: ledger.clone(),
        picture: picture.clone(),
        unsettled: Default::default(),
    };
    let (notes, mut told) = mpsc::channel::<Note>(64);
    let (inputs, receiver) = mpsc::channel(8);
    let tools = Tools {
        ledger,
        clock: hands.clone(),
        target: hands.clone(),
        checks: hands.clone(),
        kill: KillSwitch::new(hands),
        tenure: Tenure::unlimited(),
        viewer: picture.viewer(),
        picture,
        notes,
        stop: stop.clone(),
    };
    tokio::select! {
        biased;
        driven = drive(run, tools, receiver) => driven.unwrap(),
        () = hand_on(&journal, &inputs) => {}
        () = outbox.clone().run(stop) => {}
    }
    while journal.outbox_depth().await.unwrap() > 0 {
        if !outbox.deliver_due().await {
            world.pass(SignedDuration::from_secs(1));
        }
    }
    std::iter::from_fn(|| told.try_recv().ok()).find_map(|note| match note {
        Note::Closed { end, .. } => Some(end),
        Note::Folded { .. } => None,
    })
}

/// What the watcher does with commands for a run.
async fn hand_on(journal: &Arc<dyn Journal>, inputs: &mpsc::Sender<Input>) {
    let mut seen = 0;
    loop {
        let before = seen;
        for row in journal.inbox(100).await.unwrap().into_iter().filter(|row| row.id > before) {
            seen = row.id;
            let command = serde_json::from_value(row.body).unwrap();
            // A driver that has ended needs no telling.
            drop(inputs.send(Input::Command { row: row.id, command }).await);
        }
        tokio::task::yield_now().await;
    }
}

/// Opens the run in the first life; every later one only folds.
async fn recall_or_open(world: &World, journal: &Arc<dyn Journal>, ledger: &Ledger) -> Run {
    let recalled = recall(journal).await;
    if recalled.opened.is_some() {
        return recalled;
    }
    let at = world.now();
    let (run, events) = open(request(world), RUN.into(), at, ledger.epoch());
    let mut folding = Run::default();
    let mut messages = Vec::new();
    for event in &events {
        folding = evolve(folding, event, at);
        messages.extend(rollguard::domain::message::of_run(event, &folding, at));
    }
    let entries: Vec<Entry> = events.into_iter().map(|event| Entry::Run { run: RUN.into(), event }).collect();
    ledger.commit(at, &entries, messages, vec![]).await.unwrap();
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
