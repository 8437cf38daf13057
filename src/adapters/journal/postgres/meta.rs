//! The one row of the meta table: the epoch, the end of the chain, and the inbox's counters.
use tokio_postgres::Row;

use super::super::chain::Tail;
use super::super::damaged;
use super::connection::{Session, Values, cell};
use super::schema::SCHEMA_VERSION;
use crate::ports::JournalError;

const READ: &str = "SELECT version, epoch, seq, hash, inbox_id, unfolded FROM meta";
/// Waits until no other transaction writes, and lets none until this one has ended.
const LOCK: &str = "SELECT version, epoch, seq, hash, inbox_id, unfolded FROM meta FOR UPDATE";
const SAVE: &str = "
WITH wrote AS (
    INSERT INTO writers (id, transactions) VALUES ($6, $7)
    ON CONFLICT (id) DO UPDATE SET transactions = $7, changed_at = now())
UPDATE meta SET epoch = $1, seq = $2, hash = $3, inbox_id = $4, unfolded = $5";

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Meta {
    pub(super) epoch: u64,
    pub(super) tail: Tail,
    pub(super) inbox_id: i64,
    pub(super) unfolded: u64,
}

impl Meta {
    pub(super) async fn read(session: &mut Session) -> Result<Self, JournalError> {
        Self::of(&session.rows(READ, &[]).await?)
    }

    pub(super) async fn lock(session: &mut Session) -> Result<Self, JournalError> {
        Self::of(&session.rows(LOCK, &[]).await?)
    }

    fn of(rows: &[Row]) -> Result<Self, JournalError> {
        let row = rows.first().ok_or_else(|| damaged(0, "the table meta is empty"))?;
        let found = u32::try_from(cell::<i32>(row, 0)?).unwrap_or_default();
        if found > SCHEMA_VERSION {
            return Err(JournalError::Newer { found, known: SCHEMA_VERSION });
        }
        Ok(Self {
            epoch: unsigned(cell(row, 1)?)?,
            tail: Tail { seq: unsigned(cell(row, 2)?)?, hash: cell(row, 3)? },
            inbox_id: cell(row, 4)?,
            unfolded: unsigned(cell(row, 5)?)?,
        })
    }

    /// Also notes that this is the writer's transaction with this number.
    pub(super) async fn save(
        &self,
        session: &mut Session,
        writer: &str,
        number: i64,
    ) -> Result<(), JournalError> {
        let Self { epoch, tail, inbox_id, unfolded } = self;
        let (epoch, seq, unfolded) = (signed(*epoch)?, signed(tail.seq)?, signed(*unfolded)?);
        let values: Values<'_> = &[&epoch, &seq, &tail.hash, inbox_id, &unfolded, &writer, &number];
        session.execute(SAVE, values).await?;
        Ok(())
    }
}

/// Forgets processes that have not written for a week.
pub(super) async fn prune_writers(session: &mut Session) -> Result<(), JournalError> {
    session.execute("DELETE FROM writers WHERE changed_at < now() - interval '7 days'", &[]).await?;
    Ok(())
}

/// Postgres knows no unsigned numbers: out of range is an error, never another number.
pub(super) fn signed(number: u64) -> Result<i64, JournalError> {
    i64::try_from(number).map_err(|_| damaged(number, "the number is too large"))
}

pub(super) fn unsigned(number: i64) -> Result<u64, JournalError> {
    u64::try_from(number).map_err(|_| damaged(0, format!("{number} stands where only 0 and more can")))
}
