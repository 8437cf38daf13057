//! Messages about rollguard itself.
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Message, MessageKind, titled};
use crate::domain::code::Code;
use crate::domain::event::HouseEvent;
use crate::domain::evidence::clock_time;
use crate::domain::names::ServiceName;
use crate::domain::release::hex;

/// Messages that an event about all services causes. `row` is the order's number in the inbox.
pub fn of_house(event: &HouseEvent, row: i64, at: Timestamp) -> Vec<Message> {
    let (title, by, reason, next) = match event {
        HouseEvent::KillSwitchOn { by, reason } => (
            "[STOPPED] The kill switch is on",
            by,
            reason,
            "Nothing is rolled back, not even by order; releases are judged and paged as before. To go on: rollguard kill off",
        ),
        HouseEvent::KillSwitchOff { by, reason } => (
            "[ON] The kill switch is off",
            by,
            reason,
            "Rollbacks that it stopped wait for a person: rollguard status lists them, rollguard resume goes on",
        ),
        HouseEvent::Configured { .. } => return Vec::new(),
    };
    let reason = if reason.is_empty() { "none given" } else { reason };
    let lines =
        vec![format!("By: {by}, at {} UTC", clock_time(at)), format!("Reason: {reason}"), next.to_string()];
    let incident = format!("kill-switch/{row}");
    let kind = MessageKind::Note;
    vec![Message {
        key: incident.clone(),
        ..of_rollguard(incident, kind, title, lines, Code::KillSwitchTurned)
    }]
}

/// rollguard could not start, or had to stop. The same reason is the same incident, however often it is tried.
pub fn cannot_guard(why: &str, at: Timestamp) -> Message {
    let digest = hex(&Sha256::digest(why));
    let incident = format!("cannot-guard/{}", digest.get(..12).unwrap_or(&digest));
    let lines = vec![
        format!("Reason: {why}"),
        format!("Time: {} UTC", clock_time(at)),
        "No release is judged and no rollback goes on until it runs again; what was under way is kept"
            .to_string(),
    ];
    let title = "[PAGE] rollguard cannot guard";
    of_rollguard(incident, MessageKind::Page, title, lines, Code::CannotStart)
}

/// The journal has not been writable since then.
pub fn journal_unwritable(why: &str, since: Timestamp) -> Message {
    let lines = vec![
        format!("Reason: {why}"),
        format!("Since: {} UTC", clock_time(since)),
        "Nothing is changed until it can be written again; then it goes on by itself".to_string(),
    ];
    let title = "[PAGE] The journal cannot be written";
    of_rollguard(outage(since), MessageKind::Page, title, lines, Code::JournalUnwritable)
}

/// It can be written again.
pub fn journal_writable(since: Timestamp, at: Timestamp) -> Message {
    let lines = vec![format!("It could not be written from {} to {} UTC", clock_time(since), clock_time(at))];
    let title = "[RESOLVED] The journal is written again";
    of_rollguard(outage(since), MessageKind::Resolve, title, lines, Code::PageOver)
}

fn outage(since: Timestamp) -> String {
    format!("journal/{}", since.as_second())
}

fn of_rollguard(incident: String, kind: MessageKind, title: &str, lines: Vec<String>, code: Code) -> Message {
    Message {
        key: format!("{incident}/{}", kind.as_str()),
        incident,
        kind,
        service: ServiceName::of_house(),
        title: titled(title.to_string(), kind, code),
        lines,
        targets: Vec::new(),
        code: Some(code),
        facts: None,
        level: 0,
    }
}
