//! The minutes table: what each target and rule measured per minute, so that a restart does not blind a target.
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::super::minutes::{Stored, add_minute, times_text};
use super::super::{KEEP_MINUTES, before, sortable};
use super::writer::Store;
use crate::domain::detect::errors::Counts;
use crate::domain::names::TargetId;
use crate::ports::{JournalError, MinuteRow};

const SELECT: &str = "SELECT rule, minute, bad, total, times FROM minutes WHERE target = ?1";

pub(super) fn save(store: &Store, target: &TargetId, rows: &[MinuteRow]) -> Result<(), JournalError> {
    let Some(newest) = rows.iter().map(|row| row.minute).max() else { return Ok(()) };
    let target = target.to_string();
    let sql = "INSERT OR REPLACE INTO minutes (target, rule, minute, bad, total, times)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = store.conn.prepare_cached(sql)?;
    let mut select = store.conn.prepare_cached(&format!("{SELECT} AND minute = ?2 AND rule = ?3"))?;
    for row in rows {
        let mut row = row.clone();
        let key = params![target, sortable(row.minute), row.rule.as_str()];
        if let Some(known) = select.query(key)?.next()? {
            add_minute(&mut row, &stored(known)?);
        }
        let times = times_text(&row)?;
        let MinuteRow { rule, minute, counts, .. } = &row;
        let values = params![target, rule.as_str(), sortable(*minute), counts.bad, counts.total, times];
        insert.execute(values)?;
    }
    let sql = "DELETE FROM minutes WHERE target = ?1 AND minute < ?2";
    store.conn.prepare_cached(sql)?.execute([target, sortable(before(newest, KEEP_MINUTES))])?;
    Ok(())
}

pub(super) fn since(
    store: &Store,
    target: &TargetId,
    since: Timestamp,
) -> Result<Vec<MinuteRow>, JournalError> {
    let sql = format!("{SELECT} AND minute >= ?2 ORDER BY minute, rule");
    let mut select = store.conn.prepare_cached(&sql)?;
    let mut rows = select.query([target.to_string(), sortable(since)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(stored(row)?);
    }
    Ok(found)
}

fn stored(row: &Row<'_>) -> Result<MinuteRow, JournalError> {
    let counts = Counts { bad: row.get(2)?, total: row.get(3)? };
    Stored { rule: row.get(0)?, minute: row.get(1)?, counts, times: row.get(4)? }.parse()
}

/// Also removes the rows of targets that no longer save any.
pub(super) fn prune(store: &Store, before: Timestamp) -> Result<(), JournalError> {
    store.conn.execute("DELETE FROM minutes WHERE minute < ?1", [sortable(before)])?;
    Ok(())
}
