//! The outbox in SQL, as both databases read it: what is due, and what a delivery changes.
use super::sortable;
use crate::domain::message::MessageKind;
use crate::ports::{Delivery, JournalError};

// SQLite takes `$1` for a name and numbers names as they come: the first mentions must be in order.

/// Due rows. A message waits for the earlier ones of its incident, so that no page arrives after its end; and what only
/// repeats gives way to the message that ends it. The doubled condition on the state lets SQLite use the partial index.
pub(super) const DUE: &str = "
SELECT id, channel, body, attempts FROM outbox AS due
WHERE state IN ('waiting', 'repeating') AND next_at <= $1 AND NOT EXISTS (
    SELECT 1 FROM outbox AS other
    WHERE other.state IN ('waiting', 'repeating') AND other.state = 'waiting'
      AND other.channel = due.channel AND other.incident = due.incident
      AND ((due.state = 'waiting' AND other.id < due.id) OR (due.state = 'repeating' AND other.kind = 'resolve')))
ORDER BY id LIMIT $2";

/// A message that this channel has already been given is left as it is.
pub(super) const ENQUEUE: &str = "
INSERT INTO outbox (key, channel, incident, kind, body, created_at, next_at, changed_at)
VALUES ($1, $2, $3, $4, $5, $6, $6, $6) ON CONFLICT (key, channel) DO NOTHING";

/// What is over stays over: a late answer does not wake it up. Only failures in a row are counted.
pub(super) const SETTLE: &str = "
UPDATE outbox SET state = coalesce($1, state), next_at = coalesce($2, next_at), last_error = $3,
       attempts = CASE WHEN $4 THEN attempts + 1 ELSE 0 END, changed_at = $5
WHERE id = $6 AND state IN ('waiting', 'repeating')";

/// The incident's end was told to this channel (or cannot be), or a newer page: what repeats there from before does so no
/// more.
pub(super) const END_REPETITIONS: &str = "
UPDATE outbox SET state = 'done', changed_at = $1
FROM (SELECT id, channel, incident FROM outbox WHERE id = $2 AND ($3 OR kind = 'resolve')) AS ended
WHERE outbox.state = 'repeating' AND outbox.id < ended.id
  AND outbox.channel = ended.channel AND outbox.incident = ended.incident";

pub(super) const DEPTH: &str =
    "SELECT count(*) FROM outbox WHERE state IN ('waiting', 'repeating') AND state = 'waiting'";

pub(super) const FORGET: &str = "DELETE FROM outbox WHERE state IN ('done', 'dropped') AND changed_at < $1";

pub(super) const WAITING_SINCE: &str = "SELECT id FROM outbox WHERE state = 'waiting' AND created_at < $1";

/// What a delivery changes in its row.
pub(super) struct Change {
    pub(super) state: Option<&'static str>,
    pub(super) next_at: Option<String>,
    pub(super) why: Option<String>,
    pub(super) failed: bool,
    /// Whether older repetitions may end with it, and whether they do whatever kind of message it is.
    pub(super) ends_older: Option<bool>,
}

impl Change {
    pub(super) fn of(delivery: &Delivery) -> Self {
        let (state, next_at, why, failed) = match delivery {
            Delivery::Done => (Some("done"), None, None, false),
            Delivery::Repeat { at } => (Some("repeating"), Some(*at), None, false),
            Delivery::Retry { at, why } => (None, Some(*at), Some(why), true),
            Delivery::Dropped { why } => (Some("dropped"), None, Some(why), true),
        };
        let ends_older = match delivery {
            Delivery::Done | Delivery::Dropped { .. } => Some(false),
            Delivery::Repeat { .. } => Some(true),
            Delivery::Retry { .. } => None,
        };
        Self { state, next_at: next_at.map(sortable), why: why.cloned(), failed, ends_older }
    }
}

pub(super) fn kind_name(kind: MessageKind) -> Result<String, JournalError> {
    let name = serde_json::to_value(kind).map_err(unwritable)?;
    Ok(name.as_str().unwrap_or_default().to_string())
}

pub(super) fn unwritable(error: serde_json::Error) -> JournalError {
    JournalError::Unavailable { why: format!("a message cannot be written as JSON: {error}") }
}

/// Perhaps a later version wrote it; the others must still go out.
pub(super) fn unreadable(id: i64, error: &serde_json::Error) -> Delivery {
    tracing::error!(id, %error, "a message in the outbox is unreadable, dropping it");
    Delivery::Dropped { why: format!("unreadable: {error}") }
}

pub(super) fn given_up(id: i64) -> Delivery {
    tracing::error!(id, "a message was given up: {}", super::TOO_OLD);
    Delivery::Dropped { why: super::TOO_OLD.into() }
}
