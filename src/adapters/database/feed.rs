//! Looks at the version of each database now and then, and shows it as a target without pods.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Database, Databases, Found};
use crate::domain::plan::database::SchemaState;
use crate::domain::release::{Generation, Version};
use crate::domain::workload::{RolloutState, WorkloadView};
use crate::ports::{Clock, FeedEvent, ReleaseFeed};

/// Ends with whoever reads it.
pub(super) struct DatabaseFeed {
    events: mpsc::Receiver<FeedEvent>,
    _looking: JoinSet<()>,
}

impl DatabaseFeed {
    pub(super) fn start(databases: &Databases) -> Self {
        let (sender, events) = mpsc::channel(databases.all.len().max(1));
        let mut looking = JoinSet::new();
        for database in databases.all.values() {
            looking.spawn(follow(database.clone(), databases.clock.clone(), sender.clone()));
        }
        Self { events, _looking: looking }
    }
}

#[async_trait]
impl ReleaseFeed for DatabaseFeed {
    async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

/// The version with whether a migration to it has ended.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    version: Version,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Running,
    /// Dirty, and nobody migrates.
    Failed,
}

async fn follow(database: Arc<Database>, clock: Arc<dyn Clock>, events: mpsc::Sender<FeedEvent>) {
    let mut last: Option<(Sight, Timestamp)> = None;
    let mut blind = false;
    loop {
        match database.look().await {
            Ok(found) => {
                blind = false;
                let (sight, now) = (sight(found), clock.now());
                let since = match &last {
                    Some((before, since)) if before.version == sight.version => *since,
                    Some(_) | None => now,
                };
                if last.as_ref().is_none_or(|(before, _)| *before != sight) {
                    let view = Box::new(view(&database, &sight, since, now));
                    if events.send(FeedEvent::Changed(view)).await.is_err() {
                        return;
                    }
                    last = Some((sight, since));
                }
            }
            Err(why) => {
                if !blind {
                    tracing::warn!(target = %database.options.target, why, "the version of a database cannot be read");
                }
                blind = true;
            }
        }
        tokio::time::sleep(database.options.interval).await;
    }
}

fn sight(found: Found) -> Sight {
    match found {
        Found::Named(label) => Sight { version: Version::of_label(label), progress: Progress::Done },
        Found::Migrated(facts) => {
            let SchemaState { version, dirty } = facts.state;
            let progress = match (dirty, facts.migrating) {
                (false, _) => Progress::Done,
                (true, true) => Progress::Running,
                (true, false) => Progress::Failed,
            };
            Sight { version: Version::of_schema(version), progress }
        }
    }
}

fn view(database: &Database, sight: &Sight, since: Timestamp, now: Timestamp) -> WorkloadView {
    let rollout = match sight.progress {
        Progress::Done => RolloutState::Ended { at: now },
        Progress::Running => RolloutState::Rolling,
        Progress::Failed => {
            let detail = format!("the migration to {} failed: the schema is dirty", sight.version.label);
            RolloutState::GaveUp { detail }
        }
    };
    WorkloadView {
        target: database.options.target.clone(),
        version: sight.version.clone(),
        current_since: since,
        rollout,
        history: vec![Generation { version: sight.version.clone(), revision: 1, created_at: since }],
        pods: Vec::new(),
        progress_deadline_secs: None,
    }
}
