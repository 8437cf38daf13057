//! How people are asked: who may approve, how many of them, and what is done when nobody answers.
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Who may approve what a service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// Different people who must approve.
    pub needed: usize,
    /// Names of people; everybody who may approve at all, if it is empty.
    pub from: Vec<String>,
    /// What a person orders needs the approval of others, too.
    pub orders: bool,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { needed: 1, from: Vec::new(), orders: false }
    }
}

/// What is done when nobody has answered for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub after: Duration,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The same page once more.
    PageAgain,
    /// A page of a higher level.
    Escalate,
    /// Roll back without an answer.
    Rollback,
    /// Let it be: nothing is changed, and nobody is paged any more.
    Hold,
}

impl Then {
    pub const ALL: [Then; 4] = [Then::PageAgain, Then::Escalate, Then::Rollback, Then::Hold];

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Then::PageAgain => "page_again",
            Then::Escalate => "escalate",
            Then::Rollback => "rollback",
            Then::Hold => "hold",
        }
    }

    /// Whether nothing is asked any more afterwards.
    pub fn ends(self) -> bool {
        match self {
            Then::PageAgain | Then::Escalate => false,
            Then::Rollback | Then::Hold => true,
        }
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Then::PageAgain => "page again",
            Then::Escalate => "escalate",
            Then::Rollback => "roll back",
            Then::Hold => "hold",
        })
    }
}

/// The same with its time, as a run remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reminder {
    pub at: Timestamp,
    pub then: Then,
}

/// What is done about one question, from now on. What may not be done by itself at that time is escalated instead.
pub fn reminders(
    unanswered: &[Unanswered],
    now: Timestamp,
    alone: impl Fn(Timestamp) -> bool,
) -> Vec<Reminder> {
    let reminder = |unanswered: &Unanswered| {
        let after = SignedDuration::try_from(unanswered.after).unwrap_or(SignedDuration::MAX);
        let at = now.saturating_add(after).unwrap_or(Timestamp::MAX);
        let then = match unanswered.then {
            Then::Rollback if !alone(at) => Then::Escalate,
            then => then,
        };
        Reminder { at, then }
    };
    unanswered.iter().map(reminder).collect()
}
