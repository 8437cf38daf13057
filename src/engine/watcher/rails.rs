//! What bars a rollback that the evidence asks for: the service's own limits, and those across services.
use jiff::Timestamp;

use super::Watcher;
use super::guarded::Guarded;
use super::restore::unreadable;
use crate::domain::event::{HouseEvent, StreamId, from_record};
use crate::domain::guardrails::{Bar, Killed, below_minimum, busy};
use crate::domain::message::of_house;
use crate::domain::plan::Plan;
use crate::engine::ledger::Entry;
use crate::ports::JournalError;
use crate::telemetry::Metric;

impl Watcher {
    /// What bars any rollback of this service now, whatever the plan.
    pub(super) fn bars(&self, guarded: &Guarded, now: Timestamp) -> Vec<Bar> {
        let settings = &guarded.settings;
        let mut bars: Vec<Bar> = self.killed.clone().map(Bar::Killed).into_iter().collect();
        bars.extend(settings.rails.often_today(self.rollbacks_of(guarded), now));
        let open = self.runs.iter().find(|(_, run)| run.service == settings.name);
        match open {
            Some((run, _)) => bars.push(Bar::RunOpen { run: run.clone() }),
            None => bars.extend(busy(self.under_way(), self.parts.fleet.at_once)),
        }
        bars
    }

    /// The times at which runs of this service began; one run may change several of its targets.
    fn rollbacks_of(&self, guarded: &Guarded) -> Vec<Timestamp> {
        let of_service = self.targets.values().filter(|other| other.id.service == guarded.id.service);
        let mut runs: Vec<&(String, Timestamp)> = of_service.flat_map(|g| &g.memory.rollbacks).collect();
        runs.sort();
        runs.dedup_by(|a, b| a.0 == b.0);
        runs.into_iter().map(|(_, at)| *at).collect()
    }

    fn under_way(&self) -> Vec<String> {
        let runs = |s: &crate::engine::snapshot::Snapshot| {
            s.runs.values().filter(|run| run.is_under_way()).map(|run| run.run.clone()).collect()
        };
        self.parts.tools.viewer.look(runs)
    }

    /// What an earlier life was told.
    pub(super) async fn restore_house(&mut self) -> Result<(), JournalError> {
        let mut killed = None;
        for record in &self.parts.journal.read(&StreamId::house()).await? {
            let event: HouseEvent = from_record(record).map_err(|error| unreadable(record, &error))?;
            killed = event.killed(killed, record.at);
        }
        self.parts.tools.kill.order(killed);
        self.look_at_kill_switch().await;
        Ok(())
    }

    /// Shows whether the kill switch is on; it is asked again before every change.
    pub(super) async fn look_at_kill_switch(&mut self) {
        let killed = self.parts.tools.kill.look().await;
        Metric::KillSwitch.set(f64::from(u8::from(killed.is_some())), vec![]);
        if killed != self.killed {
            match &killed {
                Some(killed) => tracing::warn!(%killed, "nothing is changed any more"),
                None => tracing::warn!("the kill switch is off"),
            }
            self.show_killed(killed);
        }
    }

    fn show_killed(&mut self, killed: Option<Killed>) {
        self.killed.clone_from(&killed);
        self.parts.tools.picture.change(|s| s.killed = killed);
    }

    /// A person turns the switch.
    pub(super) async fn turn_kill_switch(
        &mut self,
        row: i64,
        on: bool,
        by: String,
        reason: String,
    ) -> Result<(), JournalError> {
        let now = self.now();
        let event = match on {
            true => HouseEvent::KillSwitchOn { by, reason },
            false => HouseEvent::KillSwitchOff { by, reason },
        };
        if on {
            // At once: the journal may be slow, and stopping is always safe.
            self.parts.tools.kill.order(event.killed(None, now));
        }
        let entry = Entry::House { event: event.clone() };
        self.parts.tools.ledger.commit(now, &[entry], of_house(&event, row, now), vec![row]).await?;
        self.parts.tools.kill.order(event.killed(None, now));
        self.look_at_kill_switch().await;
        Ok(())
    }
}

impl Guarded {
    /// Whether the plan would go back behind what the owner allows automation.
    pub(super) fn below_minimum(&self, plan: &Plan) -> Option<Bar> {
        let minimum = self.settings.minimums.get(&self.id.target);
        plan.changes.iter().find_map(|change| below_minimum(&change.to.label, minimum))
    }
}
