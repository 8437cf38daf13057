//! The checks that prove a rollback worked: the runbook's list, as far as the service configures it.
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::TargetName;
use super::plan::database::SchemaQuery;
use super::probe::Probe;

/// One check with its name for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSpec {
    pub name: String,
    pub kind: CheckKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum CheckKind {
    /// GET answers with the label of the version that was restored, anywhere in the body or at a JSON pointer.
    Version { url: String, pointer: Option<String> },
    /// All pods of the restored version are ready, and none restarted since the rollback.
    PodsReady,
    /// The Service in front of each of these sends requests to all ready pods of the restored version.
    EndpointsReady { targets: Vec<TargetName> },
    /// The public gets the index page, and all that it refers to, as they are in the bucket.
    FrontendServed,
    /// Failed requests of the last minute stay under this ratio (0.01 for 1 %).
    ErrorRate { below: f64 },
    /// The 95th percentile of the last minute is under `below_ms`, or within a tenth of what it was before the release.
    LatencyP95 { below_ms: f64 },
    /// Requests per second are at least this share of what they were before the release.
    Throughput { at_least: f64 },
    /// Alertmanager shows no active alert for the service; silenced ones count as unknown.
    NoActiveAlerts,
    /// A database of the service answers a query as it should.
    Sql { target: TargetName, query: SchemaQuery },
    /// A Redis answers PING.
    Redis(RedisServer),
    /// The service, asked from outside.
    #[serde(untagged)]
    Outside(Probe),
}

/// Where a Redis is; user and password are no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisServer {
    /// `host:port`.
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Trust>,
}

/// Whose certificate is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    Anybody,
    Signed { ca_file: PathBuf },
}

impl CheckKind {
    /// After a failure it is not tried again before this has passed.
    pub fn rest(&self) -> Duration {
        match self {
            CheckKind::Outside(probe) => probe.rest(),
            CheckKind::Version { .. }
            | CheckKind::PodsReady
            | CheckKind::EndpointsReady { .. }
            | CheckKind::FrontendServed
            | CheckKind::ErrorRate { .. }
            | CheckKind::LatencyP95 { .. }
            | CheckKind::Throughput { .. }
            | CheckKind::Sql { .. }
            | CheckKind::Redis(_)
            | CheckKind::NoActiveAlerts => Duration::ZERO,
        }
    }
}

/// A check with its last result, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    pub name: String,
    /// `passed`, `failed`, `no_data`, or none while it has not been tried.
    pub outcome: Option<CheckOutcome>,
    pub detail: String,
}

impl CheckStatus {
    pub fn of((name, result): (&str, Option<&CheckResult>)) -> Self {
        Self {
            name: name.to_string(),
            outcome: result.map(|r| r.outcome),
            detail: result.map_or_else(|| "not checked yet".to_string(), |r| r.detail.clone()),
        }
    }

    /// ✅, ❌ or ❔.
    pub fn mark(&self) -> &'static str {
        match self.outcome {
            Some(CheckOutcome::Passed) => "✅",
            Some(CheckOutcome::Failed) => "❌",
            Some(CheckOutcome::NoData) | None => "❔",
        }
    }
}

/// What one attempt of a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    pub outcome: CheckOutcome,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    Passed,
    Failed,
    /// It could not be measured: never a proof that the rollback worked.
    NoData,
}

impl CheckResult {
    pub fn passed(detail: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Passed, detail: detail.into() }
    }
    pub fn failed(detail: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::Failed, detail: detail.into() }
    }
    pub fn no_data(detail: impl Into<String>) -> Self {
        Self { outcome: CheckOutcome::NoData, detail: detail.into() }
    }
}
