//! What happened, as the journal keeps it: events of runs and of targets, and the record around them.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::approval::ApprovalAsk;
use super::evidence::{Cause, Evidence};
use super::guardrails::{Bar, Killed};
use super::keepsake::{Comparison, Keepsake};
use super::names::{ServiceName, TargetId};
use super::outcome::{Call, Finding, Outcome};
use super::owner::{Controller, HoldOwner};
use super::plan::{Plan, PlanDigest};
use super::policy::Decided;
use super::policy::asking::Then;
use super::release::Version;
use super::runbook::ChecklistItem;
use super::verification::{CheckResult, CheckSpec};
use super::watch::WatchSpec;

/// Version of the record format. Bodies only grow; a golden journal of each version is folded in a test.
pub const RECORD_VERSION: u32 = 1;

/// One line of the journal. `prev_hash` chains all records of the journal, whatever their stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub v: u32,
    pub seq: u64,
    pub stream: StreamId,
    pub at: Timestamp,
    pub epoch: u64,
    pub kind: String,
    pub body: serde_json::Value,
    pub prev_hash: String,
}

/// `run:…` or `target:service/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(String);

pub const RUN_STREAMS: &str = "run:";
pub const TARGET_STREAMS: &str = "target:";
/// Where people were told about an incident.
pub const TOLD_STREAMS: &str = "told:";
/// What is about all services.
const HOUSE_STREAM: &str = "house";

impl StreamId {
    pub fn run(run: &str) -> Self {
        Self(format!("{RUN_STREAMS}{run}"))
    }
    pub fn target(target: &TargetId) -> Self {
        Self(format!("{TARGET_STREAMS}{target}"))
    }
    pub fn told(incident: &str) -> Self {
        Self(format!("{TOLD_STREAMS}{incident}"))
    }
    pub fn house() -> Self {
        Self(HOUSE_STREAM.to_string())
    }
    /// A stream's name as an earlier life wrote it.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn as_run(&self) -> Option<&str> {
        self.0.strip_prefix(RUN_STREAMS)
    }
}

/// What happens to one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum RunEvent {
    Opened(Box<RunOpened>),
    /// A new life of the process (or a new leader) took the run over: what an earlier one saw is no longer evidence.
    Adopted {
        epoch: u64,
    },
    Approved {
        by: String,
        digest: PlanDigest,
        /// Why this one approval had to be enough, whoever else was to be asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        break_glass: Option<String>,
    },
    /// Nobody has answered for so long as the policy waits.
    Unanswered {
        then: Then,
    },
    /// Somebody has it in hand.
    Acknowledged {
        by: String,
    },
    Denied {
        by: String,
        reason: String,
    },
    ApprovalExpired,
    StepStarted {
        step: usize,
        attempt: u32,
        epoch: u64,
        deadline: Timestamp,
    },
    Observed {
        step: usize,
        finding: Finding,
    },
    Applied {
        step: usize,
        outcome: Outcome,
        /// The calls that were made for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Call>,
    },
    StepDone {
        step: usize,
    },
    Stuck {
        step: usize,
        why: String,
    },
    Resumed {
        by: String,
    },
    Skipped {
        by: String,
        step: usize,
    },
    Aborted {
        by: String,
        reason: String,
    },
    Checked {
        check: usize,
        result: CheckResult,
    },
    Verified {
        passed: bool,
        watch_until: Timestamp,
    },
    /// Before it is told that the restored versions are bad: what differs from the time when they were healthy.
    Compared {
        comparisons: Vec<Comparison>,
    },
    /// The watch after the rollback found it bad again. Never a second rollback.
    Relapsed {
        reason: String,
    },
    WatchEnded {
        healthy: bool,
        /// It could not be seen at the end, and nothing else is known against it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        blind: bool,
        reason: String,
    },
    /// A newer release came.
    Superseded {
        by: String,
    },
}

/// Everything that a run knows from its first moment; nothing is looked up later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOpened {
    pub run: String,
    /// Pages and messages of one incident belong together: the watch's id, or the run's when a person ordered it.
    pub incident: String,
    pub service: ServiceName,
    pub decided: Decided,
    pub cause: Cause,
    /// Who ordered it; none when the policy decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    pub severity: u8,
    pub checklist: Vec<ChecklistItem>,
    pub plan: Plan,
    pub digest: PlanDigest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalAsk>,
    pub checks: Vec<CheckSpec>,
    pub verify_secs: u64,
    pub watch_secs: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_page: Option<String>,
    /// What is remembered of the versions that are restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Keepsake>,
    /// What the release changed, where that is known: names, never values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The hash of the configuration by which it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
}

