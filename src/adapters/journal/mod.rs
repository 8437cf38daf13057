//! The journal: what happened, what came in and what must go out, durable in SQLite or kept in memory.
pub mod audit;
mod chain;
mod memory;
mod sqlite;

use jiff::{SignedDuration, Timestamp};

pub use memory::MemoryJournal;
pub use sqlite::{SqliteAudit, SqliteJournal};

use crate::ports::MinuteRow;

/// How long rows that are done with are kept, so that a repetition is still recognised as one.
const KEEP_DONE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long one-minute rows are kept.
const KEEP_MINUTES: SignedDuration = SignedDuration::from_hours(24);
/// How often rows that are too old are removed.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// Received and not yet folded rows; more are refused, so that a flood cannot fill the disk.
const INBOX_MAX: usize = 100_000;
/// Why a message that nobody took for [`KEEP_DONE`] is given up.
const TOO_OLD: &str = "not delivered for 7 days";

fn inbox_full() -> crate::ports::JournalError {
    let why = format!(
        "the inbox is full ({INBOX_MAX} items wait to be handled): find out why none are handled, see the log"
    );
    crate::ports::JournalError::Unavailable { why }
}

/// The same minute goes on, after a restart.
fn add_minute(known: &mut MinuteRow, more: &MinuteRow) {
    known.counts.add(more.counts);
    match (&mut known.times, &more.times) {
        (Some(times), Some(more)) => times.add(more),
        (None, Some(more)) => known.times = Some(more.clone()),
        (_, None) => {}
    }
}

fn before(now: Timestamp, age: SignedDuration) -> Timestamp {
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

fn prune_is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PRUNE_EVERY)
}
