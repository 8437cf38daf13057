//! The journal, as the engine uses it: one contract for all adapters, what the file survives, and the golden journal.
pub(crate) mod contract;
mod golden;
mod sqlite;
mod story;

use jiff::{SignedDuration, Timestamp};
use rollguard::domain::event::StreamId;
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::ServiceName;
use rollguard::ports::{Commit, InboxItem, NewRecord, Outgoing};
use serde_json::{Value, json};

/// Seconds after a fixed start.
pub(crate) fn at(secs: i64) -> Timestamp {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(secs)
}

pub(crate) fn days(n: i64) -> i64 {
    n * 24 * 3600
}

pub(crate) fn event(run: &str, body: Value) -> NewRecord {
    NewRecord { stream: StreamId::run(run), kind: "opened".into(), body }
}

pub(crate) fn events(events: Vec<NewRecord>) -> Commit {
    Commit { at: at(0), events, ..Commit::default() }
}

pub(crate) fn item(key: &str) -> InboxItem {
    InboxItem { key: key.into(), kind: "alert".into(), body: json!({ "key": key }), at: at(0) }
}

pub(crate) fn message(channel: &str, incident: &str, what: &str, kind: MessageKind) -> Outgoing {
    let message = Message {
        key: format!("{incident}/{what}"),
        incident: incident.into(),
        kind,
        service: ServiceName::parse("shop").unwrap(),
        title: format!("[{what}]"),
        lines: vec!["because".into()],
        targets: vec![],
        code: None,
        facts: None,
        level: 0,
    };
    Outgoing { channel: channel.into(), message }
}

pub(crate) fn messages(messages: Vec<Outgoing>) -> Commit {
    Commit { at: at(0), messages, ..Commit::default() }
}
