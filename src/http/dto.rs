//! Requests and answers of the API, as the server writes and the client reads them.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::Standing;
use crate::domain::code::Code;
use crate::domain::diagnosis::Diagnosis;
use crate::domain::evidence::Cause;
use crate::domain::guardrails::Killed;
use crate::domain::history::PastVersion;
use crate::domain::keepsake::Comparison;
use crate::domain::names::{NameError, ServiceName, TargetId, TargetName};
use crate::domain::plan::kubernetes::ImageChange;
use crate::domain::plan::{Change, Plan, PlanDigest, Step};
use crate::domain::policy::Decision;
use crate::domain::readiness::Readiness;
use crate::domain::runbook::ChecklistItem;
pub use crate::domain::timeline::Moment;
pub use crate::engine::reload::Reloaded;
pub use crate::engine::snapshot::{
    CheckStatus, Health, LeadershipStatus, RunStatus, TargetStatus, WatchStatus, WayBack,
};

/// Every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    pub error: ErrorBody,
}

/// `code` is for machines and stays as it is; `message` says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
    /// For `rollguard explain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<Code>,
    /// Each mistake of a configuration, with file, line and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// `GET /api/v1/services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicesAnswer {
    /// The server's time, for what is left of a watch.
    pub now: Timestamp,
    pub targets: Vec<TargetStatus>,
    pub sources: BTreeMap<String, Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Health>,
    pub outbox_waiting: usize,
    /// The kill switch is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// Which replica leads, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leadership: Option<LeadershipStatus>,
}

/// `GET /api/v1/doctor`, and `…/doctor/{service}/{target}` for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoctorAnswer {
    pub now: Timestamp,
    pub targets: Vec<TargetReadiness>,
    /// The daemon itself.
    pub daemon: Vec<DaemonCheck>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetReadiness {
    pub target: TargetId,
    /// `null` before the first look.
    pub ready: Option<bool>,
    pub readiness: Option<Readiness>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonCheck {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

impl DaemonCheck {
    pub fn new(name: impl Into<String>, ok: bool, detail: String) -> Self {
        Self { name: name.into(), ok, detail }
    }
}

/// `GET /api/v1/runs`: open runs first, then the latest closed ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunsAnswer {
    pub now: Timestamp,
    pub runs: Vec<RunStatus>,
}

/// `GET /api/v1/runs/{run}`: one rollback, folded from its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunAnswer {
    pub now: Timestamp,
    pub run: String,
    pub incident: String,
    pub service: ServiceName,
    pub phase: String,
    pub open: bool,
    pub decision: Decision,
    pub cause: Cause,
    pub reason: String,
    pub barred: Vec<String>,
    pub severity: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_expires_at: Option<Timestamp>,
    /// Who may approve and who has, while it waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Standing>,
    pub plan: PlanAnswer,
    pub checklist: Vec<ChecklistItem>,
    pub checks: Vec<CheckStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relapsed: Option<String>,
    /// What stands in the way of the step under way.
    #[serde(default, skip_serializing_if = "Diagnosis::is_empty")]
    pub diagnosis: Diagnosis,
    /// How the restored versions fare beside the time when they were healthy, where they are bad again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<Comparison>,
    pub timeline: Vec<Moment>,
}

/// `GET /api/v1/targets/{service}/{target}/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetHistoryAnswer {
    pub now: Timestamp,
    pub target: TargetId,
    /// Newest first.
    pub versions: Vec<PastVersion>,
    /// The rollbacks of its service that are remembered, newest first.
    pub runs: Vec<RunStatus>,
    /// Why the target's own history is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// A plan as it is shown: no templates, no patches, no environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanAnswer {
    pub service: ServiceName,
    /// An approval names it.
    pub digest: PlanDigest,
    pub changes: Vec<Change>,
    pub steps: Vec<StepAnswer>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepAnswer {
    pub target: TargetId,
    pub title: String,
    pub deadline_secs: u64,
    /// False for steps that only wait.
    pub mutates: bool,
    /// What it changes, line by line, where the title does not say it all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl From<&Plan> for PlanAnswer {
    fn from(plan: &Plan) -> Self {
        let step = |step: &Step| StepAnswer {
            target: step.target.clone(),
            title: step.title.clone(),
            deadline_secs: step.deadline_secs,
            mutates: step.action.mutates(),
            details: step.action.details(),
        };
        Self {
            service: plan.service.clone(),
            digest: plan.digest(),
            changes: plan.changes.clone(),
            steps: plan.steps.iter().map(step).collect(),
        }
    }
}

/// `POST /api/v1/releases`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    pub service: ServiceName,
    pub target: TargetName,
    pub version: String,
    /// When it was released; now, if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// `POST /api/v1/rollbacks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    pub service: ServiceName,
    pub target: TargetName,
    /// A revision of the target's history; the known good version, if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// `[CONTAINER=]IMAGE`, instead of a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageChange>,
    #[serde(default)]
    pub reason: String,
}

/// `POST /api/v1/runs/{run}/approve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    pub digest: PlanDigest,
    /// Why this approval alone must be enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
}

/// `POST /api/v1/runs/{run}/deny` and `…/abort`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    #[serde(default)]
    pub reason: String,
}

/// `POST /api/v1/kill`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    pub on: bool,
    #[serde(default)]
    pub reason: String,
}

/// 202: it is durable, and will be carried out or found to have been overtaken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    pub accepted: bool,
    /// The same order was accepted before; nothing was added.
    pub duplicate: bool,
    /// Number of the order, if it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where to look for what becomes of it.
    pub next: String,
}

/// `POST /webhook/alertmanager`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsAnswer {
    pub accepted: usize,
    pub duplicates: usize,
    pub unmatched: usize,
    /// Our own pages, which come back when a route is wide.
    pub own: usize,
}

/// Why a text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("{0:?} names no target: write SERVICE/TARGET, such as shop/backend")]
    Shape(String),
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Reads `shop/backend`.
///
/// # Errors
/// A text that is not two names with a slash between them.
pub fn parse_target(text: &str) -> Result<TargetId, TargetError> {
    let (service, target) = text.split_once('/').ok_or_else(|| TargetError::Shape(text.to_string()))?;
    Ok(TargetId { service: ServiceName::parse(service)?, target: TargetName::parse(target)? })
}
