//! Folds what was handed in from outside: alerts go into watches, commands to their runs.
use super::{Found, Watcher};
use crate::domain::evidence::Cause;
use crate::domain::names::TargetId;
use crate::domain::opening::{Request, run_id};
use crate::domain::plan::{Goal, draft};
use crate::domain::policy::{Decided, Decision};
use crate::domain::release::{Release, ReleaseKind};
use crate::domain::signal::{Reading, Sample};
use crate::domain::survey::Survey;
use crate::engine::commands::{AlertIn, Command, INBOX_ALERT, INBOX_COMMAND};
use crate::engine::driver::Input;
use crate::ports::{InboxRow, JournalError, SurveyError};

/// Rows folded at once.
const ROWS: usize = 500;

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
            self.inbox_seen = row.id;
            if self.fold_row(row.clone()).await? {
                folded.push(row.id);
            }
        }
        if folded.is_empty() {
            return Ok(());
        }
        self.parts.tools.ledger.commit(self.now(), &[], vec![], folded).await
    }

    /// True when the row is dealt with; false when the driver of its run, or a look-up, will fold it.
    async fn fold_row(&mut self, row: InboxRow) -> Result<bool, JournalError> {
        match row.kind.as_str() {
            INBOX_ALERT => {
                if let Ok(alert) = serde_json::from_value(row.body) {
                    self.take_alert(alert, row.at);
                }
                Ok(true)
            }
            INBOX_COMMAND => match serde_json::from_value::<Command>(row.body) {
                Ok(command) => Ok(self.take_command(row.id, command).await),
                Err(error) => {
                    tracing::error!(row = row.id, %error, "a command cannot be read: it is dropped");
                    Ok(true)
                }
            },
            kind => {
                tracing::error!(row = row.id, kind, "an unknown kind of request: it is dropped");
                Ok(true)
            }
        }
    }

    /// Alerts that began before the release say nothing about it.
    fn take_alert(&mut self, alert: AlertIn, at: jiff::Timestamp) {
        for guarded in self.targets.values_mut().filter(|g| g.id.service == alert.service) {
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

    async fn take_command(&mut self, row: i64, command: Command) -> bool {
        if let Some(run) = command.run() {
            let Some(open) = self.runs.get(run) else {
                tracing::warn!(run, "a command for a run that is not open");
                return true;
            };
            return open.inputs.send(Input::Command { row, command: command.clone() }).await.is_err();
        }
        match &command {
            Command::Rollback { target, .. } => {
                self.look_up_order(row, target.clone(), command);
                false
            }
            Command::Release { target, version, at, by } => {
                tracing::info!(%target, version, by, "a release is announced");
                self.announced(target, *at);
                true
            }
            Command::Approve { .. }
            | Command::Deny { .. }
            | Command::Resume { .. }
            | Command::Skip { .. }
            | Command::Abort { .. } => true,
        }
    }

    /// A deploy tool says that it released: if the version is not under watch, it is put under watch again.
    fn announced(&mut self, target: &TargetId, at: jiff::Timestamp) {
        let Some(guarded) = self.targets.get_mut(target) else { return };
        let Some(current) = guarded.memory.current.clone().filter(|_| guarded.watch.is_none()) else {
            return;
        };
        let from = Some(current.clone());
        let release = Release { target: target.clone(), kind: ReleaseKind::New, from, to: current, at };
        self.begin_opening(target, &release, true);
    }

    fn look_up_order(&self, row: i64, target: TargetId, command: Command) {
        let (port, found) = (self.parts.tools.target.clone(), self.found.clone());
        tokio::spawn(async move {
            let survey = port.survey(&target).await;
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
        let Command::Rollback { target, revision, reason, by } = command else { return Ok(()) };
        let Some(guarded) = self.targets.get(&target) else { return Ok(()) };
        let settings = guarded.settings.clone();
        let incident = format!("{target}.order-{row}");
        let id = run_id(&settings.name, &incident, now);
        let goal = match (revision, &guarded.memory.known_good) {
            (Some(revision), _) => Some(Goal::Revision(revision)),
            (None, Some(good)) => Some(Goal::Version(good.clone())),
            (None, None) => None,
        };
        let busy = self.runs.iter().find(|(_, run)| run.service == settings.name).map(|(run, _)| run.clone());
        let plan = match (goal, survey, busy) {
            (_, _, Some(run)) => Err(format!("run {run} of this service is open")),
            (None, _, None) => Err("no version is known to be good: name a revision".to_string()),
            (Some(_), Err(error), None) => Err(error.to_string()),
            (Some(goal), Ok(survey), None) => {
                draft(&survey, &goal, &id, settings.rollout_deadline.as_secs()).map_err(|r| r.to_string())
            }
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(why) => {
                refuse(why);
                return drop_row.commit(now, &[], vec![], vec![row]).await;
            }
        };
        let decided = Decided { decision: Decision::Rollback, would: None, reason, barred: vec![] };
        let request = Request {
            service: &settings.name,
            incident,
            decided,
            verdict: None,
            requested_by: Some(by),
            released_at: None,
            plan,
            checks: settings.checks.clone(),
            approval_secs: settings.approval_expires.as_secs(),
            verify_secs: settings.verify_deadline.as_secs(),
            watch_secs: settings.watch.as_secs(),
            status_page: settings.status_page.clone(),
        };
        tracing::info!(%target, run = id, cause = ?Cause::Unknown, "a rollback is ordered");
        self.launch(request, id, vec![], vec![row]).await
    }
}
