//! The journal: what happened, what came in and what must go out, durable in SQLite or Postgres, or kept in memory.
pub mod audit;
mod chain;
mod memory;
mod minutes;
mod outbox;
mod postgres;
mod sqlite;

use jiff::{SignedDuration, Timestamp};

pub use memory::MemoryJournal;
pub use postgres::{PostgresAudit, PostgresJournal, PostgresOptions, TlsMode};
pub use sqlite::{SqliteAudit, SqliteJournal};

use crate::ports::JournalError;
use crate::telemetry::{Metric, Stopwatch};

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

fn inbox_full() -> JournalError {
    let why = format!(
        "the inbox is full ({INBOX_MAX} items wait to be handled): find out why none are handled, see the log"
    );
    JournalError::Unavailable { why }
}

fn before(now: Timestamp, age: SignedDuration) -> Timestamp {
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

fn prune_is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PRUNE_EVERY)
}

/// Text that sorts as the times do.
fn sortable(at: Timestamp) -> String {
    format!("{at:.9}")
}

fn stored_time(text: &str) -> Result<Timestamp, JournalError> {
    text.parse().map_err(|e| damaged(0, format!("{text:?} is no time: {e}")))
}

/// `what` names it in the error.
fn stored_json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|e| damaged(0, format!("{what} is unreadable: {e}")))
}

fn damaged(seq: u64, why: impl Into<String>) -> JournalError {
    JournalError::Damaged { seq, why: why.into() }
}

/// Counts and logs what went wrong; that another process took over is no fault of the journal.
fn noted<T>(result: Result<T, JournalError>) -> Result<T, JournalError> {
    match &result {
        Ok(_) | Err(JournalError::Stale { .. }) => {}
        Err(error) => {
            Metric::JournalErrorsTotal.add(1, Vec::new());
            tracing::error!(%error, "journal");
        }
    }
    result
}

/// How long a write that worked took.
async fn timed<T>(write: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
    let began = Stopwatch::start();
    let result = write.await;
    if result.is_ok() {
        Metric::JournalSeconds.observe(began.elapsed().as_secs_f64(), Vec::new());
    }
    result
}
