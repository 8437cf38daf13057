//! A report as a sequence of headings, paragraphs, lists and tables, in plain text: each format escapes it as it must.
use jiff::Timestamp;

use super::{Report, StepReport, word};
use crate::domain::evidence::{Cause, clock_time, grouped, percent};
use crate::domain::keepsake::Comparison;
use crate::domain::message::duration;
use crate::domain::verification::CheckStatus;

/// Where there is nothing to say.
const NONE: &str = "–";

pub(super) enum Block {
    Heading(String),
    Text(String),
    List(Vec<String>),
    Table { head: Vec<&'static str>, rows: Vec<Vec<String>> },
}

pub(super) fn title(report: &Report) -> String {
    format!("Incident report: {} ({})", report.service, report.summary)
}

pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::Text(report.reason.clone())];
    blocks.extend(part("At a glance", glance(report)));
    blocks.extend(part("What the release changed", Some(Block::List(report.changed.clone()))));
    blocks.extend(part("Evidence", evidence(report)));
    blocks.extend(part("Decisions", decisions(report)));
    blocks.extend(part("Checklist before the rollback", checklist(report)));
    blocks.extend(part("Approvals and orders", answers(report)));
    blocks.extend(part("Steps", steps(report)));
    blocks.extend(part("Verification", checks(report)));
    blocks.extend(part("Compared with the time when it was healthy", compared(report)));
    blocks.extend(part("To look into", Some(Block::List(report.look_into.clone()))));
    blocks.extend(part("Not automated", Some(Block::List(report.by_hand.clone()))));
    blocks.extend(part("Timeline", timeline(report)));
    let what = if report.open { "The rollback goes on: a later report has more. " } else { "" };
    let at = moment(report.made_at);
    blocks.push(Block::Text(format!("{what}Made at {at} UTC from the journal, run {}.", report.run)));
    blocks
}

fn part(title: &str, block: Option<Block>) -> Vec<Block> {
    let filled = |block: &Block| match block {
        Block::List(items) => !items.is_empty(),
        Block::Table { rows, .. } => !rows.is_empty(),
        Block::Heading(_) | Block::Text(_) => true,
    };
    let block = block.filter(filled);
    block.map_or(Vec::new(), |block| vec![Block::Heading(title.to_string()), block])
}

fn glance(report: &Report) -> Option<Block> {
    let times = &report.times;
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| {
        Some(duration(to?.duration_since(from?).as_secs().unsigned_abs()))
    };
    let at = |at: Option<Timestamp>| at.map(moment);
    let verified = match report.verified {
        Some(true) => "passed".to_string(),
        Some(false) => "failed".to_string(),
        None => "not reached".to_string(),
    };
    let rows = [
        ("Outcome", Some(report.phase.clone())),
        ("Severity", Some(format!("SEV {}", report.severity))),
        ("Cause", Some(cause(report.cause).to_string())),
        ("Ordered by", report.requested_by.clone()),
        ("Released", at(times.released_at)),
        ("Decided", at(times.decided_at)),
        ("Rollback began", at(times.began_at)),
        ("Verification ended", at(times.verified_at)),
        ("Closed", at(times.closed_at)),
        ("From release to decision", between(times.released_at, times.decided_at)),
        ("From decision to verification", between(times.decided_at, times.verified_at)),
        ("Verification", Some(verified)),
        ("Incident", Some(report.incident.clone())),
        ("Plan", Some(report.digest.clone())),
    ];
    let changed = report.changes.iter().flat_map(|change| {
        let images = format!("{} → {}", change.from.images.join(", "), change.to.images.join(", "));
        let labels = format!("{} → {}", change.from.label, change.to.label);
        [vec![format!("{}", change.target), labels], vec![format!("{} images", change.target), images]]
    });
    let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_string(), value?]));
    Some(Block::Table { head: vec!["", ""], rows: rows.chain(changed).collect() })
}

