//! The outbox table: one row per message and channel, first in first out within an incident.
use jiff::Timestamp;
use rusqlite::params;

use super::super::outbox::{
    Change, DEPTH, DUE, END_REPETITIONS, ENQUEUE, FORGET, SETTLE, WAITING_SINCE, given_up, kind_name,
    unreadable, unwritable,
};
use super::super::sortable;
use super::sql_limit;
use super::writer::Store;
use crate::domain::message::Message;
use crate::ports::{Delivery, JournalError, OutboxRow, Outgoing};

pub(super) fn enqueue(store: &Store, messages: &[Outgoing], at: Timestamp) -> Result<(), JournalError> {
    let mut insert = store.conn.prepare_cached(ENQUEUE)?;
    for Outgoing { channel, message } in messages {
        let body = serde_json::to_string(message).map_err(unwritable)?;
        let (kind, at) = (kind_name(message.kind)?, sortable(at));
        insert.execute(params![message.key, channel, message.incident, kind, body, at])?;
    }
    Ok(())
}

pub(super) fn due(store: &Store, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
    let mut select = store.conn.prepare_cached(DUE)?;
    let mut rows = select.query(params![sortable(now), sql_limit(limit)])?;
    let (mut found, mut dropped) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str::<Message>(&row.get::<_, String>(2)?) {
            Ok(message) => found.push(OutboxRow { id, channel, message, attempts: row.get(3)? }),
            Err(error) => dropped.push((id, unreadable(id, &error))),
        }
    }
    for (id, delivery) in dropped {
        settle(store, id, now, &delivery)?;
    }
    Ok(found)
}

pub(super) fn settle(store: &Store, id: i64, now: Timestamp, what: &Delivery) -> Result<(), JournalError> {
    let Change { state, next_at, why, failed, ends_older } = Change::of(what);
    let values = params![state, next_at, why, failed, sortable(now), id];
    let changed = store.conn.prepare_cached(SETTLE)?.execute(values)?;
    if let Some(of_any_kind) = ends_older.filter(|_| changed > 0) {
        store.conn.prepare_cached(END_REPETITIONS)?.execute(params![sortable(now), id, of_any_kind])?;
    }
    Ok(())
}

pub(super) fn depth(store: &Store) -> Result<usize, JournalError> {
    Ok(store.conn.prepare_cached(DEPTH)?.query_row([], |row| row.get::<_, u32>(0))? as usize)
}

pub(super) fn prune(store: &Store, before: Timestamp, now: Timestamp) -> Result<(), JournalError> {
    store.conn.execute(FORGET, [sortable(before)])?;
    let mut select = store.conn.prepare(WAITING_SINCE)?;
    let old = select.query_map([sortable(before)], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for id in old {
        settle(store, id, now, &given_up(id))?;
    }
    Ok(())
}
