//! What the engine needs from the world: a few traits that adapters implement.
pub mod calls;
mod notifier;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::detect::errors::Counts;
use crate::domain::event::{Record, StreamId};
use crate::domain::guardrails::Killed;
use crate::domain::histogram::Histogram;
use crate::domain::keepsake::Keepsake;
use crate::domain::lease::{Bid, StoredLease};
use crate::domain::message::Message;
use crate::domain::names::{RuleName, TargetId};
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::Step;
use crate::domain::release::Version;
use crate::domain::signal::Sample;
use crate::domain::surroundings::{Presence, Surroundings};
use crate::domain::survey::Survey;
use crate::domain::verification::{CheckResult, CheckSpec};
use crate::domain::watch::Earlier;
use crate::domain::workload::WorkloadView;
pub use notifier::{Delivered, Notifier, NotifyError};

/// The only source of "now".
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Returns earlier if the clock is set back meanwhile: whoever waits looks again.
    async fn sleep_until(&self, at: Timestamp);
}

/// Shows workloads and their changes. One consumer.
#[async_trait]
pub trait ReleaseFeed: Send {
    /// The next thing that changed; `None` when the feed has ended for good.
    async fn next(&mut self) -> Option<FeedEvent>;
}

#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent {
    /// The workload as it is now; also sent once for each after every (re)connection.
    Changed(Box<WorkloadView>),
    Gone(TargetId),
    /// The source cannot be read at present; what was sent before may be out of date.
    Interrupted {
        why: String,
    },
    Restored,
}

/// Reads measurements. Failures come back as `NoData` samples: errors are data here.
#[async_trait]
pub trait SignalSource: Send + Sync {
    fn name(&self) -> &str;
    /// How often it is worth asking about targets with a fresh release, and about the others (`None`: not at all).
    fn intervals(&self) -> (Duration, Option<Duration>);
    /// Whether unreleased targets are asked about for comparison, too: not where it costs money, or shows too late.
    fn serves_controls(&self) -> bool {
        true
    }
    /// One reading of everything asked for, in as few requests as the source allows.
    async fn read(&self, ask: &Ask) -> Vec<Sample>;
    /// What a target did before, batch by batch, oldest first; empty where the source holds no past.
    async fn history(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History;
}

/// What to read. A source answers only for the targets and rules that are configured for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub at: Timestamp,
    pub targets: Vec<AskTarget>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AskTarget {
    pub target: TargetId,
    pub pods: Vec<AskPod>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AskPod {
    pub name: String,
    /// Label of the version that it runs, as samples carry it.
    pub release: Option<String>,
    pub metrics_url: Option<String>,
}

/// What was measured per batch of `step`, per rule, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub step: Duration,
    /// The step of `times`, where it is another: histograms are larger than counts.
    pub times_step: Option<Duration>,
    pub batches: BTreeMap<RuleName, Vec<Counts>>,
    pub times: BTreeMap<RuleName, Vec<Histogram>>,
    pub values: BTreeMap<RuleName, Vec<f64>>,
    /// What came after the same clock time on earlier days, for as long as a watch usually takes; yesterday first, where the source holds it.
    pub earlier: BTreeMap<RuleName, Vec<Earlier>>,
    /// Why there is less than was asked for.
    pub missing: Option<String>,
}

/// Something that can be rolled back.
#[async_trait]
pub trait Target: Send + Sync {
    /// All that drafting a plan needs.
    ///
    /// # Errors
    /// When the target cannot be read now.
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError>;
    /// What else bears on its way back: rights, the images of these versions (the first is where a rollback goes), room for
    /// its pods. What cannot be read is said in the answer.
    async fn surroundings(
        &self,
        _target: &TargetId,
        _survey: Option<&Survey>,
        _needed: &[Version],
    ) -> Surroundings {
        Surroundings::default()
    }
    /// What its version runs with now. What cannot be read is said in the answer.
    ///
    /// # Errors
    /// When the target itself cannot be read.
    async fn keepsake(&self, target: &TargetId) -> Result<Keepsake, SurveyError> {
        Err(SurveyError::Unknown { target: target.clone() })
    }
    /// A deploy tool says what it released. `false` where that is seen without being told.
    async fn announced(&self, _target: &TargetId, _version: &str, _at: Timestamp) -> bool {
        false
    }
    /// Whether the step is done. What cannot be read is [`Finding::Unseen`].
    async fn observe(&self, step: &Step) -> Finding;
    /// Carries the step out once. Guarded: applied to a world that is not as planned, it is refused.
    async fn apply(&self, step: &Step) -> Outcome;
}

/// Knows whether container images can still be pulled.
#[async_trait]
pub trait ImageRegistry: Send + Sync {
    async fn presence(&self, image: &str) -> Presence;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    #[error("{target} is not configured here")]
    Unknown { target: TargetId },
    #[error("{what} does not exist: check the namespace and the name in the configuration")]
    Missing { what: String },
    #[error("{what} could not be read: {why}")]
    Unreadable { what: String, why: String },
}

/// Verification checks that ask something outside; those on our own measurements are the engine's.
#[async_trait]
pub trait Checks: Send + Sync {
    async fn check(&self, check: &CheckSpec, about: &CheckContext) -> CheckResult;
}

#[derive(Clone, Debug, PartialEq)]
pub struct CheckContext {
    pub target: TargetId,
    /// Label of the version that was restored.
    pub version: String,
}

/// Durable memory. Every write that is not from outside names the epoch, and is refused when that is no longer ours.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Begins a new epoch; all earlier ones can write no more.
    async fn claim(&self) -> Result<u64, JournalError>;
    /// Appends events and enqueues messages in one durable transaction.
    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError>;
    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError>;
    /// All streams whose name begins with `prefix`.
    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError>;
    /// The end of the hash chain: kept elsewhere, it shows later that nothing was cut off.
    async fn head(&self) -> Result<Head, JournalError>;

