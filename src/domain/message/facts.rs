//! What a message says, piece by piece: for buttons, templates and channels that need more than lines.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::button::{Button, Press};
use crate::domain::event::RunOpened;
use crate::domain::names::TargetId;
use crate::domain::plan::PlanDigest;
use crate::domain::policy::Decided;
use crate::domain::run::{Phase, Run};
use crate::domain::runbook::ChecklistItem;
use crate::domain::verification::CheckStatus;
use crate::domain::watch::WatchSpec;

/// It goes with the message through the outbox, so it only grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When it happened.
    pub at: Timestamp,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Present as long as somebody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// The rollback is being carried out: whoever was paged has answered, and it is not over yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub under_way: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    pub versions: Vec<Versions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// What a rollback does to users, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_page: Option<String>,
    /// End of the approval, the verification or the watch, whichever is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistItem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// What the release changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// The way of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub target: TargetId,
    /// The bad one.
    pub from: String,
    /// Where a rollback goes; none while no version is known to be good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What a person is asked about: this plan of this run, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub run: String,
    pub digest: PlanDigest,
}

impl Ask {
    pub fn button(&self, press: Press) -> Button {
        Button { press, run: self.run.clone(), digest: self.digest.clone() }
    }
}

impl Facts {
    /// Of a run as it is at `at`.
    pub(super) fn of_run(
        run: &Run,
        opened: &RunOpened,
        executor: String,
        impact: String,
        at: Timestamp,
    ) -> Self {
        let (waits, until) = match &run.phase {
            Phase::AwaitingApproval { until } => (true, Some(*until)),
            Phase::Verifying { until } | Phase::Watching { until } => (false, Some(*until)),
            Phase::New | Phase::Executing { .. } | Phase::Stuck { .. } | Phase::Closed(_) => (false, None),
        };
        let ask = Ask { run: opened.run.clone(), digest: opened.digest.clone() };
        let versions = opened.plan.changes.iter().map(|change| Versions {
            target: change.target.clone(),
            from: change.from.label.clone(),
            to: Some(change.to.label.clone()),
        });
        Self {
            at,
            reason: opened.decided.reason.clone(),
            run: Some(opened.run.clone()),
            ask: waits.then_some(ask),
            under_way: matches!(run.phase, Phase::Executing { .. } | Phase::Verifying { .. }),
            severity: Some(opened.severity),
            versions: versions.collect(),
            released_at: opened.released_at,
            began_at: run.began_at,
            executor: Some(executor),
            impact: Some(impact),
            status_page: opened.status_page.clone(),
            until,
            checks: run.check_results().into_iter().map(CheckStatus::of).collect(),
            checklist: opened.checklist.clone(),
            steps: opened.plan.steps.iter().map(|step| step.title.clone()).collect(),
            changed: opened.changed.clone(),
        }
    }

    /// Of a release that somebody is paged about.
    pub(super) fn of_watch(spec: &WatchSpec, decided: &Decided) -> Self {
        let versions = Versions {
            target: spec.release.target.clone(),
            from: spec.release.to.label.clone(),
            to: spec.known_good.as_ref().map(|good| good.label.clone()),
        };
        Self {
            at: spec.release.at,
            reason: decided.reason.clone(),
            run: None,
            ask: None,
            under_way: false,
            severity: None,
            versions: vec![versions],
            released_at: Some(spec.release.at),
            began_at: None,
            executor: None,
            impact: None,
            status_page: None,
            until: Some(spec.ends_at),
            checks: Vec::new(),
            checklist: Vec::new(),
            steps: Vec::new(),
            changed: Vec::new(),
        }
    }
}
