//! From a verdict to a decision: what the service's policy allows, and what the guard rails forbid.
pub mod answer;
pub mod asking;
pub mod hours;
pub mod matter;
pub mod table;
#[cfg(test)]
mod tests;
pub mod told;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::evidence::{Cause, Strength};
use super::guardrails::Bar;
use super::guardrails::freeze::Frozen;
use super::release::ReleaseKind;
use super::verdict::{Health, Verdict};
pub use table::{Act, Policy, Ruling};

/// What the owner of a service lets rollguard do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Auto,
    Approval,
    Page,
    /// Records what it would have done, and tells nobody.
    Observe,
}

impl Mode {
    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Approval => "approval",
            Mode::Page => "page",
            Mode::Observe => "observe",
        }
    }
}

/// Strongest last, as backtests and reports compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Hold,
    Page,
    Ask,
    Rollback,
}

/// A decision with everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    pub decision: Decision,
    /// Under `observe`: what would have been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<Decision>,
    /// One sentence with the numbers.
    pub reason: String,
    /// Why less was decided than the evidence asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<String>,
    /// Which part of the policy decided; none where it has only one part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Decided {
    /// What was decided, or under `observe` would have been.
    pub fn reached(&self) -> Decision {
        self.would.unwrap_or(self.decision)
    }
}

impl Decided {
    /// What would be done by itself is asked for, if there is something that a person must look at.
    pub fn asking_for(mut self, person: Vec<String>) -> Self {
        if person.is_empty() {
            return self;
        }
        match (self.decision, self.would) {
            (Decision::Rollback, _) => self.decision = Decision::Ask,
            (_, Some(Decision::Rollback)) => self.would = Some(Decision::Ask),
            (Decision::Hold | Decision::Page | Decision::Ask, _) => return self,
        }
        self.barred.extend(person);
        self
    }
}

/// What else a decision depends on.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    pub ruling: &'a Ruling,
    pub now: Timestamp,
    pub kind: &'a ReleaseKind,
    /// Since when the evidence has been at page level without a break.
    pub page_level_since: Option<Timestamp>,
    pub page_after_secs: f64,
    /// Guard rails that stop automation here.
    pub bars: &'a [Bar],
    /// A freeze: what would be done by itself is asked for.
    pub frozen: Option<&'a Frozen>,
}

/// Decides. Pure: the same verdict in the same circumstances always gives the same decision.
pub fn decide(verdict: &Verdict, around: &Circumstances<'_>) -> Decided {
    let wanted = wanted(verdict, around);
    let reason = verdict.reason.clone();
    let mut barred: Vec<String> = Vec::new();
    let mut decision = wanted;
    if wanted == Decision::Rollback || matches!(around.kind, ReleaseKind::KnownBad) {
        barred.extend(bars_of(around));
    }
    if wanted == Decision::Rollback {
        decision = match (barred.is_empty(), around.ruling.act) {
            (false, _) | (true, Act::Page) => Decision::Page,
            (true, Act::Approval) => Decision::Ask,
            (true, Act::Auto) if around.frozen.is_some() => Decision::Ask,
            (true, Act::Auto) => Decision::Rollback,
        };
        barred.extend(around.frozen.filter(|_| decision == Decision::Ask).map(ToString::to_string));
    }
    let policy = around.ruling.because.clone().filter(|_| wanted == Decision::Rollback);
    if around.ruling.observe {
        return Decided { decision: Decision::Hold, would: Some(decision), reason, barred, policy };
    }
    Decided { decision, would: None, reason, barred, policy }
}

fn wanted(verdict: &Verdict, around: &Circumstances<'_>) -> Decision {
    if matches!(around.kind, ReleaseKind::KnownBad) && verdict.strength < Strength::Rollback {
        return Decision::Page;
    }
    match verdict.strength {
        Strength::Rollback => Decision::Rollback,
        Strength::Urgent => Decision::Page,
        Strength::Page => {
            let lasted = around.page_level_since.map(|since| around.now.duration_since(since).as_secs_f64());
            let lasts = lasted.is_some_and(|secs| secs >= around.page_after_secs);
            if lasts || around.ruling.act == Act::Page { Decision::Page } else { Decision::Hold }
        }
        Strength::Quiet | Strength::Suspect | Strength::Minor => Decision::Hold,
    }
}

fn bars_of(around: &Circumstances<'_>) -> Vec<String> {
    let why = match around.kind {
        ReleaseKind::New => String::new(),
        ReleaseKind::Undo => {
            "this version ran here before, so somebody chose it: an undo is never undone".to_string()
        }
        ReleaseKind::OurRollback { run } => {
            format!("this version was restored by run {run}: a rollback is never rolled back")
        }
        ReleaseKind::KnownBad => {
            "this version was rolled back before and somebody deployed it again".to_string()
        }
    };
    let undo = Code::of_kind(around.kind).map(|code| format!("{why} [{code}]"));
    undo.into_iter().chain(around.bars.iter().map(|bar| format!("{bar} [{}]", Code::from(bar)))).collect()
}

/// The runbook's severity, from the evidence: SEV 1 is the worst.
pub fn severity(verdict: &Verdict) -> u8 {
    match (verdict.health, verdict.strength, verdict.cause) {
        (Health::Degraded, Strength::Rollback | Strength::Urgent, Cause::SinglePod) => 3,
        (Health::Degraded, Strength::Rollback | Strength::Urgent, _) => 2,
        (Health::Inconclusive | Health::Degraded, _, _) => 3,
        (Health::Minor | Health::Pending | Health::Healthy, _, _) => 4,
    }
}
