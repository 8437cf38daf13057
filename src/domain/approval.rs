//! An approval that is asked for: who may give it, how many are needed, and how it stands.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::guardrails::freeze::{Freeze, frozen};
use super::policy::asking::{Approvals, Reminder, Unanswered, reminders};

/// What is asked, as a run remembers it from its first moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalAsk {
    pub expires_at: Timestamp,
    /// Different people who must approve.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub needed: usize,
    /// Who may; everybody who may approve at all, if it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// What is done while nobody answers, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reminders: Vec<Reminder>,
    /// Whoever ordered it may approve it, too: the plan could not be seen when it was ordered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_requester: bool,
}

fn one() -> usize {
    1
}

fn is_one(needed: &usize) -> bool {
    *needed == 1
}

impl ApprovalAsk {
    /// Anybody's, until then.
    pub fn until(expires_at: Timestamp) -> Self {
        Self { expires_at, needed: 1, from: Vec::new(), reminders: Vec::new(), by_requester: false }
    }
}

/// How a service asks, when it has to.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    pub expires_secs: u64,
    pub approvals: Approvals,
    pub unanswered: Vec<Unanswered>,
    /// Whether it may be done without an answer, if the policy says so.
    pub alone: bool,
    /// In which only a person rolls back, also if it was asked before.
    pub freezes: Vec<Freeze>,
    pub by_requester: bool,
}

impl Asking {
    /// Anybody, within so many seconds.
    pub fn within(expires_secs: u64) -> Self {
        Self {
            expires_secs,
            approvals: Approvals::default(),
            unanswered: Vec::new(),
            alone: false,
            freezes: vec![],
            by_requester: false,
        }
    }

    pub fn ask(&self, now: Timestamp) -> ApprovalAsk {
        let secs = i64::try_from(self.expires_secs).unwrap_or(i64::MAX);
        let expires_at = now.saturating_add(jiff::SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX);
        ApprovalAsk {
            expires_at,
            needed: self.approvals.needed,
            from: self.approvals.from.clone(),
            by_requester: self.by_requester,
            reminders: reminders(&self.unanswered, now, |at| {
                self.alone && frozen(&self.freezes, at).is_none()
            }),
        }
    }
}

/// Where an approval stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub needed: usize,
    /// Who may approve; everybody who may approve at all, if it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Who has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// Nobody approves what they ordered themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// Why an approval does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{by} ordered it: somebody else has to approve")]
    OwnRequest { by: String },
    #[error("{by} may not approve it: {} may", from.join(", "))]
    NotAsked { by: String, from: Vec<String> },
    #[error("{by} has approved it already: {missing} more must")]
    Again { by: String, missing: usize },
}

impl Standing {
    /// Whether an approval of this person counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn counts(&self, by: &str) -> Result<(), Refused> {
        let is = |name: &String| name == by;
        if self.requested_by.as_ref().is_some_and(is) {
            return Err(Refused::OwnRequest { by: by.to_string() });
        }
        if !self.from.is_empty() && !self.from.iter().any(is) {
            return Err(Refused::NotAsked { by: by.to_string(), from: self.from.clone() });
        }
        if self.by.iter().any(is) {
            return Err(Refused::Again { by: by.to_string(), missing: self.missing() });
        }
        Ok(())
    }

    pub fn missing(&self) -> usize {
        self.needed.saturating_sub(self.by.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::asking::Then;
    use super::*;

    #[test]
    fn an_approval_counts_once_from_whom_is_asked_and_did_not_order() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let standing = Standing {
            needed: 3,
            from: names(&["ann", "ben", "eve"]),
            by: names(&["ben"]),
            requested_by: Some("ann".into()),
        };
        let told = |by: &str| standing.counts(by).map_err(|refused| refused.to_string());
        assert_eq!(told("eve"), Ok(()));
        assert_eq!(told("ann"), Err("ann ordered it: somebody else has to approve".into()));
        assert_eq!(told("ben"), Err("ben has approved it already: 2 more must".into()));
        assert_eq!(told("joe"), Err("joe may not approve it: ann, ben, eve may".into()));
        let open = Standing { from: vec![], ..standing };
        assert_eq!(open.counts("joe"), Ok(()));
    }

    #[test]
    fn nothing_is_done_without_an_answer_in_a_freeze_that_began_meanwhile() {
        let friday = Freeze::new("0 18 * * Fri", "UTC", jiff::SignedDuration::from_hours(62), "").unwrap();
        let follow = |after: u64, then| Unanswered { after: std::time::Duration::from_secs(after), then };
        let unanswered = vec![follow(60, Then::PageAgain), follow(300, Then::Rollback)];
        let asking = Asking { unanswered, alone: true, freezes: vec![friday], ..Asking::within(900) };
        let then = |asking: &Asking, now: &str| asking.ask(now.parse().unwrap()).reminders[1].then;
        assert_eq!(then(&asking, "2026-11-20T17:50:00Z"), Then::Rollback);
        assert_eq!(then(&asking, "2026-11-20T17:58:00Z"), Then::Escalate);
        assert_eq!(then(&Asking { alone: false, ..asking }, "2026-11-20T17:50:00Z"), Then::Escalate);
    }

    #[test]
    fn what_was_asked_before_there_were_several_is_asked_of_one() {
        let old: ApprovalAsk = serde_json::from_str(r#"{"expires_at":"2026-11-22T10:00:00Z"}"#).unwrap();
        assert_eq!(old, ApprovalAsk::until("2026-11-22T10:00:00Z".parse().unwrap()));
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"expires_at":"2026-11-22T10:00:00Z"}"#);
    }
}
