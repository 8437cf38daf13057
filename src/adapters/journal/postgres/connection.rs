//! One session with Postgres: every wait on it is bounded, and one that broke is not used again.
use std::collections::HashMap;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row, Statement};

use super::super::damaged;
use super::error::{explain, unavailable};
use crate::adapters::postgres::{Access, AccessError, CONNECT_MAX, is_final};
use crate::adapters::tls::TlsMode;
use crate::ports::JournalError;

/// How long an answer is waited for; Postgres itself gives up a statement before that.
const ANSWER_MAX: Duration = Duration::from_secs(7);
/// A transaction that its process left open, because it was stopped or cut off, must not hold up the other replicas for long.
/// Where every commit waits for replicas to apply it, it goes on to.
const SESSION: &str = "
SET statement_timeout = '5s';
SET idle_in_transaction_session_timeout = '3s';
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET standard_conforming_strings = on;
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') <> 'remote_apply';";

/// Where the journal is, and how to get there.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `postgres://user:password@host/database`.
    pub url: SecretString,
    /// A lower-case name.
    pub schema: String,
    pub tls: TlsMode,
}

/// How to get a session.
pub(super) struct Server {
    access: Access,
    schema: String,
}

impl Server {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, JournalError> {
        let access = Access::new(&options.url, &options.tls).map_err(|error| match error {
            AccessError::Url => unavailable(format!("the journal's {error}")),
            AccessError::Tls(why) => unavailable(why),
        })?;
        Ok(Self { access, schema: options.schema.clone() })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) async fn connect(&self) -> Result<Session, JournalError> {
        let connecting = async {
            let client = self.access.log_in().await.map_err(|e| explain(&e))?;
            let mut session = Session { client, statements: HashMap::new(), broken: None };
            let path = format!("{SESSION} SET search_path = {};", quoted(&self.schema));
            session.run(&path).await?;
            Ok(session)
        };
        let late =
            || unavailable(format!("Postgres did not answer within {} s{ADVICE}", CONNECT_MAX.as_secs()));
        timeout(CONNECT_MAX, connecting).await.unwrap_or_else(|_| Err(late()))
    }
}

const ADVICE: &str = ": check that it runs and that the network lets this machine reach it";

/// A value of a row, whose column may have been altered by hand.
pub(super) fn cell<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, JournalError> {
    row.try_get(place).map_err(|e| damaged(0, format!("{e}: the tables are not as they were set up")))
}

/// The name of a schema in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Why nothing more is sent.
    broken: Option<JournalError>,
}

impl Session {
    pub(super) fn is_usable(&self) -> bool {
        self.broken.is_none() && !self.client.is_closed()
    }

    /// One or several statements without values.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), JournalError> {
        let answer = bounded(&self.broken, self.client.batch_execute(sql)).await;
        self.checked(answer)
    }

    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, JournalError> {
        let statement = self.prepared(sql).await?;
        let answer = bounded(&self.broken, self.client.query(&statement, values)).await;
        self.checked(answer)
    }

    /// How many rows it changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<u64, JournalError> {
        let statement = self.prepared(sql).await?;
        let answer = bounded(&self.broken, self.client.execute(&statement, values)).await;
        self.checked(answer)
    }

    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, JournalError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let answer = bounded(&self.broken, self.client.prepare(sql)).await;
        let statement = self.checked(answer)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// A statement that Postgres refused leaves the session as it was; anything else ends it.
    fn checked<T>(&mut self, answer: Result<T, Failure>) -> Result<T, JournalError> {
        answer.map_err(|failure| {
            if failure.ends_session && self.broken.is_none() {
                self.broken = Some(failure.error.clone());
            }
            failure.error
        })
    }
}

struct Failure {
    error: JournalError,
    ends_session: bool,
}

async fn bounded<T>(
    broken: &Option<JournalError>,
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    if let Some(error) = broken {
        return Err(Failure { error: error.clone(), ends_session: true });
    }
    match timeout(ANSWER_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let refused = error.as_db_error().is_some() && !is_final(&error);
            Err(Failure { error: explain(&error), ends_session: !refused })
        }
        Err(_) => {
            let why = format!("Postgres did not answer within {} s{ADVICE}", ANSWER_MAX.as_secs());
            Err(Failure { error: unavailable(why), ends_session: true })
        }
    }
}
