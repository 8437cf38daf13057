//! Pages that are out: who has them in hand, and which nobody has acknowledged for too long.
use jiff::SignedDuration;

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::event::TargetEvent;
use crate::domain::names::TargetId;
use crate::ports::JournalError;

/// A page is escalated once: whoever comes after that is called by people.
const LEVEL_MAX: u8 = 1;

impl Watcher {
    /// The open run that changes this target.
    pub(super) fn run_over(&self, target: &TargetId) -> Option<String> {
        let over = |(run, open): (&String, &super::OpenRun)| {
            open.targets.iter().any(|(other, _)| other == target).then(|| run.clone())
        };
        self.runs.iter().find_map(over)
    }

    /// A person has the page about a target in hand; a page that is over by now needs nobody.
    pub(super) async fn acknowledge(
        &mut self,
        row: i64,
        target: &TargetId,
        by: String,
    ) -> Result<(), JournalError> {
        let paging = self.targets.get(target).and_then(|guarded| guarded.memory.paging.clone());
        let in_hand = |incident| TargetEvent::Acknowledged { target: target.clone(), incident, by };
        let events: Vec<TargetEvent> = paging.map(in_hand).into_iter().collect();
        self.commit_folding(target, events, vec![row]).await?;
        self.show(target);
        Ok(())
    }

    /// Sends once more what nobody has acknowledged for so long as its policy waits.
    pub(super) async fn escalate(&mut self) -> Result<(), JournalError> {
        let now = self.now();
        let overdue = |guarded: &&Guarded| {
            let Some(after) = guarded.settings.policy.escalate_after else { return false };
            let Some(page) = &guarded.memory.page else { return false };
            let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
            let waited = now.duration_since(page.since) >= after;
            waited && page.acknowledged.is_none() && page.level < LEVEL_MAX
        };
        let overdue = self.targets.values().filter(overdue);
        let due: Vec<TargetId> = overdue.filter(|g| !self.is_asked(&g.id)).map(|g| g.id.clone()).collect();
        for target in due {
            let Some(incident) = self.targets.get(&target).and_then(|g| g.memory.paging.clone()) else {
                continue;
            };
            tracing::warn!(%target, incident, "nobody has acknowledged the page");
            let event = TargetEvent::Escalated { target: target.clone(), incident, level: LEVEL_MAX };
            self.commit(&target, vec![event]).await?;
            self.show(&target);
        }
        Ok(())
    }

    /// A run asks about it, and follows up itself what nobody answers.
    fn is_asked(&self, target: &TargetId) -> bool {
        let Some(run) = self.run_over(target) else { return false };
        self.parts.tools.viewer.look(|s| s.runs.get(&run).is_some_and(|run| run.approval.is_some()))
    }
}
