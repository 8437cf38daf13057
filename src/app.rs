//! The composition root: how a configuration becomes a running daemon.
mod adapters;
mod alarm;
pub mod audit;
#[cfg(feature = "aws")]
mod aws;
pub mod backtest;
mod build;
mod channels;
mod databases;
mod infrastructure;
mod inquiries;
mod journal;
mod leading;
pub mod live;
mod outside;
mod reload;
mod replica;
mod rooms;
mod standing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::adapters::kill_file::FileSwitch;
use crate::adapters::kubernetes::AccessError;
use crate::adapters::recording::{FileRecorder, RecordingError, RecordingLimits};
use crate::config::Config;
use crate::domain::lease::SteppedDown;
use crate::engine::clock::SystemClock;
use crate::engine::commands::Desk;
use crate::engine::kill::KillSwitch;
use crate::engine::leadership::Tenure;
use crate::engine::published::PublishError;
use crate::engine::reload::{ReloadOrder, Reloads};
use crate::engine::snapshot::Picture;
use crate::http::{HttpParts, HttpState, metrics, serve};
use crate::ports::{Clock, JournalError, Recorder};
use crate::telemetry::Metric;
use adapters::{Adapters, InUse};
pub use alarm::Guarding;
use inquiries::Answers;
use leading::House;
pub use reload::Reread;
use reload::{Duty, Reloader};
use replica::{Replica, Standing};

/// Why the daemon did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}: choose another `listen` address, or stop what listens there")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    #[error("this replica leads no more, and stops: its next start stands by")]
    LeadsNoMore(#[from] SteppedDown),
    #[error("this replica cannot lead any more, and stops: its next start stands by")]
    CannotLead(#[from] PublishError),
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

/// After a failure the other parts have so long to end; what does not is cut off.
const GRACE: Duration = Duration::from_secs(5);

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
        let (reloads, orders) = Reloads::new();
        let (stop, picture) = (CancellationToken::new(), Picture::default());
        let mut world = World {
            house: House {
                desk: Desk::new(journal.clone(), clock.clone(), picture.viewer()),
                kill: KillSwitch::new(Arc::new(FileSwitch::new(config.state_dir.join("KILL")))),
                stop: stop.clone(),
                tenure: Tenure::unlimited(),
                clock,
                journal,
                recorder,
                picture,
            },
            metrics,
            listener,
            reloads: reloads.clone(),
            tasks: Tasks::new(),
        };
        let post = world.post(&config, &adapters).await?;
        let services = config.services.len();
        match &post {
            Post::Leading { epoch } => tracing::info!(%address, epoch, services, "rollguard is up"),
            Post::Standing(own) => tracing::info!(%address, replica = own.me, services, "rollguard is up"),
        }
        let tasks = world.set_going(config, adapters, Reading { reread, orders }, post);
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
        let outcome = match self.tasks.join_next().await {
            None => return Ok(()),
            Some(ended) => outcome_of(ended),
        };
        self.stop.cancel();
        let rest = end_of(&mut self.tasks);
        if outcome.is_ok() {
            return rest.await;
        }
        // Whatever hangs is cut off with the process.
        drop(tokio::time::timeout(GRACE, rest).await);
        outcome
    }
}

/// The first failure, once all have ended.
async fn end_of(tasks: &mut Tasks) -> Result<(), AppError> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        outcome = outcome.and(outcome_of(ended));
    }
    outcome
}

fn outcome_of(ended: Result<Result<(), AppError>, JoinError>) -> Result<(), AppError> {
    ended.unwrap_or_else(|e| Err(build::setup("a task")(e)))
}

fn metrics_handle(now: Timestamp) -> Result<PrometheusHandle, AppError> {
    metrics::install(now).map_err(build::setup("the metrics"))
}

/// What a daemon has in hand once it is allowed to start.
struct World {
    house: House,
    metrics: PrometheusHandle,
    listener: TcpListener,
    reloads: Reloads,
    tasks: Tasks,
}

/// What a replica begins as.
enum Post {
    /// The only one.
    Leading {
        epoch: u64,
    },
    Standing(Standing),
}

/// How the configuration is read again.
struct Reading {
    reread: Option<Reread>,
    orders: mpsc::Receiver<ReloadOrder>,
}

impl World {
    /// Where replicas take turns this one stands for the lease, otherwise it begins its epoch at once.
    async fn post(&mut self, config: &Config, adapters: &Adapters) -> Result<Post, AppError> {
        let Some(leadership) = &config.leadership else {
            Metric::Leader.set(1.0, vec![]);
            return Ok(Post::Leading { epoch: self.house.journal.claim().await? });
        };
        let (candidate, standing) = standing::stand(leadership, &adapters.cluster, self.house.clock.clone());
        self.house.tenure = candidate.tenure();
        self.tasks.spawn(candidate.run(standing.leave.clone()).map_err(AppError::from));
        Ok(Post::Standing(standing))
    }

    /// Spawns the parts that every replica has, HTTP and what replaces parts when it is told to, and those that lead.
    fn set_going(mut self, config: Config, adapters: Adapters, reading: Reading, post: Post) -> Tasks {
        let (in_use, equipment) = adapters.put_to_use();
        let http = HttpState::new(self.http_parts(&config, &in_use));
        let (address, house) = (config.listen, self.house);
        let failed = move |source| AppError::Listen { address, source };
        let served = serve(self.listener, http.clone(), house.stop.clone().cancelled_owned());
        self.tasks.spawn(served.map_err(failed));
        let reloader = Reloader {
            config,
            reread: reading.reread,
            clock: house.clock.clone(),
            in_use,
            http,
            duty: Duty::Standby(Box::new(equipment)),
            picture: house.picture.clone(),
            stop: house.stop.clone(),
        };
        let (standing, epoch) = match post {
            Post::Leading { epoch } => (None, Some(epoch)),
            Post::Standing(standing) => (Some(standing), None),
        };
        let mut replica = Replica { reloader, house, standing, tasks: Tasks::new() };
        if let Some(epoch) = epoch {
            replica.lead(epoch);
        }
        self.tasks.spawn(replica.run(reading.orders));
        self.tasks
    }

    fn http_parts(&self, config: &Config, in_use: &InUse) -> HttpParts {
        let House { clock, picture, desk, journal, recorder, .. } = &self.house;
        let inquiries = Answers {
            journal: journal.clone(),
            recorder: recorder.clone(),
            target: in_use.target.clone(),
            viewer: picture.viewer(),
            fleet: in_use.fleet.clone(),
        };
        let clock = clock.clone();
        HttpParts {
            desk: desk.clone(),
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
