//! A plan: immutable, ordered steps with preconditions, identified by a digest that an approval names.
pub mod compatibility;
pub mod database;
pub mod frontend;
pub mod infrastructure;
pub mod kubernetes;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names::{ServiceName, TargetId, TargetKind};
use super::owner::{HoldOwner, Origin, Owner};
use super::release::{Version, hex};
use super::survey::Survey;
use database::{DatabaseAction, DatabaseRefusal};
use frontend::{FrontendAction, FrontendRefusal};
use infrastructure::{InfrastructureAction, InfrastructureRefusal};
use kubernetes::{AwaitRollout, ImageChange, Restart, RestoreTemplate};

/// SHA-256 over the plan's JSON, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(String);

impl PlanDigest {
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn named(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// What will be done, to what, in which order. Nothing is left to choose when it is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub service: ServiceName,
    pub changes: Vec<Change>,
    pub steps: Vec<Step>,
}

/// One target's way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub target: TargetId,
    pub from: Version,
    pub to: Version,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub target: TargetId,
    /// For people: `restore the pod template of shop-7f (v1)`.
    pub title: String,
    /// Longest time from the start of the step until a person is paged.
    pub deadline_secs: u64,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    HoldOwner(HoldOwner),
    RestoreTemplate(Box<RestoreTemplate>),
    AwaitRollout(AwaitRollout),
    Restart(Restart),
    Frontend(FrontendAction),
    Database(DatabaseAction),
    Infrastructure(InfrastructureAction),
}

impl Action {
    /// Whose step it is; a plan of one kind may hold steps of another.
    pub fn kind(&self) -> TargetKind {
        match self {
            Action::HoldOwner(_)
            | Action::RestoreTemplate(_)
            | Action::AwaitRollout(_)
            | Action::Restart(_) => TargetKind::Kubernetes,
            Action::Frontend(_) => TargetKind::Frontend,
            Action::Database(_) => TargetKind::Database,
            Action::Infrastructure(_) => TargetKind::Infrastructure,
        }
    }

    /// What it does in detail, for people who approve it.
    pub fn details(&self) -> Vec<String> {
        match self {
            Action::Frontend(action) => action.details().to_vec(),
            Action::Infrastructure(action) => action.details(),
            Action::HoldOwner(_)
            | Action::RestoreTemplate(_)
            | Action::AwaitRollout(_)
            | Action::Restart(_)
            | Action::Database(_) => Vec::new(),
        }
    }

    /// Whether carrying it out changes anything; the others only wait for the world.
    pub fn mutates(&self) -> bool {
        match self {
            Action::HoldOwner(_) | Action::RestoreTemplate(_) | Action::Restart(_) => true,
            Action::AwaitRollout(_) => false,
            Action::Frontend(action) => action.mutates(),
            Action::Database(action) => action.mutates(),
            Action::Infrastructure(action) => action.mutates(),
        }
    }
}

impl Step {
    fn is_of_database(&self) -> bool {
        self.action.kind() == TargetKind::Database
    }
}

impl Plan {
    pub fn digest(&self) -> PlanDigest {
        // Serializing our own plain data cannot fail; an empty text would only make the digest useless, not wrong.
        let text = serde_json::to_vec(self).unwrap_or_default();
        PlanDigest(hex(&Sha256::digest(text)))
    }

    /// One plan over the targets of several: first everything that changes something, then everything that waits. With a
    /// database among them each target's steps stay together, for what changes there must wait in between.
    pub fn joined(plans: Vec<Plan>) -> Option<Plan> {
        let several = plans.len() > 1;
        let waits_between = plans.iter().flat_map(|plan| &plan.steps).any(Step::is_of_database);
        plans.into_iter().reduce(Plan::followed_by).map(|mut plan| {
            if several && !waits_between {
                plan.steps.sort_by_key(|step| !step.action.mutates());
            }
            if several {
                plan.steps.iter_mut().for_each(|s| s.title = format!("{}: {}", s.target.target, s.title));
            }
            plan
        })
    }

