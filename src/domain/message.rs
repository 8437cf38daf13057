//! What people are told, composed from events: the runbook's announcements, and their twins for when it goes wrong.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{RunEvent, RunOpened, TargetEvent, WatchEnd};
use super::evidence::{Cause, clock_time};
use super::memory::TargetMemory;
use super::names::ServiceName;
use super::policy::{Decided, Decision};
use super::run::{End, Phase, Run};
use super::verification::CheckOutcome;
use super::watch::WatchSpec;

/// One message. It is enqueued with the event that causes it, and delivered at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same message has the same key, however often it is composed.
    pub key: String,
    pub incident: String,
    pub kind: MessageKind,
    pub service: ServiceName,
    pub title: String,
    pub lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Something is being done.
    Action,
    /// It is done and it worked.
    Complete,
    /// It did not work.
    Failed,
    /// A person must look.
    Page,
    /// A page is over.
    Resolve,
    /// A person is asked to approve.
    Ask,
    /// Worth knowing.
    Note,
}

impl MessageKind {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Action => "action",
            MessageKind::Complete => "complete",
            MessageKind::Failed => "failed",
            MessageKind::Page => "page",
            MessageKind::Resolve => "resolve",
            MessageKind::Ask => "ask",
            MessageKind::Note => "note",
        }
    }
    pub fn pages(self) -> bool {
        match self {
            MessageKind::Page | MessageKind::Ask => true,
            MessageKind::Action
            | MessageKind::Complete
            | MessageKind::Failed
            | MessageKind::Resolve
            | MessageKind::Note => false,
        }
    }
}

/// The label of the alerts that we raise, by which they are known again when they come back.
pub const OWN_ALERT: (&str, &str) = ("rollguard", "self");

/// Whether an alert is one of ours: it says nothing about a release.
pub fn is_own_alert(labels: &BTreeMap<String, String>) -> bool {
    let (name, value) = OWN_ALERT;
    labels.get(name).is_some_and(|found| found == value)
}

const REDEPLOY: &str =
    "Note: the next `kubectl apply` or sync of the bad manifest deploys it again: revert the commit too.";

/// Messages that an event of a run causes. `after` is the run with the event folded in.
pub fn of_run(event: &RunEvent, after: &Run, at: Timestamp) -> Vec<Message> {
    let Some(opened) = after.opened.as_deref() else { return Vec::new() };
    let one = |what: &str, kind, title: String, lines: Vec<String>| {
        let key = format!("{}/{what}", opened.run);
        let (incident, service) = (opened.incident.clone(), opened.service.clone());
        vec![Message { key, incident, kind, service, title, lines }]
    };
    match event {
        RunEvent::Opened(_) if opened.approval.is_some() => {
            one("ask", MessageKind::Ask, format!("[ASK] Roll back {}?", subject(opened)), ask(opened))
        }
        RunEvent::Opened(_) => {
            one("action", MessageKind::Action, format!("[ACTION] Initiating rollback - {}", subject(opened)), action(after, at))
        }
        RunEvent::Approved { by, .. } => {
            let mut lines = action(after, at);
            lines.insert(0, format!("Approved by: {by}"));
            one("action", MessageKind::Action, format!("[ACTION] Initiating rollback - {}", subject(opened)), lines)
        }
        RunEvent::Stuck { step, why } => one(
            &format!("stuck-{step}-{}", at.as_second()),
            MessageKind::Page,
            format!("[FAILED] Rollback is stuck - {}", subject(opened)),
            stuck(opened, *step, why),
        ),
        RunEvent::Verified { passed: true, watch_until } => one(
            "verified",
            MessageKind::Complete,
            format!("[COMPLETE] Rollback successful - {}", subject(opened)),
            complete(after, opened, at, *watch_until),
        ),
        RunEvent::Verified { passed: false, .. } => one(
            "unverified",
            MessageKind::Page,
            format!("[FAILED] Rolled back, but not verified - {}", subject(opened)),
            unverified(after),
        ),
        RunEvent::Relapsed { reason } => one(
            "relapsed",
            MessageKind::Page,
            format!("[FAILED] Still bad after the rollback - {}", subject(opened)),
            vec![reason.clone(), "No second rollback is made. Compare configuration, secrets and dependencies, or roll forward with a hot-fix.".into()],
        ),
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
        | RunEvent::Resumed { .. }
        | RunEvent::Skipped { .. }
        | RunEvent::Checked { .. } => Vec::new(),
    }
}

fn subject(opened: &RunOpened) -> String {
    format!("{} ({})", opened.service, opened.plan.summary())
}

