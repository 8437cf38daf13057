//! The steps of a run with how long each took, and what stood in its way.
use jiff::Timestamp;

use super::{StepReport, StepState};
use crate::domain::event::{RunEvent, RunOpened};

/// One entry for each step of the plan, begun or not.
pub(super) fn of(opened: &RunOpened, events: &[(Timestamp, RunEvent)]) -> Vec<StepReport> {
    let mut steps: Vec<StepReport> = opened
        .plan
        .steps
        .iter()
        .map(|step| StepReport {
            title: step.title.clone(),
            mutates: step.action.mutates(),
            state: StepState::NotBegun,
            started_at: None,
            ended_at: None,
            applied: 0,
            requests: Vec::new(),
            trouble: Vec::new(),
        })
        .collect();
    for (at, event) in events {
        take(&mut steps, *at, event);
    }
    steps
}

fn take(steps: &mut [StepReport], at: Timestamp, event: &RunEvent) {
    let mut change = |step: &usize, change: &dyn Fn(&mut StepReport)| {
        if let Some(step) = steps.get_mut(*step) {
            change(step);
        }
    };
    let ended =
        |state: StepState| move |step: &mut StepReport| (step.state, step.ended_at) = (state, Some(at));
    match event {
        RunEvent::StepStarted { step, .. } => change(step, &|step| {
            step.started_at = step.started_at.or(Some(at));
            step.state = StepState::UnderWay;
        }),
        RunEvent::Applied { step, calls, .. } => change(step, &|step| {
            step.applied += 1;
            step.requests.extend(calls.iter().map(|call| call.request_id.clone()));
        }),
        RunEvent::StepDone { step } => change(step, &ended(StepState::Done)),
        RunEvent::Skipped { step, .. } => change(step, &ended(StepState::Skipped)),
        RunEvent::Stuck { step, why } => change(step, &|step| {
            step.state = StepState::Stuck;
            step.trouble.push(why.clone());
        }),
        RunEvent::Opened(_)
        | RunEvent::Adopted { .. }
        | RunEvent::Approved { .. }
        | RunEvent::Unanswered { .. }
        | RunEvent::Acknowledged { .. }
        | RunEvent::Denied { .. }
        | RunEvent::ApprovalExpired
        | RunEvent::Observed { .. }
        | RunEvent::Resumed { .. }
        | RunEvent::Aborted { .. }
        | RunEvent::Checked { .. }
        | RunEvent::Verified { .. }
        | RunEvent::Compared { .. }
        | RunEvent::Relapsed { .. }
        | RunEvent::WatchEnded { .. }
        | RunEvent::Superseded { .. } => {}
    }
}
