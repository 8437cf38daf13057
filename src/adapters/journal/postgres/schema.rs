//! The tables of the Postgres journal, and setting them up once, whichever replica comes first.
use tokio_postgres::Row;

use super::super::damaged;
use super::connection::{Session, cell, quoted};
use super::error::unavailable;
use super::meta::Meta;
use crate::ports::JournalError;

/// Kept in `meta`.
pub(super) const SCHEMA_VERSION: u32 = 1;

const OLDEST_POSTGRES: i32 = 130_000;

/// As those of SQLite: bodies are text, because the hashes are of their bytes, and times are text with nine decimals, which
/// Postgres' own have not. The one row of `meta` is locked by every transaction that writes: so they come one after the
/// other, whoever writes, and ids are given out in the order in which they can be seen.
const CREATE: &str = r#"
CREATE TABLE meta (
    one      BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    version  INTEGER NOT NULL,
    epoch    BIGINT NOT NULL DEFAULT 0,
    seq      BIGINT NOT NULL DEFAULT 0,
    hash     TEXT NOT NULL DEFAULT repeat('0', 64),
    inbox_id BIGINT NOT NULL DEFAULT 0,
    unfolded BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE writers (
    id           TEXT PRIMARY KEY,
    transactions BIGINT NOT NULL,
    changed_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE writers IS 'What each process wrote last: it looks here when an answer to COMMIT was lost.';

CREATE TABLE records (
    seq       BIGINT PRIMARY KEY,
    v         INTEGER NOT NULL,
    stream    TEXT COLLATE "C" NOT NULL,
    at        TEXT COLLATE "C" NOT NULL,
    epoch     BIGINT NOT NULL,
    kind      TEXT NOT NULL,
    body      TEXT NOT NULL,
    prev_hash TEXT NOT NULL
);
CREATE INDEX records_stream ON records (stream, seq);
CREATE INDEX records_v ON records (v);

CREATE TABLE inbox (
    id        BIGINT PRIMARY KEY,
    key       TEXT NOT NULL UNIQUE,
    kind      TEXT NOT NULL,
    body      TEXT NOT NULL,
    at        TEXT COLLATE "C" NOT NULL,
    folded_at TEXT COLLATE "C"
);
CREATE INDEX inbox_open ON inbox (id) WHERE folded_at IS NULL;

CREATE TABLE outbox (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        TEXT NOT NULL,
    channel    TEXT NOT NULL,
    incident   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    state      TEXT NOT NULL DEFAULT 'waiting'
               CHECK (state IN ('waiting', 'done', 'repeating', 'dropped')),
    created_at TEXT COLLATE "C" NOT NULL,
    next_at    TEXT COLLATE "C" NOT NULL,
    changed_at TEXT COLLATE "C" NOT NULL,
    last_error TEXT,
    UNIQUE (key, channel)
);
CREATE INDEX outbox_open ON outbox (channel, incident, id) WHERE state IN ('waiting', 'repeating');

CREATE TABLE minutes (
    target TEXT NOT NULL,
    rule   TEXT COLLATE "C" NOT NULL,
    minute TEXT COLLATE "C" NOT NULL,
    bad    DOUBLE PRECISION NOT NULL,
    total  DOUBLE PRECISION NOT NULL,
    times  TEXT,
    PRIMARY KEY (target, rule, minute)
);

CREATE TABLE published (
    one     BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    at      TEXT NOT NULL,
    picture TEXT NOT NULL
);
"#;

/// Makes the tables where there are none. Several replicas may do this at once.
pub(super) async fn set_up(session: &mut Session, schema: &str) -> Result<(), JournalError> {
    check_server(session).await?;
    if found(session, schema).await?.meta {
        return Ok(());
    }
    // With an error the session is given up, and the transaction with it.
    session.run("BEGIN").await?;
    create(session, schema).await?;
    session.run("COMMIT").await
}

/// Makes nothing: an error unless there is a journal that this version can read.
pub(super) async fn check(session: &mut Session, schema: &str) -> Result<(), JournalError> {
    if found(session, schema).await?.meta {
        return Meta::read(session).await.map(|_| ());
    }
    Err(unavailable(format!("there is no journal in the schema {schema}: check the url and the schema")))
}

async fn create(session: &mut Session, schema: &str) -> Result<(), JournalError> {
    let lock = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended('rollguard journal ' || $1, 0))) AS held";
    session.rows(lock, &[&schema]).await?;
    let found = found(session, schema).await?;
    if found.meta {
        return Ok(());
    }
    if found.tables > 0 {
        let why = format!("the schema {schema} has tables but no table meta");
        return Err(damaged(0, why));
    }
    if !found.schema {
        session.run(&format!("CREATE SCHEMA {}", quoted(schema))).await?;
    }
    session.run(CREATE).await?;
    session.run(&format!("INSERT INTO meta (version) VALUES ({SCHEMA_VERSION})")).await
}

/// What there is under the schema's name.
struct Found {
    schema: bool,
    meta: bool,
    tables: i64,
}

async fn found(session: &mut Session, schema: &str) -> Result<Found, JournalError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
                      count(*) FILTER (WHERE relname = 'meta') > 0, count(*)
               FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
               WHERE nspname = $1 AND relkind IN ('r', 'p')";
    let rows = session.rows(sql, &[&schema]).await?;
    let row = rows.first().ok_or_else(|| unavailable("Postgres gave no answer"))?;
    Ok(Found { schema: cell(row, 0)?, meta: cell(row, 1)?, tables: cell(row, 2)? })
}

async fn check_server(session: &mut Session) -> Result<(), JournalError> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
                      current_setting('fsync'), current_setting('server_version')";
    let rows = session.rows(sql, &[]).await?;
    let row: &Row = rows.first().ok_or_else(|| unavailable("Postgres gave no answer"))?;
    let (version, encoding, fsync, named): (i32, String, String, String) =
        (cell(row, 0)?, cell(row, 1)?, cell(row, 2)?, cell(row, 3)?);
    if version < OLDEST_POSTGRES {
        return Err(unavailable(format!("Postgres {named} is too old: use 13 or later")));
    }
    if encoding != "UTF8" {
        let why = format!("the database is encoded as {encoding}: create it with ENCODING 'UTF8'");
        return Err(unavailable(why));
    }
    if fsync != "on" {
        tracing::warn!(
            "this Postgres runs with fsync = off: what is journaled may be lost when its machine fails"
        );
    }
    Ok(())
}