fn executor(run: &Run, opened: &RunOpened) -> String {
    match (&run.approved_by, &opened.requested_by) {
        (Some(by), _) => format!("rollguard, approved by {by}"),
        (None, Some(by)) => format!("rollguard, ordered by {by}"),
        (None, None) => "rollguard, by policy".to_string(),
    }
}

fn action(run: &Run, at: Timestamp) -> Vec<String> {
    let Some(opened) = run.opened.as_deref() else { return Vec::new() };
    let mut lines = vec![
        format!("Reason: {}", opened.decided.reason),
        format!("Target: {}", opened.plan.summary()),
        format!("Executor: {}", executor(run, opened)),
        format!("Time: {} UTC, starting now", clock_time(at)),
        format!("Severity: SEV {}, run {}", opened.severity, opened.run),
    ];
    lines.extend(opened.status_page.iter().map(|url| format!("Status page: {url}")));
    lines
}

fn ask(opened: &RunOpened) -> Vec<String> {
    let mut lines = vec![format!("Reason: {}", opened.decided.reason), format!("Plan {}:", opened.digest)];
    lines
        .extend(opened.plan.steps.iter().enumerate().map(|(i, step)| format!("  {}. {}", i + 1, step.title)));
    lines.push(format!("Approve: rollguard approve {}   Deny: rollguard deny {}", opened.run, opened.run));
    lines.extend(opened.approval.iter().map(|a| format!("Expires: {} UTC", clock_time(a.expires_at))));
    lines
}

fn stuck(opened: &RunOpened, step: usize, why: &str) -> Vec<String> {
    let title = opened.plan.steps.get(step).map_or("", |s| s.title.as_str());
    let done = opened.plan.steps.iter().take(step).map(|s| s.title.as_str()).collect::<Vec<_>>().join("; ");
    vec![
        format!("Step {} ({title}): {why}", step + 1),
        format!("Done so far: {}", if done.is_empty() { "nothing was changed" } else { &done }),
        format!("Next: rollguard resume {0}, rollguard skip {0}, or rollguard abort {0}", opened.run),
    ]
}

fn complete(run: &Run, opened: &RunOpened, at: Timestamp, until: Timestamp) -> Vec<String> {
    let began = run.began_at.unwrap_or(at);
    let minutes = until.duration_since(at).as_secs_f64() / 60.0;
    let mut lines = vec![
        format!("Rollback completed: {} UTC", clock_time(at)),
        format!("Duration: {} seconds", at.duration_since(began).as_secs()),
        format!("Current version: {}", current(opened)),
        "Verification:".to_string(),
    ];
    lines.extend(check_lines(run));
    lines.push(format!("Monitoring for {minutes:.0} minutes."));
    lines.push(REDEPLOY.to_string());
    lines
}

fn current(opened: &RunOpened) -> String {
    let label = |c: &super::plan::Change| format!("{} {}", c.target.target, c.to.label);
    opened.plan.changes.iter().map(label).collect::<Vec<_>>().join(", ")
}

fn check_lines(run: &Run) -> Vec<String> {
    let line = |(name, result): (&str, Option<&super::verification::CheckResult>)| match result {
        Some(r) if r.outcome == CheckOutcome::Passed => format!("  ✅ {name}: {}", r.detail),
        Some(r) if r.outcome == CheckOutcome::NoData => format!("  ❔ {name}: {}", r.detail),
        Some(r) => format!("  ❌ {name}: {}", r.detail),
        None => format!("  ❔ {name}: not checked"),
    };
    run.check_results().into_iter().map(line).collect()
}

fn unverified(run: &Run) -> Vec<String> {
    let mut lines = vec!["The earlier version is back, but these checks did not pass in time:".to_string()];
    lines.extend(check_lines(run));
    lines.push("No second rollback is made. It stays under watch.".into());
    lines
}

