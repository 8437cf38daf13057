//! A database of its own for a test, migrated by the real golang-migrate, with the adapter on it.
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rollguard::adapters::database::{DatabaseOptions, Databases, RdsOptions, Versions};
use rollguard::adapters::postgres::Access;
use rollguard::adapters::tls::TlsMode;
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::database::{DatabaseRefusal, Runner, SchemaQuery, Terms};
use rollguard::domain::plan::{Goal, Plan, Refusal, Step, draft};
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use tempfile::TempDir;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::binary;
use crate::support::postgres::{Postgres, session};

pub(super) fn target() -> TargetId {
    let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("database").unwrap());
    TargetId { service, target }
}

pub(super) const RUN: &str = "shop-ab12cd";

/// A database and the migrations of its release.
pub(super) struct Stage {
    pub(super) url: String,
    pub(super) scripts: TempDir,
    pub(super) runner: Runner,
    pub(super) multi_statement: bool,
    pub(super) lock_secs: u64,
    pub(super) script_secs: u64,
    pub(super) queries: Vec<SchemaQuery>,
    pub(super) rds: Option<RdsOptions>,
}

/// Two tables and an index.
pub(super) const SHOP: [(&str, &str); 6] = [
    ("1_users.up.sql", "CREATE TABLE users (id bigint PRIMARY KEY, name text);"),
    ("1_users.down.sql", "DROP TABLE users;"),
    ("2_orders.up.sql", "CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint);"),
    ("2_orders.down.sql", "DROP TABLE orders;"),
    ("3_index.up.sql", "CREATE INDEX orders_user ON orders (user_id);"),
    ("3_index.down.sql", "DROP INDEX orders_user;"),
];

impl Stage {
    pub(super) async fn new(runner: Runner) -> Self {
        Self {
            url: Postgres::shared().await.database().await,
            scripts: tempfile::tempdir().unwrap(),
            runner,
            multi_statement: false,
            lock_secs: 2,
            script_secs: 30,
            queries: vec![],
            rds: None,
        }
    }

    /// With [`SHOP`] applied.
    pub(super) async fn shop(runner: Runner) -> Self {
        let stage = Self::new(runner).await;
        stage.write(&SHOP);
        stage.up();
        stage
    }

    pub(super) fn write(&self, files: &[(&str, &str)]) {
        files.iter().for_each(|(name, text)| std::fs::write(self.scripts.path().join(name), text).unwrap());
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.scripts.path().join(name)).unwrap();
    }

    /// The real program, as people run it; its exit code and what it says.
    pub(super) fn migrate(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let multi = if self.multi_statement { "&x-multi-statement=true" } else { "" };
        let url = format!("{}?sslmode=disable{multi}", self.url);
        let mut command = Command::new(binary("migrate"));
        command.arg("-path").arg(self.scripts.path()).args(["-database", &url]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(super) fn up(&self) {
        let (code, said) = self.migrate(&["up"]);
        assert_eq!(code, Some(0), "{said}");
    }

    pub(super) fn databases(&self) -> Databases {
        Databases::new(vec![self.options()], Arc::new(SystemClock))
    }

    pub(super) fn options(&self) -> DatabaseOptions {
        DatabaseOptions {
            target: target(),
            access: Access::new(&self.url.clone().into(), &TlsMode::Disable).unwrap(),
            versions: Versions::Migrate {
                table: "schema_migrations".into(),
                directory: Some(self.scripts.path().display().to_string()),
                program: binary("migrate"),
            },
            interval: Duration::from_millis(100),
            terms: Terms {
                runner: self.runner,
                multi_statement: self.multi_statement,
                script_secs: self.script_secs,
                lock_secs: self.lock_secs,
                snapshot_secs: 60,
            },
            queries: self.queries.clone(),
            rds: self.rds.clone(),
        }
    }

    pub(super) async fn client(&self) -> Client {
        session(&self.url).await
    }

    /// The plan to this version; 0 is the empty schema.
    pub(super) async fn plan(&self, to: u64) -> Result<Plan, DatabaseRefusal> {
        let survey = self.databases().survey(&target()).await.unwrap();
        draft(&survey, &Goal::Revision(to), RUN, 600).map_err(|refusal| match refusal {
            Refusal::Database(refusal) => refusal,
            other => panic!("{other}"),
        })
    }

    /// Tables, columns and indexes with what golang-migrate says of the version.
    pub(super) async fn end_state(&self) -> Vec<String> {
        let sql = "SELECT 'version ' || version || ' ' || dirty FROM schema_migrations
            UNION ALL SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION ALL SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT 'invalid ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid
            ORDER BY 1";
        let messages = self.client().await.simple_query(sql).await.unwrap();
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_string()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }
}

/// As the driver does: looks, applies once if that is needed, looks again. Stops at what stands in the way.
pub(super) async fn carry_out(databases: &Databases, plan: &Plan) -> Result<(), String> {
    for step in &plan.steps {
        step_done(databases, step).await?;
    }
    Ok(())
}

pub(super) async fn step_done(databases: &Databases, step: &Step) -> Result<(), String> {
    let mut answer = String::new();
    for attempt in 0..600 {
        match databases.observe(step).await {
            Finding::Satisfied { .. } => return Ok(()),
            Finding::Conflict { why } => return Err(why),
            Finding::NotYet { detail, .. } if step.action.mutates() => {
                if attempt > 0 {
                    return Err(format!("{detail}: {answer}"));
                }
                answer = match databases.apply(step).await {
                    Outcome::Done { detail } => detail,
                    Outcome::Refused { why } | Outcome::Unknown { why } => why,
                };
            }
            Finding::NotYet { .. } | Finding::Unseen { .. } => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Err(format!("{} goes nowhere", step.title))
}
