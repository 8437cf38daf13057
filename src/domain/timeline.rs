//! A run's records, read back: its state, and its story in sentences.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Record, RunEvent, RunOpened, from_record};
use super::evidence::{clock_time, count_of};
use super::keepsake::Comparison;
use super::outcome::{Finding, Outcome};
use super::run::{Run, evolve};
use super::verification::{CheckOutcome, CheckResult};

/// One line of a run's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub seq: u64,
    pub at: Timestamp,
    pub kind: String,
    /// One sentence for people.
    pub what: String,
}

/// Folds the records, with a line for each. One that this version cannot read is told as such.
pub fn told(records: &[Record]) -> (Run, Vec<Moment>) {
    let mut run = Run::default();
    let mut timeline = Vec::with_capacity(records.len());
    for record in records {
        let event = from_record::<RunEvent>(record).ok();
        let what = match &event {
            Some(event) => sentence(event, &run),
            None => format!("a record of kind {:?} that this version cannot read", record.kind),
        };
        timeline.push(Moment { seq: record.seq, at: record.at, kind: record.kind.clone(), what });
        if let Some(event) = &event {
            run = evolve(run, event, record.at);
        }
    }
    (run, timeline)
}

/// What happened, as a person says it. `before` is the run without the event.
fn sentence(event: &RunEvent, before: &Run) -> String {
    match event {
        RunEvent::Opened(opened) => opening(opened),
        RunEvent::Adopted { epoch } => {
            format!(
                "taken over by a new life of rollguard (epoch {epoch}); what was seen before is looked at again"
            )
        }
        RunEvent::Approved { by, digest, break_glass: None } => format!("{by} approved plan {digest}"),
        RunEvent::Approved { by, digest, break_glass: Some(reason) } => {
            format!("{by} broke the glass and approved plan {digest} alone: {reason}")
        }
        RunEvent::Unanswered { then } => format!("nobody has answered, so the policy says: {then}"),
        RunEvent::Acknowledged { by } => format!("{by} has it in hand"),
        RunEvent::Denied { by, reason } => format!("{by} denied it: {reason}"),
        RunEvent::ApprovalExpired => "nobody approved in time; nothing was changed".into(),
        RunEvent::StepStarted { step, deadline, .. } => {
            format!("{} started, to be done by {}", step_of(before, *step), clock_time(*deadline))
        }
        RunEvent::Observed { step, finding } => {
            format!("{}: {}", step_of(before, *step), finding_text(finding))
        }
        RunEvent::Applied { step, outcome, calls } => {
            let called: String = calls.iter().map(|call| format!("; request {}", call.request_id)).collect();
            format!("{}: {}{called}", step_of(before, *step), outcome_text(outcome))
        }
        RunEvent::StepDone { step } => format!("{} done", step_of(before, *step)),
        RunEvent::Stuck { step, why } => format!("stuck at {}: {why}", step_of(before, *step)),
        RunEvent::Resumed { by } => format!("{by} resumed it"),
        RunEvent::Skipped { by, step } => format!("{by} skipped {}", step_of(before, *step)),
        RunEvent::Aborted { by, reason } if reason.is_empty() => format!("{by} aborted it"),
        RunEvent::Aborted { by, reason } => format!("{by} aborted it: {reason}"),
        RunEvent::Checked { check, result } => checked(before, *check, result),
        RunEvent::Verified { passed: true, watch_until } => {
            format!("verified; watching until {}", clock_time(*watch_until))
        }
        RunEvent::Verified { passed: false, watch_until } => {
            format!("not verified in time; watching until {}", clock_time(*watch_until))
        }
        RunEvent::Compared { comparisons } => compared(comparisons),
        RunEvent::Relapsed { reason } => format!("still bad after the rollback: {reason}"),
        RunEvent::WatchEnded { healthy, blind, reason } => match (healthy, blind) {
            (true, _) => format!("the watch ended well: {reason}"),
            (false, true) => format!("the watch ended without being able to see: {reason}"),
            (false, false) => format!("the watch ended badly: {reason}"),
        },
        RunEvent::Superseded { by } => format!("superseded by {by}"),
    }
}

fn opening(opened: &RunOpened) -> String {
    let asked = match (&opened.requested_by, &opened.approval) {
        (Some(by), _) => format!("{by} ordered a rollback"),
        (None, Some(_)) => "approval asked for".to_string(),
        (None, None) => "rollback decided by policy".to_string(),
    };
    format!("{asked}: {}", opened.decided.reason)
}

/// What differs is told in full beside the timeline.
fn compared(comparisons: &[Comparison]) -> String {
    let differences = comparisons.iter().map(|comparison| comparison.differences.len()).sum();
    match differences {
        0 => "no difference from the time when it was healthy was found".into(),
        some => format!("{} from the time when it was healthy", count_of(some, "difference")),
    }
}

fn step_of(run: &Run, step: usize) -> String {
    let title = run.opened.as_ref().and_then(|o| o.plan.steps.get(step)).map_or("", |s| s.title.as_str());
    format!("step {} ({title})", step + 1)
}

fn finding_text(finding: &Finding) -> String {
    match finding {
        Finding::Satisfied { detail } => detail.clone(),
        Finding::NotYet { detail, diagnosis } => {
            let obstacles = diagnosis.obstacles.iter().map(|o| format!("; {}", o.sentence()));
            format!("not yet, {detail}{}", obstacles.collect::<String>())
        }
        Finding::Unseen { why } => format!("could not be observed, {why}"),
        Finding::Conflict { why } => format!("not as planned, {why}"),
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { detail } => format!("applied, {detail}"),
        Outcome::Refused { why } => format!("refused, {why}"),
        Outcome::Unknown { why } => format!("outcome unknown ({why}), to be found out by looking"),
    }
}

fn checked(run: &Run, check: usize, result: &CheckResult) -> String {
    let name = run.opened.as_ref().and_then(|o| o.checks.get(check)).map_or("check", |c| c.name.as_str());
    let outcome = match result.outcome {
        CheckOutcome::Passed => "passed",
        CheckOutcome::Failed => "failed",
        CheckOutcome::NoData => "could not be measured",
    };
    format!("{name} {outcome}: {}", result.detail)
}
