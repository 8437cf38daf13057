//! What a plan asks of a database: the survey, and each step observed and carried out.
use std::path::Path;

use async_trait::async_trait;

use super::runner::Ran;
use super::schema::value;
use super::{Database, Databases, Found, Versions, directory, migrate, runner};
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::database::{
    CheckSchema, DatabaseAction, DatabaseSurvey, DownMigration, Migrations, Runner, SchemaFacts, SchemaState,
    assess_available, assess_down, assess_schema, assess_taken,
};
use crate::domain::plan::{Action, Step};
use crate::domain::release::Version;
use crate::domain::survey::Survey;
use crate::ports::{SurveyError, Target};

/// Never met: steps are handed to the room that drafted them.
const NOT_OURS: &str = "this step is no step of a database";
const NO_RDS: &str = "no RDS instance is configured for this target any more";

impl Databases {
    fn of(&self, target: &TargetId) -> Result<&Database, SurveyError> {
        let found = self.all.get(target).map(AsRef::as_ref);
        found.ok_or_else(|| SurveyError::Unknown { target: target.clone() })
    }
}

#[async_trait]
impl Target for Databases {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let database = self.of(target)?;
        let read = database.survey().await;
        let unreadable = |why| SurveyError::Unreadable { what: database.place(), why };
        read.map(|found| Survey::Database(Box::new(found))).map_err(unreadable)
    }

    async fn observe(&self, step: &Step) -> Finding {
        let Action::Database(action) = &step.action else {
            return Finding::Conflict { why: NOT_OURS.into() };
        };
        let finding = match self.of(&step.target) {
            Ok(database) => database.observe(action).await,
            Err(error) => Err(error.to_string()),
        };
        finding.unwrap_or_else(|why| Finding::Unseen { why })
    }

    async fn apply(&self, step: &Step) -> Outcome {
        let Action::Database(action) = &step.action else {
            return Outcome::Refused { why: NOT_OURS.into() };
        };
        match self.of(&step.target) {
            Ok(database) => database.apply(action).await,
            Err(error) => Outcome::Refused { why: error.to_string() },
        }
    }
}

impl Database {
    async fn survey(&self) -> Result<DatabaseSurvey, String> {
        let found = self.look().await?;
        let (table, migrations) = self.migrations(&found).await;
        let instance = match &self.rds {
            Some(rds) => Some(rds.instance().await?),
            None => None,
        };
        let (version, schema) = match found {
            Found::Migrated(SchemaFacts { state, .. }) => (Version::of_schema(state.version), state),
            Found::Named(label) => (Version::of_label(label), SchemaState::clean(None)),
        };
        Ok(DatabaseSurvey {
            target: self.options.target.clone(),
            place: self.place(),
            version,
            schema,
            table,
            migrations,
            terms: self.options.terms,
            instance,
            queries: self.options.queries.clone(),
        })
    }

    async fn migrations(&self, found: &Found) -> (String, Migrations) {
        match (&self.options.versions, found) {
            (Versions::Migrate { table, directory: Some(directory), .. }, Found::Migrated(facts)) => {
                let current = facts.state.version;
                let number = current.map_or_else(String::new, |version| version.to_string());
                let directory = directory.replace("{version}", &number);
                let listing = tokio::task::spawn_blocking(move || directory::list(&directory, current));
                (table.clone(), listing.await.unwrap_or(Migrations::Unknown))
            }
            (Versions::Migrate { table, .. }, _) => (table.clone(), Migrations::Unknown),
            (Versions::Query(_), _) => (String::new(), Migrations::Unknown),
        }
    }

    async fn observe(&self, action: &DatabaseAction) -> Result<Finding, String> {
        match action {
            DatabaseAction::TakeSnapshot(step) => {
                let rds = self.rds.as_ref().ok_or(NO_RDS)?;
                Ok(assess_taken(step, rds.snapshot(&step.snapshot).await?.as_ref()))
            }
            DatabaseAction::AwaitSnapshot(step) => {
                let rds = self.rds.as_ref().ok_or(NO_RDS)?;
                Ok(assess_available(step, rds.snapshot(&step.snapshot).await?.as_ref()))
            }
            DatabaseAction::MigrateDown(step) => Ok(assess_down(step, &self.facts(step.from).await?)),
            DatabaseAction::CheckSchema(step) => self.check(step).await,
        }
    }

    async fn check(&self, step: &CheckSchema) -> Result<Finding, String> {
        let Found::Migrated(facts) = self.look().await? else {
            return Err("its versions are told by a query now".into());
        };
        let mut told = match assess_schema(step, &facts) {
            Finding::Satisfied { detail } => vec![detail],
            other => return Ok(other),
        };
        for query in &step.queries {
            let found = self.ask(async |client| value(client, &query.sql).await).await;
            let found = match found {
                Ok(found) => found,
                Err(why) => return Ok(Finding::not_yet(format!("{}: {why}", query.name))),
            };
            match query.judge(found.as_ref().map(Option::as_deref)) {
                Ok(passed) => told.push(passed),
                Err(why) => return Ok(Finding::not_yet(why)),
            }
        }
        Ok(Finding::Satisfied { detail: told.join(", ") })
    }

    async fn apply(&self, action: &DatabaseAction) -> Outcome {
        match action {
            DatabaseAction::TakeSnapshot(step) => match &self.rds {
                Some(rds) => rds.take(step).await,
                None => Outcome::Refused { why: NO_RDS.into() },
            },
            DatabaseAction::MigrateDown(step) => self.migrate_down(step).await,
            DatabaseAction::AwaitSnapshot(_) | DatabaseAction::CheckSchema(_) => {
                Outcome::Done { detail: "nothing to do".into() }
            }
        }
    }

    /// Only the script that was planned is run, whatever stands in its file now.
    async fn migrate_down(&self, step: &DownMigration) -> Outcome {
        let (folder, file) = (step.directory.clone(), step.file.clone());
        let reading = tokio::task::spawn_blocking(move || directory::read(Path::new(&folder), &file));
        let script = match reading.await {
            Ok(Ok(script)) => script,
            Ok(Err(why)) => return Outcome::Refused { why: format!("{} cannot be read: {why}", step.file) },
            Err(_) => return Outcome::Refused { why: format!("{} was not read", step.file) },
        };
        if directory::digest(&script) != step.sha256 {
            let why = format!("{} was changed since the plan was made: nothing was run", step.file);
            return Outcome::Refused { why };
        }
        let access = &self.options.access;
        let Ran { outcome, failed } = match (step.terms.runner, &self.options.versions) {
            (Runner::Rollguard, _) => runner::run(access, step, &script).await,
            (Runner::Migrate, Versions::Migrate { program, .. }) => {
                migrate::run(program, access, step, &script).await
            }
            (Runner::Migrate, Versions::Query(_)) => {
                Ran::refused("golang-migrate is not configured any more")
            }
        };
        self.remember_failure(step.from, failed);
        outcome
    }
}
