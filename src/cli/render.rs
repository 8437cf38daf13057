//! Answers of the daemon as a person reads them.
use std::fmt::Write;

use jiff::Timestamp;

use super::output::{Table, Tone, clean};
use crate::client::dto::{
    CheckStatus, Health, LeadershipStatus, Moment, PlanAnswer, RunAnswer, RunStatus, RunsAnswer,
    ServicesAnswer, TargetStatus, WayBack,
};
use crate::domain::approval::Standing;
use crate::domain::event::WatchEnd;
use crate::domain::evidence::Cause;
use crate::domain::keepsake::Comparison;
use crate::domain::policy::{Decision, Mode};
use crate::domain::verdict::Health as Verdict;
use crate::domain::verification::CheckOutcome;

/// Targets, rollbacks, and what does not work at present.
pub fn status(services: &ServicesAnswer, runs: &RunsAnswer, color: bool) -> String {
    let mut text = if services.targets.is_empty() {
        "No targets are configured.\n".to_string()
    } else {
        targets(&services.targets, services.now).render(color)
    };
    if !runs.runs.is_empty() {
        text.push('\n');
        text.push_str(&runs_table(&runs.runs, runs.now).render(color));
    }
    if let Some(status) = &services.leadership
        && let Some(leader) = &status.leader
    {
        push_line(&mut text, &format!("\n{}", clean(&leads(status, leader, services.now))));
    }
    let troubles = troubles(services);
    if !troubles.is_empty() {
        text.push('\n');
        troubles.iter().for_each(|trouble| push_line(&mut text, &Tone::Bad.paint(&clean(trouble), color)));
    }
    text
}

/// Of several replicas.
fn leads(status: &LeadershipStatus, leader: &str, now: Timestamp) -> String {
    let seen = status.shown_at.map(|at| format!(", as {leader} saw it {} ago", span(at, now)));
    let asked = format!("; this is {}, which stands by{}", status.me, seen.unwrap_or_default());
    format!("{leader} leads{}", if status.leads() { "" } else { &asked })
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").ok();
}

fn targets(targets: &[TargetStatus], now: Timestamp) -> Table {
    let mut table = Table::new(&["TARGET", "VERSION", "KNOWN GOOD", "WATCH", "POLICY", "WAY BACK"]);
    for target in targets {
        let label = |version: &Option<_>| {
            version.as_ref().map_or("-".to_string(), |v: &crate::domain::release::Version| v.label.clone())
        };
        let (watch, tone) = watch_cell(target, now);
        let mut notes = Vec::new();
        notes.extend(target.watch.as_ref().and_then(|w| w.verdict.as_ref()).map(|v| v.reason.clone()));
        let readiness = target.readiness.as_ref();
        notes.extend(target.held.iter().map(|held| {
            format!(
                "held since {}: {} (run {}); to resume it: {}",
                held.since, held.owner, held.run, held.resume
            )
        }));
        let way_back = match &target.way_back {
            None if readiness.is_some_and(|found| !found.ready()) => {
                notes.push(format!("could not be rolled back now: rollguard doctor {}", target.target));
                ("none".to_string(), Tone::Bad)
            }
            None => ("-".to_string(), Tone::Plain),
            Some(WayBack::Open { to }) => (to.clone(), Tone::Good),
            Some(WayBack::Barred { why }) => {
                notes.push(format!("no way back: {why}"));
                ("none".to_string(), Tone::Bad)
            }
        };
        let plain = |text: String| (text, Tone::Plain);
        let cells = vec![
            plain(target.target.to_string()),
            plain(label(&target.current)),
            plain(label(&target.known_good)),
            (watch, tone),
            plain(mode(target.mode).to_string()),
            way_back,
        ];
        table.row(cells, notes);
    }
    table
}

/// The watch that is open, or how the last one ended.
fn watch_cell(target: &TargetStatus, now: Timestamp) -> (String, Tone) {
    let Some(watch) = &target.watch else {
        let Some(last) = &target.last_watch else { return ("-".to_string(), Tone::Plain) };
        return (format!("{}, {} ago", ended(last.end), span(last.ended_at, now)), Tone::Plain);
    };
    let (state, tone) = match watch.verdict.as_ref().map(|v| v.health) {
        None | Some(Verdict::Pending) => ("watching", Tone::Busy),
        Some(Verdict::Healthy) => ("healthy", Tone::Good),
        Some(Verdict::Minor) => ("minor", Tone::Busy),
        Some(Verdict::Degraded) => ("degraded", Tone::Bad),
        Some(Verdict::Inconclusive) => ("inconclusive", Tone::Busy),
    };
    (format!("{state}, {} left", span(now, watch.ends_at)), tone)
}