/// The last message of a run, and the end of its pages.
fn closing(event: &RunEvent, after: &Run, opened: &RunOpened, at: Timestamp) -> Vec<Message> {
    let Phase::Closed(end) = after.phase else { return Vec::new() };
    let (kind, title, line) = match (end, event) {
        (End::Recovered, RunEvent::WatchEnded { reason, .. }) => {
            (MessageKind::Complete, "[RESOLVED] Stable after the rollback", reason.clone())
        }
        (End::Denied, RunEvent::Denied { by, reason }) => (
            MessageKind::Note,
            "[DENIED] No rollback",
            format!("Denied by {by}: {reason}. Nothing was changed."),
        ),
        (End::Expired, _) => (
            MessageKind::Page,
            "[EXPIRED] Nobody approved the rollback",
            "Nothing was changed. The release still runs.".to_string(),
        ),
        (End::Aborted, RunEvent::Aborted { by, reason }) => {
            (MessageKind::Note, "[ABORTED] Rollback stopped by a person", format!("{by}: {reason}"))
        }
        (End::Superseded, RunEvent::Superseded { by }) => {
            (MessageKind::Note, "[SUPERSEDED] A newer release came", format!("{by} is being watched now."))
        }
        (_, RunEvent::WatchEnded { reason, .. }) => {
            (MessageKind::Page, "[FAILED] The watch after the rollback ended badly", reason.clone())
        }
        (_, _) => return Vec::new(),
    };
    let base = Message {
        key: format!("{}/closed", opened.run),
        incident: opened.incident.clone(),
        kind,
        service: opened.service.clone(),
        title: format!("{title} - {}", subject(opened)),
        lines: vec![line, format!("Time: {} UTC, run {}", clock_time(at), opened.run)],
    };
    if kind.pages() {
        return vec![base];
    }
    let resolve =
        Message { key: format!("{}/resolve", opened.run), kind: MessageKind::Resolve, ..base.clone() };
    vec![base, resolve]
}

/// Messages that an event of a target causes. `before` is the memory without the event.
pub fn of_target(event: &TargetEvent, before: &TargetMemory) -> Vec<Message> {
    let Some(spec) = before.watch.as_ref().map(|w| w.spec.as_ref()) else { return Vec::new() };
    match event {
        TargetEvent::Decided { decided, cause, .. } if decided.decision == Decision::Page => {
            vec![page(spec, decided, *cause)]
        }
        TargetEvent::MinorTrouble { reason, .. } => vec![of_watch(
            spec,
            "minor",
            MessageKind::Note,
            format!("[MINOR] {} {} is slightly worse", spec.release.target, spec.release.to.label),
            vec![
                reason.clone(),
                "Alternatives to a rollback: a hot-fix, a feature flag, a configuration change.".into(),
            ],
        )],
        TargetEvent::WatchClosed { end, reason, .. }
            if before.watch.as_ref().is_some_and(|w| w.reached == Decision::Page) =>
        {
            resolve(spec, *end, reason)
        }
        TargetEvent::WatchClosed { .. }
        | TargetEvent::Decided { .. }
        | TargetEvent::KnownGood { .. }
        | TargetEvent::WatchOpened(_)
        | TargetEvent::RolloutEnded { .. }
        | TargetEvent::RolledBack { .. } => Vec::new(),
    }
}

/// A page ends with its watch, except that a version which is still bad keeps paging until a person acts on it.
fn resolve(spec: &WatchSpec, end: WatchEnd, reason: &str) -> Vec<Message> {
    match end {
        WatchEnd::Degraded => Vec::new(),
        WatchEnd::Healthy
        | WatchEnd::Inconclusive
        | WatchEnd::RolledBack
        | WatchEnd::Superseded
        | WatchEnd::Gone => {
            let title = format!("[RESOLVED] {} {}", spec.release.target, spec.release.to.label);
            vec![of_watch(spec, "resolve", MessageKind::Resolve, title, vec![reason.to_string()])]
        }
    }
}

fn page(spec: &WatchSpec, decided: &Decided, cause: Cause) -> Message {
    let what = match cause {
        Cause::Release => "is bad",
        Cause::Shared => "is in trouble, and so is the version before it: not rolled back",
        Cause::SinglePod => "has one bad pod: not rolled back",
        Cause::Unknown => "may be in trouble",
    };
    let title = format!("[PAGE] {} {} {what}", spec.release.target, spec.release.to.label);
    let mut lines = vec![decided.reason.clone()];
    lines.extend(decided.barred.iter().map(|bar| format!("Not rolled back: {bar}")));
    let good = spec.known_good.as_ref().map_or("none".to_string(), |v| v.label.clone());
    lines.push(format!("Released {} UTC, known good version: {good}", clock_time(spec.release.at)));
    lines.push(format!("To roll back: rollguard rollback {}", spec.release.target));
    of_watch(spec, &format!("page-{}", cause_key(cause)), MessageKind::Page, title, lines)
}

fn cause_key(cause: Cause) -> &'static str {
    match cause {
        Cause::Release => "release",
        Cause::Shared => "shared",
        Cause::SinglePod => "single-pod",
        Cause::Unknown => "unknown",
    }
}

fn of_watch(spec: &WatchSpec, what: &str, kind: MessageKind, title: String, lines: Vec<String>) -> Message {
    let service = spec.release.target.service.clone();
    Message { key: format!("{}/{what}", spec.id), incident: spec.id.clone(), kind, service, title, lines }
}
