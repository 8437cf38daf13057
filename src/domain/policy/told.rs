//! A policy as people read it: one row for each thing that it says.
use std::time::Duration;

use serde::Serialize;

use super::asking::{Approvals, Unanswered};
use super::table::{Policy, ROLLBACK_FROM};
use super::{Act, Mode};

/// What it is about, and what is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub when: String,
    pub then: String,
}

/// All that a policy says, in the order in which it is read.
pub fn rows(policy: &Policy, approval_expires: Duration) -> Vec<Row> {
    let row = |when: String, then: String| Row { when, then };
    let mut rows = Vec::new();
    if policy.observe {
        rows.push(row("in any case".into(), "only record what would be done".into()));
    }
    for (line, n) in policy.lines.iter().zip(1..) {
        rows.push(row(format!("{n}. {}", line.when()), line.then.as_str().to_string()));
    }
    rows.push(row("otherwise".into(), policy.otherwise.as_str().to_string()));
    if policy.otherwise < Act::Page {
        let when = format!("SEV {} and 4, unless a line names them", ROLLBACK_FROM + 1);
        rows.push(row(when, Act::Page.as_str().to_string()));
    }
    for name in policy.targets.keys() {
        let mode = policy.mode_of(name);
        if mode > Mode::from(policy.otherwise) && !policy.observe {
            let kind = policy.terms(name).kind.as_str();
            rows.push(row(format!("{name} ({kind})"), format!("{} at least", mode.as_str())));
        }
    }
    rows.extend(policy.hours.iter().map(|hours| row("business hours".into(), hours.to_string())));
    for line in &policy.severities {
        let about: Vec<String> = line.evidence.iter().map(ToString::to_string).collect();
        rows.push(row(about.join(" or "), format!("SEV {}", line.severity)));
    }
    if policy.asks() {
        rows.push(row("approval".into(), approval(&policy.approvals)));
        let expires = format!("{}: it expires, and pages", span(approval_expires));
        let followed = policy.unanswered.iter().map(followed);
        let ends = policy.unanswered.last().is_some_and(|last| last.then.ends());
        let told: Vec<String> = followed.chain((!ends).then_some(expires)).collect();
        rows.push(row("nobody answers".into(), told.join("; ")));
    }
    if policy.approvals.orders {
        rows.push(row("orders of people".into(), "need the approval of others".into()));
    }
    let escalate = policy.escalate_after;
    rows.extend(
        escalate.map(|after| row("nobody acknowledges a page".into(), format!("{}: escalate", span(after)))),
    );
    rows
}

fn approval(approvals: &Approvals) -> String {
    match (approvals.needed, approvals.from.as_slice()) {
        (1, []) => "of anybody who may approve".to_string(),
        (needed, []) => format!("of {needed} who may approve"),
        (needed, from) => format!("of {needed} of {}", from.join(", ")),
    }
}

fn followed(unanswered: &Unanswered) -> String {
    format!("{}: {}", span(unanswered.after), unanswered.then)
}

/// `after 5m`, `after 1h 30m`.
fn span(length: Duration) -> String {
    let secs = length.as_secs();
    let parts = [(secs / 3600, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    format!("after {}", shown.join(" "))
}
