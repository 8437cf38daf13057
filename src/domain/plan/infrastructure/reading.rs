//! A plan as `show -json` writes it, read: what is not understood is an error, never nothing.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{ResourceAction, ResourceChange, Sides, collect_secrets, differences};

/// What a plan does, without anything sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReading {
    /// Resources that are changed, moved, imported or forgotten.
    pub changes: Vec<ResourceChange>,
    /// What was changed behind the tool's back since its last run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ResourceChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputChange>,
    /// Actions of providers that would be run, which may do anything.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invocations: usize,
    /// Planning did not come to its end, or put something off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChange {
    pub name: String,
    pub action: ResourceAction,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl PlanReading {
    /// Applying it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outputs.is_empty() && self.invocations == 0 && !self.incomplete
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanUnreadable {
    #[error("the plan is of format {found}, and only formats 1.x are known")]
    Format { found: String },
    #[error("the plan cannot be read: {why}")]
    Shape { why: String },
}

/// Of `format_version`.
const KNOWN_MAJOR: &str = "1";

#[derive(Deserialize)]
struct RawFormat {
    format_version: String,
}

#[derive(Deserialize)]
struct RawPlan {
    #[serde(default)]
    resource_changes: Vec<RawChange>,
    #[serde(default)]
    resource_drift: Vec<RawChange>,
    #[serde(default)]
    output_changes: BTreeMap<String, RawDelta>,
    #[serde(default)]
    deferred_changes: Vec<Value>,
    #[serde(default)]
    action_invocations: Vec<Value>,
    #[serde(default)]
    deferred_action_invocations: Vec<Value>,
    errored: Option<bool>,
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct RawChange {
    address: String,
    previous_address: Option<String>,
    deposed: Option<String>,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    action_reason: Option<String>,
    change: RawDelta,
}

#[derive(Deserialize)]
struct RawDelta {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
    importing: Option<Value>,
}

/// Reads a plan.
///
/// # Errors
/// A format that is not known, or a document that is no plan.
pub fn read(document: Value) -> Result<PlanReading, PlanUnreadable> {
    let shape = |error: serde_json::Error| PlanUnreadable::Shape { why: error.to_string() };
    let RawFormat { format_version } = RawFormat::deserialize(&document).map_err(shape)?;
    if format_version.split('.').next() != Some(KNOWN_MAJOR) {
        let found = format_version.chars().filter(|c| !c.is_control()).take(20).collect();
        return Err(PlanUnreadable::Format { found });
    }
    let raw = RawPlan::deserialize(document).map_err(shape)?;
    let secrets = secrets(&raw);
    let change = |raw| change(raw, &secrets);
    let outputs = raw.output_changes.into_iter().map(|(name, delta)| {
        let action = ResourceAction::of(&delta.actions);
        OutputChange { name, action }
    });
    Ok(PlanReading {
        changes: raw.resource_changes.into_iter().filter_map(change).collect(),
        drift: raw.resource_drift.into_iter().filter_map(change).collect(),
        outputs: outputs.filter(|output| output.action != ResourceAction::NoOp).collect(),
        invocations: raw.action_invocations.len() + raw.deferred_action_invocations.len(),
        incomplete: raw.errored == Some(true)
            || raw.complete == Some(false)
            || !raw.deferred_changes.is_empty(),
    })
}

/// All that is marked as sensitive somewhere, the longest first, since one may be a part of another.
fn secrets(raw: &RawPlan) -> Vec<String> {
    let mut found = BTreeSet::new();
    let resources = raw.resource_changes.iter().chain(&raw.resource_drift).map(|resource| &resource.change);
    for delta in resources.chain(raw.output_changes.values()) {
        collect_secrets(&delta.before, &delta.before_sensitive, &mut found);
        collect_secrets(&delta.after, &delta.after_sensitive, &mut found);
    }
    let mut found: Vec<String> = found.into_iter().collect();
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found
}

/// `None` for what is left as it is, and for data that is only read.
fn change(raw: RawChange, secrets: &[String]) -> Option<ResourceChange> {
    let RawDelta { actions, before, after, after_unknown, before_sensitive, after_sensitive, .. } =
        &raw.change;
    let action = ResourceAction::of(actions);
    let imported = raw.change.importing.as_ref().is_some_and(|importing| !importing.is_null());
    let moved_from = raw.previous_address.filter(|previous| *previous != raw.address);
    let quiet = match action {
        ResourceAction::NoOp => moved_from.is_none() && !imported,
        ResourceAction::Read => raw.mode == "data",
        _ => false,
    };
    if quiet {
        return None;
    }
    let (mut attributes, mut more) = (Vec::new(), 0);
    if before.is_object() && after.is_object() {
        let sides =
            Sides { before, after, unknown: after_unknown, before_sensitive, after_sensitive, secrets };
        (attributes, more) = differences(sides, &raw.change.replace_paths);
    }
    Some(ResourceChange {
        address: raw.address,
        kind: raw.kind,
        action,
        reason: raw.action_reason,
        moved_from,
        deposed: raw.deposed,
        imported,
        attributes,
        more,
    })
}
