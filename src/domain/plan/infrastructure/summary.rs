//! A plan as people read it before they approve it: each resource with what changes, and nothing sensitive.
use super::ApplyPlan;
use super::change::{ResourceAction, ResourceChange};
use super::reading::PlanReading;

/// Resources that are listed; the counts are of all.
const LISTED_MAX: usize = 40;

/// The first characters of a digest, enough for people.
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// `1 to create, 2 to update, 1 to DELETE`.
pub fn counts(plan: &PlanReading) -> String {
    let count = |is: fn(&ResourceAction) -> bool| plan.changes.iter().filter(|c| is(&c.action)).count();
    let replaced = |action: &ResourceAction| {
        matches!(
            action,
            ResourceAction::DeleteThenCreate
                | ResourceAction::CreateThenDelete
                | ResourceAction::CreateThenForget
                | ResourceAction::ForgetThenCreate
        )
    };
    let kinds = [
        (count(|a| *a == ResourceAction::Create), "to create"),
        (count(|a| *a == ResourceAction::Update), "to update"),
        (count(replaced), "to REPLACE"),
        (count(|a| *a == ResourceAction::Delete), "to DELETE"),
        (count(|a| *a == ResourceAction::Forget), "to FORGET"),
        (count(|a| matches!(a, ResourceAction::NoOp | ResourceAction::Read)), "to move or read"),
        (count(|a| matches!(a, ResourceAction::Unknown(_))), "of UNKNOWN kind"),
        (plan.outputs.len(), "outputs"),
    ];
    let told: Vec<String> =
        kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if told.is_empty() { "no changes".to_string() } else { told.join(", ") }
}

/// The summary that an approval is about.
pub fn lines(apply: &ApplyPlan) -> Vec<String> {
    let (made, plan) = (&apply.made, &apply.made.reading);
    let mut lines =
        vec![format!("plan file sha256 {}, made by {} for state {}", made.sha256, made.tool, made.base)];
    if !apply.person.is_empty() {
        let reasons: Vec<String> = apply.person.iter().take(LISTED_MAX).map(ToString::to_string).collect();
        lines.push(format!("a person must approve it: {}", reasons.join("; ")));
    }
    lines.extend(listed(&plan.changes));
    lines.extend(plan.outputs.iter().take(LISTED_MAX).map(|o| format!("{} output {}", o.action, o.name)));
    if !plan.drift.is_empty() {
        lines.push(
            "changed behind the tool's back since it last ran, and no part of the rollback as such:".into(),
        );
        lines.extend(listed(&plan.drift).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

fn listed(changes: &[ResourceChange]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().take(LISTED_MAX).flat_map(of_change).collect();
    let more = changes.len().saturating_sub(LISTED_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

fn of_change(change: &ResourceChange) -> Vec<String> {
    let mut first = match (&change.action, &change.moved_from) {
        (ResourceAction::NoOp, Some(from)) => format!("move {from} to {}", change.address),
        (ResourceAction::NoOp, None) => format!("import {}", change.address),
        (action, _) => format!("{action} {}", change.address),
    };
    first.extend(change.deposed.iter().map(|key| format!(", what is left of a replacement ({key})")));
    first.extend(change.reason.iter().map(|reason| format!(", {}", reason.replace('_', " "))));
    let of_attribute = |a: &super::change::AttributeChange| {
        let replaces = if a.replaces { ", which replaces it" } else { "" };
        format!("  {}: {} → {}{replaces}", a.path, a.before, a.after)
    };
    let mut lines = vec![first];
    lines.extend(change.attributes.iter().map(of_attribute));
    lines.extend((change.more > 0).then(|| format!("  and {} more attributes", change.more)));
    lines
}
