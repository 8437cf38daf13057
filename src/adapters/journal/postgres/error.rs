//! From Postgres' errors to the journal's: damaged, or out of order with what to do about it.
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use super::super::damaged;
use crate::adapters::outbound::shorten;
use crate::adapters::postgres::told;
use crate::ports::JournalError;

pub(super) fn unavailable(why: impl Into<String>) -> JournalError {
    JournalError::Unavailable { why: why.into() }
}

pub(super) fn explain(error: &Error) -> JournalError {
    match error.as_db_error() {
        Some(db) => refused(db),
        None => {
            let why = told(error);
            let advice = "check that Postgres runs, the host and port of the journal's url, and `tls`";
            unavailable(format!("{why}; {advice}"))
        }
    }
}

fn refused(db: &DbError) -> JournalError {
    let said = shorten(db.message());
    let code = db.code();
    let advice = if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        return damaged(0, said);
    } else if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN {
        return damaged(0, format!("{said}, though the journal was set up"));
    } else if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
        "check the user and the password in the journal's url, and the server's pg_hba.conf"
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        "create it: CREATE DATABASE … ENCODING 'UTF8'"
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        "give this user its own schema: CREATE SCHEMA … AUTHORIZATION …"
    } else if *code == SqlState::DISK_FULL {
        "free some space on the database server"
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        "raise max_connections, each replica needs one"
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        "name the primary in the journal's url"
    } else if *code == SqlState::QUERY_CANCELED {
        "the server is slow, or another session holds a lock: see pg_stat_activity"
    } else if [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN]
        .contains(code)
    {
        "it is starting or stopping"
    } else {
        "see the log of Postgres"
    };
    unavailable(format!("Postgres: {said}; {advice}"))
}