    fn followed_by(mut self, other: Plan) -> Plan {
        self.changes.extend(other.changes);
        self.steps.extend(other.steps);
        self
    }

    /// The owner that a step holds.
    pub fn hold_at(&self, step: usize) -> Option<&HoldOwner> {
        match &self.steps.get(step)?.action {
            Action::HoldOwner(hold) => Some(hold),
            Action::RestoreTemplate(_)
            | Action::Restart(_)
            | Action::AwaitRollout(_)
            | Action::Frontend(_)
            | Action::Database(_)
            | Action::Infrastructure(_) => None,
        }
    }

    /// The snapshot that is taken before a database is changed.
    pub fn snapshot(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| {
            let Action::Database(DatabaseAction::TakeSnapshot(taken)) = &step.action else { return None };
            Some(taken.snapshot.as_str())
        })
    }

    pub fn changes_database(&self) -> bool {
        self.steps.iter().any(|step| step.is_of_database() && step.action.mutates())
    }

    /// Each bad version with where it comes from, as far as that is known.
    pub fn origins(&self) -> impl Iterator<Item = (Option<&Origin>, &str)> {
        let origin = |target: &TargetId| {
            self.steps.iter().filter(|step| step.target == *target).find_map(|step| match &step.action {
                Action::RestoreTemplate(restore) => Some(&restore.origin),
                Action::HoldOwner(_)
                | Action::Restart(_)
                | Action::AwaitRollout(_)
                | Action::Frontend(_)
                | Action::Database(_)
                | Action::Infrastructure(_) => None,
            })
        };
        self.changes.iter().map(move |change| (origin(&change.target), change.from.label.as_str()))
    }

    /// Whether any step is one for targets of this kind.
    pub fn is_about(&self, kind: TargetKind) -> bool {
        self.steps.iter().any(|step| step.action.kind() == kind)
    }

    /// Whether pods of this target are replaced and waited for.
    pub fn awaits_pods_of(&self, target: &TargetId) -> bool {
        let awaits = |action: &Action| match action {
            Action::AwaitRollout(_) => true,
            Action::HoldOwner(_)
            | Action::RestoreTemplate(_)
            | Action::Restart(_)
            | Action::Frontend(_)
            | Action::Database(_)
            | Action::Infrastructure(_) => false,
        };
        self.steps.iter().any(|step| step.target == *target && awaits(&step.action))
    }

    /// Why a person must look at it first, whatever the policy says.
    pub fn needs_person(&self) -> Vec<String> {
        let objections = |step: &Step| match &step.action {
            Action::Infrastructure(action) => action.person().iter().map(ToString::to_string).collect(),
            Action::HoldOwner(_)
            | Action::RestoreTemplate(_)
            | Action::Restart(_)
            | Action::AwaitRollout(_)
            | Action::Frontend(_)
            | Action::Database(_) => Vec::new(),
        };
        self.steps.iter().flat_map(objections).collect()
    }

    /// `v2 → v1`, for titles.
    pub fn summary(&self) -> String {
        let change = |c: &Change| format!("{} {} → {}", c.target.target, c.from.label, c.to.label);
        self.changes.iter().map(change).collect::<Vec<_>>().join(", ")
    }
}

/// Where a rollback goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// The pinned known good version.
    Version(Version),
    /// A revision that a person names.
    Revision(u64),
    /// An image that a person names.
    Image(ImageChange),
}

/// Where a person wants a rollback to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    KnownGood,
    Revision(u64),
    Image(ImageChange),
}

impl Destination {
    /// `None` if both are named.
    pub fn of(revision: Option<u64>, image: Option<ImageChange>) -> Option<Self> {
        match (revision, image) {
            (None, None) => Some(Destination::KnownGood),
            (Some(revision), None) => Some(Destination::Revision(revision)),
            (None, Some(image)) => Some(Destination::Image(image)),
            (Some(_), Some(_)) => None,
        }
    }

