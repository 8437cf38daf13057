//! The outbox table: one row per message and channel, first in first out within an incident.
use jiff::Timestamp;

use super::super::outbox::{
    Change, DEPTH, DUE, END_REPETITIONS, ENQUEUE, FORGET, SETTLE, WAITING_SINCE, given_up, kind_name,
    unreadable, unwritable,
};
use super::super::sortable;
use super::connection::{Values, cell};
use super::meta::unsigned;
use super::writer::Store;
use crate::domain::message::Message;
use crate::ports::{Delivery, JournalError, OutboxRow, Outgoing};

pub(super) async fn enqueue(
    store: &mut Store,
    messages: &[Outgoing],
    at: Timestamp,
) -> Result<(), JournalError> {
    for Outgoing { channel, message } in messages {
        let body = serde_json::to_string(message).map_err(unwritable)?;
        let (kind, at) = (kind_name(message.kind)?, sortable(at));
        let values: Values<'_> = &[&message.key, channel, &message.incident, &kind, &body, &at];
        store.session()?.execute(ENQUEUE, values).await?;
    }
    Ok(())
}

/// What is due, and what cannot be read and is to be dropped.
pub(super) type Due = (Vec<OutboxRow>, Vec<(i64, Delivery)>);

pub(super) async fn due(store: &mut Store, now: Timestamp, limit: usize) -> Result<Due, JournalError> {
    let rows = store.session()?.rows(DUE, &[&sortable(now), &super::sql_limit(limit)]).await?;
    let (mut found, mut dropped) = (Vec::new(), Vec::new());
    for row in &rows {
        let (id, channel, attempts): (i64, String, i32) = (cell(row, 0)?, cell(row, 1)?, cell(row, 3)?);
        match serde_json::from_str::<Message>(cell(row, 2)?) {
            Ok(message) => {
                let attempts = u32::try_from(attempts).unwrap_or_default();
                found.push(OutboxRow { id, channel, message, attempts });
            }
            Err(error) => dropped.push((id, unreadable(id, &error))),
        }
    }
    Ok((found, dropped))
}

pub(super) async fn settle(
    store: &mut Store,
    id: i64,
    now: Timestamp,
    what: &Delivery,
) -> Result<(), JournalError> {
    let Change { state, next_at, why, failed, ends_older } = Change::of(what);
    // Somebody else's words may hold what Postgres' text cannot.
    let why = why.map(|why| why.replace('\0', ""));
    let session = store.session()?;
    let changed = session.execute(SETTLE, &[&state, &next_at, &why, &failed, &sortable(now), &id]).await?;
    if let Some(of_any_kind) = ends_older.filter(|_| changed > 0) {
        session.execute(END_REPETITIONS, &[&sortable(now), &id, &of_any_kind]).await?;
    }
    Ok(())
}

pub(super) async fn depth(store: &mut Store) -> Result<usize, JournalError> {
    let rows = store.session()?.rows(DEPTH, &[]).await?;
    let depth = unsigned(rows.first().map(|row| cell(row, 0)).transpose()?.unwrap_or_default())?;
    Ok(usize::try_from(depth).unwrap_or(usize::MAX))
}

pub(super) async fn prune(store: &mut Store, before: Timestamp, now: Timestamp) -> Result<(), JournalError> {
    let session = store.session()?;
    session.execute(FORGET, &[&sortable(before)]).await?;
    for row in &session.rows(WAITING_SINCE, &[&sortable(before)]).await? {
        let id = cell(row, 0)?;
        settle(store, id, now, &given_up(id)).await?;
    }
    Ok(())
}
