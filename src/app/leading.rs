//! What only the replica that leads runs: the watcher with its feed and sources, the drivers of runs, and the outbox.
use std::sync::Arc;

use futures::{FutureExt, TryFutureExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::adapters::{Equipment, InUse};
use super::reload::{Duty, Polling};
use super::{AppError, Tasks};
use crate::engine::commands::Desk;
use crate::engine::driver::Tools;
use crate::engine::kill::KillSwitch;
use crate::engine::leadership::Tenure;
use crate::engine::ledger::Ledger;
use crate::engine::outbox::{Outbox, Unsettled};
use crate::engine::snapshot::Picture;
use crate::engine::watcher::{Parts, Watcher};
use crate::ports::{Clock, Journal, Recorder};

/// Answers and notes that may wait for the watcher.
const WAITING: usize = 256;

/// What every replica has, whatever it does at present.
#[derive(Clone)]
pub(super) struct House {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) recorder: Arc<dyn Recorder>,
    pub(super) picture: Picture,
    pub(super) desk: Desk,
    pub(super) kill: KillSwitch,
    pub(super) tenure: Tenure,
    pub(super) stop: CancellationToken,
}

impl House {
    /// Sets everything going that acts, as the holder of `epoch`.
    pub(super) fn lead(&self, epoch: u64, in_use: &InUse, equipment: Equipment, tasks: &mut Tasks) -> Duty {
        let (clock, stop) = (self.clock.clone(), self.stop.clone());
        let ledger = Ledger::new(
            self.journal.clone(),
            in_use.notifiers.clone(),
            clock.clone(),
            self.picture.clone(),
            epoch,
        )
        .until(stop.clone());
        let (notes, told) = mpsc::channel(WAITING);
        let (answers, answered) = mpsc::channel(WAITING);
        let (watcher, reconfigured) = mpsc::channel(1);
        let polling = Polling { answers, clock, stop: stop.clone(), tasks: TaskTracker::new() };
        tasks.spawn(self.outbox(in_use, &ledger).run(stop.clone()).map(Ok));
        let tools = Tools {
            kill: self.kill.clone(),
            tenure: self.tenure.clone(),
            ledger,
            clock: self.clock.clone(),
            target: Arc::new(in_use.target.clone()),
            checks: Arc::new(in_use.checks.clone()),
            picture: self.picture.clone(),
            viewer: self.picture.viewer(),
            notes,
            stop: stop.clone(),
        };
        let feed = equipment.feed();
        let parts = Parts {
            tools,
            journal: self.journal.clone(),
            recorder: self.recorder.clone(),
            sensing: polling.start(equipment.sources),
            fleet: equipment.fleet,
            desk: self.desk.clone(),
            notes: told,
            answers: answered,
            reconfigured,
            stop,
        };
        tasks.spawn(Watcher::run(parts, feed).map_err(AppError::from));
        Duty::Leading { watcher, polling }
    }

    fn outbox(&self, in_use: &InUse, ledger: &Ledger) -> Outbox {
        Outbox {
            journal: self.journal.clone(),
            notifiers: in_use.notifiers.clone(),
            clock: self.clock.clone(),
            ledger: ledger.clone(),
            picture: self.picture.clone(),
            unsettled: Unsettled::default(),
        }
    }
}
