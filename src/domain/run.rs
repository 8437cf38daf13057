//! One rollback as a fold over its journal: `evolve` folds, `next` says what to do now. Both are pure.
mod asked;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;
use super::event::{RunEvent, RunOpened};
use super::keepsake::Comparison;
use super::outcome::{Finding, Outcome};
use super::owner::HoldOwner;
use super::plan::Action;
use super::verification::{CheckOutcome, CheckResult};
pub use asked::Asked;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    New,
    AwaitingApproval {
        until: Timestamp,
    },
    Executing {
        step: usize,
        started: Option<Started>,
    },
    Verifying {
        until: Timestamp,
    },
    Watching {
        until: Timestamp,
    },
    /// Paged; a person says resume, skip or abort.
    Stuck {
        step: usize,
        why: String,
    },
    Closed(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    pub attempt: u32,
    pub deadline: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Recovered,
    StillBad,
    /// It was verified, and could not be seen at the end of the watch.
    Unseen,
    Superseded,
    Denied,
    Expired,
    Aborted,
}

/// A step's last observation, as far as this life of the process has made one.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    finding: Finding,
    at: Timestamp,
}

/// The state of one rollback.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub opened: Option<Box<RunOpened>>,
    pub phase: Phase,
    pub approved_by: Option<String>,
    pub asked: Asked,
    pub began_at: Option<Timestamp>,
    pub verified: Option<bool>,
    pub relapsed: Option<String>,
    /// Steps that suspended an owner, or may have.
    pub held: Vec<usize>,
    pub closed_at: Option<Timestamp>,
    pub epoch: u64,
    last: Option<Observed>,
    applied: u32,
    applied_at: Option<Timestamp>,
    /// Why the last application had no effect, as it was answered.
    answer: Option<String>,
    checks: Vec<Option<Checked>>,
    /// What stood in the way of the step under way when it was last looked at: for people, so a new life keeps it.
    pub diagnosis: Diagnosis,
    /// How the restored versions fared beside the time when they were healthy, as it was told last.
    pub compared: Vec<Comparison>,
}

#[derive(Clone, Debug, PartialEq)]
struct Checked {
    result: CheckResult,
    at: Timestamp,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            opened: None,
            phase: Phase::New,
            approved_by: None,
            asked: Asked::default(),
            began_at: None,
            verified: None,
            relapsed: None,
            held: Vec::new(),
            closed_at: None,
            epoch: 0,
            last: None,
            applied: 0,
            applied_at: None,
            answer: None,
            checks: Vec::new(),
            diagnosis: Diagnosis::default(),
            compared: Vec::new(),
        }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Do(Effect),
    Record(RunEvent),
    WaitUntil(Timestamp),
    /// Only a person can move this run on.
    AwaitPerson,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Observe(usize),
    Apply(usize),
    Check(usize),
    /// Ask the watch after the rollback what it thinks, now that its time is over.
    Conclude,
}

/// Applications of one step before a person is asked.
const APPLIES_MAX: u32 = 5;
const OBSERVE_EVERY: SignedDuration = SignedDuration::from_secs(1);
const CHECK_EVERY: SignedDuration = SignedDuration::from_secs(2);