fn ended(end: WatchEnd) -> &'static str {
    match end {
        WatchEnd::Healthy => "healthy",
        WatchEnd::Inconclusive => "inconclusive",
        WatchEnd::Degraded => "degraded",
        WatchEnd::Blind => "not seen",
        WatchEnd::RolledBack => "rolled back",
        WatchEnd::Superseded => "superseded",
        WatchEnd::Gone => "gone",
    }
}

pub(super) fn runs_table(runs: &[RunStatus], now: Timestamp) -> Table {
    let mut table = Table::new(&["RUN", "PHASE", "STEP", "LEFT", "CHANGE"]);
    for run in runs {
        let step = run.step.map_or("-".to_string(), |step| format!("{}/{}", step + 1, run.steps.len()));
        let left = run.until.filter(|_| run.open).map_or("-".to_string(), |until| span(now, until));
        let cells = vec![
            (run.run.clone(), Tone::Plain),
            (run.phase.clone(), phase_tone(&run.phase)),
            (step, Tone::Plain),
            (left, Tone::Plain),
            (format!("{}: {}", run.service, run.summary), Tone::Plain),
        ];
        let mut notes = vec![run.reason.clone()];
        notes.extend(run.detail.clone());
        notes.extend(advice(&run.phase, &run.run));
        table.row(cells, if run.open { notes } else { Vec::new() });
    }
    table
}

fn phase_tone(phase: &str) -> Tone {
    match phase {
        "recovered" => Tone::Good,
        "stuck" | "still bad" => Tone::Bad,
        _ => Tone::Busy,
    }
}

/// What a person can say to a run that waits for one.
fn advice(phase: &str, run: &str) -> Option<String> {
    match phase {
        "awaiting approval" => {
            Some(format!("next: rollguard approve {run}, or rollguard deny {run} --reason WHY"))
        }
        "stuck" => {
            Some(format!("next: rollguard resume {run}, rollguard skip {run}, or rollguard abort {run}"))
        }
        _ => None,
    }
}

fn troubles(services: &ServicesAnswer) -> Vec<String> {
    let down = |name: &str, health: &Health| {
        (!health.up).then(|| format!("{name} is down since {}: {}", health.since, health.detail))
    };
    let killed = services.killed.as_ref();
    let mut troubles: Vec<String> = killed
        .map(|killed| format!("{killed}: nothing is changed until `rollguard kill off`"))
        .into_iter()
        .collect();
    if let Some(LeadershipStatus { leader: None, trouble, .. }) = &services.leadership {
        let why = trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        troubles.push(format!("no replica leads, so nothing is judged or rolled back{why}"));
    }
    troubles.extend(services.journal.as_ref().and_then(|h| down("the journal", h)));
    troubles.extend(services.feed.as_ref().and_then(|h| down("the feed of releases", h)));
    troubles.extend(services.sources.iter().filter_map(|(name, h)| down(&format!("source {name}"), h)));
    if services.outbox_waiting > 0 {
        troubles.push(format!("{} messages wait to be delivered", services.outbox_waiting));
    }
    troubles
}

/// The plan of a rollback, and the digest that an approval names.
pub fn plan(plan: &PlanAnswer) -> String {
    let mut text = format!("Plan {} for {}\n", plan.digest, plan.service);
    for change in &plan.changes {
        push_line(
            &mut text,
            &clean(&format!("  {}: {} -> {}", change.target, change.from.label, change.to.label)),
        );
        let images = |images: &[String]| images.join(", ");
        let (from, to) = (images(&change.from.images), images(&change.to.images));
        if !to.is_empty() {
            push_line(&mut text, &clean(&format!("    images {from} -> {to}")));
        }
    }
    for (i, step) in plan.steps.iter().enumerate() {
        let limit = if step.mutates { "changes it" } else { "only waits" };
        let line = format!("  {}. {} ({limit}, at most {})", i + 1, step.title, secs(step.deadline_secs));
        push_line(&mut text, &clean(&line));
        step.details.iter().for_each(|detail| push_line(&mut text, &clean(&format!("     {detail}"))));
    }
    text
}