    /// `None` if it is the known good version, and none is known.
    pub fn goal(self, known_good: Option<&Version>) -> Option<Goal> {
        match self {
            Destination::KnownGood => known_good.cloned().map(Goal::Version),
            Destination::Revision(revision) => Some(Goal::Revision(revision)),
            Destination::Image(image) => Some(Goal::Image(image)),
        }
    }
}

/// Drafts the plan for one target from its survey.
///
/// # Errors
/// The reason why this target cannot be rolled back safely, with what a person can do.
pub fn draft(survey: &Survey, goal: &Goal, run: &str, rollout_secs: u64) -> Result<Plan, Refusal> {
    match survey {
        Survey::Kubernetes(survey) => kubernetes::draft(survey, goal, run, rollout_secs),
        Survey::Frontend(survey) => frontend::draft(survey, goal, run).map_err(Refusal::Frontend),
        Survey::Database(survey) => database::draft(survey, goal, run).map_err(Refusal::Database),
        Survey::Infrastructure(survey) => {
            infrastructure::draft(survey, goal, run).map_err(Refusal::Infrastructure)
        }
    }
}

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    TargetMissing {
        what: String,
    },
    Paused {
        what: String,
    },
    Owned {
        what: String,
        owner: Box<Owner>,
    },
    RevisionGone {
        what: String,
        wanted: String,
        limit: Option<u32>,
    },
    AlreadyThere {
        what: String,
        version: String,
    },
    /// The pods change only when somebody deletes them.
    OnDelete {
        what: String,
    },
    NoSuchContainer {
        what: String,
        container: Option<String>,
        known: Vec<String>,
    },
    Frontend(FrontendRefusal),
    Database(DatabaseRefusal),
    Infrastructure(InfrastructureRefusal),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TargetMissing { what } => write!(f, "{what} does not exist"),
            Refusal::Paused { what } => write!(f, "{what} is paused"),
            Refusal::Owned { what, owner } => {
                write!(f, "{what} belongs to {}", owner.objection())
            }
            Refusal::RevisionGone { what, wanted, .. } => {
                write!(f, "{wanted} is no longer in the history of {what}")
            }
            Refusal::AlreadyThere { what, version } => write!(f, "{what} already runs {version}"),
            Refusal::OnDelete { what } => {
                write!(
                    f,
                    "the update strategy of {what} is OnDelete: its pods change only when they are deleted"
                )
            }
            Refusal::NoSuchContainer { what, container: Some(name), .. } => {
                write!(f, "{what} has no container named {name}")
            }
            Refusal::NoSuchContainer { what, container: None, .. } => {
                write!(f, "{what} has several containers")
            }
            Refusal::Frontend(refusal) => refusal.fmt(f),
            Refusal::Database(refusal) => refusal.fmt(f),
            Refusal::Infrastructure(refusal) => refusal.fmt(f),
        }
    }
}

impl Refusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Refusal::TargetMissing { .. } => "check the namespace and the name in the configuration".into(),
            Refusal::Paused { what } => {
                format!("resume it with `kubectl rollout resume {what}`, or roll back by hand")
            }
            Refusal::Owned { owner, .. } => owner.advice(),
            Refusal::RevisionGone { what, limit: Some(0), .. } => {
                format!(
                    "revisionHistoryLimit is 0, so {what} keeps no history: set it to 10, and deploy the earlier image by hand now"
                )
            }
            Refusal::RevisionGone { what, .. } => {
                format!("deploy the earlier image by hand with `kubectl set image {what} CONTAINER=IMAGE`")
            }
            Refusal::AlreadyThere { .. } => "nothing needs to be done".into(),
            Refusal::OnDelete { what } => format!(
                "put the template back with `kubectl rollout undo {what}` and delete its pods one by one, or change the strategy to RollingUpdate"
            ),
            Refusal::NoSuchContainer { known, .. } => {
                format!("name one of them as CONTAINER=IMAGE: {}", known.join(", "))
            }
            Refusal::Frontend(refusal) => refusal.advice(),
            Refusal::Database(refusal) => refusal.advice(),
            Refusal::Infrastructure(refusal) => refusal.advice(),
        }
    }
}
