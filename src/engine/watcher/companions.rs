//! Targets of one service that were released together: they are rolled back together, in one run, or not at all.
use jiff::Timestamp;

use super::Watcher;
use super::acting::way_back;
use super::guarded::Guarded;
use crate::domain::event::{RunOpened, TargetEvent};
use crate::domain::evidence::Cause;
use crate::domain::guardrails::Bar;
use crate::domain::message::{Message, joined};
use crate::domain::names::TargetId;
use crate::domain::plan::{Plan, Refusal};
use crate::domain::policy::{Decided, Decision};
use crate::domain::release::{Release, ReleaseKind};

impl Watcher {
    /// What was released together with this target and is under watch, itself included, in the order of the configuration.
    fn group(&self, target: &TargetId) -> Vec<&Guarded> {
        let Some(this) = self.targets.get(target) else { return Vec::new() };
        let with_it = |g: &&Guarded| {
            let releases = released(this).zip(released(g));
            g.id == *target || this.settings.together && releases.is_some_and(|(a, b)| a.is_with(b))
        };
        self.of_service(this).filter(with_it).collect()
    }

    fn of_service<'a>(&'a self, this: &'a Guarded) -> impl Iterator<Item = &'a Guarded> {
        let id = |name: &_| TargetId { service: this.settings.name.clone(), target: Clone::clone(name) };
        this.settings.targets.iter().filter_map(move |name| self.targets.get(&id(name)))
    }

    /// Whether another target of the service was just released, and its watch is about to open: then it is not known yet
    /// what belongs together. That takes no longer than a look-up.
    pub(super) fn is_gathering(&self, target: &TargetId) -> bool {
        let Some(this) = self.targets.get(target).filter(|g| g.settings.together) else { return false };
        self.of_service(this).any(|g| g.id != *target && g.opening.is_some())
    }

    /// One plan for all that was released together, or what stands against it.
    pub(super) fn plan_for_all(
        &self,
        target: &TargetId,
        run: &str,
        now: Timestamp,
    ) -> Result<Plan, Vec<Bar>> {
        let (mut bars, mut plans) = (Vec::new(), Vec::new());
        for member in self.group(target) {
            let own = member.id == *target;
            let mut against: Vec<Bar> = Vec::new();
            match way_back(member, run) {
                Ok(plan) => {
                    against.extend(member.below_minimum(&plan));
                    plans.push(plan);
                }
                Err(bar) => against.push(bar),
            }
            let last = member.memory.last_rollback().map(|(_, at)| at);
            against.extend(member.settings.rails.resting(last, now));
            if own {
                bars.extend(against);
                continue;
            }
            let mut against: Vec<String> = against.iter().map(Bar::to_string).collect();
            against.extend(settled(member));
            bars.extend(against.into_iter().map(|why| Bar::Companion { target: member.id.clone(), why }));
        }
        let plan = Plan::joined(plans).filter(|_| bars.is_empty()).ok_or(bars)?;
        match self.misfit(target, &plan) {
            Some(refusal) => Err(vec![Bar::Refused(refusal)]),
            None => Ok(plan),
        }
    }

    /// Why what runs of this service would not bear with this plan.
    pub(super) fn misfit(&self, target: &TargetId, plan: &Plan) -> Option<Refusal> {
        let this = self.targets.get(target)?;
        let label = |g: &Guarded| Some((g.id.target.clone(), g.memory.current.as_ref()?.label.clone()));
        let running = self.of_service(this).filter_map(label).collect();
        this.settings.misfit(&running, plan)
    }

    /// The decision as the others remember it that the plan takes along, so that none of them decides once more.
    pub(super) fn taken_along(
        &self,
        target: &TargetId,
        plan: &Plan,
        decided: &Decided,
        cause: Cause,
    ) -> Vec<(TargetId, TargetEvent)> {
        let others = plan.changes.iter().map(|change| &change.target).filter(|other| *other != target);
        let event = |other: &TargetId| {
            let watch = self.targets.get(other)?.memory.watch.as_ref()?.spec.id.clone();
            let reason = format!("released together with {}: {}", target.target, decided.reason);
            let decided = Decided { reason, ..decided.clone() };
            // The evidence stands with the decision about the other one.
            let event = TargetEvent::Decided {
                watch,
                decided,
                cause,
                rule: None,
                tripped: false,
                together: None,
                evidence: vec![],
            };
            Some((other.clone(), event))
        };
        others.filter_map(event).collect()
    }

    /// Pages about targets that the run takes along are over: from now on the run tells.
    pub(super) fn pages_joined(&self, opened: &RunOpened) -> Vec<Message> {
        let paging = |target: &TargetId| self.targets.get(target)?.memory.paging.clone();
        let incidents = opened.plan.changes.iter().filter_map(|change| paging(&change.target));
        incidents.filter(|i| *i != opened.incident).map(|i| joined(opened, &i)).collect()
    }
}

fn released(guarded: &Guarded) -> Option<&Release> {
    guarded.memory.watch.as_ref().map(|w| &w.spec.release)
}

/// Why this member's way back is no matter for automation, though it is open.
fn settled(member: &Guarded) -> Option<String> {
    let watch = member.memory.watch.as_ref()?;
    if watch.spec.release.kind == ReleaseKind::KnownBad {
        return Some("it was rolled back before, and deployed again".into());
    }
    (watch.reached >= Decision::Ask).then(|| "a person has stopped its rollback".into())
}
