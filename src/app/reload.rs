//! Reads the configuration again and puts it in force part by part: all of it, or nothing.
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::adapters::{Adapters, Equipment, InUse};
use super::build;
use crate::config::{Changes, Config, LoadError, Loaded, Severity};
use crate::engine::reload::{ReloadError, ReloadOrder, Reloaded};
use crate::engine::snapshot::{Health, Picture};
use crate::engine::sources::{Answer, AskBook, Sensing, poll};
use crate::engine::watcher::Reconfigured;
use crate::http::HttpState;
use crate::ports::{Clock, SignalSource};
use crate::telemetry::Metric;

/// Reads the configuration from where it was read first.
pub type Reread = Box<dyn Fn() -> Result<Loaded, LoadError> + Send + Sync>;

/// Lets sources be polled: those of the first configuration and those of every later one.
pub(super) struct Polling {
    pub(super) answers: mpsc::Sender<Answer>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Polling {
    /// They are polled until nobody keeps their book any more.
    pub(super) fn start(&self, sources: Vec<Arc<dyn SignalSource>>) -> Sensing {
        let (book, read) = watch::channel(Arc::new(AskBook::default()));
        for source in &sources {
            let (answers, clock) = (self.answers.clone(), self.clock.clone());
            self.tasks.spawn(poll(source.clone(), read.clone(), answers, clock, self.stop.clone()));
        }
        Sensing { sources, book }
    }
}

/// What a new configuration replaces.
pub(super) struct Reloader {
    pub(super) config: Config,
    /// None if the configuration did not come from a file.
    pub(super) reread: Option<Reread>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) in_use: InUse,
    pub(super) http: HttpState,
    pub(super) duty: Duty,
    pub(super) picture: Picture,
    pub(super) stop: CancellationToken,
}

/// What this process has to do, and what a new configuration reaches therefore.
pub(super) enum Duty {
    /// Nothing but to be ready.
    Standby(Box<Equipment>),
    Leading {
        watcher: mpsc::Sender<Reconfigured>,
        polling: Polling,
    },
}

impl Reloader {
    pub(super) async fn obey(&mut self, order: ReloadOrder) {
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            () = stop.cancelled() => Err(ReloadError::Stopping),
            outcome = self.reload() => outcome,
        };
        self.tell(&order.by, &outcome);
        // Whoever asked may have gone away.
        drop(order.answer.send(outcome));
    }

    /// Waits until nothing is polled any more.
    pub(super) async fn finish(self) {
        if let Duty::Leading { polling, .. } = self.duty {
            polling.tasks.close();
            polling.tasks.wait().await;
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let reread = self.reread.as_ref().ok_or(ReloadError::NoFile)?;
        let loaded = reread().map_err(|error| ReloadError::Mistaken { problems: mistakes(&error) })?;
        let changes = Changes::between(&self.config, &loaded.config);
        if !changes.needs_restart.is_empty() {
            return Err(ReloadError::NeedsRestart { keys: changes.needs_restart });
        }
        let unusable = |error: super::AppError| ReloadError::Unusable { why: with_causes(&error) };
        let adapters = Adapters::of(&loaded.config, self.clock.clone()).await.map_err(unusable)?;
        self.put_in_force(&loaded.config, adapters, &changes).await?;
        self.config = loaded.config;
        Ok(Reloaded {
            added: changes.added,
            removed: changes.removed,
            changed: changes.changed,
            settings: changes.settings.into_iter().map(String::from).collect(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    /// From here on nothing can fail: what is built is handed to those who use it.
    async fn put_in_force(
        &mut self,
        config: &Config,
        adapters: Adapters,
        changes: &Changes,
    ) -> Result<(), ReloadError> {
        let adapters = if changes.workloads { adapters } else { adapters.beside(&self.in_use) };
        let equipment = self.in_use.replace(adapters);
        let token = config.alertmanager.as_ref().and_then(|a| a.webhook_token.as_ref());
        self.http.admit(build::people(config), token, build::alert_routes(config));
        let Duty::Leading { watcher, polling } = &self.duty else {
            self.duty = Duty::Standby(Box::new(equipment));
            return Ok(());
        };
        let (done, in_force) = oneshot::channel();
        let feed = changes.workloads.then(|| equipment.feed());
        let reconfigured = Reconfigured {
            fleet: equipment.fleet,
            feed,
            sensing: changes.measuring.then(|| polling.start(equipment.sources)),
            elsewhere: changes.elsewhere.clone(),
            remeasured: changes.remeasured.clone(),
            done,
        };
        watcher.send(reconfigured).await.map_err(|_| ReloadError::Stopping)?;
        in_force.map(|told| told.map_err(|_| ReloadError::Stopping)).await
    }

    fn tell(&self, by: &str, outcome: &Result<Reloaded, ReloadError>) {
        let failed = match outcome {
            Ok(changes) => {
                tracing::info!(by, ?changes, "the configuration was read again");
                None
            }
            Err(ReloadError::Mistaken { problems }) => {
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
                Some(format!("it has mistakes, such as {}", problems.first().map_or("", String::as_str)))
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = &failed {
            tracing::error!(by, why, "the configuration could not be put in force: the one before stays");
        }
        self.measure(failed.is_none());
        let now = self.clock.now();
        self.picture.change(|s| {
            s.config =
                Some(Health::turn(s.config.as_ref(), failed.is_none(), failed.unwrap_or_default(), now));
        });
    }

    pub(super) fn measure(&self, successful: bool) {
        Metric::ConfigLastReloadSuccessful.set(f64::from(u8::from(successful)), vec![]);
        if successful {
            let now = self.clock.now().as_duration().as_secs_f64();
            Metric::ConfigLastReloadSuccessTimestamp.set(now, vec![]);
        }
    }
}

/// Warnings, which the author has seen before, would hide them.
fn mistakes(error: &LoadError) -> Vec<String> {
    let errors = error.problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
