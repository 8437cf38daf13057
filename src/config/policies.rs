//! A service's policy: one word, or a table of lines that are read from top to bottom.
use std::collections::BTreeSet;
use std::time::Duration;

use super::raw::Fields;
use super::shape::Leaf;
use super::value::{FromText, no_choice};
use super::{Person, RuleConfig};
use crate::domain::names::{RuleName, TargetKind};
use crate::domain::policy::asking::{Approvals, Then, Unanswered};
use crate::domain::policy::hours::{Hours, HoursError};
use crate::domain::policy::matter::{About, Matter};
use crate::domain::policy::table::{Line, SeverityLine, When};
use crate::domain::policy::{Act, Mode, Policy};
use crate::domain::role::Role;

/// `None` if there is none, or a wrong one.
pub(super) fn policy(fields: &Fields<'_>, people: &[Person], approval_expires: Duration) -> Option<Policy> {
    if !fields.holds_map("policy") {
        return fields.read::<Mode>("policy").map(Policy::from);
    }
    let table = fields.map("policy")?;
    let lines = table.maps("lines");
    let hours = table.map("hours").and_then(|hours| read_hours(&hours));
    for line in lines.iter().filter(|line| line.has("hours") && !table.has("hours")) {
        line.notes.error(line.key_at("hours"), "hours: which they are is not said: add policy.hours");
    }
    Some(Policy {
        lines: lines.iter().filter_map(line).collect(),
        observe: table.read("observe").unwrap_or(false),
        hours,
        severities: table.maps("severities").iter().filter_map(severity).collect(),
        approvals: table.map("approvals").map(|a| approvals(&a, people)).unwrap_or_default(),
        unanswered: unanswered(&table, approval_expires),
        escalate_after: table.read("escalate_after"),
        ..Policy::from(Mode::from(table.read::<Act>("otherwise")?))
    })
}

fn line(fields: &Fields<'_>) -> Option<Line> {
    let severity = fields.some::<usize>("severity").into_iter().filter_map(|(_, s)| u8::try_from(s).ok());
    Some(Line {
        evidence: about(fields),
        severity: severity.collect(),
        kinds: fields.some::<TargetKind>("kind").into_iter().map(|(_, kind)| kind).collect(),
        hours: fields.read("hours"),
        then: fields.read("then")?,
    })
}

fn severity(fields: &Fields<'_>) -> Option<SeverityLine> {
    let severity = fields.read::<usize>("severity")?;
    Some(SeverityLine { evidence: about(fields), severity: u8::try_from(severity).ok()? })
}

fn about(fields: &Fields<'_>) -> Vec<About> {
    fields.some::<About>("evidence").into_iter().map(|(_, about)| about).collect()
}

/// A line about a rule that the service does not have would never fit.
pub(super) fn known_evidence(fields: &Fields<'_>, rules: &[RuleConfig]) {
    let Some(table) = fields.holds_map("policy").then(|| fields.map("policy")).flatten() else { return };
    let known = |rule: &RuleName| rules.iter().any(|config| config.rule.name == *rule);
    for line in table.maps("lines").iter().chain(&table.maps("severities")) {
        for (at, about) in line.some::<About>("evidence") {
            let About::Rule(rule) = about else { continue };
            if !known(&rule) {
                let kinds = Matter::ALL.map(Matter::as_str).join(", ");
                let message = format!("evidence: no rule is named {rule}: name one, or one of {kinds}");
                line.notes.error(at, message);
            }
        }
    }
}

fn read_hours(fields: &Fields<'_>) -> Option<Hours> {
    let text = |key: &str, usual: &str| fields.read::<String>(key).unwrap_or_else(|| usual.to_string());
    let (days, zone) = (text("days", "Mon-Fri"), text("time_zone", "UTC"));
    let (from, to) = (fields.read::<String>("from")?, fields.read::<String>("to")?);
    let wrong = |error: HoursError| {
        let key = match error {
            HoursError::Days { .. } => "days",
            HoursError::Time { key, .. } => key,
            HoursError::Backwards => "to",
            HoursError::Zone { .. } => "time_zone",
        };
        fields.notes.error(fields.at(key), format!("{key}: {error}"));
    };
    Hours::new(&days, &from, &to, &zone).map_err(wrong).ok()
}

fn unanswered(table: &Fields<'_>, expires: Duration) -> Vec<Unanswered> {
    let all = table.maps("nobody_answers");
    let read =
        |fields: &Fields<'_>| Some(Unanswered { after: fields.read("after")?, then: fields.read("then")? });
    let mut last: Option<Unanswered> = None;
    let mut unanswered = Vec::new();
    for (fields, this) in all.iter().filter_map(|fields| Some((fields, read(fields)?))) {
        if last.is_some_and(|last| last.then.ends()) {
            fields
                .notes
                .error(fields.begin(), "nobody_answers: nothing is asked any more after rollback or hold");
        } else if last.is_some_and(|last| last.after >= this.after) {
            fields.notes.error(fields.at("after"), "after: not later than the one before it");
        }
        if this.after >= expires {
            let message = "after: not sooner than approval_expires, when it is over anyway";
            fields.notes.error(fields.at("after"), message);
        }
        last = Some(this);
        unanswered.push(this);
    }
    unanswered
}

/// Groups are written out as the people in them who may approve.
fn approvals(fields: &Fields<'_>, people: &[Person]) -> Approvals {
    let needed = fields.read::<usize>("needed").unwrap_or(1);
    let mut from = BTreeSet::new();
    for (at, name) in fields.some::<String>("from") {
        let is = |person: &&Person| person.name.as_str() == name || person.groups.contains(&name);
        let meant: Vec<&Person> = people.iter().filter(is).collect();
        if meant.is_empty() {
            fields.notes.error(at, "from: nobody in api.people has this name or is in a group of this name");
        } else if !meant.iter().any(|person| person.may(Role::Approve)) {
            fields.notes.error(at, "from: none of them may approve: see their roles in api.people");
        }
        from.extend(meant.iter().filter(|p| p.may(Role::Approve)).map(|p| p.name.to_string()));
    }
    let all = people.iter().filter(|person| person.may(Role::Approve)).count();
    let asked = if from.is_empty() { all } else { from.len() };
    if fields.has("needed") && needed > asked {
        let message =
            format!("needed: {needed} must approve, and only {asked} may: it could never be approved");
        fields.notes.error(fields.at("needed"), message);
    }
    Approvals { needed, from: from.into_iter().collect(), orders: fields.read("orders").unwrap_or(false) }
}

impl FromText for About {
    fn from_text(text: &str, _: Leaf) -> Result<Self, String> {
        match Matter::find(text) {
            Some(matter) => Ok(About::Matter(matter)),
            None => RuleName::parse(text).map(About::Rule).map_err(|e| e.to_string()),
        }
    }
}

macro_rules! choices {
    ($($type:ty: $all:expr;)*) => {
        $(impl FromText for $type {
            fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
                let named = $all.into_iter().find(|choice: &$type| choice.as_str() == text);
                named.ok_or_else(|| no_choice(leaf))
            }
        })*
    };
}

choices! {
    Act: Act::ALL;
    Role: Role::ALL;
    TargetKind: TargetKind::ALL;
    Then: Then::ALL;
    When: When::ALL;
}