fn evidence(report: &Report) -> Option<Block> {
    let row = |found: &super::Found| {
        let numbers = found.evidence.numbers.as_ref();
        // Rules about time have an increase there, and count no failures.
        let counted = numbers.filter(|n| n.total > 0.0);
        vec![
            clock_time(found.at),
            found.evidence.rule.clone(),
            found.evidence.sentence.clone(),
            counted.map_or(NONE.to_string(), |n| format!("{} of {}", grouped(n.bad), grouped(n.total))),
            numbers.map_or(NONE.to_string(), |n| percent(n.threshold)),
            numbers.and_then(|n| n.baseline.or(n.old_estimate)).map_or(NONE.to_string(), percent),
        ]
    };
    let head = vec!["Time", "Rule", "Finding", "Sample", "Threshold", "Before"];
    Some(Block::Table { head, rows: report.evidence.iter().map(row).collect() })
}

fn decisions(report: &Report) -> Option<Block> {
    let row = |made: &super::Made| {
        let would = made.would.map(|would| format!("{} (only observed)", word(would)));
        let barred = if made.barred.is_empty() { NONE.to_string() } else { made.barred.join("; ") };
        let decision = would.unwrap_or_else(|| word(made.decision).to_string());
        vec![clock_time(made.at), made.target.to_string(), decision, made.reason.clone(), barred]
    };
    let head = vec!["Time", "Target", "Decision", "Reason", "What stood in the way"];
    Some(Block::Table { head, rows: report.decisions.iter().map(row).collect() })
}

fn checklist(report: &Report) -> Option<Block> {
    let row = |item: &crate::domain::runbook::ChecklistItem| {
        vec![item.mark().to_string(), item.item.title().to_string(), item.detail.clone()]
    };
    let rows = report.checklist.iter().map(row).collect();
    Some(Block::Table { head: vec!["", "Item", "State"], rows })
}

fn answers(report: &Report) -> Option<Block> {
    let row = |answered: &super::Answered| {
        let by = answered.by.clone().unwrap_or_else(|| NONE.to_string());
        vec![clock_time(answered.at), by, answered.what.clone()]
    };
    Some(Block::Table { head: vec!["Time", "Who", "What"], rows: report.answers.iter().map(row).collect() })
}

fn steps(report: &Report) -> Option<Block> {
    let row = |(step, number): (&StepReport, usize)| {
        let took = step.started_at.zip(step.ended_at);
        let took = took.map(|(from, to)| duration(to.duration_since(from).as_secs().unsigned_abs()));
        let mut notes = Vec::new();
        if step.applied > 1 {
            notes.push(format!("carried out {} times", step.applied));
        }
        notes.extend(step.trouble.iter().cloned());
        notes.extend(step.requests.iter().map(|id| format!("request {id}")));
        vec![
            number.to_string(),
            step.title.clone(),
            step.state.title().to_string(),
            step.started_at.map_or(NONE.to_string(), clock_time),
            took.unwrap_or_else(|| NONE.to_string()),
            if notes.is_empty() { NONE.to_string() } else { notes.join("; ") },
        ]
    };
    let head = vec!["", "Step", "State", "Began", "Took", "Notes"];
    Some(Block::Table { head, rows: report.steps.iter().zip(1..).map(row).collect() })
}

fn checks(report: &Report) -> Option<Block> {
    let row = |check: &CheckStatus| vec![check.mark().to_string(), check.name.clone(), check.detail.clone()];
    Some(Block::Table { head: vec!["", "Check", "Result"], rows: report.checks.iter().map(row).collect() })
}

fn compared(report: &Report) -> Option<Block> {
    Some(Block::List(report.compared.iter().flat_map(Comparison::lines).collect()))
}

fn timeline(report: &Report) -> Option<Block> {
    let row = |moment: &crate::domain::timeline::Moment| {
        vec![moment.seq.to_string(), clock_time(moment.at), moment.what.clone()]
    };
    let rows = report.timeline.iter().map(row).collect();
    Some(Block::Table { head: vec!["Record", "Time", "What happened"], rows })
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Release => "the release",
        Cause::Shared => "something shared",
        Cause::SinglePod => "one pod",
        Cause::Unknown => "unknown",
    }
}
