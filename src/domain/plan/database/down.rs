//! The way down: which scripts lead from one version to an earlier one, and whether a step of it is done.
use serde::{Deserialize, Serialize};

use super::{DatabaseRefusal, DatabaseSurvey, Down, Migration, Migrations, SchemaState, Terms, number};
use crate::domain::outcome::Finding;
use crate::domain::plan::Goal;
use crate::domain::release::Version;

/// Take one migration back. The version before is the guard, the script's hash is part of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownMigration {
    pub table: String,
    pub from: u64,
    /// `None` for the empty schema.
    pub to: Option<u64>,
    pub directory: String,
    pub file: String,
    pub sha256: String,
    pub terms: Terms,
    /// Versions that earlier steps take back, and later ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u64>,
    /// The one that was made for this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// What an adapter sees of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFacts {
    pub state: SchemaState,
    /// Somebody holds the lock of those who migrate.
    pub migrating: bool,
    /// Why the script failed, if this life of the process has seen it.
    pub failure: Option<String>,
}

/// The versions to take back, newest first, and where that leads.
pub(super) struct Way<'a> {
    directory: &'a str,
    back: Vec<&'a Migration>,
    goal: Option<u64>,
}

impl Way<'_> {
    pub(super) fn goal(&self) -> Option<u64> {
        self.goal
    }
}

pub(super) fn way<'a>(survey: &'a DatabaseSurvey, goal: &Goal) -> Result<Way<'a>, DatabaseRefusal> {
    let place = survey.place.clone();
    let (directory, all) = match &survey.migrations {
        Migrations::Listed { directory, all } => (directory.as_str(), all),
        Migrations::Unreadable { directory, why } => {
            return Err(DatabaseRefusal::Unreadable { directory: directory.clone(), why: why.clone() });
        }
        Migrations::Unknown => return Err(DatabaseRefusal::NoMigrations { place }),
    };
    let goal = goal_of(all, goal, directory)?;
    let Some(from) = survey.schema.version.filter(|_| !survey.schema.dirty) else {
        return Err(if survey.schema.dirty {
            DatabaseRefusal::Dirty { place, version: survey.schema.told() }
        } else {
            DatabaseRefusal::NotBehind { place, version: number(None), wanted: number(goal) }
        });
    };
    let directory_of = || directory.to_string();
    let place_of = |version| all.iter().position(|migration| migration.version == version);
    let Some(newest) = place_of(from) else {
        return Err(DatabaseRefusal::OtherRelease { directory: directory_of(), version: from.to_string() });
    };
    let oldest = match goal {
        None => 0,
        Some(goal) => place_of(goal).map_or(0, |place| place + 1),
    };
    let Some(back) = all.get(oldest..=newest).filter(|back| !back.is_empty()) else {
        return Err(DatabaseRefusal::NotBehind { place, version: from.to_string(), wanted: number(goal) });
    };
    let back: Vec<&Migration> = back.iter().rev().collect();
    passable(directory, &back)?;
    Ok(Way { directory, back, goal })
}

/// The number behind a goal, which must be one of the directory.
fn goal_of(all: &[Migration], goal: &Goal, directory: &str) -> Result<Option<u64>, DatabaseRefusal> {
    let unknown =
        |version: String| DatabaseRefusal::GoalUnknown { directory: directory.to_string(), version };
    match goal {
        Goal::Version(wanted) => {
            let numbers = all.iter().map(|migration| Some(migration.version)).chain([None]);
            let mut found = numbers.filter(|n| Version::of_schema(*n).fingerprint == wanted.fingerprint);
            found.next().ok_or_else(|| unknown(wanted.label.clone()))
        }
        Goal::Revision(0) => Ok(None),
        Goal::Revision(wanted) => {
            let found = all.iter().find(|migration| migration.version == *wanted);
            found.map(|migration| Some(migration.version)).ok_or_else(|| unknown(wanted.to_string()))
        }
        Goal::Image(_) => Err(DatabaseRefusal::NoImages),
    }
}