/// Folds one event into the run. Total: it never fails and does no I/O.
pub fn evolve(mut run: Run, event: &RunEvent, at: Timestamp) -> Run {
    note_hold(&mut run, event);
    run.asked.note(event);
    match event {
        RunEvent::Opened(opened) => {
            run.checks = vec![None; opened.checks.len()];
            run.phase = match &opened.approval {
                Some(ask) => Phase::AwaitingApproval { until: ask.expires_at },
                None => Phase::Executing { step: 0, started: None },
            };
            run.opened = Some(opened.clone());
        }
        RunEvent::Adopted { epoch } => {
            run.epoch = *epoch;
            run.last = None;
        }
        RunEvent::Approved { by, break_glass, .. } => {
            run = asked::approved(run, by, break_glass.as_deref());
        }
        RunEvent::Unanswered { then } => run = asked::unanswered(run, *then, at),
        RunEvent::Acknowledged { .. } => {}
        RunEvent::Denied { .. } => run = close(run, End::Denied, at),
        RunEvent::ApprovalExpired => run = close(run, End::Expired, at),
        RunEvent::StepStarted { step, attempt, deadline, .. } => {
            run.began_at = run.began_at.or(Some(at));
            let started = Some(Started { attempt: *attempt, deadline: *deadline });
            run.phase = Phase::Executing { step: *step, started };
            (run.last, run.applied, run.applied_at) = (None, 0, None);
        }
        RunEvent::Observed { finding, .. } => {
            run.diagnosis = diagnosed(finding, run.diagnosis);
            run.last = Some(Observed { finding: finding.clone(), at });
        }
        RunEvent::Applied { outcome, .. } => {
            (run.last, run.applied_at) = (None, Some(at));
            run.answer = match outcome {
                Outcome::Done { .. } => None,
                Outcome::Refused { why } | Outcome::Unknown { why } => Some(why.clone()),
            };
            run.applied = run.applied.saturating_add(1);
        }
        RunEvent::StepDone { step } | RunEvent::Skipped { step, .. } => run = begin_step(run, step + 1, at),
        RunEvent::Stuck { step, why, .. } => run.phase = Phase::Stuck { step: *step, why: why.clone() },
        RunEvent::Resumed { .. } => {
            if let Phase::Stuck { step, .. } = run.phase {
                run = begin_step(run, step, at);
            }
        }
        RunEvent::Aborted { .. } => run = close(run, End::Aborted, at),
        RunEvent::Checked { check, result } => take_check(&mut run, *check, result, at),
        RunEvent::Verified { passed, watch_until } => {
            run.verified = Some(*passed);
            run.phase = Phase::Watching { until: *watch_until };
        }
        RunEvent::Compared { comparisons } => run.compared = comparisons.clone(),
        RunEvent::Relapsed { reason } => run.relapsed = Some(reason.clone()),
        RunEvent::WatchEnded { healthy, blind, .. } => {
            let good = run.verified == Some(true) && run.relapsed.is_none();
            let end = match (good, healthy, blind) {
                (true, true, _) => End::Recovered,
                (true, false, true) => End::Unseen,
                (false, _, _) | (true, false, false) => End::StillBad,
            };
            run = close(run, end, at);
        }
        RunEvent::Superseded { .. } => run = close(run, End::Superseded, at),
    }
    run
}

fn take_check(run: &mut Run, check: usize, result: &CheckResult, at: Timestamp) {
    if let Some(slot) = run.checks.get_mut(check) {
        *slot = Some(Checked { result: result.clone(), at });
    }
}

fn diagnosed(finding: &Finding, before: Diagnosis) -> Diagnosis {
    match finding {
        Finding::NotYet { diagnosis, .. } => diagnosis.clone(),
        Finding::Unseen { .. } => before,
        Finding::Satisfied { .. } | Finding::Conflict { .. } => Diagnosis::default(),
    }
}

/// An owner counts as held from the moment at which it may be: an answer may be lost, and a life may end before it is written.
fn note_hold(run: &mut Run, event: &RunEvent) {
    let step = match (event, &run.phase) {
        (RunEvent::StepDone { step }, _) => *step,
        (RunEvent::Applied { step, outcome: Outcome::Done { .. } | Outcome::Unknown { .. }, .. }, _) => *step,
        (RunEvent::Aborted { .. }, Phase::Executing { step, started: Some(_) }) => *step,
        _ => return,
    };
    let holds = run.opened.as_ref().is_some_and(|opened| opened.plan.hold_at(step).is_some());
    if holds && !run.held.contains(&step) {
        run.held.push(step);
    }
}

fn close(mut run: Run, end: End, at: Timestamp) -> Run {
    run.diagnosis = Diagnosis::default();
    run.phase = Phase::Closed(end);
    run.closed_at = Some(at);
    run
}

fn begin_step(mut run: Run, step: usize, at: Timestamp) -> Run {
    (run.diagnosis, run.answer) = (Diagnosis::default(), None);
    (run.last, run.applied, run.applied_at) = (None, 0, None);
    let Some(opened) = &run.opened else { return run };
    run.phase = if step < opened.plan.steps.len() {
        Phase::Executing { step, started: None }
    } else {
        Phase::Verifying { until: after(at, opened.verify_secs) }
    };
    run
}

