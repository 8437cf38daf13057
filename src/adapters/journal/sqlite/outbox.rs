//! The outbox table: one row per message and channel, first in first out within an incident.
use jiff::Timestamp;
use rusqlite::params;

use super::super::TOO_OLD;
use super::writer::Store;
use super::{sortable, sql_limit};
use crate::domain::message::{Message, MessageKind};
use crate::ports::{Delivery, JournalError, OutboxRow, Outgoing};

/// Due rows. A message waits for the earlier ones of its incident, so that no page arrives after its end; and what only
/// repeats gives way to the message that ends it. The doubled condition on the state lets SQLite use the partial index.
pub(super) const DUE: &str = "
SELECT id, channel, body, attempts FROM outbox AS due
WHERE state IN ('waiting', 'repeating') AND next_at <= ?1 AND NOT EXISTS (
    SELECT 1 FROM outbox AS other
    WHERE other.state IN ('waiting', 'repeating') AND other.state = 'waiting'
      AND other.channel = due.channel AND other.incident = due.incident
      AND ((due.state = 'waiting' AND other.id < due.id) OR (due.state = 'repeating' AND other.kind = 'resolve')))
ORDER BY id LIMIT ?2";

/// A message that this channel has already been given is left as it is.
pub(super) fn enqueue(store: &Store, messages: &[Outgoing], at: Timestamp) -> Result<(), JournalError> {
    let sql = "INSERT INTO outbox (key, channel, incident, kind, body, created_at, next_at, changed_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6) ON CONFLICT (key, channel) DO NOTHING";
    let mut insert = store.conn.prepare_cached(sql)?;
    for Outgoing { channel, message } in messages {
        let body = serde_json::to_string(message).map_err(unwritable)?;
        let (kind, at) = (kind_name(message.kind)?, sortable(at));
        insert.execute(params![message.key, channel, message.incident, kind, body, at])?;
    }
    Ok(())
}

fn kind_name(kind: MessageKind) -> Result<String, JournalError> {
    let name = serde_json::to_value(kind).map_err(unwritable)?;
    Ok(name.as_str().unwrap_or_default().to_string())
}

fn unwritable(error: serde_json::Error) -> JournalError {
    JournalError::Unavailable { why: format!("a message cannot be written as JSON: {error}") }
}

pub(super) fn due(store: &Store, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
    let mut select = store.conn.prepare_cached(DUE)?;
    let mut rows = select.query(params![sortable(now), sql_limit(limit)])?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str::<Message>(&row.get::<_, String>(2)?) {
            Ok(message) => found.push(OutboxRow { id, channel, message, attempts: row.get(3)? }),
            Err(error) => unreadable.push((id, error)),
        }
    }
    // Perhaps a later version wrote them; the others must still go out.
    for (id, error) in unreadable {
        tracing::error!(id, %error, "a message in the outbox is unreadable, dropping it");
        settle(store, id, now, &Delivery::Dropped { why: format!("unreadable: {error}") })?;
    }
    Ok(found)
}

pub(super) fn settle(store: &Store, id: i64, now: Timestamp, what: &Delivery) -> Result<(), JournalError> {
    let (state, next_at, why, attempts) = match what {
        Delivery::Done => (Some("done"), None, None, 0),
        Delivery::Repeat { at } => (Some("repeating"), Some(*at), None, 0),
        Delivery::Retry { at, why } => (None, Some(*at), Some(why), 1),
        Delivery::Dropped { why } => (Some("dropped"), None, Some(why), 1),
    };
    // What is over stays over: a late answer does not wake it up. Only failures in a row are counted.
    let sql =
        "UPDATE outbox SET state = coalesce(?2, state), next_at = coalesce(?3, next_at), last_error = ?4,
                   attempts = iif(?5, attempts + 1, 0), changed_at = ?6
               WHERE id = ?1 AND state IN ('waiting', 'repeating')";
    let values = params![id, state, next_at.map(sortable), why, attempts, sortable(now)];
    let changed = store.conn.prepare_cached(sql)?.execute(values)?;
    match what {
        Delivery::Done | Delivery::Dropped { .. } if changed > 0 => end_repetitions(store, id, false, now),
        Delivery::Repeat { .. } if changed > 0 => end_repetitions(store, id, true, now),
        Delivery::Done | Delivery::Dropped { .. } | Delivery::Repeat { .. } | Delivery::Retry { .. } => {
            Ok(())
        }
    }
}

/// The incident's end was told to this channel (or cannot be), or a newer page: what repeats there from before does so no
/// more.
fn end_repetitions(store: &Store, id: i64, repeats: bool, now: Timestamp) -> Result<(), JournalError> {
    let sql = "UPDATE outbox SET state = 'done', changed_at = ?2
               FROM (SELECT channel, incident FROM outbox WHERE id = ?1 AND (?3 OR kind = 'resolve')) AS ended
               WHERE state = 'repeating' AND outbox.id < ?1 AND outbox.channel = ended.channel AND outbox.incident = ended.incident";
    store.conn.prepare_cached(sql)?.execute(params![id, sortable(now), repeats])?;
    Ok(())
}

pub(super) fn depth(store: &Store) -> Result<usize, JournalError> {
    let sql = "SELECT count(*) FROM outbox WHERE state IN ('waiting', 'repeating') AND state = 'waiting'";
    Ok(store.conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0))? as usize)
}

pub(super) fn prune(store: &Store, before: Timestamp, now: Timestamp) -> Result<(), JournalError> {
    let sql = "DELETE FROM outbox WHERE state IN ('done', 'dropped') AND changed_at < ?1";
    store.conn.execute(sql, [sortable(before)])?;
    let sql = "SELECT id FROM outbox WHERE state = 'waiting' AND created_at < ?1";
    let mut select = store.conn.prepare(sql)?;
    let given_up =
        select.query_map([sortable(before)], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for id in given_up {
        tracing::error!(id, "a message was given up: {TOO_OLD}");
        settle(store, id, now, &Delivery::Dropped { why: TOO_OLD.into() })?;
    }
    Ok(())
}
