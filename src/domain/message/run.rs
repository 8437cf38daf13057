//! Messages about a rollback: the runbook's announcements before and after it, and what is said when it goes wrong.
use jiff::Timestamp;

use super::{Facts, Message, MessageKind, asked, duration, owner, titled};
use crate::domain::code::Code;
use crate::domain::diagnosis::Diagnosis;
use crate::domain::event::{RunEvent, RunOpened};
use crate::domain::evidence::{clock_time, count_of};
use crate::domain::keepsake::Comparison;
use crate::domain::names::TargetKind;
use crate::domain::plan::{Change, Plan};
use crate::domain::policy::asking::Then;
use crate::domain::run::{End, Phase, Run};
use crate::domain::runbook::ChecklistItem;
use crate::domain::verification::{CheckOutcome, CheckResult};

/// The runbook's "Rollback Causes Different Errors".
const COMPARE: &str =
    "Next: compare configuration, secrets, schema and dependencies, or roll forward with a hot-fix";

/// Messages that an event of a run causes. `after` is the run with the event folded in.
pub fn of_run(event: &RunEvent, after: &Run, at: Timestamp) -> Vec<Message> {
    let Some(opened) = after.opened.as_deref() else { return Vec::new() };
    let mut messages = said(event, after, opened, at);
    for message in &mut messages {
        let facts = Facts::of_run(after, opened, executor(after, opened), impact(opened), at);
        message.facts = Some(Box::new(facts));
    }
    messages
}

fn said(event: &RunEvent, after: &Run, opened: &RunOpened, at: Timestamp) -> Vec<Message> {
    let message = |what: &str, kind, title: &str, lines: Vec<String>| about(opened, what, kind, title, lines);
    match event {
        RunEvent::Opened(_) if opened.approval.is_some() => {
            vec![message(
                "ask",
                (MessageKind::Ask, Code::RollbackAsked),
                "[ASK] Approve the rollback?",
                ask(opened),
            )]
        }
        RunEvent::Opened(_) => vec![action(after, opened, at)],
        RunEvent::Approved { by, break_glass, .. } => {
            asked::approved(after, opened, by, break_glass.as_deref(), at)
        }
        RunEvent::Unanswered { then: Then::Hold } => closing(event, after, opened, at),
        RunEvent::Unanswered { then } => asked::unanswered(after, opened, *then, at),
        RunEvent::Acknowledged { by } => vec![asked::acknowledged(opened, by, at)],
        RunEvent::Resumed { by } => vec![answered(opened, "resumed", by, at)],
        RunEvent::Skipped { by, .. } => vec![answered(opened, "skipped the step", by, at)],
        RunEvent::Stuck { step, why } => {
            let key = format!("stuck-{step}-{}", at.as_second());
            let lines = stuck(opened, *step, why, &after.diagnosis);
            let kind = (MessageKind::Page, Code::RollbackStuck);
            vec![message(&key, kind, "[FAILED] Rollback is stuck", lines)]
        }
        RunEvent::Verified { passed: true, watch_until } => {
            let lines = completed(after, opened, at, *watch_until);
            let complete = (MessageKind::Complete, Code::RollbackVerified);
            let resolve = (MessageKind::Resolve, Code::PageOver);
            let quiet = vec![format!("Restored at {} UTC: {}", clock_time(at), restored(opened))];
            vec![
                message("verified", complete, "[COMPLETE] Rollback successful", lines),
                message("resolve-verified", resolve, "[RESOLVED] Rollback successful", quiet),
            ]
        }
        RunEvent::Verified { passed: false, watch_until } => {
            let lines = unverified(after, opened, *watch_until);
            let kind = (MessageKind::Page, Code::RollbackUnverified);
            vec![message("unverified", kind, "[FAILED] Rolled back, but not verified", lines)]
        }
        RunEvent::Relapsed { reason } => {
            let lines = relapsed(after, opened, reason);
            let kind = (MessageKind::Page, Code::StillBad);
            vec![message("relapsed", kind, "[FAILED] Still bad after the rollback", lines)]
        }
        RunEvent::Denied { .. }
        | RunEvent::ApprovalExpired
        | RunEvent::Aborted { .. }
        | RunEvent::WatchEnded { .. }
        | RunEvent::Superseded { .. } => closing(event, after, opened, at),
        RunEvent::Adopted { .. }
        | RunEvent::StepStarted { .. }
        | RunEvent::Observed { .. }
        | RunEvent::Applied { .. }
        | RunEvent::StepDone { .. }
        | RunEvent::Checked { .. }
        | RunEvent::Compared { .. } => Vec::new(),
    }
}

