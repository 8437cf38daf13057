//! The minutes table: one-minute counts per target and rule, so that a restart does not blind a target.
use jiff::Timestamp;
use rusqlite::params;

use super::super::{KEEP_MINUTES, before};
use super::error::damaged;
use super::writer::Store;
use super::{sortable, stored_time};
use crate::domain::detect::errors::Counts;
use crate::domain::names::{RuleName, TargetId};
use crate::ports::{JournalError, MinuteRow};

pub(super) fn save(store: &Store, target: &TargetId, rows: &[MinuteRow]) -> Result<(), JournalError> {
    let Some(newest) = rows.iter().map(|row| row.minute).max() else { return Ok(()) };
    let target = target.to_string();
    let sql = "INSERT INTO minutes (target, rule, minute, bad, total) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET bad = bad + excluded.bad, total = total + excluded.total";
    let mut insert = store.conn.prepare_cached(sql)?;
    for MinuteRow { rule, minute, counts } in rows {
        insert.execute(params![target, rule.as_str(), sortable(*minute), counts.bad, counts.total])?;
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
    let sql = "SELECT rule, minute, bad, total FROM minutes WHERE target = ?1 AND minute >= ?2
               ORDER BY minute, rule";
    let mut select = store.conn.prepare_cached(sql)?;
    let mut rows = select.query([target.to_string(), sortable(since)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (rule, minute): (String, String) = (row.get(0)?, row.get(1)?);
        let rule = RuleName::parse(rule).map_err(|e| damaged(0, format!("in the one-minute counts: {e}")))?;
        let counts = Counts { bad: row.get(2)?, total: row.get(3)? };
        found.push(MinuteRow { rule, minute: stored_time(&minute)?, counts });
    }
    Ok(found)
}

/// Also removes the rows of targets that no longer save any.
pub(super) fn prune(store: &Store, before: Timestamp) -> Result<(), JournalError> {
    store.conn.execute("DELETE FROM minutes WHERE minute < ?1", [sortable(before)])?;
    Ok(())
}
