//! Holding an owner: the decision, the guarded patch that suspends it, and whether it is done.
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Automation, Controller, GitOps, Owner, OwnerState};
use crate::domain::names::TargetId;
use crate::domain::outcome::Finding;

/// How often people are reminded of a hold.
const REMIND_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Suspend a GitOps owner. It is never resumed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldOwner {
    pub controller: Controller,
    pub uid: String,
    /// What was set before, to be put back by a person.
    pub previous: Value,
    /// RFC 6902 patches, `test` operations first, in the order in which they are tried until one has held it.
    pub patches: Vec<Value>,
}

/// A hold that nobody has lifted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub target: TargetId,
    pub run: String,
    pub hold: HoldOwner,
    pub since: Timestamp,
    /// When people were last reminded, and how often.
    pub told_at: Timestamp,
    pub told: u32,
}

impl Held {
    pub fn new(target: TargetId, run: String, hold: HoldOwner, since: Timestamp) -> Self {
        Self { target, run, hold, since, told_at: since, told: 0 }
    }

    pub fn remind(&mut self, at: Timestamp) {
        (self.told_at, self.told) = (at, self.told.saturating_add(1));
    }

    /// Whether people have not heard of it for a day.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        now.duration_since(self.told_at) >= REMIND_EVERY
    }

    /// Why the hold is over, if it is, by what the target's owner is now.
    pub fn is_over(&self, owner: Option<&Owner>) -> Option<String> {
        let title = self.hold.controller.title();
        let same = match owner {
            Some(Owner::GitOps(gitops)) if gitops.controller == self.hold.controller => &gitops.state,
            Some(Owner::GitOps(_) | Owner::Helm { .. } | Owner::ArgoRollout { .. }) | None => {
                return Some(format!("{title} does not own it any more"));
            }
        };
        match same {
            OwnerState::Automated(_) | OwnerState::ApplicationSetOwned { .. } => {
                Some(format!("{title} acts by itself again"))
            }
            OwnerState::Missing => Some(format!("{title} does not exist any more")),
            OwnerState::Manual | OwnerState::Suspended | OwnerState::Unreadable { .. } => None,
        }
    }
}

/// What has to be done about the owner before a rollback: nothing, or a hold.
///
/// # Errors
/// The owner, if it stands in the way.
pub fn hold(owner: Option<&Owner>) -> Result<Option<HoldOwner>, Box<Owner>> {
    let Some(owner) = owner else { return Ok(None) };
    match owner {
        Owner::Helm { .. } => Ok(None),
        Owner::ArgoRollout { .. } => Err(Box::new(owner.clone())),
        Owner::GitOps(GitOps { controller, state, may_hold }) => match state {
            OwnerState::Manual | OwnerState::Suspended => Ok(None),
            OwnerState::Automated(automation) if *may_hold => Ok(Some(HoldOwner::of(controller, automation))),
            OwnerState::Automated(_)
            | OwnerState::ApplicationSetOwned { .. }
            | OwnerState::Missing
            | OwnerState::Unreadable { .. } => Err(Box::new(owner.clone())),
        },
    }
}

impl HoldOwner {
    fn of(controller: &Controller, automation: &Automation) -> Self {
        let Automation { uid, setting, .. } = automation;
        let guarded = |path: &str, change: Value| {
            json!([
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "test", "path": path, "value": setting},
                change,
            ])
        };
        let patches = match controller {
            Controller::ArgoCd { .. } => {
                let automated = "/spec/syncPolicy/automated";
                let off = json!({"op": "add", "path": format!("{automated}/enabled"), "value": false});
                // An older Argo CD knows no `enabled`: the API server drops it then, and the automation as a whole has to go.
                vec![guarded(automated, off), guarded(automated, json!({"op": "remove", "path": automated}))]
            }
            Controller::FluxKustomization { .. } | Controller::FluxHelmRelease { .. } => {
                let suspend = "/spec/suspend";
                vec![guarded(suspend, json!({"op": "add", "path": suspend, "value": true}))]
            }
        };
        Self { controller: controller.clone(), uid: uid.clone(), previous: setting.clone(), patches }
    }

    pub fn resume_command(&self) -> String {
        self.controller.resume_command(&self.previous)
    }
}

/// Whether the owner is held, as it was when the plan was made, or something else.
pub fn assess_hold(step: &HoldOwner, state: &OwnerState) -> Finding {
    let title = step.controller.title();
    match state {
        OwnerState::Manual => Finding::Satisfied { detail: format!("{title} does not sync by itself") },
        OwnerState::Suspended => Finding::Satisfied { detail: format!("{title} is suspended") },
        OwnerState::Automated(now) if now.uid != step.uid => Finding::Conflict {
            why: format!("{title} was deleted and created again since the plan was made"),
        },
        OwnerState::Automated(now) if now.setting != step.previous => {
            Finding::Conflict { why: format!("somebody changed {title} since the plan was made") }
        }
        OwnerState::Automated(_) => Finding::not_yet(format!("{title} still acts by itself")),
        OwnerState::ApplicationSetOwned { set } => {
            Finding::Conflict { why: format!("ApplicationSet {set} keeps {title} automated") }
        }
        OwnerState::Missing => Finding::Conflict { why: format!("{title} does not exist any more") },
        OwnerState::Unreadable { why } => Finding::Unseen { why: why.clone() },
    }
}
