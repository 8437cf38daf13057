//! Messages about an approval that is asked for: what counts, what nobody answered, and who has it in hand.
use jiff::Timestamp;

use super::run::{about, action, answered, ask, by_hand, details};
use super::{Message, MessageKind, titled};
use crate::domain::code::Code;
use crate::domain::event::RunOpened;
use crate::domain::evidence::{clock_time, count_of};
use crate::domain::memory::TargetMemory;
use crate::domain::names::TargetId;
use crate::domain::policy::asking::Then;
use crate::domain::run::{Phase, Run};

/// An approval that is enough begins the rollback; another one is told.
pub(super) fn approved(
    after: &Run,
    opened: &RunOpened,
    by: &str,
    glass: Option<&str>,
    at: Timestamp,
) -> Vec<Message> {
    if !matches!(after.phase, Phase::Executing { .. }) {
        let needed = opened.approval.as_ref().map_or(1, |ask| ask.needed);
        let missing = needed.saturating_sub(after.asked.by.len());
        let title = format!("[APPROVED] {} of {needed}, {missing} more must approve", after.asked.by.len());
        let lines = vec![format!("Approved at {} UTC by {by}", clock_time(at)), details(opened)];
        let key = format!("approved-{}", after.asked.by.len());
        return vec![about(opened, &key, (MessageKind::Note, Code::RollbackAsked), &title, lines)];
    }
    let mut messages = vec![action(after, opened, at), answered(opened, "approved", by, at)];
    messages.extend(glass.map(|reason| broken(opened, by, reason, at)));
    messages
}

/// Whoever is responsible hears of it at once, apart from the incident itself.
fn broken(opened: &RunOpened, by: &str, reason: &str, at: Timestamp) -> Message {
    let lines = vec![
        format!("Reason: {reason}"),
        format!("By: {by}, at {} UTC, without the approvals that the policy asks for", clock_time(at)),
        details(opened),
    ];
    let kind = (MessageKind::Page, Code::BrokenGlass);
    Message {
        incident: glass_incident(opened),
        ..about(opened, "break-glass", kind, "[BREAK GLASS] Rolled back without approval", lines)
    }
}

fn glass_incident(opened: &RunOpened) -> String {
    format!("{}/break-glass", opened.run)
}

/// The page about a broken glass is over with the run, at the latest.
pub(super) fn mended(after: &Run, opened: &RunOpened) -> Option<Message> {
    after.asked.broke_glass.as_ref()?;
    let kind = (MessageKind::Resolve, Code::PageOver);
    let lines = vec![details(opened)];
    let title = "[RESOLVED] The rollback without approval is over";
    Some(Message { incident: glass_incident(opened), ..about(opened, "mended", kind, title, lines) })
}

/// Nobody has answered for so long as the policy waits. How a held one closes is told as the run's end.
pub(super) fn unanswered(after: &Run, opened: &RunOpened, then: Then, at: Timestamp) -> Vec<Message> {
    let n = after.asked.reminded;
    let reminders = opened.approval.iter().flat_map(|ask| &ask.reminders).take(n);
    let level = reminders.filter(|reminder| reminder.then == Then::Escalate).count();
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    let again = |code, title: &str| {
        let lines = ask(opened);
        vec![Message {
            level,
            ..about(opened, &format!("ask-{}", n + 1), (MessageKind::Ask, code), title, lines)
        }]
    };
    match then {
        Then::PageAgain => again(Code::RollbackAsked, "[ASK] Nobody has answered: approve the rollback?"),
        Then::Escalate => again(Code::Escalated, "[ESCALATED] Nobody has answered: approve the rollback?"),
        Then::Rollback => {
            vec![
                action(after, opened, at),
                answered(opened, "answered, and the policy rolls back", "nobody", at),
            ]
        }
        Then::Hold => Vec::new(),
    }
}

/// How a question ends that nobody answered and that is not to page.
pub(super) fn held(opened: &RunOpened) -> Vec<String> {
    let after = opened.approval.as_ref().map_or(0, |ask| ask.reminders.len());
    let asked =
        format!("Asked {}, and nobody answered: the policy lets it be", count_of(after.max(1), "time"));
    by_hand(vec![format!("Reason for the rollback: {}", opened.decided.reason), asked], opened)
}

pub(super) fn acknowledged(opened: &RunOpened, by: &str, at: Timestamp) -> Message {
    let lines = vec![format!("Since {} UTC; until it expires, only a person decides", clock_time(at))];
    let title = format!("[IN HAND] {by} has it in hand");
    about(opened, "acknowledged", (MessageKind::Note, Code::InHand), &title, lines)
}

/// Somebody has a target's page in hand.
pub(super) fn in_hand(target: &TargetId, incident: &str, by: &str) -> Message {
    let title = format!("[IN HAND] {by} has {target} in hand");
    of_page(target, incident, "in-hand", (MessageKind::Note, Code::InHand), &title)
}

/// A page that nobody acknowledged, once more.
pub(super) fn escalated(before: &TargetMemory, target: &TargetId, incident: &str, level: u8) -> Message {
    let title = format!("[ESCALATED] Nobody has acknowledged the page about {target}");
    let kind = (MessageKind::Page, Code::Escalated);
    let message = of_page(target, incident, &format!("escalated-{level}"), kind, &title);
    let since = before.page.as_ref().map(|page| format!("Paged since {} UTC", clock_time(page.since)));
    let stop = format!("To stop further pages: rollguard ack {target}");
    let lines = since.into_iter().chain([stop]).chain(message.lines).collect();
    Message { lines, level, ..message }
}

fn of_page(
    target: &TargetId,
    incident: &str,
    what: &str,
    (kind, code): (MessageKind, Code),
    title: &str,
) -> Message {
    Message {
        key: format!("{incident}/{what}"),
        incident: incident.to_string(),
        kind,
        service: target.service.clone(),
        title: titled(title.to_string(), kind, code),
        lines: vec!["Details: rollguard status".to_string()],
        targets: vec![target.clone()],
        code: Some(code),
        facts: None,
        level: 0,
    }
}
