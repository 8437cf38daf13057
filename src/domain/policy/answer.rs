//! What would happen: a policy asked about a case that somebody makes up.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::asking::Reminder;
use super::matter::Seen;
use super::table::Case;
use super::{Circumstances, Decision, Policy, decide};
use crate::domain::approval::{ApprovalAsk, Asking};
use crate::domain::evidence::{Cause, Strength};
use crate::domain::guardrails::Rails;
use crate::domain::names::TargetName;
use crate::domain::release::ReleaseKind;
use crate::domain::runbook::Rule;
use crate::domain::verdict::{Health, Verdict};

/// Who is asked: one service, as it is configured.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    pub policy: &'a Policy,
    pub rails: &'a Rails,
    pub rules: &'a [Rule],
    pub approval_expires: Duration,
}

/// What is found, about what, and when.
#[derive(Clone, Debug)]
pub struct Question {
    pub strength: Strength,
    pub cause: Cause,
    /// Rules, or facts such as `crash-loop`.
    pub evidence: Vec<String>,
    pub kind: ReleaseKind,
    pub at: Timestamp,
    pub targets: Vec<TargetName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub decision: Decision,
    /// Under `observe`: what would be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Decision>,
    pub severity: u8,
    /// Why, the part of the policy first.
    pub because: Vec<String>,
    /// What is asked of people, and what is done while they do not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub needed: usize,
    /// Everybody who may approve at all, if it is empty.
    pub from: Vec<String>,
    pub follow_ups: Vec<Reminder>,
    pub expires_at: Timestamp,
}

impl From<ApprovalAsk> for Asked {
    fn from(ask: ApprovalAsk) -> Self {
        Self { needed: ask.needed, from: ask.from, follow_ups: ask.reminders, expires_at: ask.expires_at }
    }
}

/// Evidence at page level is taken to have lasted for long enough, and everything that is not asked about to be well.
pub fn answer(service: Service<'_>, question: &Question) -> Answer {
    let verdict = Verdict {
        health: Health::Degraded,
        cause: question.cause,
        strength: question.strength,
        rule: question.evidence.first().cloned(),
        reason: String::new(),
    };
    let seen: Vec<Seen> = question.evidence.iter().map(|name| Seen::named(name, service.rules)).collect();
    let case = Case { verdict: &verdict, seen: &seen, at: question.at, targets: &question.targets };
    let ruling = service.policy.rule(case);
    let frozen = service.rails.frozen(question.at);
    let around = Circumstances {
        ruling: &ruling,
        now: question.at,
        kind: &question.kind,
        page_level_since: question.at.checked_sub(SignedDuration::from_hours(1)).ok(),
        page_after_secs: 0.0,
        bars: &[],
        frozen: frozen.as_ref(),
    };
    let decided = decide(&verdict, &around);
    let plain = || match question.strength {
        Strength::Rollback if service.policy.observe => "the policy is observe".to_string(),
        Strength::Rollback => format!("the policy is {}", service.policy.otherwise.as_str()),
        Strength::Urgent | Strength::Page => "it is not enough for a rollback".to_string(),
        Strength::Quiet | Strength::Suspect | Strength::Minor => "it is not enough for a page".to_string(),
    };
    let because = std::iter::once(decided.policy.clone().unwrap_or_else(plain)).chain(decided.barred.clone());
    let asking = Asking {
        expires_secs: service.approval_expires.as_secs(),
        approvals: service.policy.approvals.clone(),
        unanswered: service.policy.unanswered.clone(),
        alone: ruling.alone,
        freezes: service.rails.freezes.clone(),
        by_requester: false,
    };
    Answer {
        decision: decided.decision,
        would: decided.would,
        severity: ruling.severity,
        because: because.collect(),
        asked: (decided.reached() == Decision::Ask).then(|| asking.ask(question.at).into()),
    }
}
