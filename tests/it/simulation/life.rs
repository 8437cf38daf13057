//! One daemon over the world: the real watcher, drivers and outbox on a runtime of their own, which dies as a process does.
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::task::AtomicWaker;
use rollguard::domain::answer::Wanted;
use rollguard::domain::guardrails::Rails;
use rollguard::domain::policy::Mode;
use rollguard::domain::probe::Probe;
use rollguard::domain::runbook::{Judging, standard_rules};
use rollguard::domain::verification::{CheckKind, CheckSpec};
use rollguard::engine::commands::{Command, Desk};
use rollguard::engine::driver::Tools;
use rollguard::engine::kill::KillSwitch;
use rollguard::engine::leadership::Tenure;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::outbox::Outbox;
use rollguard::engine::settings::{Fleet, ServiceSettings};
use rollguard::engine::snapshot::Picture;
use rollguard::engine::sources::{Answer, AskBook, Sensing};
use rollguard::engine::watcher::{Parts, Watcher};
use rollguard::ports::{FeedEvent, Journal, JournalError, Notifier, ReleaseFeed};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::hands::{Fate, Hands};
use super::world::{SERVICES, Sight, World, api};
use crate::support::hooked::Hooked;

pub(crate) const WATCH_SECS: u64 = 180;
pub(crate) const APPROVAL_SECS: u64 = 120;

pub(crate) struct Life {
    runtime: Runtime,
    idle: Arc<Idle>,
    world: Arc<World>,
    pub(crate) fate: Arc<Fate>,
    feed: mpsc::Sender<FeedEvent>,
    answers: mpsc::Sender<Answer>,
    book: watch::Receiver<Arc<AskBook>>,
    desk: Desk,
    watcher: JoinHandle<Result<(), JournalError>>,
    /// Each service as it was shown last; none while the feed is interrupted.
    shown: Option<BTreeMap<&'static str, Sight>>,
}

/// Tells when every task of a runtime waits for something.
#[derive(Default)]
struct Idle {
    parked: AtomicBool,
    waker: AtomicWaker,
}

fn runtime(idle: &Arc<Idle>) -> Runtime {
    let parks = idle.clone();
    let parked = move || {
        parks.parked.store(true, Ordering::SeqCst);
        parks.waker.wake();
    };
    Builder::new_current_thread().enable_time().on_thread_park(parked).build().unwrap()
}

struct Feed(mpsc::Receiver<FeedEvent>);

#[async_trait]
impl ReleaseFeed for Feed {
    async fn next(&mut self) -> Option<FeedEvent> {
        self.0.recv().await
    }
}

impl Life {
    /// A daemon that lives for so many points; none if the journal cannot be claimed now.
    pub(crate) fn begin(world: &Arc<World>, mode: Mode, points: u64) -> Option<Self> {
        let fate = Fate::new(points);
        let hands = Hands { world: world.clone(), fate: fate.clone() };
        let hooked = Hooked::new(world.journal.clone(), hands.clone());
        let journal: Arc<dyn Journal> = Arc::new(hooked);
        let idle = Arc::<Idle>::default();
        let runtime = runtime(&idle);
        let claiming = runtime.spawn({
            let journal = journal.clone();
            async move { journal.claim().await }
        });
        pump(&runtime, &idle);
        if !claiming.is_finished() {
            return None;
        }
        let epoch = runtime.block_on(claiming).unwrap().ok()?;
        fate.epoch.store(epoch, Ordering::SeqCst);
        let (feed, events) = mpsc::channel(64);
        let (answers, answered) = mpsc::channel(64);
        let (book, asked) = watch::channel(Arc::new(AskBook::default()));
        let (parts, outbox, desk) = parts(journal, hands, epoch, mode, answered, book);
        let stop = parts.stop.clone();
        let watcher = runtime.spawn(Watcher::run(parts, Box::new(Feed(events))));
        drop(runtime.spawn(outbox.run(stop)));
        let (world, shown) = (world.clone(), Some(BTreeMap::new()));
        Some(Self { runtime, idle, world, fate, feed, answers, book: asked, desk, watcher, shown })
    }

    /// Shows and measures what there is, and lets the daemon work until it waits for time to pass.
    pub(crate) fn live(&mut self) {
        self.show();
        pump(&self.runtime, &self.idle);
        self.measure();
        pump(&self.runtime, &self.idle);
    }

    /// It died, or gave up because another daemon has taken over.
    pub(crate) fn is_over(&self) -> bool {
        self.fate.is_dead() || self.watcher.is_finished()
    }