/// One rollback: why, the plan, the checks, and what happened when.
pub fn run(run: &RunAnswer, color: bool) -> String {
    let phase = phase_tone(&run.phase).paint(&run.phase, color);
    let mut text = format!("Run {} of {}: {phase}\n", clean(&run.run), run.service);
    facts(run)
        .iter()
        .for_each(|(name, value)| push_line(&mut text, &format!("  {name:<9} {}", clean(value))));
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            push_line(&mut text, &format!("\n{}", Tone::Head.paint(title, color)));
            lines.iter().for_each(|line| push_line(&mut text, &format!("  {}", clean(line))));
        }
    };
    section("Checklist", checklist(run));
    let plan = plan(&run.plan);
    let mut lines = plan.lines();
    section(
        lines.next().unwrap_or(""),
        lines.map(|line| line.get(2..).unwrap_or(line).to_string()).collect(),
    );
    section("Checks", run.checks.iter().map(check).collect());
    section("Diagnosis", run.diagnosis.lines());
    section("Then and now", run.compared.iter().flat_map(Comparison::lines).collect());
    section("Timeline (UTC)", run.timeline.iter().map(moment).collect());
    if let Some(advice) = advice(&run.phase, &run.run) {
        push_line(&mut text, &format!("\n{}", clean(&advice)));
    }
    text
}

fn facts(run: &RunAnswer) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Reason", run.reason.clone())];
    facts.extend(run.barred.iter().map(|bar| ("Barred", bar.clone())));
    facts.push((
        "Decision",
        format!("{}, cause {}, SEV {}", decision(run.decision), cause(run.cause), run.severity),
    ));
    facts.extend(run.released_at.map(|at| ("Released", at.to_string())));
    facts.extend(run.requested_by.clone().map(|by| ("Ordered", format!("by {by}"))));
    facts.extend(run.approved_by.clone().map(|by| ("Approved", format!("by {by}"))));
    facts.extend(run.approval.as_ref().map(|standing| ("Waits for", waits_for(standing))));
    if run.approval.is_some() && run.open {
        facts.extend(run.approval_expires_at.map(|at| ("Approval", format!("expires {at}"))));
    }
    facts.extend(run.verified.map(|passed| {
        ("Verified", if passed { "passed" } else { "failed: not all checks passed in time" }.to_string())
    }));
    facts.extend(run.relapsed.clone().map(|reason| ("Relapsed", reason)));
    facts
}

fn waits_for(standing: &Standing) -> String {
    let of =
        if standing.from.is_empty() { String::new() } else { format!(" of {}", standing.from.join(", ")) };
    format!("{} more to approve{of}", standing.missing())
}

fn checklist(run: &RunAnswer) -> Vec<String> {
    let line = |item: &crate::domain::runbook::ChecklistItem| {
        format!("[{}] {}: {}", if item.met { "x" } else { " " }, item.item.title(), item.detail)
    };
    run.checklist.iter().map(line).collect()
}

fn check(check: &CheckStatus) -> String {
    let outcome = match check.outcome {
        Some(CheckOutcome::Passed) => "passed",
        Some(CheckOutcome::Failed) => "failed",
        Some(CheckOutcome::NoData) => "no data",
        None => "waiting",
    };
    format!("{outcome:<8} {}: {}", check.name, check.detail)
}

/// `2026-11-22 10:00:05  step 1 (…) started`.
pub fn moment(moment: &Moment) -> String {
    format!("{}  {}", moment.at.strftime("%Y-%m-%d %H:%M:%S"), clean(&moment.what))
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::Approval => "approval",
        Mode::Page => "page",
        Mode::Observe => "observe",
    }
}

fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Hold => "hold",
        Decision::Page => "page",
        Decision::Ask => "ask",
        Decision::Rollback => "rollback",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Release => "release",
        Cause::Shared => "shared",
        Cause::SinglePod => "single pod",
        Cause::Unknown => "unknown",
    }
}

pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    secs(u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0))
}

/// `45s`, `29m 30s`, `2h 5m`.
fn secs(total: u64) -> String {
    match (total / 3600, total / 60 % 60, total % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}
