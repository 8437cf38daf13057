//! The inbox table: what came from outside, once per key, until it is folded.
use jiff::Timestamp;

use super::super::{INBOX_MAX, inbox_full, sortable, stored_json, stored_time};
use super::connection::cell;
use super::writer::Store;
use crate::ports::{InboxItem, InboxRow, JournalError, Received};

const RECEIVE: &str =
    "INSERT INTO inbox (id, key, kind, body, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING";
const OPEN: &str = "SELECT id, kind, body, at FROM inbox WHERE folded_at IS NULL ORDER BY id LIMIT $1";
const FOLD: &str = "UPDATE inbox SET folded_at = $2 WHERE id = ANY ($1) AND folded_at IS NULL";

/// Ids come from the locked row and not from a sequence: a row with a lower id is never seen after one with a higher id,
/// whichever replica received them.
pub(super) async fn receive(store: &mut Store, item: &InboxItem) -> Result<Received, JournalError> {
    let id = store.meta.inbox_id + 1;
    let (body, at) = (item.body.to_string(), sortable(item.at));
    if store.session()?.execute(RECEIVE, &[&id, &item.key, &item.kind, &body, &at]).await? == 0 {
        return Ok(Received::Duplicate);
    }
    store.meta.inbox_id = id;
    store.meta.unfolded += 1;
    if store.meta.unfolded > INBOX_MAX as u64 {
        return Err(inbox_full());
    }
    Ok(Received::New(id))
}

pub(super) async fn unfolded(store: &mut Store, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
    let mut found = Vec::new();
    for row in &store.session()?.rows(OPEN, &[&super::sql_limit(limit)]).await? {
        let (id, body, at): (i64, String, String) = (cell(row, 0)?, cell(row, 2)?, cell(row, 3)?);
        let body = stored_json(&body, &format!("the body of inbox row {id}"))?;
        found.push(InboxRow { id, kind: cell(row, 1)?, body, at: stored_time(&at)? });
    }
    Ok(found)
}

pub(super) async fn fold(store: &mut Store, ids: &[i64], at: Timestamp) -> Result<(), JournalError> {
    if !ids.is_empty() {
        let folded = store.session()?.execute(FOLD, &[&ids, &sortable(at)]).await?;
        store.meta.unfolded = store.meta.unfolded.saturating_sub(folded);
    }
    Ok(())
}

pub(super) async fn prune(store: &mut Store, before: Timestamp) -> Result<(), JournalError> {
    store.session()?.execute("DELETE FROM inbox WHERE folded_at < $1", &[&sortable(before)]).await?;
    Ok(())
}
