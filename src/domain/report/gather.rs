//! Gathers a report from the records of the run and of its targets.
use jiff::Timestamp;

use super::{Answered, Found, Made, Report, StepState, Times, steps};
use crate::domain::event::{Record, RunEvent, RunOpened, TargetEvent, from_record};
use crate::domain::message::afterwards;
use crate::domain::names::TargetId;
use crate::domain::outcome::Outcome;
use crate::domain::policy::Decision;
use crate::domain::release::Version;
use crate::domain::run::{End, Phase, Run};
use crate::domain::timeline::told;
use crate::domain::verification::{CheckOutcome, CheckStatus};
use crate::domain::watch::WatchSpec;

/// What happened to a target, oldest first.
pub type Past = (TargetId, Vec<(Timestamp, TargetEvent)>);

/// `None` when the first of the records cannot be read: then nothing is known about the run.
pub fn report(records: &[Record], past: &[Past], made_at: Timestamp) -> Option<Report> {
    let (run, timeline) = told(records);
    let opened = run.opened.as_deref()?.clone();
    let events: Vec<(Timestamp, RunEvent)> =
        records.iter().filter_map(|record| Some((record.at, from_record(record).ok()?))).collect();
    let decisions = decisions(&opened, past);
    let steps = steps::of(&opened, &events);
    Some(Report {
        made_at,
        phase: run.phase_title().to_string(),
        open: run.is_open(),
        summary: opened.plan.summary(),
        times: times(&run, &opened, &events),
        evidence: evidence(&opened, past),
        answers: events.iter().filter_map(|(at, event)| answered(*at, event)).collect(),
        checks: run.check_results().into_iter().map(CheckStatus::of).collect(),
        verified: run.verified,
        compared: run.compared.clone(),
        look_into: look_into(&run, &opened, &steps),
        by_hand: by_hand(&run, &opened, &events),
        run: opened.run,
        incident: opened.incident,
        service: opened.service,
        severity: opened.severity,
        decision: opened.decided.decision,
        cause: opened.cause,
        reason: opened.decided.reason,
        requested_by: opened.requested_by,
        changes: opened.plan.changes,
        changed: opened.changed,
        checklist: opened.checklist,
        digest: opened.digest.as_str().to_string(),
        decisions,
        steps,
        timeline,
    })
}

fn times(run: &Run, opened: &RunOpened, events: &[(Timestamp, RunEvent)]) -> Times {
    let first = |is: fn(&RunEvent) -> bool| events.iter().find(|(_, event)| is(event)).map(|(at, _)| *at);
    Times {
        released_at: opened.released_at,
        decided_at: first(|event| matches!(event, RunEvent::Opened(_))),
        began_at: run.began_at,
        verified_at: first(|event| matches!(event, RunEvent::Verified { .. })),
        closed_at: run.closed_at,
    }
}

/// The latest watch of this version, or of any, and when it was opened.
pub fn watch_of<'a>(
    events: &'a [(Timestamp, TargetEvent)],
    version: Option<&Version>,
) -> Option<(Timestamp, &'a WatchSpec)> {
    let mut watches = events.iter().filter_map(|(at, event)| {
        let TargetEvent::WatchOpened(spec) = event else { return None };
        Some((*at, spec.as_ref()))
    });
    watches.rfind(|(_, spec)| version.is_none_or(|version| spec.release.to == *version))
}

/// The decisions about the watches that this run answers, each with its target.
fn of_incident<'a>(
    opened: &'a RunOpened,
    past: &'a [Past],
) -> impl Iterator<Item = (&'a TargetId, Timestamp, &'a TargetEvent)> {
    let watched = move |target: &TargetId, events: &'a [(Timestamp, TargetEvent)]| {
        let bad = opened.plan.changes.iter().find(|change| change.target == *target).map(|c| &c.from);
        watch_of(events, bad).map(|(_, spec)| spec.id.as_str())
    };
    past.iter().flat_map(move |(target, events)| {
        let watch = watched(target, events);
        let ours = events.iter().filter(move |(_, event)| matches!(event, TargetEvent::Decided { watch: of, .. } if Some(of.as_str()) == watch));
        ours.map(move |(at, event)| (target, *at, event))
    })
}

fn decisions(opened: &RunOpened, past: &[Past]) -> Vec<Made> {
    let made = |(target, at, event): (&TargetId, Timestamp, &TargetEvent)| {
        let TargetEvent::Decided { decided, .. } = event else { return None };
        Some(Made {
            at,
            target: target.clone(),
            decision: decided.decision,
            would: decided.would,
            reason: decided.reason.clone(),
            barred: decided.barred.clone(),
        })
    };
    let mut all: Vec<Made> = of_incident(opened, past).filter_map(made).collect();
    all.sort_by_key(|made| made.at);
    all
}

