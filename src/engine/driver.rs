//! Drives one run: fold → next → do → append, until it is over. There is no other way, after a crash either.
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commands::Command;
use super::kill::KillSwitch;
use super::leadership::Tenure;
use super::ledger::{Entry, Ledger};
use super::snapshot::{CheckStatus, Picture, RunStatus, Viewer};
use super::{comparing, measured};
use crate::domain::event::{RunEvent, RunOpened, TargetEvent};
use crate::domain::evidence::Strength;
use crate::domain::guardrails::Bar;
use crate::domain::message::{Message, of_run, paging};
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::owner::HoldOwner;
use crate::domain::plan::{Change, Plan, Step};
use crate::domain::run::{Effect, End, Next, Phase, Run, evolve, next};
use crate::domain::verdict::Verdict;
use crate::domain::verification::{CheckKind, CheckOutcome, CheckResult};
use crate::ports::{CheckContext, Checks, Clock, JournalError, Target, calls};
use crate::telemetry::{Metric, label};

/// What a driver works with.
#[derive(Clone)]
pub struct Tools {
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    pub target: Arc<dyn Target>,
    pub checks: Arc<dyn Checks>,
    pub kill: KillSwitch,
    pub tenure: Tenure,
    pub picture: Picture,
    pub viewer: Viewer,
    /// What the watcher needs to know of runs.
    pub notes: mpsc::Sender<Note>,
    pub stop: CancellationToken,
}

/// What a driver tells the watcher, after it is in the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    Folded { target: TargetId, event: TargetEvent, at: Timestamp },
    Closed { run: String, end: End },
}

/// What reaches a driver from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A command with its inbox row.
    Command {
        row: i64,
        command: Command,
    },
    Relapsed {
        reason: String,
    },
    Superseded {
        by: String,
    },
}

/// Drives the run until it is closed or the process stops.
///
/// # Errors
/// When the journal is not ours any more, or damaged.
pub async fn drive(
    mut run: Run,
    tools: Tools,
    mut inputs: mpsc::Receiver<Input>,
) -> Result<(), JournalError> {
    loop {
        show(&run, &tools.picture);
        while let Ok(input) = inputs.try_recv() {
            run = take(run, input, &tools).await?;
        }
        let now = tools.clock.now();
        let until = match next(&run, now, tools.ledger.epoch()) {
            Next::Finished => return finish(run, &tools, inputs).await,
            Next::Record(event) => {
                run = append(run, event, &tools, None).await?;
                continue;
            }
            Next::Do(effect) => {
                let event = perform(&run, effect, &tools).await;
                run = append(run, event, &tools, None).await?;
                continue;
            }
            Next::WaitUntil(until) => until,
            Next::AwaitPerson => Timestamp::MAX,
        };
        tokio::select! {
            biased;
            () = tools.stop.cancelled() => return Ok(()),
            Some(input) = inputs.recv() => run = take(run, input, &tools).await?,
            () = tools.clock.sleep_until(until) => {}
        }
    }
}

async fn finish(run: Run, tools: &Tools, mut inputs: mpsc::Receiver<Input>) -> Result<(), JournalError> {
    // What came too late has no effect any more, and its inbox row is folded all the same.
    inputs.close();
    let mut run = run;
    while let Ok(input) = inputs.try_recv() {
        run = take(run, input, tools).await?;
    }
    // What closed it may have come between two looks.
    show(&run, &tools.picture);
    if let (Phase::Closed(end), Some(opened)) = (&run.phase, &run.opened) {
        let outcome = run.phase_title().replace(' ', "_");
        Metric::RunsTotal.add(1, vec![label("service", &opened.service), label("outcome", outcome)]);
        tell(tools, Note::Closed { run: opened.run.clone(), end: *end }).await;
    }
    Ok(())
}

async fn tell(tools: &Tools, note: Note) {
    // The watcher ends only with the process; then nobody needs the note.
    if tools.notes.send(note).await.is_err() {
        tracing::debug!("the watcher has stopped");
    }
}

/// Makes an event of what came from outside, if it fits the phase; a row that does not fit is folded without effect.
async fn take(run: Run, input: Input, tools: &Tools) -> Result<Run, JournalError> {
    let (row, event) = match input {
        Input::Command { row, command } => (Some(row), fitting(&run, command, tools.clock.now())),
        Input::Relapsed { reason } => {
            let first = run.relapsed.is_none()
                && matches!(run.phase, Phase::Verifying { .. } | Phase::Watching { .. });
            (None, first.then_some(RunEvent::Relapsed { reason }))
        }
        Input::Superseded { by } => {
            (None, run.ends_with_newer_release().then_some(RunEvent::Superseded { by }))
        }
    };
    match (event, row) {
        (Some(event), row) => append(run, event, tools, row).await,
        (None, Some(row)) => {
            tools.ledger.commit(tools.clock.now(), &[], vec![], vec![row]).await?;
            Ok(run)
        }
        (None, None) => Ok(run),
    }
}

