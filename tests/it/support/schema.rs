//! A model of a database behind golang-migrate's table, with snapshots that take their time.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rollguard::domain::names::TargetId;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::database::{
    DatabaseAction, DatabaseSurvey, Down, Instance, Migration, Migrations, Runner, SchemaFacts, SchemaState,
    SnapshotFacts, TakeSnapshot, Terms, assess_available, assess_down, assess_schema, assess_taken,
};
use rollguard::domain::release::Version;

const SNAPSHOT_TAKES: SignedDuration = SignedDuration::from_secs(90);

/// A schema at a version of a directory that knows all up to it.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    version: u64,
    taken: BTreeMap<String, Timestamp>,
    pub(crate) effects: Vec<String>,
}

impl Schema {
    pub(crate) fn at(version: u64) -> Self {
        Self { version, taken: BTreeMap::new(), effects: vec![] }
    }

    pub(crate) fn survey(&self, target: &TargetId) -> DatabaseSurvey {
        let migration = |version: u64| Migration {
            version,
            down: Down::Script { file: format!("{version}_x.down.sql"), sha256: "hash".into() },
        };
        DatabaseSurvey {
            target: target.clone(),
            place: "the database shop".into(),
            version: Version::of_schema(Some(self.version)),
            schema: SchemaState::clean(Some(self.version)),
            table: "schema_migrations".into(),
            migrations: Migrations::Listed {
                directory: "/srv".into(),
                all: (1..=self.version).map(migration).collect(),
            },
            terms: Terms {
                runner: Runner::Rollguard,
                multi_statement: false,
                script_secs: 600,
                lock_secs: 15,
                snapshot_secs: 3600,
            },
            instance: Some(Instance {
                id: "prod".into(),
                engine: "postgres".into(),
                status: "available".into(),
                cluster: None,
            }),
            queries: vec![],
        }
    }

    fn facts(&self) -> SchemaFacts {
        let state = SchemaState::clean(Some(self.version));
        SchemaFacts { state, migrating: false, failure: None }
    }

    fn snapshot(&self, step: &TakeSnapshot, now: Timestamp) -> Option<SnapshotFacts> {
        let taken = self.taken.get(&step.snapshot)?;
        let there = now.duration_since(*taken) >= SNAPSHOT_TAKES;
        Some(SnapshotFacts {
            status: if there { "available".into() } else { "creating".into() },
            run: Some(step.run.clone()),
            instance: step.instance.clone(),
            percent: None,
        })
    }

    pub(crate) fn observe(&self, action: &DatabaseAction, now: Timestamp) -> Finding {
        match action {
            DatabaseAction::TakeSnapshot(step) => assess_taken(step, self.snapshot(step, now).as_ref()),
            DatabaseAction::AwaitSnapshot(step) => assess_available(step, self.snapshot(step, now).as_ref()),
            DatabaseAction::MigrateDown(step) => assess_down(step, &self.facts()),
            DatabaseAction::CheckSchema(step) => assess_schema(step, &self.facts()),
        }
    }

    /// As RDS and the runner do: a name is given once, and a script runs only from its own version.
    pub(crate) fn apply(&mut self, action: &DatabaseAction, now: Timestamp) -> Outcome {
        match action {
            DatabaseAction::TakeSnapshot(step) if !self.taken.contains_key(&step.snapshot) => {
                self.taken.insert(step.snapshot.clone(), now);
                self.effects.push("snapshot".into());
            }
            DatabaseAction::MigrateDown(step) if self.version == step.from => {
                let taken = step.snapshot.as_ref().and_then(|id| self.taken.get(id));
                let covered = taken.is_some_and(|taken| now.duration_since(*taken) >= SNAPSHOT_TAKES);
                assert!(covered, "changed before the snapshot was there");
                self.version = step.to.unwrap_or(0);
                self.effects.push(self.version.to_string());
            }
            DatabaseAction::MigrateDown(_) => {
                return Outcome::Refused { why: format!("the schema is at {}", self.version) };
            }
            DatabaseAction::TakeSnapshot(_)
            | DatabaseAction::AwaitSnapshot(_)
            | DatabaseAction::CheckSchema(_) => {}
        }
        Outcome::Done { detail: "done".into() }
    }
}
