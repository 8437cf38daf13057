//! Which versions of an application run on which versions of a schema, as the owner of both declares it.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::domain::names::TargetName;

/// Versions of a target need a schema that is neither older nor newer than this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compatibility {
    pub target: TargetName,
    pub versions: LabelPattern,
    pub from: Option<u64>,
    pub to: Option<u64>,
}

/// A version's label, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelPattern {
    Is(String),
    Begins(String),
}

impl LabelPattern {
    /// `v2` or `v2.*`.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => LabelPattern::Begins(beginning.to_string()),
            None => LabelPattern::Is(text.to_string()),
        }
    }

    fn matches(&self, label: &str) -> bool {
        match self {
            LabelPattern::Is(wanted) => label == wanted,
            LabelPattern::Begins(beginning) => label.starts_with(beginning),
        }
    }
}

/// Versions that run, by the targets of one service.
pub type Running = BTreeMap<TargetName, String>;

/// What stands against these changes, made one after the other, by what is declared for each database. Every moment between
/// two of them counts, since old and new must bear with each other then. What does not fit already is no reason.
pub fn objection(
    declared: &BTreeMap<TargetName, Vec<Compatibility>>,
    running: &Running,
    changes: &[Change],
) -> Option<String> {
    let mut now = running.clone();
    let mut misfits = misfits(declared, &now);
    for (place, change) in changes.iter().enumerate() {
        now.insert(change.target.target.clone(), change.to.label.clone());
        let after = self::misfits(declared, &now);
        let new = after.iter().find(|misfit| !misfits.contains(misfit)).cloned();
        if let Some(new) = new {
            let done: Vec<String> = changes.iter().take(place + 1).map(shown).collect();
            let left: Vec<String> = changes.iter().skip(place + 1).map(shown).collect();
            let then = match left.is_empty() {
                true => String::new(),
                false => format!(", before {}", left.join(" and ")),
            };
            return Some(format!("after {}{then}: {new}", done.join(" and ")));
        }
        misfits = after;
    }
    None
}

fn shown(change: &Change) -> String {
    format!("{} goes back from {} to {}", change.target.target, change.from.label, change.to.label)
}

/// Every pair that is declared not to run together.
fn misfits(declared: &BTreeMap<TargetName, Vec<Compatibility>>, running: &Running) -> Vec<String> {
    let of = |(database, all): (&TargetName, &Vec<Compatibility>)| {
        let schema = running.get(database).cloned();
        let told = all.iter().filter_map(move |rule| rule.misfit(schema.as_deref()?, running));
        told.collect::<Vec<_>>()
    };
    declared.iter().flat_map(of).collect()
}

impl Compatibility {
    fn misfit(&self, schema: &str, running: &Running) -> Option<String> {
        let label = running.get(&self.target).filter(|label| self.versions.matches(label))?;
        // The empty schema is older than every other.
        let number = schema.parse::<u64>().unwrap_or(0);
        let bound = match (self.from, self.to) {
            (Some(from), _) if number < from => format!("{from} or later"),
            (_, Some(to)) if number > to => format!("{to} or earlier"),
            (_, _) => return None,
        };
        Some(format!("{} {label} needs the schema at {bound}, and it would be at {schema}", self.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ServiceName, TargetId};
    use crate::domain::release::Version;

    fn name(text: &str) -> TargetName {
        TargetName::parse(text).unwrap()
    }

    fn change(target: &str, from: &str, to: &str) -> Change {
        let target = TargetId { service: ServiceName::parse("shop").unwrap(), target: name(target) };
        Change { target, from: Version::of_label(from.into()), to: Version::of_label(to.into()) }
    }

    fn against(declared: &[(&str, Option<u64>, Option<u64>)], changes: &[Change]) -> Option<String> {
        let rule = |(versions, from, to): &(&str, _, _)| Compatibility {
            target: name("backend"),
            versions: LabelPattern::parse(versions),
            from: *from,
            to: *to,
        };
        let declared = [(name("database"), declared.iter().map(rule).collect())].into();
        let running = [(name("backend"), "v2.1".to_string()), (name("database"), "12".to_string())].into();
        objection(&declared, &running, changes)
    }

    #[test]
    fn every_moment_of_a_rollback_must_fit() {
        let both = [change("backend", "v2.1", "v1.9"), change("database", "12", "11")];
        let reversed = [both[1].clone(), both[0].clone()];
        assert_eq!(against(&[], &both), None, "nothing is declared");
        let old_code_on_old_schema = [("v1.*", None, Some(11))];
        let why = against(&old_code_on_old_schema, &both).unwrap();
        assert_eq!(
            why,
            "after backend goes back from v2.1 to v1.9, before database goes back from 12 to 11: \
             backend v1.9 needs the schema at 11 or earlier, and it would be at 12"
        );
        assert_eq!(against(&old_code_on_old_schema, &reversed), None);
        let new_code_on_new_schema = [("v2.*", Some(12), None)];
        assert_eq!(against(&new_code_on_new_schema, &both), None);
        let why = against(&new_code_on_new_schema, &reversed).unwrap();
        assert!(why.contains("backend v2.1 needs the schema at 12 or later, and it would be at 11"), "{why}");
        assert!(against(&new_code_on_new_schema, &both[1..]).is_some(), "the database alone");
        assert!(against(&old_code_on_old_schema, &both[..1]).is_some(), "the backend alone");
    }

    #[test]
    fn what_does_not_fit_already_is_no_reason() {
        let broken = [("v2.*", Some(13), None)];
        assert_eq!(against(&broken, &[change("backend", "v2.1", "v1.9")]), None);
        assert_eq!(against(&[("v2.1", Some(12), None)], &[change("backend", "v2.1", "v2.1-rc")]), None);
    }
}
