//! The way back for a database: a snapshot, one down-migration after the other, and the proof that the schema is the earlier one.
mod down;
mod refusal;
mod snapshot;
mod survey;

#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

use super::{Action, Change, Goal, Plan, Step};
use crate::domain::outcome::Finding;
use crate::domain::release::Version;
pub use down::{DownMigration, SchemaFacts, assess_down};
pub use refusal::DatabaseRefusal;
pub use snapshot::{SnapshotFacts, TakeSnapshot, assess_available, assess_taken, snapshot_id};
pub use survey::{
    DatabaseSurvey, Down, Instance, Migration, Migrations, Runner, SchemaQuery, SchemaState, Terms,
};

/// A step of its way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum DatabaseAction {
    TakeSnapshot(TakeSnapshot),
    AwaitSnapshot(TakeSnapshot),
    MigrateDown(Box<DownMigration>),
    CheckSchema(CheckSchema),
}

impl DatabaseAction {
    pub fn mutates(&self) -> bool {
        match self {
            DatabaseAction::TakeSnapshot(_) | DatabaseAction::MigrateDown(_) => true,
            DatabaseAction::AwaitSnapshot(_) | DatabaseAction::CheckSchema(_) => false,
        }
    }
}

/// The schema is where the plan leads, nothing is half done, and the queries find what they must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSchema {
    /// `None` for an empty schema.
    pub version: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<SchemaQuery>,
}

/// How the schema stands; the queries are asked only where it stands well.
pub fn assess_schema(step: &CheckSchema, facts: &SchemaFacts) -> Finding {
    let told = facts.state.told();
    if facts.state != SchemaState::clean(step.version) {
        let wanted = SchemaState::clean(step.version).told();
        return Finding::Conflict { why: format!("the schema is at {told}, and not at {wanted}") };
    }
    Finding::Satisfied { detail: format!("the schema is at {told}") }
}

/// How long a call to RDS may take with all its retries, and how long a check is repeated.
const CALL_SECS: u64 = 600;
/// Beside the script itself: connecting, waiting for locks again, and looking.
const SLACK_SECS: u64 = 60;

/// Drafts the steps.
///
/// # Errors
/// Why this target cannot be rolled back safely.
pub fn draft(survey: &DatabaseSurvey, goal: &Goal, run: &str) -> Result<Plan, DatabaseRefusal> {
    let way = down::way(survey, goal)?;
    let step = |title: String, deadline_secs: u64, action: DatabaseAction| Step {
        target: survey.target.clone(),
        title,
        deadline_secs,
        action: Action::Database(action),
    };
    let taken = snapshot::before(survey, run)?;
    let mut steps = Vec::new();
    if let Some(taken) = &taken {
        let (id, instance) = (&taken.snapshot, &taken.instance);
        let title = format!("take the snapshot {id} of the RDS instance {instance}");
        steps.push(step(title, CALL_SECS, DatabaseAction::TakeSnapshot(taken.clone())));
        let title = format!("await the snapshot {id}");
        let wait = DatabaseAction::AwaitSnapshot(taken.clone());
        steps.push(step(title, survey.terms.snapshot_secs, wait));
    }
    let id = taken.map(|taken| taken.snapshot);
    let terms = &survey.terms;
    for down in down::migrations(survey, &way, id.as_deref()) {
        let title = format!("migrate {} down to {} with {}", down.from, number(down.to), down.file);
        let secs = terms.script_secs.saturating_add(terms.lock_secs).saturating_add(SLACK_SECS);
        steps.push(step(title, secs, DatabaseAction::MigrateDown(Box::new(down))));
    }
    let to = way.goal();
    let check = CheckSchema { version: to, queries: survey.queries.clone() };
    let title = match check.queries.len() {
        0 => format!("check that the schema is at {}", number(to)),
        1 => format!("check that the schema is at {}, with one query", number(to)),
        many => format!("check that the schema is at {}, with {many} queries", number(to)),
    };
    steps.push(step(title, CALL_SECS, DatabaseAction::CheckSchema(check)));
    let change =
        Change { target: survey.target.clone(), from: survey.version.clone(), to: Version::of_schema(to) };
    Ok(Plan { service: survey.target.service.clone(), changes: vec![change], steps })
}

/// As people and golang-migrate call a version.
pub fn number(version: Option<u64>) -> String {
    version.map_or_else(|| "the empty schema".to_string(), |version| version.to_string())
}
