//! The minutes table: what each target and rule measured per minute, so that a restart does not blind a target.
use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::minutes::{Stored, add_minute, times_text};
use super::super::{KEEP_MINUTES, before, sortable};
use super::connection::cell;
use super::writer::Store;
use crate::domain::detect::errors::Counts;
use crate::domain::names::TargetId;
use crate::ports::{JournalError, MinuteRow};

const ONE: &str =
    "SELECT rule, minute, bad, total, times FROM minutes WHERE target = $1 AND rule = $2 AND minute = $3";
const SINCE: &str = "SELECT rule, minute, bad, total, times FROM minutes WHERE target = $1 AND minute >= $2 ORDER BY minute, rule";
const SAVE: &str = "
INSERT INTO minutes (target, rule, minute, bad, total, times) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (target, rule, minute) DO UPDATE SET bad = $4, total = $5, times = $6";
const FORGET: &str = "DELETE FROM minutes WHERE target = $1 AND minute < $2";

pub(super) async fn save(
    store: &mut Store,
    target: &TargetId,
    rows: &[MinuteRow],
) -> Result<(), JournalError> {
    let Some(newest) = rows.iter().map(|row| row.minute).max() else { return Ok(()) };
    let target = target.to_string();
    let session = store.session()?;
    for row in rows {
        let mut row = row.clone();
        let (rule, minute) = (row.rule.as_str().to_string(), sortable(row.minute));
        if let Some(known) = session.rows(ONE, &[&target, &rule, &minute]).await?.first() {
            add_minute(&mut row, &stored(known)?);
        }
        let (times, Counts { bad, total }) = (times_text(&row)?, row.counts);
        session.execute(SAVE, &[&target, &rule, &minute, &bad, &total, &times]).await?;
    }
    session.execute(FORGET, &[&target, &sortable(before(newest, KEEP_MINUTES))]).await?;
    Ok(())
}

pub(super) async fn since(
    store: &mut Store,
    target: &TargetId,
    since: Timestamp,
) -> Result<Vec<MinuteRow>, JournalError> {
    let rows = store.session()?.rows(SINCE, &[&target.to_string(), &sortable(since)]).await?;
    rows.iter().map(stored).collect()
}

fn stored(row: &Row) -> Result<MinuteRow, JournalError> {
    let counts = Counts { bad: cell(row, 2)?, total: cell(row, 3)? };
    Stored { rule: cell(row, 0)?, minute: cell(row, 1)?, counts, times: cell(row, 4)? }.parse()
}

/// Also removes the rows of targets that no longer save any.
pub(super) async fn prune(store: &mut Store, before: Timestamp) -> Result<(), JournalError> {
    store.session()?.execute("DELETE FROM minutes WHERE minute < $1", &[&sortable(before)]).await?;
    Ok(())
}
