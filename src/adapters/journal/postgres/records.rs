//! The records table: appending, reading streams and checking the chain.
use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::chain::{Line, Tail};
use super::super::damaged;
use super::connection::{Session, cell};
use super::meta::{Meta, signed, unsigned};
use super::writer::Store;
use crate::domain::event::{RECORD_VERSION, Record, StreamId};
use crate::ports::{JournalError, NewRecord};

const APPEND: &str = "
INSERT INTO records (seq, v, stream, at, epoch, kind, body, prev_hash)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])";
const STREAM: &str =
    "SELECT seq, v, stream, at, epoch, kind, body, prev_hash FROM records WHERE stream = $1 ORDER BY seq";
const AFTER: &str = "SELECT seq, v, stream, at, epoch, kind, body, prev_hash FROM records WHERE seq > $1 ORDER BY seq LIMIT $2";
const ONE: &str = "SELECT seq, v, stream, at, epoch, kind, body, prev_hash FROM records WHERE seq = $1";

pub(super) async fn append(
    store: &mut Store,
    epoch: u64,
    at: Timestamp,
    events: &[NewRecord],
) -> Result<(), JournalError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(events.len());
    for event in events {
        let line = store.meta.tail.next(event, at, epoch);
        store.meta.tail = Tail::of(&line);
        lines.push(line);
    }
    let numbers = |of: fn(&Line) -> u64| lines.iter().map(|l| signed(of(l))).collect::<Result<Vec<_>, _>>();
    let texts = |of: fn(&Line) -> &String| lines.iter().map(|l| of(l).as_str()).collect::<Vec<_>>();
    let (seqs, epochs) = (numbers(|l| l.seq)?, numbers(|l| l.epoch)?);
    let versions = vec![i32::try_from(RECORD_VERSION).unwrap_or(i32::MAX); lines.len()];
    let (streams, ats, kinds) = (texts(|l| &l.stream), texts(|l| &l.at), texts(|l| &l.kind));
    let (bodies, hashes) = (texts(|l| &l.body), texts(|l| &l.prev_hash));
    store
        .session()?
        .execute(APPEND, &[&seqs, &versions, &streams, &ats, &epochs, &kinds, &bodies, &hashes])
        .await?;
    Ok(())
}

pub(super) async fn read(store: &mut Store, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
    let rows = store.session()?.rows(STREAM, &[&stream.as_str()]).await?;
    rows.iter().map(|row| line(row)?.parse()).collect()
}

pub(super) async fn streams(store: &mut Store, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
    // No text that begins with the prefix sorts after the prefix and the last character there is.
    let end = format!("{prefix}{}", char::MAX);
    let sql = "SELECT DISTINCT stream FROM records WHERE stream >= $1 AND stream < $2 ORDER BY stream";
    let rows = store.session()?.rows(sql, &[&prefix, &end]).await?;
    rows.iter().map(|row| Ok(StreamId::stored(cell::<String>(row, 0)?))).collect()
}

/// Checks the last `count` records, and that they end where the meta table says. A record of a newer version anywhere is
/// refused. All as of one moment: another replica may be writing.
pub(super) async fn check_tail(session: &mut Session, count: u64) -> Result<(), JournalError> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let newest = session.rows("SELECT coalesce(max(v), 0) FROM records", &[]).await?;
    let newest = newest.first().map(|row| cell::<i32>(row, 0)).transpose()?;
    let newest = newest.and_then(|v| u32::try_from(v).ok()).unwrap_or_default();
    if newest > RECORD_VERSION {
        return Err(JournalError::Newer { found: newest, known: RECORD_VERSION });
    }
    let meta = Meta::read(session).await?;
    let from = start(session, meta.tail.seq.saturating_sub(count)).await?;
    let reached = check_after(session, from, count + 1).await?;
    if reached != meta.tail {
        let why =
            "the chain does not end where the table meta says: records are missing, were added or altered";
        return Err(damaged(reached.seq, why));
    }
    session.run("COMMIT").await
}

/// The chain's end as of `seq`, taken on trust.
async fn start(session: &mut Session, seq: u64) -> Result<Tail, JournalError> {
    if seq == 0 {
        return Ok(Tail::default());
    }
    let rows = session.rows(ONE, &[&signed(seq)?]).await?;
    let row = rows.first().ok_or_else(|| damaged(seq, "it is missing"))?;
    Ok(Tail::of(&line(row)?))
}

/// Follows the chain from `tail` over at most `count` records.
pub(super) async fn check_after(
    session: &mut Session,
    mut tail: Tail,
    count: u64,
) -> Result<Tail, JournalError> {
    for line in lines_after(session, tail.seq, count).await? {
        tail = tail.follow(&line)?;
    }
    Ok(tail)
}

/// The next `limit` records after `seq`, as they are stored.
pub(super) async fn lines_after(
    session: &mut Session,
    seq: u64,
    limit: u64,
) -> Result<Vec<Line>, JournalError> {
    let rows = session.rows(AFTER, &[&signed(seq)?, &signed(limit)?]).await?;
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> Result<Line, JournalError> {
    Ok(Line {
        seq: unsigned(cell(row, 0)?)?,
        v: u32::try_from(cell::<i32>(row, 1)?).unwrap_or(u32::MAX),
        stream: cell(row, 2)?,
        at: cell(row, 3)?,
        epoch: unsigned(cell(row, 4)?)?,
        kind: cell(row, 5)?,
        body: cell(row, 6)?,
        prev_hash: cell(row, 7)?,
    })
}