/// What happens to one target: releases, watches and what is known to be good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum TargetEvent {
    KnownGood {
        version: Version,
        why: String,
    },
    WatchOpened(Box<WatchSpec>),
    RolloutEnded {
        watch: String,
        ended_at: Timestamp,
    },
    /// The decision about the watched release became stronger than before.
    Decided {
        watch: String,
        decided: Decided,
        cause: Cause,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The evidence was enough for a rollback, whatever was decided.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tripped: bool,
        /// Several services tripped together: held back for the rest of the watch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        together: Option<Box<Bar>>,
        /// All that was known when it was decided, with the numbers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<Evidence>,
    },
    /// Nothing to roll back for, such as trouble for under 1 % of the users: told once for each rule, with the alternatives.
    MinorTrouble {
        watch: String,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    WatchClosed {
        watch: String,
        end: WatchEnd,
        reason: String,
    },
    RolledBack {
        run: String,
        bad: Version,
    },
    /// People are being paged about an incident of this target, or not any more.
    Paging {
        incident: String,
        on: bool,
    },
    /// Somebody has the incident in hand: it escalates no further.
    Acknowledged {
        target: TargetId,
        incident: String,
        by: String,
    },
    /// Nobody acknowledged the page: it was sent once more, at this level.
    Escalated {
        target: TargetId,
        incident: String,
        level: u8,
    },
    /// A run suspended the target's owner, which stays so until a person resumes it.
    OwnerHeld {
        target: TargetId,
        run: String,
        hold: Box<HoldOwner>,
    },
    /// People were reminded of a hold.
    OwnerStillHeld {
        controller: Controller,
    },
    /// Somebody resumed an owner that we had suspended, or it is the target's owner no more.
    OwnerResumed {
        controller: Controller,
        why: String,
    },
    /// What a version runs with while nothing speaks against it.
    Kept(Box<Keepsake>),
}

/// What channels remember of an incident, so that what they say later goes on where they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum ToldEvent {
    /// Only the channel can read its note: such as where its message is.
    Noted { channel: String, note: String },
}

/// What happens to all services at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum HouseEvent {
    /// Nothing is changed any more, until it is turned off.
    KillSwitchOn {
        by: String,
        reason: String,
    },
    KillSwitchOff {
        by: String,
        reason: String,
    },
    /// A configuration came into force: at a start, or while running.
    Configured {
        hash: String,
        /// The version of rollguard that runs by it.
        version: String,
    },
}

impl HouseEvent {
    /// The kill switch after this event, which was as `before`.
    pub fn killed(&self, before: Option<Killed>, at: Timestamp) -> Option<Killed> {
        match self {
            HouseEvent::KillSwitchOn { by, reason } => {
                Some(Killed { by: by.clone(), at, reason: reason.clone() })
            }
            HouseEvent::KillSwitchOff { .. } => None,
            HouseEvent::Configured { .. } => before,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchEnd {
    Healthy,
    Inconclusive,
    /// Its time was over and the evidence was still against it.
    Degraded,
    /// Its time was over and nothing could be seen: neither for it nor against it.
    Blind,
    RolledBack,
    Superseded,
    Gone,
}

/// Splits an event into the `kind` and `body` of its record.
///
/// # Errors
/// Only if an event type is not shaped as `{kind, body}`, which its tests rule out.
pub fn to_parts<E: Serialize>(event: &E) -> Result<(String, serde_json::Value), serde_json::Error> {
    #[derive(Deserialize)]
    struct Parts {
        kind: String,
        #[serde(default)]
        body: serde_json::Value,
    }
    let parts: Parts = serde_json::from_value(serde_json::to_value(event)?)?;
    Ok((parts.kind, parts.body))
}

/// Reads an event back. An unknown kind is an error: that run stops and pages.
///
/// # Errors
/// An unknown kind, or a body that does not fit it.
pub fn from_record<E: for<'de> Deserialize<'de>>(record: &Record) -> Result<E, serde_json::Error> {
    let value = if record.body.is_null() {
        serde_json::json!({"kind": record.kind})
    } else {
        serde_json::json!({"kind": record.kind, "body": record.body})
    };
    serde_json::from_value(value)
}
