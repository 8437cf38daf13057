//! The regular look at every watch: in slices, so that what arrives meanwhile waits for one slice and not for a thousand watches.
use std::collections::VecDeque;

use super::Watcher;
use crate::domain::names::TargetId;
use crate::ports::JournalError;
use crate::telemetry::Metric;

/// Watches in one slice: two or three milliseconds of work.
const SLICE: usize = 16;

/// What is left of a look at all watches.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    to_judge: VecDeque<TargetId>,
    to_settle: VecDeque<TargetId>,
    under_way: bool,
}

impl Sweep {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way
    }

    fn begin(&mut self, watched: Vec<TargetId>) {
        self.to_settle = watched.iter().cloned().collect();
        self.to_judge = watched.into();
        self.under_way = true;
    }
}

impl Watcher {
    /// Begins the next look. The one before is finished first, if so much arrived that it had no turn.
    pub(super) async fn look_at_all(&mut self) -> Result<(), JournalError> {
        while self.sweep.is_under_way() {
            self.sweep_on().await?;
        }
        let watched: Vec<TargetId> =
            self.targets.values().filter(|g| g.watch.is_some()).map(|g| g.id.clone()).collect();
        Metric::WatchesOpen.set(watched.len() as f64, vec![]);
        Metric::RunsOpen.set(self.runs.len() as f64, vec![]);
        self.look_at_kill_switch().await;
        self.judge_controls().await;
        self.sweep.begin(watched);
        self.sweep_on().await
    }

    /// One slice. All are judged before anything is done: services that trip in the same look tripped together.
    pub(super) async fn sweep_on(&mut self) -> Result<(), JournalError> {
        for _ in 0..SLICE {
            if let Some(target) = self.sweep.to_judge.pop_front() {
                self.judge(&target).await;
            } else if let Some(target) = self.sweep.to_settle.pop_front() {
                self.settle(&target).await?;
            } else {
                self.sweep.under_way = false;
                return self.after_sweep().await;
            }
        }
        Ok(())
    }

    async fn after_sweep(&mut self) -> Result<(), JournalError> {
        self.escalate().await?;
        if self.book_stale {
            self.publish_book();
        }
        self.renew_surveys();
        self.look_around();
        // Commands that another replica took, or that were left by an earlier life.
        self.fold_inbox().await
    }
}
