//! The runbook as data: rules with thresholds, limits of the fast paths, and the checklist before acting.
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::names::RuleName;

/// A threshold on one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub name: RuleName,
    pub kind: RuleKind,
    /// How late trouble may show: its source publishes late, and dates it by when it was read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lag_secs: f64,
}

impl Rule {
    /// A rule on what shows as soon as it happens.
    pub fn new(name: RuleName, kind: RuleKind) -> Self {
        Self { name, kind, lag_secs: 0.0 }
    }
    pub fn lag(&self) -> SignedDuration {
        SignedDuration::from_secs_f64(self.lag_secs)
    }
}

fn is_zero(secs: &f64) -> bool {
    *secs == 0.0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Failed requests over all requests; `above` is a ratio (0.05 for 5 %).
    Errors { above: f64 },
    /// Response time against old pods or the time before; `increase` is a ratio (0.5 for +50 %).
    Latency { increase: f64 },
    /// A plain value that is past its bound for so long.
    Value { bound: Bound, for_secs: f64 },
    /// A check from outside that fails for so long.
    Check {
        failing_for_secs: f64,
        #[serde(default, skip_serializing_if = "Checked::is_service")]
        about: Checked,
    },
}

/// What a check is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// What the service answers, which a release may break.
    #[default]
    Service,
    /// How long its certificate is valid, which no release changes: it is told, and held against nobody.
    Certificate,
}

impl Checked {
    fn is_service(&self) -> bool {
        *self == Checked::Service
    }
}

impl RuleKind {
    /// A check of the service itself.
    pub fn check(failing_for_secs: f64) -> Self {
        RuleKind::Check { failing_for_secs, about: Checked::Service }
    }
    /// The threshold of an error rule, a share of the requests.
    pub fn errors_above(&self) -> Option<f64> {
        match self {
            RuleKind::Errors { above } => Some(*above),
            RuleKind::Latency { .. } | RuleKind::Value { .. } | RuleKind::Check { .. } => None,
        }
    }

    /// The limit of a latency rule, as a ratio.
    pub fn latency_increase(&self) -> Option<f64> {
        match self {
            RuleKind::Latency { increase } => Some(*increase),
            RuleKind::Errors { .. } | RuleKind::Value { .. } | RuleKind::Check { .. } => None,
        }
    }
}

/// What a plain value is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    Above(f64),
    Below(f64),
    /// Over what it was before the release, as a ratio (0.5 for +50 %).
    Increase(f64),
}

/// What is done about errors or slowness that begin after the rollout, with nothing beside to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateOnset {
    /// It may be anybody's doing: a person looks.
    #[default]
    Page,
    /// The service's owner would rather go back.
    Rollback,
}

/// How a watch judges: everything that is not a rule's own threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judging {
    /// Length of a statistical batch; at least the scrape interval and never under 5 seconds outside tests.
    pub batch_secs: f64,
    /// A new pod that never became ready by then counts as failing (half of its progress deadline).
    pub never_ready_after_secs: f64,
    /// A pod that lost its readiness for so long counts as failing.
    pub unready_after_secs: f64,
    /// A pod that cannot start (image, configuration) for so long counts as failing.
    pub start_failure_after_secs: f64,
    /// A rule without data for so long pages: missing data is no evidence, but somebody must know.
    pub blind_after_secs: f64,
    /// Before this a watch cannot end healthy, and an inconclusive one leaves no known good version.
    pub settle_secs: f64,
    /// A new pod's first time, from its readiness on, in which its response times are not judged: caches are cold by nature.
    #[serde(default = "warm_up_secs")]
    pub warm_up_secs: f64,
    /// Firing alerts of outside roll back only together with a signal of our own.
    pub corroborate_alerts: bool,
    #[serde(default)]
    pub late_onset: LateOnset,
    /// A watch that has proven health ends then, and not at its time.
    #[serde(default)]
    pub end_when_healthy: bool,
}

impl Judging {
    /// The defaults for a watch of this length.
    pub fn standard(watch: Duration) -> Self {
        Self {
            batch_secs: 5.0,
            never_ready_after_secs: 300.0,
            unready_after_secs: 60.0,
            start_failure_after_secs: 60.0,
            blind_after_secs: 120.0,
            // A watch that is not longer than that must have room for the last look, too.
            settle_secs: (watch.as_secs_f64() * 0.8).min(600.0),
            warm_up_secs: warm_up_secs(),
            corroborate_alerts: true,
            late_onset: LateOnset::Page,
            end_when_healthy: false,
        }
    }

    pub fn warm_up(&self) -> SignedDuration {
        SignedDuration::from_secs_f64(self.warm_up_secs)
    }
}

/// Also for what was journaled before there was a choice.
fn warm_up_secs() -> f64 {
    60.0
}

/// The thresholds of the user's runbook, used where the configuration names no others.
pub fn standard_rules() -> Vec<Rule> {
    let rule = |name: &str, kind| RuleName::parse(name).ok().map(|name| Rule::new(name, kind));
    [
        rule("error-rate", RuleKind::Errors { above: 0.05 }),
        rule("latency", RuleKind::Latency { increase: 0.5 }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One item of the runbook's checklist before a rollback, and how it stood when the decision was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecklistItem {
    pub item: Item,
    pub met: bool,
    pub detail: String,
}

impl ChecklistItem {
    /// ✅ or ❌.
    pub fn mark(&self) -> &'static str {
        if self.met { "✅" } else { "❌" }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    Severity,
    Cause,
    Target,
    PeopleTold,
    Backup,
    PlanReviewed,
    StatusPage,
}

impl Item {
    /// Severity, cause and target must be met before anything is changed; the others are recorded.
    pub fn blocks(self) -> bool {
        match self {
            Item::Severity | Item::Cause | Item::Target => true,
            Item::PeopleTold | Item::Backup | Item::PlanReviewed | Item::StatusPage => false,
        }
    }
    pub fn title(self) -> &'static str {
        match self {
            Item::Severity => "Incident severity",
            Item::Cause => "Deployment confirmed as cause",
            Item::Target => "Rollback target identified and available",
            Item::PeopleTold => "People told",
            Item::Backup => "Backup verified",
            Item::PlanReviewed => "Rollback plan reviewed",
            Item::StatusPage => "Status page update prepared",
        }
    }
}
