//! What the engine shows of itself: one immutable picture at a time, read by the API, the CLI and the metrics.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::approval::Standing;
use crate::domain::evidence::Evidence;
use crate::domain::guardrails::Killed;
use crate::domain::memory::{EndedWatch, PageState};
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::plan::PlanDigest;
use crate::domain::policy::{Decision, Mode};
use crate::domain::readiness::Readiness;
use crate::domain::release::{Release, Version};
use crate::domain::verdict::Verdict;
pub use crate::domain::verification::CheckStatus;
use crate::domain::watch::{Baseline, Figures};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub epoch: u64,
    /// Boxed: a tree's nodes have room to spare.
    pub targets: BTreeMap<String, Box<TargetStatus>>,
    /// Open runs, and the latest closed ones.
    pub runs: BTreeMap<String, RunStatus>,
    pub sources: BTreeMap<String, Health>,
    pub feed: Option<Health>,
    pub journal: Option<Health>,
    /// Whether the last reload of the configuration succeeded; none if there was none.
    pub config: Option<Health>,
    pub outbox_waiting: usize,
    /// The kill switch is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// How the last delivery of each channel went.
    #[serde(default)]
    pub channels: BTreeMap<String, Health>,
    /// Whether our clock and the cluster's agree.
    #[serde(default)]
    pub clock: Option<Health>,
    /// None where there is only one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leadership: Option<LeadershipStatus>,
}

/// Which of several replicas leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadershipStatus {
    /// The replica that says so.
    pub me: String,
    /// None while nobody is known to lead.
    pub leader: Option<String>,
    /// When the leader saw what a standby shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_at: Option<Timestamp>,
    /// Why the lease could not be read or written when that was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl LeadershipStatus {
    pub fn leads(&self) -> bool {
        self.leader.as_ref() == Some(&self.me)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub target: TargetId,
    pub mode: Mode,
    pub current: Option<Version>,
    pub known_good: Option<Version>,
    pub watch: Option<Box<WatchStatus>>,
    /// How the last watch ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_watch: Option<EndedWatch>,
    /// Owners that runs suspended and nobody resumed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldOwner>,
    /// The way back, before it is needed: whether this target could be rolled back now, and if not, why.
    pub way_back: Option<WayBack>,
    /// The same all the time, also while nothing is under watch; none before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// The page that is out about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PageState>,
}

/// A GitOps owner that is kept from acting until a person resumes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOwner {
    pub owner: String,
    pub run: String,
    pub since: Timestamp,
    /// The command that puts back what was set before.
    pub resume: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayBack {
    Open { to: String },
    Barred { why: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    pub id: String,
    pub release: Release,
    pub opened_at: Timestamp,
    pub ends_at: Timestamp,
    pub decision: Decision,
    pub verdict: Option<Verdict>,
    pub evidence: Vec<Evidence>,
    pub figures: Figures,
    /// What was usual before the release, by the rule with the most requests.
    pub baseline: Option<Baseline>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    pub run: String,
    pub service: ServiceName,
    pub summary: String,
    pub phase: String,
    pub open: bool,
    pub reason: String,
    pub digest: PlanDigest,
    pub steps: Vec<String>,
    pub step: Option<usize>,
    /// Why it is stuck, or what it is waiting for.
    pub detail: Option<String>,
    pub checks: Vec<CheckStatus>,
    pub verified: Option<bool>,
    /// End of the approval, the verification or the watch, whichever is running.
    pub until: Option<Timestamp>,
    /// Who may approve and who has, while it waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Standing>,
}

/// Whether something answers, since when, and what it said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub up: bool,
    pub since: Timestamp,
    pub detail: String,
}

impl Health {
    /// What is heard at `now`, after what was heard `before`: it has been so since it turned.
    pub fn turn(before: Option<&Self>, up: bool, detail: String, now: Timestamp) -> Self {
        let since = before.filter(|before| before.up == up).map_or(now, |before| before.since);
        Self { up, since, detail }
    }
}

impl RunStatus {
    /// Something is being changed, or has just been.
    pub fn is_under_way(&self) -> bool {
        ["rolling back", "verifying"].contains(&self.phase.as_str())
    }
}

/// The writing end, one per engine; parts of the engine change their own corner of the picture.
#[derive(Clone, Debug)]
pub struct Picture(watch::Sender<Snapshot>);

impl Default for Picture {
    fn default() -> Self {
        Self(watch::Sender::new(Snapshot::default()))
    }
}

impl Picture {
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.0.send_modify(change);
    }
    pub fn viewer(&self) -> Viewer {
        Viewer(self.0.subscribe())
    }
}

/// The reading end.
#[derive(Clone, Debug)]
pub struct Viewer(watch::Receiver<Snapshot>);

impl Viewer {
    pub fn look<T>(&self, at: impl FnOnce(&Snapshot) -> T) -> T {
        at(&self.0.borrow())
    }
    /// Whether something changed since the last call.
    pub fn has_changed(&mut self) -> bool {
        let changed = self.0.has_changed().unwrap_or_default();
        self.0.mark_unchanged();
        changed
    }
    /// Returns when something changed since the last call; false when the engine is gone.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