fn fitting(run: &Run, command: Command, now: Timestamp) -> Option<RunEvent> {
    let digest_fits = |given: &_| run.opened.as_ref().is_some_and(|o| o.digest == *given);
    let counts = |by: &str| run.standing().is_some_and(|standing| standing.counts(by).is_ok());
    match (command, &run.phase) {
        // What was approved in time and comes too late, because nobody was there to fold it, has expired all the same.
        (Command::Approve { digest, by, break_glass, .. }, Phase::AwaitingApproval { until })
            if now < *until && digest_fits(&digest) && (break_glass.is_some() || counts(&by)) =>
        {
            Some(RunEvent::Approved { by, digest, break_glass })
        }
        (Command::Acknowledge { by, .. }, _) if run.is_open() && run.asked.acknowledged.is_none() => {
            Some(RunEvent::Acknowledged { by })
        }
        (Command::Deny { reason, by, .. }, Phase::AwaitingApproval { .. }) => {
            Some(RunEvent::Denied { by, reason })
        }
        (Command::Resume { by, .. }, Phase::Stuck { .. }) => Some(RunEvent::Resumed { by }),
        (Command::Skip { by, .. }, Phase::Stuck { step, .. }) => Some(RunEvent::Skipped { by, step: *step }),
        (Command::Abort { reason, by, .. }, _) if run.is_open() => Some(RunEvent::Aborted { by, reason }),
        (
            Command::Approve { .. }
            | Command::Deny { .. }
            | Command::Resume { .. }
            | Command::Skip { .. }
            | Command::Abort { .. }
            | Command::Acknowledge { .. }
            | Command::AcknowledgePage { .. }
            | Command::Rollback { .. }
            | Command::Release { .. }
            | Command::Kill { .. },
            _,
        ) => None,
    }
}

async fn append(run: Run, event: RunEvent, tools: &Tools, row: Option<i64>) -> Result<Run, JournalError> {
    let run = match comparing::before(&event, &run, tools).await {
        Some(compared) => write(run, compared, tools, None).await?,
        None => run,
    };
    write(run, event, tools, row).await
}

async fn write(run: Run, event: RunEvent, tools: &Tools, row: Option<i64>) -> Result<Run, JournalError> {
    let at = tools.clock.now();
    let (known, held) = (run.knows(&event), run.held.len());
    let after = evolve(run, &event, at);
    if known && row.is_none() {
        return Ok(after);
    }
    let Some(opened) = after.opened.as_deref() else { return Ok(after) };
    let mut entries = vec![Entry::Run { run: opened.run.clone(), event: event.clone() }];
    let messages = of_run(&event, &after, at);
    let mut marks = marks_paging(opened, &messages);
    if after.begins_with(&event) {
        marks.extend(marks_bad(opened));
    }
    marks.extend(marks_in_hand(opened, &event));
    marks.extend(marks_held(&after, held));
    entries.extend(
        marks.iter().map(|(target, event)| Entry::Target { target: target.clone(), event: event.clone() }),
    );
    tools.ledger.commit(at, &entries, messages, row.into_iter().collect()).await?;
    tracing::info!(run = opened.run, phase = after.phase_title(), event = ?Brief(&event), "run");
    measure(&event, &after, opened, at);
    for (target, event) in marks {
        tell(tools, Note::Folded { target, event, at }).await;
    }
    Ok(after)
}

fn measure(event: &RunEvent, after: &Run, opened: &RunOpened, at: Timestamp) {
    if let (RunEvent::Verified { passed: true, .. }, Some(began)) = (event, after.began_at) {
        let took = at.duration_since(began).as_secs_f64();
        Metric::RunSeconds.observe(took, vec![label("service", &opened.service)]);
    }
}

/// The versions that the run takes away are known to be bad from the moment at which it begins.
pub fn marks_bad(opened: &RunOpened) -> Vec<(TargetId, TargetEvent)> {
    let mark = |change: &Change| {
        (change.target.clone(), TargetEvent::RolledBack { run: opened.run.clone(), bad: change.from.clone() })
    };
    opened.plan.changes.iter().map(mark).collect()
}

