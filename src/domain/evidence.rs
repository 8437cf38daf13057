//! What the rules make of the measurements, with the numbers that justify it.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a piece of evidence reaches, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    Quiet,
    /// Something may be building up.
    Suspect,
    /// Surely worse than before, and under 1 % of the requests are affected.
    Minor,
    /// A person should look, unless it becomes clearer within minutes.
    Page,
    /// A person should look now: severe, but not shown to be this release's doing.
    Urgent,
    /// Enough to take the release back.
    Rollback,
}

/// Who or what is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Release,
    Shared,
    SinglePod,
    Unknown,
}

/// One rule's finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The rule's name, or the fact's (`crash-loop`, `never-ready`, `alert`, …).
    pub rule: String,
    pub strength: Strength,
    pub cause: Cause,
    /// One sentence with the numbers in it.
    pub sentence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

/// The numbers behind a statistical finding. Ratios are 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    pub e_value: f64,
    pub e_needed: f64,
    pub bad: f64,
    pub total: f64,
    /// A share of the requests, or for response times the increase.
    pub estimate: f64,
    /// Bounds of the estimate that hold however often one looks, 19 times out of 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    pub threshold: f64,
    pub pods: usize,
    /// The pods with the most failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_pod: Vec<PodShare>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_estimate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

/// What one new pod has of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodShare {
    pub pod: String,
    pub bad: f64,
    pub total: f64,
}

impl Evidence {
    /// A finding without statistics behind it: a fact that the orchestrator or a person reported.
    pub fn fact(
        rule: &str,
        strength: Strength,
        cause: Cause,
        since: Option<Timestamp>,
        sentence: String,
    ) -> Self {
        Self { rule: rule.to_string(), strength, cause, sentence, since, numbers: None }
    }

    /// It says only that nothing could be seen.
    pub fn is_blindness(&self) -> bool {
        is_blindness(&self.rule)
    }
}

/// The fact that a rule has no data, which is no evidence against a release.
pub const BLIND: &str = "blind";

/// Whether a finding by that name says only that nothing could be seen.
pub fn is_blindness(rule: &str) -> bool {
    rule == BLIND
}

/// `0.0789` → `7.9 %`; small ratios keep two digits.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent != 0.0 && percent < 0.1 { format!("{percent:.2} %") } else { format!("{percent:.1} %") }
}

/// `1820` → `1,820`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let first = digits.len() % 3;
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && i % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The time of day, UTC, as sentences use it.
pub fn clock_time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// `1 pod`, `3 pods`.
pub fn count_of(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