fn after(at: Timestamp, secs: u64) -> Timestamp {
    let secs = i64::try_from(secs).unwrap_or(i64::MAX);
    at.saturating_add(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX)
}

/// What to do now. The same run and the same clock always give the same answer.
pub fn next(run: &Run, now: Timestamp, epoch: u64) -> Next {
    let Some(opened) = &run.opened else { return Next::Finished };
    match &run.phase {
        Phase::New | Phase::Closed(_) => Next::Finished,
        _ if run.epoch != epoch => Next::Record(RunEvent::Adopted { epoch }),
        Phase::AwaitingApproval { until } => asked::next(run, opened, *until, now),
        Phase::Stuck { .. } => Next::AwaitPerson,
        Phase::Executing { step, started: None } => start(opened, *step, now, epoch),
        Phase::Executing { step, started: Some(started) } => execute(run, opened, *step, started, now),
        Phase::Verifying { until } => verify(run, opened, *until, now),
        Phase::Watching { until } if now >= *until => Next::Do(Effect::Conclude),
        Phase::Watching { until } => Next::WaitUntil(*until),
    }
}

fn start(opened: &RunOpened, step: usize, now: Timestamp, epoch: u64) -> Next {
    let deadline_secs = opened.plan.steps.get(step).map_or(0, |s| s.deadline_secs);
    Next::Record(RunEvent::StepStarted { step, attempt: 1, epoch, deadline: after(now, deadline_secs) })
}

fn execute(run: &Run, opened: &RunOpened, step: usize, started: &Started, now: Timestamp) -> Next {
    let Some(planned) = opened.plan.steps.get(step) else {
        return Next::Record(RunEvent::StepDone { step });
    };
    let stuck = |why: String| Next::Record(RunEvent::Stuck { step, why });
    match &run.last {
        None => Next::Do(Effect::Observe(step)),
        Some(Observed { finding: Finding::Satisfied { .. }, .. }) => {
            Next::Record(RunEvent::StepDone { step })
        }
        Some(Observed { finding: Finding::Conflict { why }, .. }) => stuck(why.clone()),
        Some(Observed { finding: Finding::NotYet { detail: why, .. } | Finding::Unseen { why }, .. })
            if now >= started.deadline =>
        {
            stuck(format!("not done in time: {why}"))
        }
        Some(Observed { finding: Finding::NotYet { detail, .. }, at }) if planned.action.mutates() => {
            reapply(run, step, *at, now, detail)
        }
        Some(Observed { finding: Finding::NotYet { .. } | Finding::Unseen { .. }, at }) => {
            let due = due(*at, OBSERVE_EVERY, now);
            if now >= due { Next::Do(Effect::Observe(step)) } else { Next::WaitUntil(due) }
        }
    }
}

/// When something is done again. A clock that was set back since then must not make it wait for that time to come again.
fn due(since: Timestamp, wait: SignedDuration, now: Timestamp) -> Timestamp {
    if since > now { now } else { since.saturating_add(wait).unwrap_or(now) }
}

/// Applies once, and again (the guards make a doubled application harmless) after 1, 2, 4 and 8 seconds.
fn reapply(run: &Run, step: usize, seen: Timestamp, now: Timestamp, detail: &str) -> Next {
    if run.applied >= APPLIES_MAX {
        let answer = run.answer.as_ref().map(|why| format!("; the last answer: {why}")).unwrap_or_default();
        return Next::Record(RunEvent::Stuck {
            step,
            why: format!("{APPLIES_MAX} attempts had no effect: {detail}{answer}"),
        });
    }
    let Some(applied_at) = run.applied_at else { return Next::Do(Effect::Apply(step)) };
    let wait = SignedDuration::from_secs(1 << run.applied.saturating_sub(1).min(3));
    let due = due(applied_at, wait, now);
    match (now >= due, seen >= due) {
        (false, _) => Next::WaitUntil(due),
        // What was seen before the pause may have changed during it.
        (true, false) => Next::Do(Effect::Observe(step)),
        (true, true) => Next::Do(Effect::Apply(step)),
    }
}

