//! One verdict from all the evidence of a watch.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::detect::errors::Counts;
use super::evidence::{Cause, Evidence, Strength, grouped, is_blindness};
use super::names::RuleName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The watch goes on and nothing is known yet.
    Pending,
    Healthy,
    /// Worse than before for under 1 % of the requests: alternatives to a rollback are named.
    Minor,
    Degraded,
    /// It could not be judged: too little traffic, or no data.
    Inconclusive,
}

/// What is thought of a release now, and why, in one sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub health: Health,
    pub cause: Cause,
    pub strength: Strength,
    /// The rule or fact that leads.
    pub rule: Option<String>,
    pub reason: String,
}

impl Verdict {
    /// Enough to take the release back, whatever may forbid it.
    pub fn trips(&self) -> bool {
        self.strength == Strength::Rollback
    }

    /// The strongest that can be said is that nothing could be seen.
    pub fn is_blind(&self) -> bool {
        self.strength >= Strength::Page && self.rule.as_deref().is_some_and(is_blindness)
    }
}

/// How much was measured: it decides between healthy and inconclusive.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// Every rule's own test of health passed, and the watch is past its settling time.
    Healthy { requests: f64 },
    /// Not (yet) proven, and why.
    Open(Unproven),
}

/// What is missing for health.
#[derive(Clone, Debug, PartialEq)]
pub enum Unproven {
    NoErrorRule,
    /// Too few requests, or too many failures among them.
    TooLittle {
        rule: RuleName,
        counts: Counts,
    },
    MaybeSlower {
        rule: RuleName,
    },
    Troubled,
    /// All is well, and the watch is young.
    Settling {
        requests: f64,
    },
}

/// Fewer requests than this prove no health, whatever became of them.
const LOW: f64 = 500.0;

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unproven::NoErrorRule => f.write_str("no error rule is configured"),
            Unproven::TooLittle { rule, counts } => {
                let what = if counts.total < LOW { "too early to tell" } else { "not yet enough for health" };
                write!(f, "{what}: {}", failed_of(*counts, rule))
            }
            Unproven::MaybeSlower { rule } => {
                write!(f, "{rule} does not yet show that it is not slower than before")
            }
            Unproven::Troubled => f.write_str("new pods have restarted or are not ready"),
            Unproven::Settling { requests } => {
                write!(f, "nothing is wrong so far on {}", count_of_requests(*requests))
            }
        }
    }
}

impl Unproven {
    /// Said of a watch that is over.
    fn in_the_end(&self) -> String {
        match self {
            Unproven::TooLittle { rule, counts } if counts.total < LOW => {
                format!("traffic was too low to judge: {}", failed_of(*counts, rule))
            }
            Unproven::NoErrorRule
            | Unproven::TooLittle { .. }
            | Unproven::MaybeSlower { .. }
            | Unproven::Troubled
            | Unproven::Settling { .. } => format!("could not be judged: {self}"),
        }
    }
}

/// Such as `6 requests, 1 failed (error-rate)`.
fn failed_of(counts: Counts, rule: &RuleName) -> String {
    format!("{}, {} failed ({rule})", count_of_requests(counts.total), grouped(counts.bad))
}

fn count_of_requests(n: f64) -> String {
    if n == 1.0 { "1 request".to_string() } else { format!("{} requests", grouped(n)) }
}

/// The strongest evidence leads. `ended` is true once the watch is over.
pub fn judge(evidence: &[Evidence], proof: &Proof, ended: bool) -> Verdict {
    let lead = evidence.iter().max_by_key(|e| (e.strength, !e.is_blindness()));
    match lead {
        Some(lead) if lead.strength >= Strength::Minor => Verdict {
            health: health_of(lead),
            cause: lead.cause,
            strength: lead.strength,
            rule: Some(lead.rule.clone()),
            reason: lead.sentence.clone(),
        },
        Some(_) | None => quiet(lead, proof, ended),
    }
}

fn health_of(lead: &Evidence) -> Health {
    match lead.strength {
        Strength::Minor => Health::Minor,
        Strength::Page | Strength::Urgent | Strength::Rollback if lead.is_blindness() => Health::Inconclusive,
        Strength::Quiet | Strength::Suspect => Health::Pending,
        Strength::Page | Strength::Urgent | Strength::Rollback => Health::Degraded,
    }
}

fn quiet(lead: Option<&Evidence>, proof: &Proof, ended: bool) -> Verdict {
    let strength = lead.map_or(Strength::Quiet, |e| e.strength);
    let (health, reason) = match (proof, ended) {
        (Proof::Healthy { requests }, _) => {
            (Health::Healthy, format!("nothing is wrong on {} of the new pods", count_of_requests(*requests)))
        }
        (Proof::Open(why), true) => (Health::Inconclusive, why.in_the_end()),
        (Proof::Open(why), false) => (Health::Pending, why.to_string()),
    };
    let suspect = lead.filter(|e| e.strength == Strength::Suspect);
    Verdict {
        health,
        cause: Cause::Unknown,
        strength,
        rule: suspect.map(|e| e.rule.clone()),
        reason: suspect.map_or(reason, |e| e.sentence.clone()),
    }
}
