//! The records table: the epoch, appending, reading streams and checking the chain.
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::super::chain::{Line, Tail};
use super::number::Number;
use super::writer::Store;
use crate::domain::event::{RECORD_VERSION, Record, StreamId};
use crate::ports::{JournalError, NewRecord};

const COLUMNS: &str = "seq, v, stream, at, epoch, kind, body, prev_hash";

pub(super) fn claim(store: &mut Store) -> Result<u64, JournalError> {
    let sql = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value";
    Ok(store.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(|Number(epoch)| epoch)?)
}

pub(super) fn epoch(store: &Store) -> Result<u64, JournalError> {
    let sql = "SELECT value FROM meta WHERE key = 'epoch'";
    Ok(store.conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(|Number(epoch)| epoch)?)
}

/// Refuses an epoch that is not the current one.
pub(super) fn check_epoch(store: &Store, ours: u64) -> Result<(), JournalError> {
    let current = epoch(store)?;
    if current == ours { Ok(()) } else { Err(JournalError::Stale { ours, current }) }
}

pub(super) fn append(
    store: &mut Store,
    epoch: u64,
    at: Timestamp,
    events: &[NewRecord],
) -> Result<(), JournalError> {
    let sql = format!("INSERT INTO records ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let mut insert = store.conn.prepare_cached(&sql)?;
    for event in events {
        let line = store.known.tail.next(event, at, epoch);
        insert.execute(params![
            Number(line.seq),
            line.v,
            line.stream,
            line.at,
            Number(line.epoch),
            line.kind,
            line.body,
            line.prev_hash
        ])?;
        store.known.tail = Tail::of(&line);
    }
    Ok(())
}

pub(super) fn read(store: &Store, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM records WHERE stream = ?1 ORDER BY seq");
    let mut select = store.conn.prepare_cached(&sql)?;
    let lines = select.query_map([stream.as_str()], line)?;
    lines.map(|line| line?.parse()).collect()
}

pub(super) fn streams(store: &Store, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
    // No text that begins with the prefix sorts after the prefix and the last character there is.
    let end = format!("{prefix}{}", char::MAX);
    let sql = "SELECT DISTINCT stream FROM records WHERE stream >= ?1 AND stream < ?2 ORDER BY stream";
    let mut select = store.conn.prepare_cached(sql)?;
    let names = select.query_map([prefix, &end], |row| row.get::<_, String>(0))?;
    names.map(|name| Ok(StreamId::stored(name?))).collect()
}

/// Checks the last `count` records and returns the end of the chain. A record of a newer version anywhere is refused.
pub(super) fn check_tail(conn: &Connection, count: u64) -> Result<Tail, JournalError> {
    let (newest, Number(last)): (u32, Number) =
        conn.query_row("SELECT coalesce(max(v), 0), coalesce(max(seq), 0) FROM records", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if newest > RECORD_VERSION {
        return Err(JournalError::Newer { found: newest, known: RECORD_VERSION });
    }
    check_after(conn, start(conn, last.saturating_sub(count))?, count)
}

/// The chain's end as of `seq`, taken on trust.
fn start(conn: &Connection, seq: u64) -> Result<Tail, JournalError> {
    if seq == 0 {
        return Ok(Tail::default());
    }
    let sql = format!("SELECT {COLUMNS} FROM records WHERE seq = ?1");
    match conn.prepare_cached(&sql)?.query_row([Number(seq)], line) {
        Ok(line) => Ok(Tail::of(&line)),
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            Err(JournalError::Damaged { seq, why: "it is missing".into() })
        }
        Err(e) => Err(e.into()),
    }
}

/// Follows the chain from `tail` over at most `count` records.
pub(super) fn check_after(conn: &Connection, mut tail: Tail, count: u64) -> Result<Tail, JournalError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for line in lines_after(conn, tail.seq, count)? {
        tail = tail.follow(&line)?;
    }
    Ok(tail)
}

/// The next `limit` records after `seq`, as they are stored.
pub(super) fn lines_after(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<Line>, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM records WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let mut select = conn.prepare_cached(&sql)?;
    let lines = select.query_map(params![Number(seq), super::sql_limit(limit)], line)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        seq: row.get::<_, Number>(0)?.0,
        v: row.get(1)?,
        stream: row.get(2)?,
        at: row.get(3)?,
        epoch: row.get::<_, Number>(4)?.0,
        kind: row.get(5)?,
        body: row.get(6)?,
        prev_hash: row.get(7)?,
    })
}
