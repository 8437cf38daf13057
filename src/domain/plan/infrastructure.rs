//! The way back for infrastructure: a plan file that Terraform or OpenTofu made is the survey, and exactly that file is applied.
pub mod change;
pub mod reading;
pub mod ruling;
pub mod state;
pub mod summary;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, Change, Goal, Plan, Step};
use crate::domain::names::TargetId;
use crate::domain::release::Version;
use reading::PlanReading;
use ruling::{Objection, PlanTerms, Ruling, rule};
use state::StateId;

/// What an adapter found out about infrastructure. A plan takes minutes, so it is made beside the surveys, which show how far
/// that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InfrastructureSurvey {
    pub target: TargetId,
    /// The commit that was applied last, as far as somebody said so.
    pub version: Version,
    /// The folder within the repository.
    pub path: String,
    pub terms: PlanTerms,
    pub prepared: Prepared,
    /// Longest time to apply the plan, and to make another one after it.
    pub apply_secs: u64,
    pub plan_secs: u64,
}

/// How far the plan for the way back is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Prepared {
    /// Nobody needed one yet.
    Nothing,
    BeingMade {
        to: Version,
    },
    Failed {
        to: Version,
        why: String,
        /// How the state's backup differs from it, for the last resort that is a person's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        backup: Vec<String>,
    },
    Ready(Box<MadePlan>),
}

/// A plan file with what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadePlan {
    pub to: Version,
    /// Of the plan file, in hexadecimal: an approval is for this file and no other.
    pub sha256: String,
    /// The state that it was made for.
    pub base: StateId,
    /// `Terraform v1.15.5`.
    pub tool: String,
    pub reading: PlanReading,
}

impl InfrastructureSurvey {
    pub fn target(&self) -> &TargetId {
        &self.target
    }

    /// What is served now.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// A step of its way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum InfrastructureAction {
    /// Applies exactly this plan file, once.
    Apply(Box<ApplyPlan>),
    /// Another plan for the same commit must be empty.
    ProveEmpty { to: Version },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyPlan {
    pub made: MadePlan,
    /// Why a person must approve it, whatever the policy says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub person: Vec<Objection>,
}

impl InfrastructureAction {
    pub fn mutates(&self) -> bool {
        match self {
            InfrastructureAction::Apply(_) => true,
            InfrastructureAction::ProveEmpty { .. } => false,
        }
    }

    /// What a person must look at before it is applied.
    pub fn person(&self) -> &[Objection] {
        match self {
            InfrastructureAction::Apply(apply) => &apply.person,
            InfrastructureAction::ProveEmpty { .. } => &[],
        }
    }

    /// What it changes, line by line.
    pub fn details(&self) -> Vec<String> {
        match self {
            InfrastructureAction::Apply(apply) => summary::lines(apply),
            InfrastructureAction::ProveEmpty { .. } => Vec::new(),
        }
    }
}

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfrastructureRefusal {
    NoSuchGoal { target: TargetId },
    AlreadyThere { path: String, version: String },
    NotPrepared { path: String, to: String },
    BeingPrepared { path: String, to: String },
    NoPlan { path: String, to: String, why: String, backup: Vec<String> },
    NothingToChange { path: String, to: String },
    Forbidden { path: String, to: String, objections: Vec<Objection> },
}

impl fmt::Display for InfrastructureRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchGoal { target } => write!(f, "{target} has neither revisions nor images"),
            Self::AlreadyThere { path, version } => write!(f, "{path} is at {version} already"),
            Self::NotPrepared { path, to } => {
                write!(f, "there is no plan yet that takes {path} back to {to}")
            }
            Self::BeingPrepared { path, to } => {
                write!(f, "the plan that takes {path} back to {to} is being made")
            }
            Self::NoPlan { path, to, why, .. } => {
                write!(f, "no plan could be made that takes {path} back to {to}: {why}")
            }
            Self::NothingToChange { path, to } => {
                write!(
                    f,
                    "a plan for {to} changes nothing in {path}: what is wrong did not come with the commit"
                )
            }
            Self::Forbidden { path, to, objections } => {
                write!(f, "the plan that takes {path} back to {to} may not be applied: {}", told(objections))
            }
        }
    }
}

/// Objections that are told in one sentence.
const TOLD_MAX: usize = 5;

