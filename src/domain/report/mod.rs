//! The incident report: a rollback's records as the review after it needs them, in one document.
mod document;
mod gather;
mod html;
mod markdown;
mod steps;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{Cause, Evidence};
use super::keepsake::Comparison;
use super::names::{ServiceName, TargetId};
use super::plan::Change;
use super::policy::Decision;
use super::runbook::ChecklistItem;
use super::timeline::Moment;
use super::verification::CheckStatus;

pub use gather::{Past, report, watch_of};

/// All that is known of one rollback, ready to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub run: String,
    pub incident: String,
    pub service: ServiceName,
    /// When this report was made: a run that goes on has more to tell later.
    pub made_at: Timestamp,
    pub phase: String,
    pub open: bool,
    pub summary: String,
    pub severity: u8,
    pub decision: Decision,
    pub cause: Cause,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    pub times: Times,
    pub changes: Vec<Change>,
    /// What the release changed: names, never values.
    pub changed: Vec<String>,
    pub evidence: Vec<Found>,
    /// Oldest first, those with which nothing was done among them.
    pub decisions: Vec<Made>,
    pub checklist: Vec<ChecklistItem>,
    pub answers: Vec<Answered>,
    pub digest: String,
    pub steps: Vec<StepReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    pub checks: Vec<CheckStatus>,
    pub compared: Vec<Comparison>,
    /// What the review should ask about.
    pub look_into: Vec<String>,
    /// What people did, or still have to do.
    pub by_hand: Vec<String>,
    pub timeline: Vec<Moment>,
}

/// The moments that the length of an outage is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When its checks had passed, or their time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

/// What was found against a release, when it was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub at: Timestamp,
    pub target: TargetId,
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// One decision of this incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub at: Timestamp,
    pub target: TargetId,
    pub decision: Decision,
    /// Under `observe`: what would have been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Decision>,
    pub reason: String,
    /// Why less was done than the evidence asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<String>,
}

/// What a person said, or that nobody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub at: Timestamp,
    /// None when nobody answered in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub title: String,
    pub mutates: bool,
    pub state: StepState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How often it was carried out; a repetition is harmless, since each is guarded.
    pub applied: u32,
    /// Request ids, by which the other side's audit log can be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// What stood in its way, each time that it got stuck.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    NotBegun,
    UnderWay,
    Done,
    Skipped,
    Stuck,
}

/// A decision as people say it.
pub fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Hold => "hold",
        Decision::Page => "page",
        Decision::Ask => "ask",
        Decision::Rollback => "roll back",
    }
}

impl Report {
    /// For a wiki or a pull request.
    pub fn markdown(&self) -> String {
        markdown::written(&document::title(self), &document::blocks(self))
    }

    /// One page that needs nothing else.
    pub fn html(&self) -> String {
        html::written(&document::title(self), &document::blocks(self))
    }
}
