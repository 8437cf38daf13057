//! What stands in the way of a rollback: a stable code, one sentence, and what to do about it.
use serde::{Deserialize, Serialize};

use crate::domain::guardrails::Bar;
use crate::domain::plan::Refusal;

/// For machines: labels of metrics and alerts name these, so they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    // Obstacles: as long as there is one, nothing is rolled back.
    NotSeen,
    Unreadable,
    TargetMissing,
    NoKnownGood,
    NoEarlierRevision,
    NoHistory,
    RevisionGone,
    Paused,
    GitopsOwner,
    MissingPermission,
    ImageGone,
    QuotaFull,
    CoolingDown,
    RunOpen,
    OnDelete,
    /// For a reason of its own kind of target.
    Refused,
    KillSwitch,
    // Warnings: it can be rolled back, but.
    OnlyByHand,
    HistoryShort,
    QuotaTight,
    NoProgressDeadline,
    DisruptionBudget,
    AutoscalerAtMax,
    NotAllSeen,
}

impl Code {
    /// As JSON and labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::NotSeen => "not_seen",
            Code::Unreadable => "unreadable",
            Code::TargetMissing => "target_missing",
            Code::NoKnownGood => "no_known_good",
            Code::NoEarlierRevision => "no_earlier_revision",
            Code::NoHistory => "no_history",
            Code::RevisionGone => "revision_gone",
            Code::Paused => "paused",
            Code::GitopsOwner => "gitops_owner",
            Code::MissingPermission => "missing_permission",
            Code::ImageGone => "image_gone",
            Code::QuotaFull => "quota_full",
            Code::CoolingDown => "cooling_down",
            Code::RunOpen => "run_open",
            Code::OnDelete => "on_delete",
            Code::Refused => "refused",
            Code::KillSwitch => "kill_switch",
            Code::OnlyByHand => "only_by_hand",
            Code::HistoryShort => "history_short",
            Code::QuotaTight => "quota_tight",
            Code::NoProgressDeadline => "no_progress_deadline",
            Code::DisruptionBudget => "disruption_budget",
            Code::AutoscalerAtMax => "autoscaler_at_max",
            Code::NotAllSeen => "not_all_seen",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    pub code: Code,
    /// One sentence without its full stop.
    pub what: String,
    /// What a person can do.
    pub advice: String,
}

impl Obstacle {
    pub(super) fn new(code: Code, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, what: what.into(), advice: advice.into() }
    }

    /// The same words as in a page: what refuses a plan is told once.
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        let code = match refusal {
            Refusal::TargetMissing { .. } => Code::TargetMissing,
            Refusal::Paused { .. } => Code::Paused,
            Refusal::Owned { .. } => Code::GitopsOwner,
            Refusal::RevisionGone { limit: Some(0), .. } => Code::NoHistory,
            Refusal::RevisionGone { .. } => Code::RevisionGone,
            // Nobody asks for an image here.
            Refusal::AlreadyThere { .. } | Refusal::NoSuchContainer { .. } => Code::NoEarlierRevision,
            Refusal::OnDelete { .. } => Code::OnDelete,
            Refusal::Frontend(_) | Refusal::Database(_) | Refusal::Infrastructure(_) => Code::Refused,
        };
        Self::new(code, refusal.to_string(), refusal.advice())
    }

    pub(super) fn cooling_down(bar: &Bar, by_hand: &str) -> Self {
        Self::new(Code::CoolingDown, bar.to_string(), format!("roll it back by hand with `{by_hand}`"))
    }
}
