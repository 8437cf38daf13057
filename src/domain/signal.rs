//! What is read from outside: one sample per line of a recording, and the same for the judge while serving.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{RuleName, ServiceName, TargetName};

/// One reading of one stream at one moment. Its JSON form is one line of a recording (DESIGN §7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub service: ServiceName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// Label of the version that the pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(flatten)]
    pub reading: Reading,
}

/// What was read. Counters and bucket counts are cumulative in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Reading {
    /// A release began, or (a second line of the same release) its rollout ended.
    Release {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollout_ended: Option<Timestamp>,
    },
    Counts {
        rule: RuleName,
        bad: f64,
        total: f64,
    },
    /// `le` bounds in seconds, counts cumulative in `le`.
    Histogram {
        rule: RuleName,
        buckets: Buckets,
    },
    Value {
        rule: RuleName,
        value: f64,
    },
    Pod(PodReading),
    Check {
        rule: RuleName,
        ok: bool,
        #[serde(default)]
        detail: String,
    },
    Alert {
        alert: String,
        status: AlertStatus,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
    /// The source could not answer, or answered only in part: never evidence (invariant 7).
    NoData {
        rule: RuleName,
        reason: String,
    },
}

/// A pod's state as Kubernetes reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A classic histogram: bound in seconds → cumulative count, ascending, `+Inf` last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>", into = "BTreeMap<String, f64>")]
pub struct Buckets(Vec<(f64, f64)>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a bucket bound: use seconds such as \"0.25\", or \"+Inf\"")]
pub struct BucketError(String);

impl Buckets {
    /// Sorts by bound; NaN bounds are dropped.
    pub fn new(mut bounds: Vec<(f64, f64)>) -> Self {
        bounds.retain(|(le, _)| !le.is_nan());
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(bounds)
    }
    pub fn bounds(&self) -> &[(f64, f64)] {
        &self.0
    }
    /// All observations, which is the count of the last bucket.
    pub fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Adds `other`'s counts bound by bound; bounds that only one side has are dropped, so that counts stay cumulative.
    pub fn add(&mut self, other: &Buckets) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        self.0.retain_mut(|(le, count)| match other.at(*le) {
            Some(more) => {
                *count += more;
                true
            }
            None => false,
        });
    }

    /// What came since `earlier`; a shrunken count means a restart, and then everything is new.
    pub fn since(&self, earlier: &Buckets) -> Buckets {
        let reset = self.count() < earlier.count() || self.0.len() != earlier.0.len();
        if reset {
            return self.clone();
        }
        let pairs = self.0.iter().zip(&earlier.0);
        Self(pairs.map(|((le, now), (_, then))| (*le, (now - then).max(0.0))).collect())
    }

    fn at(&self, bound: f64) -> Option<f64> {
        self.0.iter().find(|(le, _)| *le == bound).map(|(_, count)| *count)
    }

    /// The quantile in seconds, linear within its bucket as Prometheus' `histogram_quantile`; `None` without observations.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if self.count() <= 0.0 {
            return None;
        }
        let (mut lower_le, mut lower_count) = (0.0, 0.0);
        for (le, count) in &self.0 {
            if *count >= rank {
                if le.is_infinite() {
                    return Some(lower_le);
                }
                let share =
                    if *count > lower_count { (rank - lower_count) / (count - lower_count) } else { 1.0 };
                return Some(lower_le + (le - lower_le) * share);
            }
            (lower_le, lower_count) = (*le, *count);
        }
        Some(lower_le)
    }
}

impl TryFrom<BTreeMap<String, f64>> for Buckets {
    type Error = BucketError;
    fn try_from(map: BTreeMap<String, f64>) -> Result<Self, BucketError> {
        let parse = |(le, count): (String, f64)| match le.parse::<f64>() {
            Ok(bound) if !bound.is_nan() => Ok((bound, count)),
            Ok(_) | Err(_) => Err(BucketError(le)),
        };
        map.into_iter().map(parse).collect::<Result<Vec<_>, _>>().map(Buckets::new)
    }
}

impl From<Buckets> for BTreeMap<String, f64> {
    fn from(buckets: Buckets) -> Self {
        let text = |le: f64| if le.is_infinite() { "+Inf".to_string() } else { le.to_string() };
        buckets.0.into_iter().map(|(le, count)| (text(le), count)).collect()
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

    #[test]
    fn quantiles_interpolate_like_prometheus() {
        let buckets = Buckets::new(vec![(0.1, 50.0), (0.2, 100.0), (f64::INFINITY, 100.0)]);
        assert_eq!(buckets.quantile(0.5), Some(0.1));
        assert_eq!(buckets.quantile(0.75), Some(0.15000000000000002));
        assert_eq!(Buckets::default().quantile(0.95), None);
    }
}
