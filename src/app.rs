//! The composition root: how a configuration becomes a running daemon.
#[cfg(feature = "aws")]
mod aws;
pub mod backtest;
mod build;
mod inquiries;
pub mod live;
mod outside;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{FutureExt, TryFutureExt};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::journal::SqliteJournal;
use crate::adapters::kill_file::FileSwitch;
use crate::adapters::kubernetes::AccessError;
use crate::adapters::recording::{FileRecorder, RecordingError, RecordingLimits};
use crate::config::Config;
use crate::engine::clock::SystemClock;
use crate::engine::commands::Desk;
use crate::engine::driver::Tools;
use crate::engine::kill::KillSwitch;
use crate::engine::ledger::Ledger;
use crate::engine::outbox::{Outbox, Unsettled};
use crate::engine::snapshot::Picture;
use crate::engine::sources::{AskBook, poll};
use crate::engine::watcher::{Parts, Watcher};
use crate::http::auth::People;
use crate::http::{HttpParts, HttpState, Inquiries, metrics, serve};
use crate::ports::{Clock, Journal, JournalError, Notifier, Recorder, ReleaseFeed, Target};
use inquiries::Answers;

/// Why the daemon did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}: choose another `listen` address, or stop what listens there")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the state directory cannot be used")]
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
    tasks: Tasks,
}

type Tasks = JoinSet<Result<(), AppError>>;

/// Answers and notes that may wait for the watcher.
const WAITING: usize = 256;

impl Daemon {
    /// Starts everything that the configuration asks for.
    ///
    /// # Errors
    /// When the address, the state directory or the cluster's credentials cannot be used. Nothing runs then.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = metrics_handle(clock.now())?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|source| AppError::Listen { address: config.listen, source })?;
        let address =
            listener.local_addr().map_err(|source| AppError::Listen { address: config.listen, source })?;
        let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(&config.state_dir)?);
        let recordings = config.state_dir.join("recordings");
        let recorder: Arc<dyn Recorder> =
            Arc::new(FileRecorder::new(&recordings, RecordingLimits::default())?);
        let cluster = build::cluster(&config, clock.clone()).await?;
        let epoch = journal.claim().await?;
        tracing::info!(%address, epoch, services = config.services.len(), "rollguard is up");
        let stop = CancellationToken::new();
        let world = World { clock, journal, recorder, metrics, listener, epoch, stop: stop.clone() };
        let targets = Arc::new(cluster.targets().with_registry(build::registry(&config)));
        let tasks = world.set_going(&config, Box::new(cluster.feed()), targets)?;
        Ok(Self { address, stop, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cancel it to stop the daemon: runs are left where they are in the journal, and go on with the next start.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
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
}

impl World {
    /// Spawns the parts: sources, outbox, HTTP and the watcher.
    fn set_going(
        self,
        config: &Config,
        feed: Box<dyn ReleaseFeed>,
        target: Arc<dyn Target>,
    ) -> Result<Tasks, AppError> {
        let picture = Picture::default();
        let notifiers: Arc<[Arc<dyn Notifier>]> = build::notifiers(config)?.into();
        let sources = build::sources(config)?;
        let fleet = build::fleet(config);
        let (journal, clock) = (self.journal.clone(), self.clock.clone());
        let ledger =
            Ledger::new(journal.clone(), notifiers.clone(), clock.clone(), picture.clone(), self.epoch)
                .until(self.stop.clone());
        let desk = Desk::new(journal.clone(), clock.clone(), picture.viewer());
        let (notes, told) = mpsc::channel(WAITING);
        let (answers, answered) = mpsc::channel(WAITING);
        let (book, read) = watch::channel(Arc::new(AskBook::default()));
        let tools = Tools {
            ledger: ledger.clone(),
            clock: clock.clone(),
            target: target.clone(),
            checks: build::checks(config)?,
            kill: KillSwitch::new(Arc::new(FileSwitch::new(config.state_dir.join("KILL")))),
            picture: picture.clone(),
            viewer: picture.viewer(),
            notes,
            stop: self.stop.clone(),
        };
        let mut tasks = Tasks::new();
        for source in &sources {
            let polling =
                poll(source.clone(), read.clone(), answers.clone(), clock.clone(), self.stop.clone());
            tasks.spawn(polling.map(Ok));
        }
        let unsettled = Unsettled::default();
        let outbox = Outbox { journal, notifiers, clock, ledger, picture: picture.clone(), unsettled };
        tasks.spawn(outbox.run(self.stop.clone()).map(Ok));
        let inquiries =
            Answers { journal: self.journal.clone(), target, viewer: picture.viewer(), fleet: fleet.clone() };
        let state = HttpState::new(self.http_parts(config, desk.clone(), &picture, Arc::new(inquiries)));
        let (listener, address, stop) = (self.listener, config.listen, self.stop.clone());
        let failed = move |source| AppError::Listen { address, source };
        tasks.spawn(async move { serve(listener, state, stop.cancelled_owned()).await.map_err(failed) });
        let (journal, recorder, stop) = (self.journal, self.recorder, self.stop);
        let parts = Parts {
            tools,
            journal,
            recorder,
            sources,
            fleet,
            desk,
            notes: told,
            answers: answered,
            book,
            stop,
        };
        tasks.spawn(Watcher::run(parts, feed).map_err(AppError::from));
        Ok(tasks)
    }

    fn http_parts(
        &self,
        config: &Config,
        desk: Desk,
        picture: &Picture,
        inquiries: Arc<dyn Inquiries>,
    ) -> HttpParts {
        let clock = self.clock.clone();
        HttpParts {
            desk,
            viewer: picture.viewer(),
            inquiries,
            people: People::new(config.people.iter().map(|p| (p.name.clone(), p.token.clone())).collect()),
            webhook_token: config.alertmanager.as_ref().and_then(|a| a.webhook_token.clone()),
            routes: build::alert_routes(config),
            open_reads: config.listen.ip().is_loopback(),
            metrics: self.metrics.clone(),
            now: Arc::new(move || clock.now()),
        }
    }
}
