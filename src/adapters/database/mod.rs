//! Databases as targets: surveyed, snapshotted, migrated down one version at a time, and checked.
mod directory;
mod feed;
mod migrate;
#[cfg(feature = "aws")]
mod rds;
#[cfg(not(feature = "aws"))]
#[path = "rds_absent.rs"]
mod rds;
mod runner;
mod schema;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::Client;

use super::outbound::shorten;
use super::postgres::{Access, CONNECT_MAX, told};
use crate::domain::names::TargetId;
use crate::domain::plan::database::{SchemaFacts, SchemaQuery, Terms};
use crate::ports::{Clock, ReleaseFeed};
pub use rds::{Rds, RdsOptions};
use schema::{Table, Trouble};

/// One database, as the configuration describes it.
#[derive(Clone)]
pub struct DatabaseOptions {
    pub target: TargetId,
    pub access: Access,
    pub versions: Versions,
    /// How often its version is looked at.
    pub interval: Duration,
    pub terms: Terms,
    pub queries: Vec<SchemaQuery>,
    pub rds: Option<RdsOptions>,
}

/// How the version of a schema is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// golang-migrate's table, with the scripts of the release that runs. `{version}` in the directory is that version.
    Migrate {
        /// With a schema before a dot, or in the user's own.
        table: String,
        directory: Option<String>,
        /// golang-migrate's program, where it is used.
        program: PathBuf,
    },
    /// The first value of the first row.
    Query(String),
}

/// All databases of a configuration. Nobody is asked anything before it is needed.
#[derive(Clone)]
pub struct Databases {
    all: Arc<BTreeMap<TargetId, Arc<Database>>>,
    clock: Arc<dyn Clock>,
}

struct Database {
    options: DatabaseOptions,
    rds: Option<Rds>,
    /// The session that reads.
    reading: tokio::sync::Mutex<Option<Client>>,
    /// Why the script of this version failed, for as long as this process lives.
    failures: Mutex<BTreeMap<u64, String>>,
}

/// For one look, connecting included.
const LOOK_MAX: Duration = Duration::from_secs(8);
/// Its own answers are small, and a query of a person must not hold up the database.
const READING: &str =
    "SET statement_timeout = '5s'; SET lock_timeout = '2s'; SET default_transaction_read_only = on;";

impl Databases {
    pub fn new(options: Vec<DatabaseOptions>, clock: Arc<dyn Clock>) -> Self {
        let database = |options: DatabaseOptions| {
            let rds = options.rds.clone().map(Rds::new);
            let reading = tokio::sync::Mutex::default();
            let database = Database { options, rds, reading, failures: Mutex::default() };
            (database.options.target.clone(), Arc::new(database))
        };
        Self { all: Arc::new(options.into_iter().map(database).collect()), clock }
    }

    /// Looks at all versions from now on.
    pub fn feed(&self) -> Box<dyn ReleaseFeed> {
        Box::new(feed::DatabaseFeed::start(self))
    }
}

/// How a schema was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Migrated(SchemaFacts),
    /// What the query answered.
    Named(String),
}

impl Database {
    fn place(&self) -> String {
        format!("the database {}", self.options.access.place())
    }

    /// Asks on the session that reads, which is opened anew if it broke.
    async fn ask<T>(&self, asked: impl AsyncFnOnce(&Client) -> Result<T, Trouble>) -> Result<T, String> {
        let mut reading = self.reading.lock().await;
        let asking = async {
            let client = match reading.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => self.open_reading().await?,
            };
            let answer = asked(&client).await;
            if answer.is_ok() {
                *reading = Some(client);
            }
            answer.map_err(Trouble::reason)
        };
        let late = || Err(format!("no answer within {} s", LOOK_MAX.as_secs()));
        tokio::time::timeout(LOOK_MAX, asking).await.unwrap_or_else(|_| late())
    }

    async fn open_reading(&self) -> Result<Client, String> {
        let opening = async {
            let client = self.options.access.log_in().await?;
            client.batch_execute(READING).await?;
            Ok(client)
        };
        match tokio::time::timeout(CONNECT_MAX, opening).await {
            Ok(opened) => opened.map_err(|error: tokio_postgres::Error| told(&error)),
            Err(_) => Err(format!("Postgres did not answer within {} s", CONNECT_MAX.as_secs())),
        }
    }

    async fn look(&self) -> Result<Found, String> {
        match &self.options.versions {
            Versions::Query(sql) => {
                let found = self.ask(async |client| schema::value(client, sql).await).await?;
                let found = found.flatten().ok_or("the query for the version finds nothing")?;
                Ok(Found::Named(shorten(&found)))
            }
            Versions::Migrate { table, .. } => {
                let access = &self.options.access;
                let (state, migrating) = self
                    .ask(async |client| {
                        let table = Table::find(client, table, access.database()).await?;
                        table.look(client).await
                    })
                    .await?;
                Ok(Found::Migrated(SchemaFacts { state, migrating, failure: None }))
            }
        }
    }

    /// The same with why a script failed that is half done.
    async fn facts(&self, from: u64) -> Result<SchemaFacts, String> {
        match self.look().await? {
            Found::Migrated(facts) => Ok(SchemaFacts { failure: self.failure(from), ..facts }),
            Found::Named(_) => Err("its versions are told by a query now".into()),
        }
    }

    fn failure(&self, from: u64) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&from).cloned()
    }

    fn remember_failure(&self, from: u64, why: Option<String>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => failures.insert(from, why),
            None => failures.remove(&from),
        };
    }
}
