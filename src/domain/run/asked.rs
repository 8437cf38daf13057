//! A run that waits for people: approvals are counted, and what nobody answers is followed up.
use jiff::Timestamp;

use super::{End, Next, Phase, Run, close};
use crate::domain::approval::Standing;
use crate::domain::event::{RunEvent, RunOpened};
use crate::domain::policy::asking::Then;

/// What people have said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who approved, each once.
    pub by: Vec<String>,
    /// So many reminders were sent.
    pub reminded: usize,
    /// Who has it in hand: nothing is done without them any more.
    pub acknowledged: Option<String>,
    /// Why one approval was enough.
    pub broke_glass: Option<String>,
}

impl Asked {
    /// Whoever has one page in hand may not even know of the next one.
    pub(super) fn note(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Acknowledged { by } => self.acknowledged = Some(by.clone()),
            RunEvent::Stuck { .. } | RunEvent::Relapsed { .. } | RunEvent::Verified { .. } => {
                self.acknowledged = None;
            }
            RunEvent::Opened(_)
            | RunEvent::Adopted { .. }
            | RunEvent::Approved { .. }
            | RunEvent::Unanswered { .. }
            | RunEvent::Denied { .. }
            | RunEvent::ApprovalExpired
            | RunEvent::StepStarted { .. }
            | RunEvent::Observed { .. }
            | RunEvent::Applied { .. }
            | RunEvent::StepDone { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Skipped { .. }
            | RunEvent::Aborted { .. }
            | RunEvent::Checked { .. }
            | RunEvent::Compared { .. }
            | RunEvent::WatchEnded { .. }
            | RunEvent::Superseded { .. } => {}
        }
    }
}

pub(super) fn approved(mut run: Run, by: &str, break_glass: Option<&str>) -> Run {
    if !run.asked.by.iter().any(|other| other == by) {
        run.asked.by.push(by.to_string());
    }
    run.asked.broke_glass = run.asked.broke_glass.take().or(break_glass.map(str::to_string));
    run.approved_by = Some(run.asked.by.join(", "));
    let needed = run.opened.as_ref().and_then(|o| Some(o.approval.as_ref()?.needed)).unwrap_or(1);
    if run.asked.broke_glass.is_some() || run.asked.by.len() >= needed {
        run.phase = Phase::Executing { step: 0, started: None };
    }
    run
}

pub(super) fn unanswered(mut run: Run, then: Then, at: Timestamp) -> Run {
    run.asked.reminded += 1;
    match then {
        Then::PageAgain | Then::Escalate => run,
        Then::Rollback => {
            run.phase = Phase::Executing { step: 0, started: None };
            run
        }
        Then::Hold => close(run, End::Expired, at),
    }
}

/// Expires, follows up, or waits. Whoever acknowledged it is waited for until it expires.
pub(super) fn next(run: &Run, opened: &RunOpened, until: Timestamp, now: Timestamp) -> Next {
    if now >= until {
        return Next::Record(RunEvent::ApprovalExpired);
    }
    let reminders = opened.approval.iter().flat_map(|ask| &ask.reminders);
    let mut left = reminders.skip(run.asked.reminded).filter(|_| run.asked.acknowledged.is_none());
    match left.next() {
        Some(reminder) if now >= reminder.at => Next::Record(RunEvent::Unanswered { then: reminder.then }),
        Some(reminder) => Next::WaitUntil(reminder.at.min(until)),
        None => Next::WaitUntil(until),
    }
}

impl Run {
    /// How its approval stands, while it waits for one.
    pub fn standing(&self) -> Option<Standing> {
        let Phase::AwaitingApproval { .. } = self.phase else { return None };
        let opened = self.opened.as_ref()?;
        let ask = opened.approval.as_ref()?;
        Some(Standing {
            needed: ask.needed,
            from: ask.from.clone(),
            by: self.asked.by.clone(),
            requested_by: opened.requested_by.clone().filter(|_| !ask.by_requester),
        })
    }

    /// Whether this event let it begin.
    pub fn begins_with(&self, event: &RunEvent) -> bool {
        let answered = matches!(event, RunEvent::Approved { .. } | RunEvent::Unanswered { .. });
        answered && matches!(self.phase, Phase::Executing { .. })
    }
}
