//! What people and other systems ask of the engine. Everything is durable in the inbox before it is acknowledged.
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::snapshot::Viewer;
use crate::domain::approval::Refused;
use crate::domain::guardrails::Killed;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::plan::PlanDigest;
use crate::domain::plan::kubernetes::ImageChange;
use crate::domain::signal::AlertStatus;
pub use crate::ports::Received;
use crate::ports::{Clock, InboxItem, Journal, JournalError};

/// An order of a person. `by` is the authenticated name, never what the caller claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Roll a target back: to the known good version, to a revision of its history, or to an image.
    Rollback {
        target: TargetId,
        revision: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageChange>,
        reason: String,
        by: String,
    },
    Approve {
        run: String,
        digest: PlanDigest,
        by: String,
        /// Why this approval alone must be enough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        break_glass: Option<String>,
    },
    Deny {
        run: String,
        reason: String,
        by: String,
    },
    Resume {
        run: String,
        by: String,
    },
    Skip {
        run: String,
        by: String,
    },
    Abort {
        run: String,
        reason: String,
        by: String,
    },
    /// Somebody has the run in hand: what nobody answers is followed up no further.
    Acknowledge {
        run: String,
        by: String,
    },
    /// Somebody has the page about a target in hand.
    AcknowledgePage {
        target: TargetId,
        by: String,
    },
    /// Turns the kill switch.
    Kill {
        on: bool,
        reason: String,
        by: String,
    },
    /// A deploy tool says that a target was released, or that a rollout ended.
    Release {
        target: TargetId,
        version: String,
        at: Timestamp,
        by: String,
    },
}

impl Command {
    /// The run that the command is about, for all but those that begin something.
    pub fn run(&self) -> Option<&str> {
        match self {
            Command::Approve { run, .. }
            | Command::Deny { run, .. }
            | Command::Resume { run, .. }
            | Command::Skip { run, .. }
            | Command::Abort { run, .. }
            | Command::Acknowledge { run, .. } => Some(run),
            Command::Rollback { .. }
            | Command::Release { .. }
            | Command::AcknowledgePage { .. }
            | Command::Kill { .. } => None,
        }
    }
}

/// An alert that Alertmanager forwarded, matched to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertIn {
    pub service: ServiceName,
    pub alert: String,
    pub status: AlertStatus,
    pub labels: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    pub fingerprint: String,
}

pub const INBOX_COMMAND: &str = "command";
pub const INBOX_ALERT: &str = "alert";

/// Why a command is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("there is no run {run}: `rollguard status` lists them")]
    NoSuchRun { run: String },
    #[error("run {run} is {phase}: {command} needs {needed}")]
    WrongPhase { run: String, phase: String, command: &'static str, needed: &'static str },
    #[error("the plan of run {run} is {actual}, not {given}: look at it again with `rollguard show {run}`")]
    OtherPlan { run: String, actual: PlanDigest, given: PlanDigest },
    #[error("{refused}; `rollguard show {run}` says whom it waits for")]
    NotCounted { run: String, refused: Refused },
    #[error("nothing is being paged about {target}")]
    NothingPaged { target: TargetId },
    #[error("{target} is not configured: `rollguard status` lists the targets")]
    NoSuchTarget { target: TargetId },
    #[error("{killed}: nothing is changed until `rollguard kill off`")]
    Killed { killed: Killed },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The phases of a run that is not over.
const OPEN: &[&str] = &["awaiting approval", "rolling back", "verifying", "watching", "stuck"];

/// Where requests from outside are handed in. Any replica may do that; only the leader folds them.
#[derive(Clone)]
pub struct Desk {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    viewer: Viewer,
    arrived: Arc<Notify>,
}

