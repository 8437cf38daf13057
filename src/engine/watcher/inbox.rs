//! Folds what was handed in from outside: alerts go into watches, commands to their runs.
use super::acting::request;
use super::noticing::{LOOK_UP_MAX, late};
use super::{Found, Watcher};
use tokio::sync::mpsc::error::TrySendError;

use crate::domain::names::{TargetId, TargetKind};
use crate::domain::opening::{Request, run_id};
use crate::domain::plan::{Destination, Plan, draft};
use crate::domain::policy::{Decided, Decision};
use crate::domain::release::{Release, ReleaseKind};
use crate::domain::signal::{Reading, Sample};
use crate::domain::survey::Survey;
use crate::engine::commands::{AlertIn, Command, INBOX_ALERT, INBOX_COMMAND};
use crate::engine::driver::Input;
use crate::ports::{InboxRow, JournalError, SurveyError};

/// What became of an inbox row.
enum Handled {
    Folded,
    /// The driver of its run, or a look-up, will fold it.
    HandedOn,
    NotYet,
}

/// Rows folded at once.
const ROWS: usize = 500;
/// Alerts kept for a watch that is being opened.
const EARLY_MAX: usize = 200;
/// Places among a driver's inputs that commands leave to what the watcher has to say.
const INPUTS_KEPT: usize = 8;