/// What was found last of each rule, the strongest first.
fn evidence(opened: &RunOpened, past: &[Past]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (target, at, event) in of_incident(opened, past) {
        let TargetEvent::Decided { evidence, .. } = event else { continue };
        for evidence in evidence {
            found.retain(|f| (&f.target, &f.evidence.rule) != (target, &evidence.rule));
            found.push(Found { at, target: target.clone(), evidence: evidence.clone() });
        }
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.evidence.strength));
    found
}

fn answered(at: Timestamp, event: &RunEvent) -> Option<Answered> {
    let said = |by: &str, what: String| Some(Answered { at, by: Some(by.to_string()), what });
    match event {
        RunEvent::Approved { by, digest, break_glass: None } => said(by, format!("approved plan {digest}")),
        RunEvent::Approved { by, digest, break_glass: Some(why) } => {
            said(by, format!("broke the glass and approved plan {digest}: {why}"))
        }
        RunEvent::Acknowledged { by } => said(by, "took it in hand".to_string()),
        RunEvent::Denied { by, reason } => said(by, format!("denied it: {reason}")),
        RunEvent::ApprovalExpired => {
            Some(Answered { at, by: None, what: "nobody answered in time".to_string() })
        }
        RunEvent::Resumed { by } => said(by, "let the stuck step try again".to_string()),
        RunEvent::Skipped { by, step } => said(by, format!("left step {} out", step + 1)),
        RunEvent::Aborted { by, reason } if reason.is_empty() => said(by, "stopped it".to_string()),
        RunEvent::Aborted { by, reason } => said(by, format!("stopped it: {reason}")),
        RunEvent::Opened(_)
        | RunEvent::Adopted { .. }
        | RunEvent::Unanswered { .. }
        | RunEvent::StepStarted { .. }
        | RunEvent::Observed { .. }
        | RunEvent::Applied { .. }
        | RunEvent::StepDone { .. }
        | RunEvent::Stuck { .. }
        | RunEvent::Checked { .. }
        | RunEvent::Verified { .. }
        | RunEvent::Compared { .. }
        | RunEvent::Relapsed { .. }
        | RunEvent::WatchEnded { .. }
        | RunEvent::Superseded { .. } => None,
    }
}

/// Questions for the review, from what did not go as it should.
fn look_into(run: &Run, opened: &RunOpened, steps: &[super::StepReport]) -> Vec<String> {
    let bad = opened.plan.changes.iter().map(|c| format!("{} {}", c.target.target, c.from.label));
    let bad: Vec<String> = bad.collect();
    let mut lines =
        vec![format!("Why {} failed, and why no test before the release showed it", bad.join(", "))];
    lines.extend(run.relapsed.iter().map(|why| format!("Why it was bad again after the rollback: {why}")));
    let failed = run.check_results().into_iter().filter_map(|(name, result)| {
        let result = result?;
        (result.outcome != CheckOutcome::Passed).then(|| format!("Check {name}: {}", result.detail))
    });
    lines.extend(failed);
    lines.extend(
        steps.iter().flat_map(|step| step.trouble.iter().map(|why| format!("{}: {why}", step.title))),
    );
    lines.extend(
        opened
            .checklist
            .iter()
            .filter(|item| !item.met)
            .map(|item| format!("Checklist, not met: {} ({})", item.item.title(), item.detail)),
    );
    if opened.decided.decision == Decision::Ask && matches!(run.phase, Phase::Closed(End::Expired)) {
        lines.push("Why nobody answered while the release was bad".to_string());
    }
    lines
}

/// What people did, or still have to do.
fn by_hand(run: &Run, opened: &RunOpened, events: &[(Timestamp, RunEvent)]) -> Vec<String> {
    let mut lines: Vec<String> = opened.requested_by.iter().map(|by| format!("{by} ordered it")).collect();
    let answers = events.iter().filter_map(|(at, event)| answered(*at, event));
    lines.extend(answers.filter_map(|a| Some(format!("{} {}", a.by?, a.what))));
    let unknown = events
        .iter()
        .filter(|(_, event)| matches!(event, RunEvent::Applied { outcome: Outcome::Unknown { .. }, .. }));
    if unknown.count() > 0 {
        lines.push("Answers to requests were lost; what had become of them was found out by looking".into());
    }
    lines.extend(afterwards(run));
    lines.push("The review after the incident, and the fix".to_string());
    lines
}

impl StepState {
    pub(super) fn title(self) -> &'static str {
        match self {
            StepState::NotBegun => "not begun",
            StepState::UnderWay => "under way",
            StepState::Done => "done",
            StepState::Skipped => "left out",
            StepState::Stuck => "stuck",
        }
    }
}