pub(super) fn about(
    opened: &RunOpened,
    what: &str,
    (kind, code): (MessageKind, Code),
    title: &str,
    mut lines: Vec<String>,
) -> Message {
    lines.extend(owner::standing(opened));
    let title = format!("{title} - {} ({})", opened.service, opened.plan.summary());
    Message {
        key: format!("{}/{what}", opened.run),
        incident: opened.incident.clone(),
        kind,
        service: opened.service.clone(),
        title: titled(title, kind, code),
        lines,
        targets: opened.plan.changes.iter().map(|change| change.target.clone()).collect(),
        code: Some(code),
        facts: None,
        level: 0,
    }
}

/// A page about a target that this run takes along.
pub fn joined(opened: &RunOpened, incident: &str) -> Message {
    let title = "[RESOLVED] Rolled back together with what was released with it";
    let key = format!("joins-{incident}");
    let lines = vec![details(opened)];
    Message {
        incident: incident.to_string(),
        ..about(opened, &key, (MessageKind::Resolve, Code::PageOver), title, lines)
    }
}

/// What a person still has to do once it is over: owners that are suspended, records that are wrong, what would come again.
pub fn afterwards(run: &Run) -> Vec<String> {
    let Some(opened) = run.opened.as_deref() else { return Vec::new() };
    let mut lines = owner::held(run);
    lines.extend(owner::standing(opened));
    lines.extend(owner::comes_again(opened).iter().map(|line| line.trim_start_matches("Next: ").to_string()));
    lines
}

fn executor(run: &Run, opened: &RunOpened) -> String {
    match (&opened.requested_by, &run.approved_by) {
        (Some(ordered), Some(approved)) => {
            format!("rollguard, ordered by {ordered}, approved by {approved}")
        }
        (None, Some(by)) => format!("rollguard, approved by {by}"),
        (Some(by), None) => format!("rollguard, ordered by {by}"),
        (None, None) if run.asked.reminded > 0 => "rollguard, by policy, since nobody answered".to_string(),
        (None, None) => "rollguard, by policy".to_string(),
    }
}

pub(super) fn action(run: &Run, opened: &RunOpened, at: Timestamp) -> Message {
    let mut lines = case(opened);
    lines.push(format!("Executor: {}", executor(run, opened)));
    lines.push(format!("Time: {} UTC, starting now", clock_time(at)));
    lines.push(format!("Severity: SEV {}, run {}", opened.severity, opened.run));
    lines.extend(opened.status_page.iter().map(|url| format!("Status page: {url}")));
    about(
        opened,
        "action",
        (MessageKind::Action, Code::RollbackStarted),
        "[ACTION] Initiating rollback",
        lines,
    )
}

/// Why, to what, and at what price.
fn case(opened: &RunOpened) -> Vec<String> {
    let chosen = if opened.requested_by.is_some() { "as ordered" } else { "known good" };
    let mut lines = vec![format!("Reason: {}", opened.decided.reason)];
    lines.extend(opened.decided.policy.iter().map(|policy| format!("Policy: {policy}")));
    lines.extend(opened.released_at.map(|at| format!("Released: {} UTC", clock_time(at))));
    if !opened.changed.is_empty() {
        lines.push("Changed by the release:".to_string());
        lines.extend(opened.changed.iter().map(|line| format!("  {line}")));
    }
    lines.extend([
        format!("Target: rollback to {}, {chosen}", restored(opened)),
        format!("Impact: {}", impact(opened)),
    ]);
    lines.extend(owner::announced(opened));
    lines
}

