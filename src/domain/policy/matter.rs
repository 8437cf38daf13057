//! What evidence is about, as policies name it: an error rate, a latency, a crash loop, or a rule by its own name.
use std::fmt;

use crate::domain::evidence::{Evidence, Strength};
use crate::domain::names::RuleName;
use crate::domain::runbook::{Rule, RuleKind};

/// What is wrong, whatever its rule is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matter {
    Errors,
    Latency,
    Value,
    Check,
    CrashLoop,
    Restarts,
    OomKills,
    CannotStart,
    NeverReady,
    Unready,
    Endpoints,
    Rollout,
    Alert,
}

impl Matter {
    pub const ALL: [Matter; 13] = [
        Matter::Errors,
        Matter::Latency,
        Matter::Value,
        Matter::Check,
        Matter::CrashLoop,
        Matter::Restarts,
        Matter::OomKills,
        Matter::CannotStart,
        Matter::NeverReady,
        Matter::Unready,
        Matter::Endpoints,
        Matter::Rollout,
        Matter::Alert,
    ];

    /// As configurations write it; facts are called as evidence calls them.
    pub fn as_str(self) -> &'static str {
        match self {
            Matter::Errors => "errors",
            Matter::Latency => "latency",
            Matter::Value => "value",
            Matter::Check => "check",
            Matter::CrashLoop => "crash-loop",
            Matter::Restarts => "restarts",
            Matter::OomKills => "oom-kills",
            Matter::CannotStart => "cannot-start",
            Matter::NeverReady => "never-ready",
            Matter::Unready => "unready",
            Matter::Endpoints => "endpoints",
            Matter::Rollout => "rollout",
            Matter::Alert => "alert",
        }
    }

    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|matter| matter.as_str() == text)
    }

    fn of_rule(kind: &RuleKind) -> Self {
        match kind {
            RuleKind::Errors { .. } => Matter::Errors,
            RuleKind::Latency { .. } => Matter::Latency,
            RuleKind::Value { .. } => Matter::Value,
            RuleKind::Check { .. } => Matter::Check,
        }
    }
}

/// Which evidence a line of a policy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Matter(Matter),
    /// One rule of the service.
    Rule(RuleName),
}

impl About {
    fn is(&self, seen: &Seen) -> bool {
        match self {
            About::Matter(matter) => seen.matter == Some(*matter),
            About::Rule(rule) => rule.as_str() == seen.rule,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::Matter(matter) => f.write_str(matter.as_str()),
            About::Rule(rule) => write!(f, "{rule}"),
        }
    }
}

/// Evidence as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The rule's name, or the fact's.
    pub rule: String,
    pub matter: Option<Matter>,
}

impl Seen {
    /// What is called so, among these rules. A rule may have a fact's name, and is meant then.
    pub fn named(name: &str, rules: &[Rule]) -> Self {
        let rule = rules.iter().find(|rule| rule.name.as_str() == name);
        let matter = rule.map_or_else(|| Matter::find(name), |rule| Some(Matter::of_rule(&rule.kind)));
        Self { rule: name.to_string(), matter }
    }

    /// All that is enough for a rollback.
    pub fn tripping(evidence: &[Evidence], rules: &[Rule]) -> Vec<Self> {
        let enough = evidence.iter().filter(|e| e.strength == Strength::Rollback);
        enough.map(|e| Self::named(&e.rule, rules)).collect()
    }
}

/// Whether any of the evidence is meant; where nothing is named, all of it is.
pub(super) fn any_of(about: &[About], seen: &[Seen]) -> bool {
    about.is_empty() || about.iter().any(|about| seen.iter().any(|seen| about.is(seen)))
}
