//! Services that trip together: what they share is the likelier cause, so no release is taken back for it.
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::evidence::Cause;
use crate::domain::guardrails::{TOGETHER, together};
use crate::domain::memory::OpenWatch;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::policy::{Decided, Decision};
use crate::domain::verdict::Verdict;
use crate::domain::watch::Assessment;

impl Watcher {
    /// Lets the watch know whether other services have tripped with it. All that it takes is remembered of each target, so
    /// a new life finds the same.
    pub(super) fn hold_back(&mut self, target: &TargetId, assessment: &Assessment) {
        if !assessment.verdict.trips() {
            return;
        }
        let watched: BTreeSet<&ServiceName> =
            self.targets.values().filter(|g| g.watch.is_some()).map(|g| &g.id.service).collect();
        let tripped = self.targets.values().filter_map(|g| Some((&g.id.service, g.tripped_at()?)));
        let bar = together(tripped, watched.len(), assessment.at);
        if let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) {
            active.trial.hold_back(bar);
        }
    }
}

impl Watcher {
    /// Services that trip together are one incident: one page names them all, and the others hold.
    pub(super) fn one_page(
        &self,
        target: &TargetId,
        verdict: &Verdict,
        at: Timestamp,
        decided: Decided,
    ) -> Decided {
        let trial = self.targets.get(target).and_then(|g| g.watch.as_ref()).map(|active| &active.trial);
        if decided.decision != Decision::Page || trial.is_none_or(|trial| trial.together(verdict).is_none()) {
            return decided;
        }
        let mut others = self.targets.values().filter(|other| other.id != *target);
        let Some(paged) = others.find(|other| other.was_paged_together(at)) else { return decided };
        let mut barred = decided.barred;
        barred.push(format!("people were paged about all of them, with {}", paged.id));
        Decided { decision: Decision::Hold, would: Some(Decision::Page), barred, ..decided }
    }
}

impl Guarded {
    /// People were paged lately about several services, with this one.
    fn was_paged_together(&self, now: Timestamp) -> bool {
        let paged =
            |watch: &OpenWatch| watch.together.is_some() && watch.paged.contains(&(Cause::Shared, false));
        self.memory.watch.as_ref().is_some_and(paged)
            && self.memory.tripped_at.is_some_and(|tripped| now.duration_since(tripped) <= TOGETHER * 2)
    }

    /// When its release was last found to be past its limits for certain.
    fn tripped_at(&self) -> Option<Timestamp> {
        let last = self.watch.as_ref().and_then(|active| active.last.as_ref());
        let now = last.filter(|last| last.verdict.trips()).map(|last| last.at);
        now.max(self.memory.tripped_at)
    }
}
