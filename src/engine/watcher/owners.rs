//! Owners that a run suspended: looked at now and then until somebody resumes them, and named when a rollback is undone.
use jiff::{SignedDuration, Timestamp};

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::event::TargetEvent;
use crate::domain::guardrails::Bar;
use crate::domain::memory::TargetMemory;
use crate::domain::names::TargetId;
use crate::domain::owner::{Held, Owner};
use crate::domain::release::ReleaseKind;
use crate::domain::survey::Survey;
use crate::engine::snapshot::HeldOwner;
use crate::ports::JournalError;
use crate::telemetry::{Metric, label};

/// How often an owner that is held is looked at while its target is under no watch.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(10);

impl Watcher {
    /// Ends holds that somebody lifted, as the last survey shows it, and reminds people of the others.
    pub(super) async fn heed_owner(&mut self, target: &TargetId) -> Result<(), JournalError> {
        let now = self.now();
        let Some(guarded) = self.targets.get(target) else { return Ok(()) };
        let survey = guarded.survey.as_ref().and_then(|survey| survey.as_ref().ok());
        let owner = survey.map(Survey::owner);
        let event = |held: &Held| after_look(held, owner, now);
        let events: Vec<TargetEvent> = guarded.memory.held.iter().filter_map(event).collect();
        if events.is_empty() {
            return Ok(());
        }
        self.commit(target, events).await?;
        self.show(target);
        Ok(())
    }
}

/// What there is to say about a hold. `owner` is none while the target cannot be surveyed.
fn after_look(held: &Held, owner: Option<Option<&Owner>>, now: Timestamp) -> Option<TargetEvent> {
    let controller = held.hold.controller.clone();
    let over = owner.and_then(|owner| held.is_over(owner));
    match over {
        Some(why) => Some(TargetEvent::OwnerResumed { controller, why }),
        None => held.is_forgotten(now).then_some(TargetEvent::OwnerStillHeld { controller }),
    }
}

/// Whether it is time to look at the owner of a target that is under no watch.
pub(super) fn is_due(guarded: &Guarded, now: Timestamp) -> bool {
    let old = |at: Timestamp| now.duration_since(at) >= LOOK_EVERY;
    !guarded.memory.held.is_empty() && guarded.surveyed_at.is_none_or(old)
}

/// Shows how many owners are held; called when that changes, and at the beginning of a life.
pub(super) fn count_held(target: &TargetId, memory: &TargetMemory) {
    let labels = vec![label("service", &target.service), label("target", &target.target)];
    Metric::OwnersHeld.set(memory.held.len() as f64, labels);
}

pub(super) fn status(memory: &TargetMemory) -> Vec<HeldOwner> {
    let held = |held: &Held| HeldOwner {
        owner: held.hold.controller.title(),
        run: held.run.clone(),
        since: held.since,
        resume: held.hold.resume_command(),
    };
    memory.held.iter().map(held).collect()
}

/// Who brought back what a run had taken away: a person must know whom to talk to.
pub(super) fn undone(guarded: &Guarded) -> Option<Bar> {
    let watched = guarded.memory.watch.as_ref().map(|watch| &watch.spec.release)?;
    let survey = guarded.survey.as_ref()?.as_ref().ok()?.workload()?;
    let seen = watched.kind == ReleaseKind::KnownBad && survey.version.fingerprint == watched.to.fingerprint;
    seen.then(|| Bar::Undone { by: survey.origin.undone_by(&guarded.memory.held) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetName};
    use crate::domain::owner::{Automation, Controller, GitOps, OwnerState, hold};
    use serde_json::json;

    fn owner(state: OwnerState) -> Owner {
        let controller = Controller::FluxKustomization { namespace: "flux".into(), name: "apps".into() };
        Owner::GitOps(GitOps { controller, state, may_hold: true })
    }

    fn automated() -> Owner {
        owner(OwnerState::Automated(Automation { uid: "u".into(), setting: json!(null), reverts: true }))
    }

    #[test]
    fn a_hold_is_remembered_daily_until_somebody_is_seen_to_have_lifted_it() {
        let target = TargetId {
            service: ServiceName::parse("shop").unwrap(),
            target: TargetName::parse("backend").unwrap(),
        };
        let step = hold(Some(&automated())).unwrap().unwrap();
        let held = Held::new(target, "shop-1".into(), step, Timestamp::UNIX_EPOCH);
        let hours = |n| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(n);
        let said = |owner: Option<Option<&Owner>>, at| match after_look(&held, owner, at) {
            None => "nothing",
            Some(TargetEvent::OwnerStillHeld { .. }) => "still held",
            Some(TargetEvent::OwnerResumed { .. }) => "resumed",
            Some(other) => panic!("{other:?}"),
        };
        let suspended = owner(OwnerState::Suspended);
        assert_eq!(said(Some(Some(&suspended)), hours(1)), "nothing");
        assert_eq!(said(Some(Some(&suspended)), hours(24)), "still held");
        assert_eq!(
            said(None, hours(25)),
            "still held",
            "a target that cannot be surveyed is no reason to forget"
        );
        assert_eq!(said(None, hours(1)), "nothing");
        assert_eq!(said(Some(Some(&automated())), hours(1)), "resumed");
        assert_eq!(said(Some(None), hours(1)), "resumed", "it belongs to nobody any more");
    }
}