impl Desk {
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, viewer: Viewer) -> Self {
        Self { journal, clock, viewer, arrived: Arc::new(Notify::new()) }
    }

    /// Takes a command durably. The same `key` twice is the same command. The answer says whether it was new.
    ///
    /// # Errors
    /// A command that does not fit the run's state now, or a journal that cannot be written.
    pub async fn submit(&self, command: Command, key: &str) -> Result<Received, CommandError> {
        self.fits(&command)?;
        let body =
            serde_json::to_value(&command).map_err(|e| JournalError::Unavailable { why: e.to_string() })?;
        self.hand_in(InboxItem {
            key: format!("command/{key}"),
            kind: INBOX_COMMAND.into(),
            body,
            at: self.clock.now(),
        })
        .await
        .map_err(CommandError::from)
    }

    /// Takes alerts durably; answers how many were new.
    ///
    /// # Errors
    /// A journal that cannot be written: the sender must try again.
    pub async fn alerts(&self, alerts: Vec<AlertIn>) -> Result<usize, JournalError> {
        let items = alerts.iter().map(|alert| self.item_of(alert)).collect::<Result<Vec<_>, _>>()?;
        // All at once: the journal writes them in one transaction.
        let received = try_join_all(items.into_iter().map(|item| self.journal.receive(item))).await?;
        self.arrived.notify_one();
        Ok(received.iter().filter(|r| **r != Received::Duplicate).count())
    }

    fn item_of(&self, alert: &AlertIn) -> Result<InboxItem, JournalError> {
        let key =
            format!("alert/{}/{}/{}/{:?}", alert.service, alert.fingerprint, alert.starts_at, alert.status);
        let body =
            serde_json::to_value(alert).map_err(|e| JournalError::Unavailable { why: e.to_string() })?;
        Ok(InboxItem { key, kind: INBOX_ALERT.into(), body, at: self.clock.now() })
    }

    async fn hand_in(&self, item: InboxItem) -> Result<Received, JournalError> {
        let received = self.journal.receive(item).await?;
        self.arrived.notify_one();
        Ok(received)
    }

    /// Resolves when something was handed in here since the last call.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    fn fits(&self, command: &Command) -> Result<(), CommandError> {
        self.not_killed(command)?;
        let Some(run) = command.run() else { return self.known_target(command) };
        let (phase, digest, standing) = self
            .viewer
            .look(|s| s.runs.get(run).map(|r| (r.phase.clone(), r.digest.clone(), r.approval.clone())))
            .ok_or_else(|| CommandError::NoSuchRun { run: run.to_string() })?;
        let needs = |needed: &'static [&'static str], command| {
            if needed.contains(&phase.as_str()) {
                return Ok(());
            }
            let needed = needed.first().copied().unwrap_or("another phase");
            Err(CommandError::WrongPhase { run: run.to_string(), phase: phase.clone(), command, needed })
        };
        match command {
            Command::Approve { digest: given, by, break_glass, .. } => {
                needs(&["awaiting approval"], "approve")?;
                if *given != digest {
                    return Err(CommandError::OtherPlan {
                        run: run.to_string(),
                        actual: digest,
                        given: given.clone(),
                    });
                }
                let standing = standing.filter(|_| break_glass.is_none());
                let counts = standing.map_or(Ok(()), |standing| standing.counts(by));
                // What was approved twice is the same approval, and is told so.
                match counts {
                    Ok(()) | Err(Refused::Again { .. }) => Ok(()),
                    Err(refused) => Err(CommandError::NotCounted { run: run.to_string(), refused }),
                }
            }
            Command::Acknowledge { .. } => needs(OPEN, "ack"),
            Command::Deny { .. } => needs(&["awaiting approval"], "deny"),
            Command::Resume { .. } => needs(&["stuck"], "resume"),
            Command::Skip { .. } => needs(&["stuck"], "skip"),
            Command::Abort { .. } => needs(OPEN, "abort"),
            Command::Rollback { .. }
            | Command::Release { .. }
            | Command::AcknowledgePage { .. }
            | Command::Kill { .. } => Ok(()),
        }
    }

    /// What would change something is not taken while the kill switch is on.
    fn not_killed(&self, command: &Command) -> Result<(), CommandError> {
        let changes = match command {
            Command::Rollback { .. } | Command::Approve { .. } | Command::Resume { .. } => true,
            Command::Deny { .. }
            | Command::Skip { .. }
            | Command::Abort { .. }
            | Command::Acknowledge { .. }
            | Command::AcknowledgePage { .. }
            | Command::Release { .. }
            | Command::Kill { .. } => false,
        };
        let killed = self.viewer.look(|s| s.killed.clone()).filter(|_| changes);
        killed.map_or(Ok(()), |killed| Err(CommandError::Killed { killed }))
    }

    fn known_target(&self, command: &Command) -> Result<(), CommandError> {
        let (Command::Rollback { target, .. }
        | Command::Release { target, .. }
        | Command::AcknowledgePage { target, .. }) = command
        else {
            return Ok(());
        };
        let paged = self.viewer.look(|s| s.targets.get(&target.to_string()).map(|t| t.page.is_some()));
        match (paged, command) {
            (None, _) => Err(CommandError::NoSuchTarget { target: target.clone() }),
            (Some(false), Command::AcknowledgePage { .. }) => {
                Err(CommandError::NothingPaged { target: target.clone() })
            }
            (Some(_), _) => Ok(()),
        }
    }
}