/// golang-migrate takes a missing script for one that does nothing: here each of them must be there, and say something.
fn passable(directory: &str, back: &[&Migration]) -> Result<(), DatabaseRefusal> {
    let (mut missing, mut empty) = (Vec::new(), Vec::new());
    for migration in back {
        match &migration.down {
            Down::Script { .. } => {}
            Down::Missing => missing.push(migration.version.to_string()),
            Down::Empty { file } => empty.push(file.clone()),
            Down::Unread { file, why } => {
                let directory = format!("{directory}/{file}");
                return Err(DatabaseRefusal::Unreadable { directory, why: why.clone() });
            }
        }
    }
    if missing.is_empty() && empty.is_empty() {
        return Ok(());
    }
    Err(DatabaseRefusal::NoDownScript { directory: directory.to_string(), missing, empty })
}

/// One after the other, each with what it needs to tell a person who meets it half done.
pub(super) fn migrations(
    survey: &DatabaseSurvey,
    way: &Way<'_>,
    snapshot: Option<&str>,
) -> Vec<DownMigration> {
    let versions: Vec<u64> = way.back.iter().map(|migration| migration.version).collect();
    let one = |(place, migration): (usize, &&Migration)| {
        let Down::Script { file, sha256 } = &migration.down else { return None };
        let part = |range: Option<&[u64]>| range.map(<[u64]>::to_vec).unwrap_or_default();
        let after = part(versions.get(place + 1..));
        Some(DownMigration {
            table: survey.table.clone(),
            from: migration.version,
            to: after.first().copied().or(way.goal),
            directory: way.directory.to_string(),
            file: file.clone(),
            sha256: sha256.clone(),
            terms: survey.terms,
            before: part(versions.get(..place)),
            after,
            snapshot: snapshot.map(str::to_string),
        })
    };
    way.back.iter().enumerate().filter_map(one).collect()
}

/// Whether the migration is taken back, still there, under way, or something else.
pub fn assess_down(step: &DownMigration, facts: &SchemaFacts) -> Finding {
    let state = facts.state;
    if state == SchemaState::clean(step.to) {
        return Finding::Satisfied { detail: format!("the schema is at {}", state.told()) };
    }
    let ahead = state.version.is_some_and(|version| step.before.contains(&version));
    if !state.dirty && (state.version == Some(step.from) || ahead) {
        return Finding::not_yet(format!("the schema is at {}", state.told()));
    }
    if state.dirty && facts.migrating {
        // Ours, whose connection was lost, or another's: it ends by itself.
        return Finding::Unseen { why: format!("a migration to {} is under way", number(state.version)) };
    }
    if state == (SchemaState { version: step.to, dirty: true }) {
        return Finding::Conflict { why: half_done(step, facts) };
    }
    Finding::Conflict {
        why: format!(
            "the schema is at {}, and the plan takes {} back: somebody else migrates this database",
            state.told(),
            step.from
        ),
    }
}

/// For the person who is paged: what was done, what was not, and what is safe to do next.
fn half_done(step: &DownMigration, facts: &SchemaFacts) -> String {
    let (from, to) = (step.from, number(step.to));
    let reason = match &facts.failure {
        Some(failure) => format!("{} failed: {failure}", step.file),
        None => format!("{} failed or was interrupted", step.file),
    };
    let list = |versions: &[u64]| match versions {
        [] => "none".to_string(),
        some => some.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    };
    let left: Vec<u64> = std::iter::once(from).chain(step.after.iter().copied()).collect();
    let snapshot = match &step.snapshot {
        Some(snapshot) => {
            format!("the snapshot {snapshot} holds the schema as it was before the first of them")
        }
        None => "no snapshot was taken".to_string(),
    };
    // `migrate` calls the empty schema -1.
    let number = |version: Option<u64>| version.map_or_else(|| "-1".to_string(), |v| v.to_string());
    format!(
        "{reason}; the schema is marked dirty at {to}. Taken back: {}; not taken back: {}; {snapshot}. Look at what the script \
         left behind. If nothing: `migrate force {from}`, then resume, and it is tried again. If it is finished by hand: \
         `migrate force {}`, then resume, and the next step follows. Else abort, and restore to a new instance. \
         Rollguard forces nothing.",
        list(&step.before),
        list(&left),
        number(step.to),
    )
}