    /// Takes something from outside, durably and once per key.
    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError>;
    /// What has been received and not folded yet, oldest first.
    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError>;

    /// Deliveries that are due, oldest first.
    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError>;
    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError>;
    /// Deliveries that wait, and the oldest's age: a channel that is down is visible.
    async fn outbox_depth(&self) -> Result<usize, JournalError>;

    /// Adds to the one-minute rows that survive a restart; rows older than 24 hours go.
    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError>;
    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError>;

    /// The epoch that writes now, 0 while there was none.
    async fn epoch(&self) -> Result<u64, JournalError>;
    /// Shows the other replicas what this one sees, in place of what was shown before. No part of the chain.
    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError>;
    async fn published(&self) -> Result<Option<Published>, JournalError>;
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    pub at: Timestamp,
    pub events: Vec<NewRecord>,
    /// One delivery per message and channel.
    pub messages: Vec<Outgoing>,
    /// Inbox rows that these events fold.
    pub folded: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    pub stream: StreamId,
    pub kind: String,
    pub body: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub channel: String,
    pub message: Message,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InboxItem {
    /// The same thing received twice has the same key.
    pub key: String,
    pub kind: String,
    pub body: serde_json::Value,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    New(i64),
    Duplicate,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InboxRow {
    pub id: i64,
    pub kind: String,
    pub body: serde_json::Value,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    pub id: i64,
    pub channel: String,
    pub message: Message,
    pub attempts: u32,
}

/// The last record and its hash; the number 0 and a hash of zeros while there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    Done,
    /// Delivered, and to be delivered again then (Alertmanager forgets alerts that are not re-posted), until the
    /// incident's resolving message is delivered on the same channel.
    Repeat {
        at: Timestamp,
    },
    Retry {
        at: Timestamp,
        why: String,
    },
    /// The receiver will never take it.
    Dropped {
        why: String,
    },
}

/// What one rule measured in one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct MinuteRow {
    pub rule: RuleName,
    pub minute: Timestamp,
    pub counts: Counts,
    pub times: Option<Histogram>,
}

/// What the replica that leads sees, for the others to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub at: Timestamp,
    pub picture: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("epoch {ours} is over, {current} writes now: another process has taken this journal over")]
    Stale { ours: u64, current: u64 },
    #[error("the journal cannot be written or read: {why}")]
    Unavailable { why: String },
    #[error("the journal is damaged{}: {why}; restore it from a backup, nothing was changed", at_record(*seq))]
    Damaged { seq: u64, why: String },
    #[error(
        "the journal was written by a newer version ({found}, this one knows {known}): install that version"
    )]
    Newer { found: u32, known: u32 },
}

/// The place of a damage, where it is that of one record.
fn at_record(seq: u64) -> String {
    if seq == 0 { String::new() } else { format!(" at record {seq}") }
}

/// The one record that replicas compete for. The first of two writes over the same version wins.
#[async_trait]
pub trait Lease: Send + Sync {
    /// `None` while there is none.
    async fn read(&self) -> Result<Option<StoredLease>, LeaseError>;
    /// Answers with the version that the record has now.
    async fn write(&self, bid: &Bid) -> Result<String, LeaseError>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("{lease} was written by another replica meanwhile")]
    Conflict { lease: String },
    #[error("{lease} cannot be read or written: {why}")]
    Unavailable { lease: String, why: String },
}

/// Keeps the samples of each watch, and gives them back after a restart.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Appends one batch. Failing to record never stops a watch; it is counted and logged.
    async fn record(&self, watch: &str, samples: Vec<Sample>);
    /// Everything recorded for this watch, oldest first; empty if nothing (readable) is there.
    async fn replay(&self, watch: &str) -> Vec<Sample>;
    /// The watch is over.
    async fn close(&self, watch: &str);
}

/// The kill switch as something on the machine, that works when nothing else does.
#[async_trait]
pub trait KillFile: Send + Sync {
    async fn look(&self) -> Option<Killed>;
}
