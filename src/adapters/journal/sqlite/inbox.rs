//! The inbox table: what came from outside, once per key, until it is folded.
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::super::{INBOX_MAX, inbox_full, sortable, stored_json, stored_time};
use super::writer::Store;
use crate::ports::{InboxItem, InboxRow, JournalError, Received};

pub(super) fn receive(store: &mut Store, item: &InboxItem) -> Result<Received, JournalError> {
    let sql = "INSERT INTO inbox (key, kind, body, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO NOTHING";
    let values = params![item.key, item.kind, item.body.to_string(), sortable(item.at)];
    if store.conn.prepare_cached(sql)?.execute(values)? == 0 {
        return Ok(Received::Duplicate);
    }
    store.known.unfolded += 1;
    if store.known.unfolded > INBOX_MAX {
        return Err(inbox_full());
    }
    Ok(Received::New(store.conn.last_insert_rowid()))
}

pub(super) fn unfolded(store: &Store, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
    let sql = "SELECT id, kind, body, at FROM inbox WHERE folded_at IS NULL ORDER BY id LIMIT ?1";
    let mut select = store.conn.prepare_cached(sql)?;
    let mut rows = select.query([super::sql_limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, body, at): (i64, String, String) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let body = stored_json(&body, &format!("the body of inbox row {id}"))?;
        found.push(InboxRow { id, kind: row.get(1)?, body, at: stored_time(&at)? });
    }
    Ok(found)
}

pub(super) fn fold(store: &mut Store, ids: &[i64], at: Timestamp) -> Result<(), JournalError> {
    let sql = "UPDATE inbox SET folded_at = ?2 WHERE id = ?1 AND folded_at IS NULL";
    let mut update = store.conn.prepare_cached(sql)?;
    for id in ids {
        let folded = update.execute(params![id, sortable(at)])?;
        store.known.unfolded = store.known.unfolded.saturating_sub(folded);
    }
    Ok(())
}

pub(super) fn prune(store: &Store, before: Timestamp) -> Result<(), JournalError> {
    store.conn.execute("DELETE FROM inbox WHERE folded_at < ?1", [sortable(before)])?;
    Ok(())
}

pub(super) fn count_unfolded(conn: &Connection) -> Result<usize, JournalError> {
    let sql = "SELECT count(*) FROM inbox WHERE folded_at IS NULL";
    Ok(conn.query_row(sql, [], |row| row.get::<_, u32>(0))? as usize)
}