    /// A person asks this daemon for something; whether it is taken shows later.
    pub(crate) fn ask(&self, command: Command, key: String) {
        let desk = self.desk.clone();
        drop(self.runtime.spawn(async move { drop(desk.submit(command, &key).await) }));
    }

    fn show(&mut self) {
        let gap = {
            let state = self.world.state();
            state.second < state.faults.feed
        };
        let shown = match (gap, &mut self.shown) {
            (true, None) => return,
            (true, Some(_)) => {
                self.shown = None;
                drop(self.feed.try_send(FeedEvent::Interrupted { why: "the watch ended".into() }));
                return;
            }
            (false, shown) => {
                if shown.is_none() {
                    drop(self.feed.try_send(FeedEvent::Restored));
                }
                shown.get_or_insert_default()
            }
        };
        for service in SERVICES {
            let sight = self.world.sight(service);
            if shown.get(service) == Some(&sight) {
                continue;
            }
            let view = Box::new(self.world.view(service));
            if self.feed.try_send(FeedEvent::Changed(view)).is_ok() {
                shown.insert(service, sight);
            }
        }
    }

    fn measure(&self) {
        let book = self.book.borrow().clone();
        let every = if book.fresh.is_empty() { 60 } else { 5 };
        if self.world.second() % every != 0 {
            return;
        }
        let asked = book.fresh.iter().chain(&book.idle).chain(&book.controls);
        let samples = asked.flat_map(|ask| self.world.measure(ask)).collect();
        // A daemon that does not listen misses it.
        drop(self.answers.try_send(Answer { source: "prometheus".into(), samples }));
    }
}

/// Lets all tasks run until each of them waits.
fn pump(runtime: &Runtime, idle: &Arc<Idle>) {
    idle.parked.store(false, Ordering::SeqCst);
    runtime.block_on(poll_fn(|context| {
        if idle.parked.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        idle.waker.register(context.waker());
        Poll::Pending
    }));
}

fn parts(
    journal: Arc<dyn Journal>,
    hands: Hands,
    epoch: u64,
    mode: Mode,
    answers: mpsc::Receiver<Answer>,
    book: watch::Sender<Arc<AskBook>>,
) -> (Parts, Outbox, Desk) {
    let hands = Arc::new(hands);
    let (picture, stop) = (Picture::default(), CancellationToken::new());
    let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([hands.clone() as Arc<dyn Notifier>]);
    let (notes, told) = mpsc::channel(16);
    let ledger = Ledger::new(journal.clone(), notifiers.clone(), hands.clone(), picture.clone(), epoch);
    let outbox = Outbox {
        journal: journal.clone(),
        notifiers: notifiers.into(),
        clock: hands.clone(),
        ledger: ledger.clone(),
        picture: picture.clone(),
        unsettled: Default::default(),
    };
    let desk = Desk::new(journal.clone(), hands.clone(), picture.viewer());
    let tools = Tools {
        ledger,
        clock: hands.clone(),
        target: hands.clone(),
        checks: hands.clone(),
        kill: KillSwitch::new(hands.clone()),
        tenure: Tenure::unlimited(),
        viewer: picture.viewer(),
        picture,
        notes,
        stop: stop.clone(),
    };
    let parts = Parts {
        tools,
        desk: desk.clone(),
        journal,
        recorder: hands,
        sensing: Sensing { sources: vec![], book },
        fleet: Fleet::new(SERVICES.iter().map(|name| settings(name, mode)).collect(), 2),
        notes: told,
        answers,
        reconfigured: mpsc::channel(1).1,
        stop,
    };
    (parts, outbox, desk)
}

fn settings(service: &str, mode: Mode) -> ServiceSettings {
    let secs = Duration::from_secs;
    let health = CheckKind::Outside(Probe::http("http://shop/health", Wanted::status(200)));
    ServiceSettings {
        name: api(service).service,
        policy: mode.into(),
        targets: vec![api(service).target],
        rules: standard_rules(),
        rules_apart: Default::default(),
        compatible: Default::default(),
        judging: Judging::standard(secs(WATCH_SECS)),
        watch: secs(WATCH_SECS),
        page_after: secs(60),
        rails: Rails::default(),
        minimums: BTreeMap::new(),
        approval_expires: secs(APPROVAL_SECS),
        rollout_deadline: secs(300),
        together: true,
        verify_deadline: secs(60),
        checks: vec![CheckSpec { name: "API health".into(), kind: health }],
        status_page: None,
    }
}