impl Watcher {
    pub(super) async fn fold_inbox(&mut self) -> Result<(), JournalError> {
        let rows = match self.parts.journal.inbox(ROWS).await {
            Ok(rows) => rows,
            Err(JournalError::Unavailable { why }) => {
                tracing::error!(why, "the inbox cannot be read");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut folded = Vec::new();
        for row in rows {
            if row.id <= self.inbox_seen {
                continue;
            }
            let id = row.id;
            match self.fold_row(row).await? {
                Handled::Folded => folded.push(id),
                Handled::HandedOn => {}
                // Its run is busy: this row and the later ones are looked at again with the next look.
                Handled::NotYet => break,
            }
            self.inbox_seen = id;
        }
        if folded.is_empty() {
            return Ok(());
        }
        self.parts.tools.ledger.commit(self.now(), &[], vec![], folded).await
    }

    async fn fold_row(&mut self, row: InboxRow) -> Result<Handled, JournalError> {
        Ok(match row.kind.as_str() {
            INBOX_ALERT => {
                if let Ok(alert) = serde_json::from_value(row.body) {
                    self.take_alert(alert, row.at);
                }
                Handled::Folded
            }
            INBOX_COMMAND => match serde_json::from_value::<Command>(row.body) {
                Ok(Command::Kill { on, reason, by }) => {
                    self.turn_kill_switch(row.id, on, by, reason).await?;
                    Handled::HandedOn
                }
                Ok(Command::AcknowledgePage { target, by }) => match self.run_over(&target) {
                    // Its run follows up what nobody answers, and tells the target.
                    Some(run) => self.take_command(row.id, Command::Acknowledge { run, by }),
                    None => {
                        self.acknowledge(row.id, &target, by).await?;
                        Handled::HandedOn
                    }
                },
                Ok(command) => self.take_command(row.id, command),
                Err(error) => {
                    tracing::error!(row = row.id, %error, "a command cannot be read: it is dropped");
                    Handled::Folded
                }
            },
            kind => {
                tracing::error!(row = row.id, kind, "an unknown kind of request: it is dropped");
                Handled::Folded
            }
        })
    }

    /// Alerts that began before the release say nothing about it.
    pub(super) fn take_alert(&mut self, alert: AlertIn, at: jiff::Timestamp) {
        for guarded in self.targets.values_mut().filter(|g| g.id.service == alert.service) {
            if guarded.opening.is_some() && guarded.early.len() < EARLY_MAX {
                guarded.early.push((alert.clone(), at));
            }
            let Some(active) = &mut guarded.watch else { continue };
            if alert.starts_at < active.watch.spec().release.at {
                tracing::debug!(alert = alert.alert, target = %guarded.id, "an alert from before the release");
                continue;
            }
            active.take(Sample {
                at,
                service: alert.service.clone(),
                target: Some(guarded.id.target.clone()),
                release: None,
                pod: None,
                reading: Reading::Alert {
                    alert: alert.alert.clone(),
                    status: alert.status,
                    labels: alert.labels.clone(),
                },
            });
        }
    }

    fn take_command(&mut self, row: i64, command: Command) -> Handled {
        if let Some(run) = command.run() {
            let Some(open) = self.runs.get(run) else {
                tracing::warn!(run, "a command for a run that is not open");
                return Handled::Folded;
            };
            if open.inputs.capacity() <= INPUTS_KEPT {
                return Handled::NotYet;
            }
            return match open.inputs.try_send(Input::Command { row, command: command.clone() }) {
                Ok(()) => Handled::HandedOn,
                Err(TrySendError::Full(_)) => Handled::NotYet,
                Err(TrySendError::Closed(_)) => Handled::Folded,
            };
        }
        match &command {
            Command::Rollback { target, .. } => {
                self.look_up_order(row, target.clone(), command);
                Handled::HandedOn
            }
            Command::Release { target, version, at, by } => {
                tracing::info!(%target, version, by, "a release is announced");
                self.hand_on(row, target.clone(), version.clone(), *at);
                Handled::HandedOn
            }
            Command::Approve { .. }
            | Command::Deny { .. }
            | Command::Resume { .. }
            | Command::Skip { .. }
            | Command::Abort { .. }
            | Command::Acknowledge { .. }
            | Command::AcknowledgePage { .. }
            | Command::Kill { .. } => Handled::Folded,
        }
    }

    /// Some targets cannot see what runs, and must be told.
    fn hand_on(&self, row: i64, target: TargetId, version: String, at: jiff::Timestamp) {
        let (port, found) = (self.parts.tools.target.clone(), self.found.clone());
        tokio::spawn(async move {
            let taken = port.announced(&target, &version, at).await;
            drop(found.send(Found::Announced { row, target, at, taken }).await);
        });
    }

    pub(super) async fn on_announced(
        &mut self,
        row: i64,
        target: &TargetId,
        at: jiff::Timestamp,
        taken: bool,
    ) -> Result<(), JournalError> {
        if !taken {
            self.announced(target, at);
        }
        self.parts.tools.ledger.commit(self.now(), &[], vec![], vec![row]).await
    }

    /// A deploy tool says that it released: if the version is not under watch, it is put under watch again.
    fn announced(&mut self, target: &TargetId, at: jiff::Timestamp) {
        let Some(guarded) = self.targets.get_mut(target) else { return };
        let Some(current) = guarded.memory.current.clone().filter(|_| guarded.watch.is_none()) else {
            return;
        };
        let from = Some(current.clone());
        // It ran before, so nothing that comes of it is undone by us, and what was bad before is still known.
        let bad = guarded.memory.known_bad.contains(&current.fingerprint);
        let kind = if bad { ReleaseKind::KnownBad } else { ReleaseKind::Undo };
        let release = Release { target: target.clone(), kind, from, to: current, at };
        self.begin_opening(target, &release, true);
    }

    fn look_up_order(&self, row: i64, target: TargetId, command: Command) {
        let (port, found) = (self.parts.tools.target.clone(), self.found.clone());
        tokio::spawn(async move {
            let survey = tokio::time::timeout(LOOK_UP_MAX, port.survey(&target)).await;
            let survey = survey.unwrap_or_else(|_| Err(late(&target)));
            drop(found.send(Found::Ordered { row, command, survey }).await);
        });
    }

    /// Opens the run that a person ordered. The API has shown a refusal already; here it is only logged.
    pub(super) async fn open_ordered(
        &mut self,
        row: i64,
        command: Command,
        survey: Result<Survey, SurveyError>,
    ) -> Result<(), JournalError> {
        let now = self.now();
        let refuse = |why: String| tracing::error!(row, why, "the ordered rollback is refused");
        let drop_row = self.parts.tools.ledger.clone();
        let Command::Rollback { target, revision, image, reason, by } = command else { return Ok(()) };
        let Some(guarded) = self.targets.get(&target) else {
            refuse(format!("{target} is not configured any more"));
            return drop_row.commit(now, &[], vec![], vec![row]).await;
        };
        let settings = guarded.settings.clone();
        // What a person orders while a page is out is the answer to that page, and ends it when it worked.
        let incident = guarded.memory.paging.clone().unwrap_or_else(|| format!("{target}.order-{row}"));
        let id = run_id(&settings.name, &incident, now);
        let goal =
            Destination::of(revision, image).and_then(|to| to.goal(guarded.memory.known_good.as_ref()));
        let busy = self.runs.iter().find(|(_, run)| run.service == settings.name).map(|(run, _)| run.clone());
        let plan = match (goal, survey, busy) {
            (_, _, Some(run)) => Err(format!("run {run} of this service is open")),
            (None, _, None) => Err("no version is known to be good: name a revision".to_string()),
            (Some(_), Err(error), None) => Err(error.to_string()),
            (Some(goal), Ok(survey), None) => {
                let plan = draft(&survey, &goal, &id, settings.rollout_deadline.as_secs());
                let fits = |plan: Plan| self.misfit(&target, &plan).map_or(Ok(plan), Err);
                plan.and_then(fits).map_err(|refusal| refusal.to_string())
            }
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(why) => {
                refuse(why);
                return drop_row.commit(now, &[], vec![], vec![row]).await;
            }
        };
        // An order names no plan file, and an approval does.
        let (barred, asks) = (plan.needs_person(), plan.is_about(TargetKind::Infrastructure));
        let asks = asks || settings.policy.approvals.orders;
        let decision = if asks { Decision::Ask } else { Decision::Rollback };
        let decided = Decided { decision, would: None, reason, barred, policy: None };
        let mut request = Request { requested_by: Some(by), ..request(&settings, incident, decided, plan) };
        request.asking.by_requester = !settings.policy.approvals.orders;
        tracing::info!(%target, run = id, "a rollback is ordered");
        self.launch(request, id, vec![], vec![row]).await
    }
}
