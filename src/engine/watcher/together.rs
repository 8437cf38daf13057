//! Services that trip together: what they share is the likelier cause, so no release is taken back for it.
use std::collections::BTreeSet;

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::guardrails::together;
use crate::domain::names::{ServiceName, TargetId};
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

impl Guarded {
    /// When its release was last found to be past its limits for certain.
    fn tripped_at(&self) -> Option<jiff::Timestamp> {
        let last = self.watch.as_ref().and_then(|active| active.last.as_ref());
        let now = last.filter(|last| last.verdict.trips()).map(|last| last.at);
        now.max(self.memory.tripped_at)
    }
}