fn verify(run: &Run, opened: &RunOpened, until: Timestamp, now: Timestamp) -> Next {
    let passed = |checked: &Option<Checked>| {
        checked.as_ref().is_some_and(|c| c.result.outcome == CheckOutcome::Passed)
    };
    let verified =
        |passed| Next::Record(RunEvent::Verified { passed, watch_until: after(now, opened.watch_secs) });
    if run.checks.iter().all(passed) {
        return verified(true);
    }
    let again_at = |check: usize, checked: &Option<Checked>| match checked {
        None => now,
        Some(c) => due(c.at, again_after(opened, check), now),
    };
    let open = run.checks.iter().enumerate().filter(|(_, c)| !passed(c));
    match open.map(|(check, slot)| (again_at(check, slot), check, slot)).min_by_key(|(due, ..)| *due) {
        Some((_, check, slot)) if slot.is_none() => Next::Do(Effect::Check(check)),
        Some(_) if now >= until => verified(false),
        Some((due, check, _)) if now >= due => Next::Do(Effect::Check(check)),
        Some((due, ..)) => Next::WaitUntil(due.min(until)),
        None => verified(true),
    }
}

/// How long after a failure a check is tried again: soon, unless each time may leave something behind.
fn again_after(opened: &RunOpened, check: usize) -> SignedDuration {
    let rest = opened.checks.get(check).map(|spec| spec.kind.rest()).unwrap_or_default();
    SignedDuration::try_from(rest).unwrap_or(CHECK_EVERY).max(CHECK_EVERY)
}

impl Run {
    /// Repeated observations and checks with the same answer are folded but need no place in the journal.
    pub fn knows(&self, event: &RunEvent) -> bool {
        match event {
            RunEvent::Observed { finding, .. } => self.last.as_ref().is_some_and(|o| o.finding == *finding),
            RunEvent::Checked { check, result } => {
                let known = self.checks.get(*check).and_then(Option::as_ref);
                known.is_some_and(|c| c.result.outcome == result.outcome)
            }
            RunEvent::Compared { comparisons } => self.compared == *comparisons,
            _ => false,
        }
    }

    pub fn action(&self, step: usize) -> Option<&Action> {
        self.opened.as_ref()?.plan.steps.get(step).map(|s| &s.action)
    }

    /// Each check's name with its last result, in the configured order.
    pub fn check_results(&self) -> Vec<(&str, Option<&CheckResult>)> {
        let Some(opened) = &self.opened else { return Vec::new() };
        let names = opened.checks.iter().map(|c| c.name.as_str());
        names.zip(self.checks.iter().map(|c| c.as_ref().map(|c| &c.result))).collect()
    }

    /// Whether a newer release of one of its targets ends it. Of a plan over several, what is not done yet would be left
    /// undone without anybody hearing of it: there the step that finds the newer release asks a person.
    pub fn ends_with_newer_release(&self) -> bool {
        let several = self.opened.as_ref().is_some_and(|o| o.plan.changes.len() > 1);
        match self.phase {
            Phase::New | Phase::Closed(_) => false,
            Phase::Verifying { .. } | Phase::Watching { .. } => true,
            Phase::AwaitingApproval { .. } | Phase::Executing { .. } | Phase::Stuck { .. } => !several,
        }
    }

    /// The owners that this run suspended, each with its step.
    pub fn holds(&self) -> impl Iterator<Item = (usize, &HoldOwner)> {
        let plan = self.opened.as_ref().map(|opened| &opened.plan);
        self.held.iter().filter_map(move |step| Some((*step, plan?.hold_at(*step)?)))
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::New | Phase::Closed(_))
    }

    /// One or two words for lists.
    pub fn phase_title(&self) -> &'static str {
        match &self.phase {
            Phase::New => "new",
            Phase::AwaitingApproval { .. } => "awaiting approval",
            Phase::Executing { .. } => "rolling back",
            Phase::Verifying { .. } => "verifying",
            Phase::Watching { .. } => "watching",
            Phase::Stuck { .. } => "stuck",
            Phase::Closed(End::Recovered) => "recovered",
            Phase::Closed(End::StillBad) => "still bad",
            Phase::Closed(End::Unseen) => "unseen",
            Phase::Closed(End::Superseded) => "superseded",
            Phase::Closed(End::Denied) => "denied",
            Phase::Closed(End::Expired) => "expired",
            Phase::Closed(End::Aborted) => "aborted",
        }
    }
}
