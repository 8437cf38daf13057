//! Messages about rollguard itself.
use jiff::Timestamp;

use super::{Message, MessageKind};
use crate::domain::code::Code;
use crate::domain::event::HouseEvent;
use crate::domain::evidence::clock_time;
use crate::domain::names::ServiceName;

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
    let key = format!("kill-switch/{row}");
    vec![Message {
        incident: key.clone(),
        key,
        kind: MessageKind::Note,
        service: ServiceName::of_house(),
        title: title.to_string(),
        lines,
        targets: Vec::new(),
        code: Some(Code::KillSwitchTurned),
    }]
}
