//! What people are told, composed from events: the runbook's announcements, and their twins for when it goes wrong.
mod asked;
mod facts;
mod house;
mod owner;
mod run;
mod spoken;
mod target;
pub mod wording;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use facts::{Ask, Facts, Versions};
pub use house::{cannot_guard, journal_unwritable, journal_writable, of_house};
pub use run::{afterwards, joined, of_run};
pub use spoken::{Link, Spoken, Wording};
pub use target::of_target;

use super::code::Code;
use super::event::TargetEvent;
use super::names::{ServiceName, TargetId};

/// One message. It is enqueued with the event that causes it, and delivered at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same message has the same key, however often it is composed.
    pub key: String,
    pub incident: String,
    pub kind: MessageKind,
    pub service: ServiceName,
    pub title: String,
    pub lines: Vec<String>,
    /// The targets that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetId>,
    /// What it says, in one stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The same piece by piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
    /// How often it was escalated: 0 is for whoever is on call, 1 for who comes next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub level: u8,
}

fn is_zero(level: &u8) -> bool {
    *level == 0
}

impl Message {
    /// Whether something is over with it: a rollback, a watch or a page.
    pub fn is_final(&self) -> bool {
        let ends = [
            Code::WatchHealthy,
            Code::WatchEnded,
            Code::PageOver,
            Code::RollbackVerified,
            Code::RollbackStable,
            Code::RollbackUnseen,
            Code::RollbackDenied,
            Code::ApprovalExpired,
            Code::RollbackAborted,
            Code::RollbackSuperseded,
            Code::RollbackFailed,
        ];
        self.code.is_some_and(|code| ends.contains(&code))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Something is being done.
    Action,
    /// It is done and it worked.
    Complete,
    /// It did not work.
    Failed,
    /// A person must look.
    Page,
    /// A page is over.
    Resolve,
    /// A person is asked to approve.
    Ask,
    /// Worth knowing.
    Note,
    /// Part of the target's own story, for whoever looks at it later: nobody is told now.
    Trace,
}

impl MessageKind {
    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Action => "action",
            MessageKind::Complete => "complete",
            MessageKind::Failed => "failed",
            MessageKind::Page => "page",
            MessageKind::Resolve => "resolve",
            MessageKind::Ask => "ask",
            MessageKind::Note => "note",
            MessageKind::Trace => "trace",
        }
    }
    pub fn pages(self) -> bool {
        match self {
            MessageKind::Page | MessageKind::Ask => true,
            MessageKind::Action
            | MessageKind::Complete
            | MessageKind::Failed
            | MessageKind::Resolve
            | MessageKind::Note
            | MessageKind::Trace => false,
        }
    }
}

/// What these messages change about who is being paged, to be remembered by the target in the same commit.
pub fn paging(messages: &[Message]) -> Vec<TargetEvent> {
    let change = |message: &Message| {
        let on = message.kind.pages();
        let incident = message.incident.clone();
        // It is about what a person did, and says nothing about the target.
        let on = on && message.code != Some(Code::BrokenGlass);
        (on || message.kind == MessageKind::Resolve).then_some(TargetEvent::Paging { incident, on })
    };
    messages.iter().filter_map(change).collect()
}

/// What calls a person names its code, for `rollguard explain`.
fn titled(title: String, kind: MessageKind, code: Code) -> String {
    if kind.pages() { format!("{title} [{code}]") } else { title }
}

/// The label of the alerts that we raise, by which they are known again when they come back.
pub const OWN_ALERT: (&str, &str) = ("rollguard", "self");

/// Whether an alert is one of ours: it says nothing about a release.
pub fn is_own_alert(labels: &BTreeMap<String, String>) -> bool {
    let (name, value) = OWN_ALERT;
    labels.get(name).is_some_and(|found| found == value)
}

/// `45 s`, `2 min 30 s`, `1 h 5 min`.
pub fn duration(secs: u64) -> String {
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs} s"),
        (0, mins, 0) => format!("{mins} min"),
        (0, mins, secs) => format!("{mins} min {secs} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, mins, _) => format!("{hours} h {mins} min"),
    }
}