fn impact(opened: &RunOpened) -> String {
    let limit = opened.plan.steps.iter().map(|step| step.deadline_secs).sum();
    format!("{}; after {} without success a person is paged", change_of(&opened.plan), duration(limit))
}

fn change_of(plan: &Plan) -> String {
    let change = |kind: TargetKind| match kind {
        TargetKind::Kubernetes => "pods are replaced as in any rollout",
        TargetKind::Frontend => "earlier objects are copied back, and caches are emptied",
        TargetKind::Database => "the schema goes back, and what its scripts drop is gone",
        TargetKind::Infrastructure => {
            "resources are changed as the plan says, and nothing puts back what it deletes"
        }
    };
    let kinds = TargetKind::ALL.into_iter().filter(|kind| plan.is_about(*kind));
    kinds.map(change).collect::<Vec<_>>().join("; ")
}

pub(super) fn ask(opened: &RunOpened) -> Vec<String> {
    let mut lines = case(opened);
    lines.extend(checklist(opened));
    lines.push(format!("Severity: SEV {}, run {}", opened.severity, opened.run));
    lines.push(format!("Plan {}:", opened.digest));
    for (step, n) in opened.plan.steps.iter().zip(1..) {
        lines.push(format!("  {n}. {}", step.title));
        lines.extend(step.action.details().iter().map(|line| format!("     {line}")));
    }
    lines.push(format!("Approve: rollguard approve {}", opened.run));
    lines.push(format!("Deny: rollguard deny {}", opened.run));
    lines.extend(opened.approval.iter().map(|ask| {
        format!("Expires: {} UTC; until somebody approves, nothing is changed", clock_time(ask.expires_at))
    }));
    lines
}

/// Each item of the runbook's checklist with its state.
fn checklist(opened: &RunOpened) -> Vec<String> {
    let met = opened.checklist.iter().filter(|item| item.met).count();
    let head = format!("Checklist: {met} of {} met", opened.checklist.len());
    let line = |item: &ChecklistItem| format!("  {} {}: {}", item.mark(), item.item.title(), item.detail);
    std::iter::once(head).chain(opened.checklist.iter().map(line)).collect()
}

/// Ends the page that a person has answered.
pub(super) fn answered(opened: &RunOpened, what: &str, by: &str, at: Timestamp) -> Message {
    let key = format!("resolve-{}", at.as_second());
    let lines = vec![format!("Answered at {} UTC: {by} {what}", clock_time(at))];
    about(opened, &key, (MessageKind::Resolve, Code::PageOver), "[RESOLVED] Somebody is on it", lines)
}

fn stuck(opened: &RunOpened, step: usize, why: &str, diagnosis: &Diagnosis) -> Vec<String> {
    let steps = &opened.plan.steps;
    let title = steps.get(step).map_or("", |s| s.title.as_str());
    let done = steps.iter().take(step).map(|s| s.title.as_str()).collect::<Vec<_>>().join("; ");
    let mut lines = vec![format!("Step {} of {} ({title}): {why}", step + 1, steps.len())];
    lines.extend(diagnosis.lines());
    lines.extend([
        format!("Completed: {}", if done.is_empty() { "no step yet" } else { &done }),
        format!("To try this step again: rollguard resume {}", opened.run),
        format!("To go on without it: rollguard skip {}", opened.run),
        format!("To stop here: rollguard abort {}", opened.run),
        format!("Reason for the rollback: {}", opened.decided.reason),
    ]);
    lines.extend(owner::owners(opened));
    lines
}

