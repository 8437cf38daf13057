//! The composition root: how a configuration becomes a running daemon.
mod adapters;
#[cfg(feature = "aws")]
mod aws;
pub mod backtest;
mod build;
mod inquiries;
mod journal;
pub mod live;
mod outside;
mod reload;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{FutureExt, TryFutureExt};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::kill_file::FileSwitch;
use crate::adapters::kubernetes::AccessError;
use crate::adapters::recording::{FileRecorder, RecordingError, RecordingLimits};
use crate::config::Config;
use crate::engine::clock::SystemClock;
use crate::engine::commands::Desk;
use crate::engine::driver::{Note, Tools};
use crate::engine::kill::KillSwitch;
use crate::engine::ledger::Ledger;
use crate::engine::outbox::{Outbox, Unsettled};
use crate::engine::reload::{ReloadOrder, Reloads};
use crate::engine::snapshot::Picture;
use crate::engine::watcher::{Parts, Watcher};
use crate::http::{HttpParts, HttpState, metrics, serve};
use crate::ports::{Clock, Journal, JournalError, Recorder};
use adapters::{Adapters, InUse};
use inquiries::Answers;
pub use reload::Reread;
use reload::{Polling, Reloader};

/// Why the daemon did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}: choose another `listen` address, or stop what listens there")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    #[error("the recordings cannot be kept")]
    Recording(#[from] RecordingError),
    #[error("the cluster cannot be reached")]
    Cluster(#[from] AccessError),
    #[error("{what} cannot be set up: {why}")]
    Setup { what: &'static str, why: String },
}

/// A running daemon.
pub struct Daemon {
    address: SocketAddr,
    stop: CancellationToken,
    reloads: Reloads,
    tasks: Tasks,
}

type Tasks = JoinSet<Result<(), AppError>>;

/// Answers and notes that may wait for the watcher.
const WAITING: usize = 256;

impl Daemon {
    /// Starts everything that the configuration asks for. With `reread` it can be changed while it runs.
    ///
    /// # Errors
    /// When the address, the journal or the cluster's credentials cannot be used. Nothing runs then.
    pub async fn start(config: Config, reread: Option<Reread>) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = metrics_handle(clock.now())?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|source| AppError::Listen { address: config.listen, source })?;
        let address =
            listener.local_addr().map_err(|source| AppError::Listen { address: config.listen, source })?;
        let journal = journal::open(&config).await?;
        let recordings = config.state_dir.join("recordings");
        let recorder: Arc<dyn Recorder> =
            Arc::new(FileRecorder::new(&recordings, RecordingLimits::default())?);
        let adapters = Adapters::of(&config, clock.clone()).await?;
        let epoch = journal.claim().await?;
        tracing::info!(%address, epoch, services = config.services.len(), "rollguard is up");
        let stop = CancellationToken::new();
        let (reloads, orders) = Reloads::new();
        let world = World {
            clock,
            journal,
            recorder,
            metrics,
            listener,
            epoch,
            stop: stop.clone(),
            reloads: reloads.clone(),
        };
        let tasks = world.set_going(config, adapters, reread, orders);
        Ok(Self { address, stop, reloads, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cancel it to stop the daemon: runs are left where they are in the journal, and go on with the next start.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Reads the configuration again when it is asked to.
    pub fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Waits until the daemon has stopped, or one of its parts has failed; then everything stops.
    ///
    /// # Errors
    /// The failure of the part that failed first.
    pub async fn wait(mut self) -> Result<(), AppError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            self.stop.cancel();
            let ended = ended.unwrap_or_else(|e| Err(build::setup("a task")(e)));
            if outcome.is_ok() {
                outcome = ended;
            }
        }
        outcome
    }
}

fn metrics_handle(now: Timestamp) -> Result<PrometheusHandle, AppError> {
    metrics::install(now).map_err(build::setup("the metrics"))
}

/// What a daemon has in hand once it is allowed to start.
struct World {
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    recorder: Arc<dyn Recorder>,
    metrics: PrometheusHandle,
    listener: TcpListener,
    epoch: u64,
    stop: CancellationToken,
    reloads: Reloads,
}

impl World {
    /// Spawns the parts: sources, outbox, HTTP, the watcher, and what replaces their parts when it is told to.
    fn set_going(
        self,
        config: Config,
        adapters: Adapters,
        reread: Option<Reread>,
        orders: mpsc::Receiver<ReloadOrder>,
    ) -> Tasks {
        let feed = Box::new(adapters.cluster.feed());
        let (in_use, sources, fleet) = adapters.put_to_use();
        let (picture, clock, stop) = (Picture::default(), self.clock.clone(), self.stop.clone());
        let ledger = self.ledger(&in_use, &picture);
        let desk = Desk::new(self.journal.clone(), clock.clone(), picture.viewer());
        let (notes, told) = mpsc::channel(WAITING);
        let (answers, answered) = mpsc::channel(WAITING);
        let (watcher, reconfigured) = mpsc::channel(1);
        let polling =
            Polling { answers, clock: clock.clone(), stop: stop.clone(), tasks: TaskTracker::new() };
        let http = HttpState::new(self.http_parts(&config, desk.clone(), &picture, &in_use));
        let kill = KillSwitch::new(Arc::new(FileSwitch::new(config.state_dir.join("KILL"))));
        let mut tasks = Tasks::new();
        tasks.spawn(self.outbox(&in_use, &ledger, &picture).run(stop.clone()).map(Ok));
        let parts = Parts {
            tools: self.tools(&in_use, ledger, &picture, notes, kill),
            journal: self.journal,
            recorder: self.recorder,
            sensing: polling.start(sources),
            fleet,
            desk,
            notes: told,
            answers: answered,
            reconfigured,
            stop: stop.clone(),
        };
        tasks.spawn(Watcher::run(parts, feed).map_err(AppError::from));
        let address = config.listen;
        let failed = move |source| AppError::Listen { address, source };
        tasks.spawn(serve(self.listener, http.clone(), stop.cancelled_owned()).map_err(failed));
        let reloader = Reloader { config, reread, clock, in_use, http, watcher, polling, picture };
        tasks.spawn(reloader.run(orders).map(Ok));
        tasks
    }

    fn ledger(&self, in_use: &InUse, picture: &Picture) -> Ledger {
        let (journal, clock) = (self.journal.clone(), self.clock.clone());
        let ledger = Ledger::new(journal, in_use.notifiers.clone(), clock, picture.clone(), self.epoch);
        ledger.until(self.stop.clone())
    }

    fn outbox(&self, in_use: &InUse, ledger: &Ledger, picture: &Picture) -> Outbox {
        Outbox {
            journal: self.journal.clone(),
            notifiers: in_use.notifiers.clone(),
            clock: self.clock.clone(),
            ledger: ledger.clone(),
            picture: picture.clone(),
            unsettled: Unsettled::default(),
        }
    }

    fn tools(
        &self,
        in_use: &InUse,
        ledger: Ledger,
        picture: &Picture,
        notes: mpsc::Sender<Note>,
        kill: KillSwitch,
    ) -> Tools {
        Tools {
            kill,
            ledger,
            clock: self.clock.clone(),
            target: Arc::new(in_use.target.clone()),
            checks: Arc::new(in_use.checks.clone()),
            picture: picture.clone(),
            viewer: picture.viewer(),
            notes,
            stop: self.stop.clone(),
        }
    }

    fn http_parts(&self, config: &Config, desk: Desk, picture: &Picture, in_use: &InUse) -> HttpParts {
        let clock = self.clock.clone();
        let inquiries = Answers {
            journal: self.journal.clone(),
            target: in_use.target.clone(),
            viewer: picture.viewer(),
            fleet: in_use.fleet.clone(),
        };
        HttpParts {
            desk,
            viewer: picture.viewer(),
            inquiries: Arc::new(inquiries),
            people: build::people(config),
            webhook_token: config.alertmanager.as_ref().and_then(|a| a.webhook_token.clone()),
            routes: build::alert_routes(config),
            open_reads: config.listen.ip().is_loopback(),
            reloads: self.reloads.clone(),
            metrics: self.metrics.clone(),
            now: Arc::new(move || clock.now()),
        }
    }
}