fn told(objections: &[Objection]) -> String {
    let more = objections.len().saturating_sub(TOLD_MAX);
    let mut told: Vec<String> = objections.iter().take(TOLD_MAX).map(Objection::to_string).collect();
    told.extend((more > 0).then(|| format!("and {more} more")));
    told.join("; ")
}

impl InfrastructureRefusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NoSuchGoal { .. } => "leave --to-revision and --image out: it goes to the known good commit".into(),
            Self::AlreadyThere { .. } => "nothing needs to be done".into(),
            Self::NotPrepared { .. } => "it is begun with the next look at the target; ask again in a minute".into(),
            Self::BeingPrepared { .. } => "ask again in a minute; making it changes nothing".into(),
            Self::NoPlan { backup, .. } => {
                let mut advice = "it is tried again; to see more, plan that commit by hand in a clean worktree".to_string();
                if !backup.is_empty() {
                    advice.push_str("; last resort, by hand only: ");
                    advice.push_str(&backup.join("; "));
                }
                advice
            }
            Self::NothingToChange { .. } => {
                "look at what was changed by hand, and at what the other targets released".into()
            }
            Self::Forbidden { .. } => {
                "change the infrastructure forwards, or change `never`, `max_changes` or `max_deletes` of this target in writing".into()
            }
        }
    }
}

/// Time for the steps beside the tool's own.
const MARGIN_SECS: u64 = 120;

/// Drafts the steps: apply the plan that was made, then prove with another one that nothing is left.
///
/// # Errors
/// Why this target cannot be rolled back safely.
pub fn draft(survey: &InfrastructureSurvey, goal: &Goal, _run: &str) -> Result<Plan, InfrastructureRefusal> {
    let Goal::Version(goal) = goal else {
        return Err(InfrastructureRefusal::NoSuchGoal { target: survey.target.clone() });
    };
    let (path, to) = (survey.path.clone(), goal.label.clone());
    if goal.fingerprint == survey.version.fingerprint {
        return Err(InfrastructureRefusal::AlreadyThere { path, version: to });
    }
    let made = match &survey.prepared {
        Prepared::Ready(made) if made.to.fingerprint == goal.fingerprint => made,
        Prepared::BeingMade { to: made } if made.fingerprint == goal.fingerprint => {
            return Err(InfrastructureRefusal::BeingPrepared { path, to });
        }
        Prepared::Failed { to: made, why, backup } if made.fingerprint == goal.fingerprint => {
            let (why, backup) = (why.clone(), backup.clone());
            return Err(InfrastructureRefusal::NoPlan { path, to, why, backup });
        }
        Prepared::Nothing | Prepared::BeingMade { .. } | Prepared::Failed { .. } | Prepared::Ready(_) => {
            return Err(InfrastructureRefusal::NotPrepared { path, to });
        }
    };
    if made.reading.is_empty() {
        return Err(InfrastructureRefusal::NothingToChange { path, to });
    }
    let Ruling { refused, person } = rule(&made.reading, &survey.terms);
    if !refused.is_empty() {
        return Err(InfrastructureRefusal::Forbidden { path, to, objections: refused });
    }
    Ok(steps(survey, goal, ApplyPlan { made: (**made).clone(), person }))
}

fn steps(survey: &InfrastructureSurvey, goal: &Version, apply: ApplyPlan) -> Plan {
    let step = |title: String, deadline_secs: u64, action: InfrastructureAction| Step {
        target: survey.target.clone(),
        title,
        deadline_secs,
        action: Action::Infrastructure(action),
    };
    let title = format!(
        "apply the plan file {} of {} ({})",
        summary::short(&apply.made.sha256),
        goal.label,
        summary::counts(&apply.made.reading)
    );
    let applying = survey.apply_secs + survey.plan_secs + MARGIN_SECS;
    let proving = survey.plan_secs + MARGIN_SECS;
    Plan {
        service: survey.target.service.clone(),
        changes: vec![Change {
            target: survey.target.clone(),
            from: survey.version.clone(),
            to: goal.clone(),
        }],
        steps: vec![
            step(title, applying, InfrastructureAction::Apply(Box::new(apply))),
            step(
                format!("make another plan of {}: it must be empty", goal.label),
                proving,
                InfrastructureAction::ProveEmpty { to: goal.clone() },
            ),
        ],
    }
}