/// Each target remembers who has its page in hand.
fn marks_in_hand(opened: &RunOpened, event: &RunEvent) -> Vec<(TargetId, TargetEvent)> {
    let RunEvent::Acknowledged { by } = event else { return Vec::new() };
    let incident = &opened.incident;
    let mark = |change: &Change| {
        let target = change.target.clone();
        let mark = TargetEvent::Acknowledged { target, incident: incident.clone(), by: by.clone() };
        (change.target.clone(), mark)
    };
    opened.plan.changes.iter().map(mark).collect()
}

/// Each target remembers the owner that was suspended for it, all but the first `known`.
fn marks_held(run: &Run, known: usize) -> Vec<(TargetId, TargetEvent)> {
    let Some(opened) = run.opened.as_deref() else { return Vec::new() };
    let mark = |(step, hold): (usize, &HoldOwner)| {
        let target = opened.plan.steps.get(step)?.target.clone();
        let hold = Box::new(hold.clone());
        Some((target.clone(), TargetEvent::OwnerHeld { target, run: opened.run.clone(), hold }))
    };
    run.holds().skip(known).filter_map(mark).collect()
}

/// Each target remembers who is being paged about it.
pub fn marks_paging(opened: &RunOpened, messages: &[Message]) -> Vec<(TargetId, TargetEvent)> {
    let targets = opened.plan.changes.iter().map(|change| &change.target);
    targets.flat_map(|target| paging(messages).into_iter().map(|event| (target.clone(), event))).collect()
}

async fn perform(run: &Run, effect: Effect, tools: &Tools) -> RunEvent {
    let Some(opened) = run.opened.as_deref() else {
        let reason = "the run was never opened".into();
        return RunEvent::WatchEnded { healthy: false, blind: false, reason };
    };
    match effect {
        Effect::Observe(step) => match opened.plan.steps.get(step) {
            Some(planned) => RunEvent::Observed { step, finding: tools.target.observe(planned).await },
            None => RunEvent::StepDone { step },
        },
        Effect::Apply(step) => match opened.plan.steps.get(step) {
            Some(planned) => match stopped(&opened.plan, step, tools).await {
                Some(event) => event,
                None => apply(step, planned, tools).await,
            },
            None => {
                let outcome = Outcome::Refused { why: "no such step".into() };
                RunEvent::Applied { step, outcome, calls: vec![] }
            }
        },
        Effect::Check(check) => RunEvent::Checked { check, result: verify(opened, check, tools).await },
        Effect::Conclude => conclude(run, opened, &tools.viewer),
    }
}

async fn apply(step: usize, planned: &Step, tools: &Tools) -> RunEvent {
    // Whoever was paused must not go on with what it was about to do.
    if !tools.tenure.holds() {
        let why = "leadership was lost: nothing was sent".into();
        return RunEvent::Applied { step, outcome: Outcome::Unknown { why }, calls: vec![] };
    }
    let (outcome, calls) = calls::noting(tools.target.apply(planned)).await;
    RunEvent::Applied { step, outcome, calls }
}

/// What keeps a change from being made now, as the event that says so.
async fn stopped(plan: &Plan, step: usize, tools: &Tools) -> Option<RunEvent> {
    if let Some(killed) = tools.kill.look().await {
        return Some(RunEvent::Stuck { step, why: Bar::Killed(killed).to_string() });
    }
    let why = obstacle(plan, step, tools).await?;
    Some(RunEvent::Observed { step, finding: Finding::Conflict { why } })
}

/// Before the first change of a plan over several targets: what stands against the later ones, so that none is left half way.
async fn obstacle(plan: &Plan, step: usize, tools: &Tools) -> Option<String> {
    let changes = |s: &&Step| s.action.mutates();
    if plan.changes.len() < 2 || plan.steps.iter().take(step).any(|s| changes(&s)) {
        return None;
    }
    for later in plan.steps.iter().skip(step + 1).filter(changes) {
        if let Finding::Conflict { why } = tools.target.observe(later).await {
            return Some(format!(
                "nothing was changed yet, since a later step cannot be taken ({}): {why}",
                later.title
            ));
        }
    }
    None
}

