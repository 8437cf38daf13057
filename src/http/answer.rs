//! A run as the API shows it: its state now, and its timeline.
use jiff::Timestamp;

use super::dto::{CheckStatus, Moment, PlanAnswer, RunAnswer};
use crate::domain::event::{Record, RunOpened};
use crate::domain::run::Run;
use crate::domain::timeline::told;

/// Folds the records. `None` when the first of them cannot be read: then nothing is known about the run.
pub(super) fn of_records(records: &[Record], now: Timestamp) -> Option<RunAnswer> {
    let (run, timeline) = told(records);
    let opened = run.opened.clone()?;
    Some(answer(&run, *opened, timeline, now))
}

fn answer(run: &Run, opened: RunOpened, timeline: Vec<Moment>, now: Timestamp) -> RunAnswer {
    let plan = PlanAnswer { digest: opened.digest.clone(), ..PlanAnswer::from(&opened.plan) };
    RunAnswer {
        now,
        phase: run.phase_title().to_string(),
        open: run.is_open(),
        decision: opened.decided.decision,
        cause: opened.cause,
        reason: opened.decided.reason,
        barred: opened.decided.barred,
        severity: opened.severity,
        released_at: opened.released_at,
        requested_by: opened.requested_by,
        approved_by: run.approved_by.clone(),
        approval: run.standing(),
        approval_expires_at: opened.approval.map(|ask| ask.expires_at),
        checks: run.check_results().into_iter().map(CheckStatus::of).collect(),
        verified: run.verified,
        relapsed: run.relapsed.clone(),
        diagnosis: run.diagnosis.clone(),
        compared: run.compared.clone(),
        run: opened.run,
        incident: opened.incident,
        service: opened.service,
        checklist: opened.checklist,
        plan,
        timeline,
    }
}
