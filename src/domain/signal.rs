//! What is read from outside: one sample per line of a recording, and the same for the judge while serving.
pub mod line;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::histogram::Histogram;
use super::names::{RuleName, ServiceName, TargetName};

/// One reading of one stream at one moment. Its JSON form is one line of a recording, see [`line`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    pub at: Timestamp,
    pub service: ServiceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// Label of the version that the pod runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(flatten)]
    pub reading: Reading,
}

/// What was read. Counters and bucket counts are cumulative in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Reading {
    /// A release began, or (a second line of the same release) its rollout ended.
    Release {
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rollout_ended: Option<Timestamp>,
    },
    Counts {
        rule: RuleName,
        bad: f64,
        total: f64,
    },
    /// Response times: `"buckets"` or `"native"`.
    Histogram {
        rule: RuleName,
        #[serde(flatten)]
        times: Histogram,
    },
    Value {
        rule: RuleName,
        value: f64,
    },
    Pod(PodReading),
    Check {
        rule: RuleName,
        ok: bool,
        detail: String,
    },
    /// Shown beside a rule's numbers, never evidence itself: a kind of error line, and an example below it.
    Remark {
        rule: RuleName,
        detail: String,
    },
    Alert {
        alert: String,
        status: AlertStatus,
        labels: BTreeMap<String, String>,
    },
    /// What became of a service that was not released: told whenever it changes.
    Control {
        /// `service/target`.
        other: String,
        /// Since when it is worse than it was; not set while nothing is wrong with it.
        #[serde(skip_serializing_if = "Option::is_none")]
        worse_since: Option<Timestamp>,
        /// Its pods crash.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        crashes: bool,
        detail: String,
    },
    /// The source could not answer, or answered only in part: never evidence (invariant 7).
    NoData {
        rule: RuleName,
        reason: String,
    },
}

impl Reading {
    /// Whether it measures anything: counts are finite and not negative, and values are numbers.
    pub fn is_readable(&self) -> bool {
        let counts = |count: f64| count.is_finite() && count >= 0.0;
        match self {
            Reading::Counts { bad, total, .. } => counts(*bad) && counts(*total),
            Reading::Histogram { times: Histogram::Classic(times), .. } => {
                times.bounds().iter().all(|(_, count)| counts(*count))
            }
            Reading::Histogram { times: Histogram::Native(times), .. } => counts(times.count()),
            Reading::Value { value, .. } => value.is_finite(),
            Reading::Release { .. }
            | Reading::Pod(_)
            | Reading::Check { .. }
            | Reading::Remark { .. }
            | Reading::Alert { .. }
            | Reading::Control { .. }
            | Reading::NoData { .. } => true,
        }
    }
}

/// A pod's state as Kubernetes reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodReading {
    pub ready: bool,
    /// When the pod was made: the counters of a pod made inside a watch began at zero in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    #[serde(default)]
    pub ready_since: Option<Timestamp>,
    /// Restarts of all its containers together, since the pod exists.
    #[serde(default)]
    pub restarts: u32,
    /// The waiting reason (`CrashLoopBackOff`, `ImagePullBackOff`, …) or the last termination's (`OOMKilled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its latest failed probe said, as long as it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Whether the Service in front sends it requests; none where nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<bool>,
    /// The pod is gone or going: it is no longer judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = line::Line::deserialize(deserializer)?;
        line.sample(&mut line::Names::default()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_lines_of_the_design_are_read() {
        let lines = [
            r#"{"at":"2026-11-22T10:00:00Z","kind":"release","service":"shop","target":"backend","release":"v2","previous":"v1","rollout_ended":"2026-11-22T10:01:10Z"}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"counts","service":"shop","rule":"error-rate","release":"v2","pod":"backend-7f-x1","bad":12,"total":340}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"histogram","service":"shop","rule":"latency","release":"v2","pod":"backend-7f-x1","buckets":{"0.1":100,"0.25":190,"+Inf":200}}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"value","service":"shop","rule":"deadlocks","release":"v2","value":0}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"pod","service":"shop","release":"v2","pod":"backend-7f-x1","ready":false,"ready_since":null,"restarts":3,"reason":"CrashLoopBackOff"}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"check","service":"shop","rule":"health","ok":false,"detail":"HTTP 503"}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"alert","service":"shop","alert":"HighErrorRate","status":"firing","labels":{"severity":"critical"}}"#,
            r#"{"at":"2026-11-22T10:00:05Z","kind":"nodata","service":"shop","rule":"error-rate","reason":"timeout"}"#,
        ];
        for line in lines {
            let sample: Sample = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let again: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
            assert_eq!(sample, again);
        }
    }
}