async fn verify(opened: &RunOpened, check: usize, tools: &Tools) -> CheckResult {
    let nothing = || CheckResult::no_data("there is nothing to check");
    let Some(spec) = opened.checks.get(check) else { return nothing() };
    if let Some(result) = measured::check_all(&spec.kind, &opened.plan, &opened.run, &tools.viewer) {
        return result;
    }
    let asked = match spec.kind {
        // Which target an address shows is not known: any of the restored versions will do.
        CheckKind::Version { .. } => opened.plan.changes.len(),
        CheckKind::Outside(_)
        | CheckKind::NoActiveAlerts
        | CheckKind::PodsReady
        | CheckKind::EndpointsReady { .. }
        | CheckKind::FrontendServed
        | CheckKind::ErrorRate { .. }
        | CheckKind::LatencyP95 { .. }
        | CheckKind::Throughput { .. }
        | CheckKind::Sql { .. }
        | CheckKind::Redis(_) => 1,
    };
    let mut result = nothing();
    for change in opened.plan.changes.iter().take(asked) {
        let about = CheckContext { target: change.target.clone(), version: change.to.label.clone() };
        result = tools.checks.check(spec, &about).await;
        if result.outcome == CheckOutcome::Passed {
            break;
        }
    }
    result
}

/// What the watches after the rollback think at their end: the worst of them counts, and one that is missing is blind.
fn conclude(run: &Run, opened: &RunOpened, viewer: &Viewer) -> RunEvent {
    let verdict = |change: &Change| {
        viewer.look(|s| {
            let watch = s.targets.get(&change.target.to_string())?.watch.as_ref()?;
            measured::is_after(watch, &opened.run).then(|| watch.verdict.clone())?
        })
    };
    let badness = |verdict: &Option<Verdict>| {
        let bad = verdict.as_ref().filter(|v| !v.is_blind()).map(|v| v.strength);
        (
            bad.filter(|strength| *strength >= Strength::Page),
            verdict.is_none(),
            verdict.as_ref().map(|v| v.strength),
        )
    };
    let verdict = opened.plan.changes.iter().map(verdict).max_by_key(badness).flatten();
    let blind = verdict.as_ref().is_none_or(Verdict::is_blind);
    let (healthy, reason) = match (&run.relapsed, run.verified, verdict) {
        (Some(reason), _, _) => (false, reason.clone()),
        (None, Some(false) | None, _) => (false, "the rollback was never verified".to_string()),
        (None, Some(true), Some(v)) => (v.strength < Strength::Page, v.reason),
        (None, Some(true), None) => (false, "nothing was measured after the rollback".to_string()),
    };
    RunEvent::WatchEnded { healthy, blind: blind && !healthy, reason }
}

/// An event's name without its body, which may be long.
struct Brief<'a>(&'a RunEvent);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            RunEvent::Opened(opened) => write!(f, "Opened({})", opened.plan.summary()),
            RunEvent::Applied { step, outcome, .. } => write!(f, "Applied({step}, {outcome:?})"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Draws the run into the picture that the API shows.
pub fn show(run: &Run, picture: &Picture) {
    let Some(status) = status(run) else { return };
    picture.change(|s| {
        s.runs.insert(status.run.clone(), status);
        while s.runs.len() > RUNS_SHOWN {
            let Some(oldest) = s.runs.values().find(|r| !r.open).map(|r| r.run.clone()) else { break };
            s.runs.remove(&oldest);
        }
    });
}

const RUNS_SHOWN: usize = 200;

fn status(run: &Run) -> Option<RunStatus> {
    let opened = run.opened.as_deref()?;
    let (step, detail, until) = match &run.phase {
        Phase::AwaitingApproval { until } | Phase::Verifying { until } | Phase::Watching { until } => {
            (None, None, Some(*until))
        }
        Phase::Executing { step, started } => (Some(*step), None, started.map(|s| s.deadline)),
        Phase::Stuck { step, why } => (Some(*step), Some(why.clone()), None),
        Phase::New | Phase::Closed(_) => (None, None, None),
    };
    let check = |(name, result): (&str, Option<&CheckResult>)| CheckStatus {
        name: name.to_string(),
        outcome: result.map(|r| r.outcome),
        detail: result.map_or(String::new(), |r| r.detail.clone()),
    };
    Some(RunStatus {
        run: opened.run.clone(),
        service: opened.service.clone(),
        summary: opened.plan.summary(),
        phase: run.phase_title().to_string(),
        open: run.is_open(),
        reason: opened.decided.reason.clone(),
        digest: opened.digest.clone(),
        steps: opened.plan.steps.iter().map(|s| s.title.clone()).collect(),
        step,
        detail: detail.or_else(|| run.relapsed.clone()),
        checks: run.check_results().into_iter().map(check).collect(),
        verified: run.verified,
        until,
        approval: run.standing(),
    })
}