fn completed(run: &Run, opened: &RunOpened, at: Timestamp, until: Timestamp) -> Vec<String> {
    let took = run.began_at.map_or(0, |began| at.duration_since(began).as_secs().unsigned_abs());
    let watch = until.duration_since(at).as_secs().unsigned_abs();
    let mut lines = vec![
        format!("Rollback completed: {} UTC", clock_time(at)),
        format!("Duration: {}", duration(took)),
        format!("Current version: {}", restored(opened)),
    ];
    lines.extend(verification(run));
    lines.push(format!("Monitoring for {}, until {} UTC", duration(watch), clock_time(until)));
    lines.extend(owner::held(run));
    lines.extend(owner::comes_again(opened));
    lines
}

fn restored(opened: &RunOpened) -> String {
    labels(opened, |change| &change.to.label)
}

fn bad(opened: &RunOpened) -> String {
    labels(opened, |change| &change.from.label)
}

/// `backend v1, worker v7`.
fn labels(opened: &RunOpened, label: fn(&Change) -> &String) -> String {
    let one = |change: &Change| format!("{} {}", change.target.target, label(change));
    opened.plan.changes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn verification(run: &Run) -> Vec<String> {
    let results = run.check_results();
    if results.is_empty() {
        return vec!["Verification: no checks are configured; only the rollout itself was awaited".into()];
    }
    let line = |(name, result): (&str, Option<&CheckResult>)| match result {
        Some(CheckResult { outcome: CheckOutcome::Passed, detail }) => format!("  ✅ {name}: {detail}"),
        Some(CheckResult { outcome: CheckOutcome::Failed, detail }) => format!("  ❌ {name}: {detail}"),
        Some(CheckResult { outcome: CheckOutcome::NoData, detail }) => {
            format!("  ❔ {name}: no data, {detail}")
        }
        None => format!("  ❔ {name}: not checked"),
    };
    std::iter::once("Verification:".to_string()).chain(results.into_iter().map(line)).collect()
}

fn unverified(run: &Run, opened: &RunOpened, until: Timestamp) -> Vec<String> {
    let results = run.check_results();
    let passed = |result: &Option<&CheckResult>| result.is_some_and(|r| r.outcome == CheckOutcome::Passed);
    let open = results.iter().filter(|(_, result)| !passed(result)).count();
    let mut lines = vec![format!(
        "{} is back, but {} of {} did not pass within {}",
        restored(opened),
        open,
        count_of(results.len(), "check"),
        duration(opened.verify_secs)
    )];
    lines.extend(verification(run));
    lines.push(format!(
        "No second rollback is made: {} stays under watch until {} UTC",
        restored(opened),
        clock_time(until)
    ));
    lines.extend(compared(run));
    lines.extend(owner::held(run));
    lines.extend(owner::comes_again(opened));
    lines.push(details(opened));
    lines
}

fn relapsed(run: &Run, opened: &RunOpened, reason: &str) -> Vec<String> {
    let mut lines = vec![
        format!("Reason: {reason}"),
        format!("No second rollback is made: {} keeps running", restored(opened)),
    ];
    lines.extend(compared(run));
    lines.push(details(opened));
    lines
}

/// What differs from the time when it was healthy, and what a person may look at besides.
fn compared(run: &Run) -> Vec<String> {
    let differences = run.compared.iter().flat_map(Comparison::lines);
    differences.chain(std::iter::once(COMPARE.to_string())).collect()
}

pub(super) fn details(opened: &RunOpened) -> String {
    format!("Details: rollguard show {}", opened.run)
}

/// The last message of a run, and the end of its pages unless a person must still look.
fn closing(event: &RunEvent, after: &Run, opened: &RunOpened, at: Timestamp) -> Vec<Message> {
    let Phase::Closed(end) = after.phase else { return Vec::new() };
    let untouched = format!("Nothing was changed: {} keeps running", bad(opened));
    let (kind, title, mut lines) = match (end, event) {
        (End::Recovered, RunEvent::WatchEnded { reason, .. }) => {
            let lines = vec![format!("Result: {reason}"), format!("Current version: {}", restored(opened))];
            (MessageKind::Complete, "[STABLE] The watch after the rollback is over", lines)
        }
        (End::Unseen, RunEvent::WatchEnded { reason, .. }) => {
            let lines = vec![
                format!("Reason: {reason}"),
                format!("{} was verified after the rollback, and keeps running", restored(opened)),
                "Next: see to its measurements, then look whether it is well".to_string(),
            ];
            (MessageKind::Note, "[UNSEEN] The watch after the rollback could not see", lines)
        }
        (End::Denied, RunEvent::Denied { by, reason }) => {
            let denied = format!("Denied by {by}: {reason}");
            (MessageKind::Note, "[DENIED] No rollback", vec![denied, untouched])
        }
        (End::Expired, RunEvent::Unanswered { .. }) => {
            let lines = [asked::held(opened), vec![untouched]].concat();
            (MessageKind::Note, "[HELD] Nobody answered", lines)
        }
        (End::Expired, _) => {
            let lines = vec![format!("Reason for the rollback: {}", opened.decided.reason), untouched];
            (MessageKind::Page, "[EXPIRED] Nobody approved the rollback", by_hand(lines, opened))
        }
        (End::Aborted, RunEvent::Aborted { by, reason }) => {
            let rest = "What was done until then stays as it is".to_string();
            let aborted = format!("Aborted by {by}: {reason}");
            (MessageKind::Note, "[ABORTED] Rollback stopped by a person", vec![aborted, rest])
        }
        (End::Superseded, RunEvent::Superseded { by }) if takes_away(opened, by) => {
            let line = format!(
                "{by} is back after the rollback; it is not rolled back again, and a page names who changed it"
            );
            (MessageKind::Note, "[UNDONE] The rollback was undone", vec![line])
        }
        (End::Superseded, RunEvent::Superseded { by }) => {
            let line = format!("{by} was released meanwhile and is being watched now");
            (MessageKind::Note, "[SUPERSEDED] A newer release came", vec![line])
        }
        (_, RunEvent::WatchEnded { healthy, reason, .. }) => {
            let reason = still_bad(after, *healthy, reason);
            let lines = std::iter::once(reason).chain(compared(after)).collect();
            (still_bad_kind(after), "[FAILED] The rollback did not restore the service", lines)
        }
        (_, _) => return Vec::new(),
    };
    lines.extend(owner::held(after));
    if matches!(end, End::Recovered | End::Unseen | End::StillBad | End::Aborted) {
        lines.extend(owner::comes_again(opened));
    }
    lines.push(format!("Time: {} UTC, run {}", clock_time(at), opened.run));
    let last = about(opened, "closed", (kind, end.into()), title, lines);
    let mended = asked::mended(after, opened);
    if matches!(kind, MessageKind::Page | MessageKind::Failed) {
        return std::iter::once(last).chain(mended).collect();
    }
    let key = format!("{}/resolve", opened.run);
    let resolve = Message { key, kind: MessageKind::Resolve, code: Some(Code::PageOver), ..last.clone() };
    [last, resolve].into_iter().chain(mended).collect()
}

/// A version that this run took away, and no newer one.
fn takes_away(opened: &RunOpened, label: &str) -> bool {
    opened.plan.changes.iter().any(|change| change.from.label == label)
}

pub(super) fn by_hand(mut lines: Vec<String>, opened: &RunOpened) -> Vec<String> {
    let targets = opened.plan.changes.iter().map(|change| &change.target);
    lines.extend(targets.map(|target| format!("To roll back all the same: rollguard rollback {target}")));
    lines
}

/// What failed earlier has paged then, and pages on.
fn still_bad_kind(run: &Run) -> MessageKind {
    let paged = run.relapsed.is_some() || run.verified == Some(false);
    if paged { MessageKind::Failed } else { MessageKind::Page }
}

/// The watch may have ended quietly, and the run is still no success.
fn still_bad(run: &Run, healthy: bool, reason: &str) -> String {
    match (healthy, &run.relapsed) {
        (false, _) => format!("Reason: {reason}"),
        (true, Some(relapse)) => format!("Reason: it had been bad again during the watch: {relapse}"),
        (true, None) => {
            format!("Reason: the verification never passed, though the watch was quiet: {reason}")
        }
    }
}
