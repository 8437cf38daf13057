//! Rollguard's own way of running a down script: what golang-migrate's Postgres driver does, with an end to every wait.
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::schema::{Table, Trouble, value};
use crate::adapters::postgres::{Access, CONNECT_MAX, told};
use crate::domain::outcome::Outcome;
use crate::domain::plan::database::{DownMigration, SchemaState, number};

/// What came of a script.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    /// It failed half way: the schema is dirty.
    pub(super) failed: Option<String>,
}

impl Ran {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Refused { why: why.into() }, failed: None }
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown { why: why.into() }, failed: None }
    }

    pub(super) fn done(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Done { detail: detail.into() }, failed: None }
    }

    pub(super) fn failed(why: String) -> Self {
        Self { outcome: Outcome::Refused { why: why.clone() }, failed: Some(why) }
    }

    /// Before the script has begun.
    fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(why) => Self::refused(why),
            Trouble::Unclear(why) => Self::unknown(why),
        }
    }
}

const LOCK_EVERY: Duration = Duration::from_millis(200);
/// For everything but the script itself.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// For a cancelled script to end.
const CANCELLED_MAX: Duration = Duration::from_secs(5);

/// Takes one migration back in a session of its own, whose end also frees the locks.
pub(super) async fn run(access: &Access, step: &DownMigration, script: &str) -> Ran {
    let client = match timeout(CONNECT_MAX, access.log_in()).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Ran::unknown(told(&error)),
        Err(_) => {
            return Ran::unknown(format!("Postgres did not answer within {} s", CONNECT_MAX.as_secs()));
        }
    };
    match begin(&client, access, step).await {
        Ok(table) => carry_out(&client, access, &table, step, script).await,
        Err(ran) => ran,
    }
}

/// Up to the mark that a migration has begun.
async fn begin(client: &Client, access: &Access, step: &DownMigration) -> Result<Table, Ran> {
    let terms = &step.terms;
    let settings = format!(
        "SET statement_timeout = '{}s'; SET lock_timeout = '{}s'; SET default_transaction_read_only = off;",
        terms.script_secs, terms.lock_secs
    );
    let opened = async {
        client.batch_execute(&settings).await?;
        Table::find(client, &step.table, access.database()).await
    };
    let table = bounded(opened).await.map_err(Ran::of)?;
    lock(client, &table, Duration::from_secs(terms.lock_secs)).await?;
    let state = bounded(table.state(client)).await.map_err(Ran::of)?;
    if state == SchemaState::clean(step.to) {
        return Err(Ran::done(format!("the schema is at {} already", state.told())));
    }
    if state != SchemaState::clean(Some(step.from)) {
        let why = format!("the schema is at {}, and not at {}: nothing was run", state.told(), step.from);
        return Err(Ran::refused(why));
    }
    let dirty = SchemaState { version: step.to, dirty: true };
    bounded(table.write(client, dirty)).await.map_err(Ran::of)?;
    Ok(table)
}

async fn lock(client: &Client, table: &Table, longest: Duration) -> Result<(), Ran> {
    let waiting = async {
        while !bounded(table.try_lock(client)).await? {
            sleep(LOCK_EVERY).await;
        }
        Ok(())
    };
    match timeout(longest, waiting).await {
        Ok(locked) => locked.map_err(Ran::of),
        Err(_) => {
            let secs = longest.as_secs();
            Err(Ran::refused(format!("another migrator held its lock for {secs} s: nothing was run")))
        }
    }
}

async fn carry_out(
    client: &Client,
    access: &Access,
    table: &Table,
    step: &DownMigration,
    script: &str,
) -> Ran {
    let longest = Duration::from_secs(step.terms.script_secs);
    let token = client.cancel_token();
    match timeout(longest, execute(client, script, step.terms.multi_statement)).await {
        Ok(Ok(())) => {}
        Ok(Err(Trouble::Refused(why))) => return Ran::failed(why),
        Ok(Err(Trouble::Unclear(why))) => return Ran::unknown(why),
        Err(_) => {
            access.cancel(token).await;
            // So that the session is idle before it ends: what runs on would still hold the locks.
            drop(timeout(CANCELLED_MAX, client.batch_execute("")).await);
            return Ran::failed(format!("it took longer than {} s", longest.as_secs()));
        }
    }
    match bounded(table.write(client, SchemaState::clean(step.to))).await {
        Ok(()) => Ran::done(format!("{} was run: the schema is at {}", step.file, number(step.to))),
        Err(Trouble::Refused(why)) => Ran::failed(format!("the version could not be written: {why}")),
        Err(Trouble::Unclear(why)) => Ran::unknown(why),
    }
}

/// A file is sent as it is, so Postgres makes one transaction of it, or none of a single statement that allows none.
async fn execute(client: &Client, script: &str, multi_statement: bool) -> Result<(), Trouble> {
    if multi_statement {
        for statement in script.split_inclusive(';').filter(|statement| !statement.trim().is_empty()) {
            client.batch_execute(statement).await?;
        }
    } else {
        client.batch_execute(script).await?;
    }
    // Within a transaction that was left open, time stands still.
    match value(client, "SELECT now() = statement_timestamp()").await?.flatten().as_deref() {
        Some("t") => Ok(()),
        Some(_) | None => Err(Trouble::Refused("the script leaves a transaction open".into())),
    }
}

async fn bounded<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = || Trouble::Unclear(format!("no answer within {} s", ANSWER_MAX.as_secs()));
    timeout(ANSWER_MAX, asked).await.unwrap_or_else(|_| Err(late()))
}
