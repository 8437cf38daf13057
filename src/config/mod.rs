//! The configuration: YAML in, typed values out, or every problem at once with file, line and column.
mod check;
mod cloudwatch;
mod diff;
mod durations;
mod keys;
mod load;
mod problem;
mod raw;
mod read;
mod rules;
mod schema;
mod secrets;
pub mod selector;
mod services;
mod settings;
mod shape;
mod value;
mod verify;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use cloudwatch::{AlarmPattern, CloudWatchConfig, CloudWatchMetric, CloudWatchQuery, Statistic};
pub use diff::Changes;
pub use load::{Env, Loaded, load, parse};
pub use problem::{LoadError, Problem, Severity};
pub use schema::json_schema;
pub use secrets::SecretUrl;
pub use selector::Selector;

use crate::domain::names::{PersonName, ServiceName, TargetName};
use crate::domain::policy::Mode;
use crate::domain::runbook::{Judging, Rule};
use crate::domain::verification::{CheckSpec, Expect};

/// All that `serve` needs. Secrets are read already, and no Debug shows them.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// Of the journal and the recordings.
    pub state_dir: PathBuf,
    pub status_page: Option<Url>,
    pub people: Vec<Person>,
    pub kubernetes: KubernetesConfig,
    /// Whether each workload's story is told in Kubernetes Events.
    pub kubernetes_events: bool,
    pub sources: SourcesConfig,
    pub alertmanager: Option<AlertmanagerConfig>,
    pub notify: NotifyConfig,
    /// At least one, with distinct names.
    pub services: Vec<ServiceConfig>,
}

/// Somebody who may approve, deny and order; no two have the same token.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: PersonName,
    pub token: SecretString,
}

/// How the cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesConfig {
    /// In-cluster, else `~/.kube/config`.
    Infer,
    Kubeconfig {
        /// `None` for the one that kubectl would take.
        path: Option<PathBuf>,
        context: Option<String>,
    },
    /// An API server without credentials.
    Url(Url),
}

#[derive(Clone, Debug, Default)]
pub struct SourcesConfig {
    pub prometheus: Option<PrometheusConfig>,
    pub scrape: Option<ScrapeConfig>,
    pub cloudwatch: Option<CloudWatchConfig>,
}

#[derive(Clone, Debug)]
pub struct PrometheusConfig {
    pub url: Url,
    pub interval: Duration,
    pub timeout: Duration,
    pub bearer_token: Option<SecretString>,
    /// Names and values of further request headers.
    pub headers: Vec<(String, SecretString)>,
    pub namespace_label: String,
    pub pod_label: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeConfig {
    /// Of services without a fresh release, for their history.
    pub interval: Duration,
    pub fresh_interval: Duration,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct AlertmanagerConfig {
    pub url: Option<Url>,
    /// What must stand in the Authorization header of POST /webhook/alertmanager.
    pub webhook_token: Option<SecretString>,
    /// `Some` if pages are sent to `url` as alerts.
    pub paging: Option<Paging>,
}

/// Pages through Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    pub url: Url,
    /// Labels of each alert besides rollguard's own.
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    pub slack: Option<SlackConfig>,
    pub webhook: Option<WebhookConfig>,
}

#[derive(Clone, Debug)]
pub struct SlackConfig {
    pub webhook_url: SecretUrl,
}

#[derive(Clone, Debug)]
pub struct WebhookConfig {
    pub url: SecretUrl,
    /// Key of the HMAC-SHA256 signature.
    pub secret: SecretString,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    pub name: ServiceName,
    pub mode: Mode,
    pub watch: Duration,
    pub page_after: Duration,
    pub cool_down: Duration,
    pub approval_expires: Duration,
    pub rollout_deadline: Duration,
    /// At least one, with distinct names.
    pub targets: Vec<TargetConfig>,
    pub rules: Vec<RuleConfig>,
    pub alerts: Option<AlertsConfig>,
    /// Alarms of CloudWatch about this service.
    pub alarms: Vec<AlarmPattern>,
    pub judging: Judging,
    pub checks: Vec<CheckSpec>,
    pub verify_deadline: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    pub name: TargetName,
    pub kind: TargetKindConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetKindConfig {
    Kubernetes { namespace: String, deployment: String },
}

/// A rule of the runbook and what measures it; the kinds of both always agree.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    pub rule: Rule,
    pub source: SourceName,
    pub query: RuleQuery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceName {
    Prometheus,
    Scrape,
    CloudWatch,
    /// rollguard's own requests.
    Http,
}

impl SourceName {
    /// Those that a rule may name.
    pub const ALL: [SourceName; 3] = [SourceName::Prometheus, SourceName::Scrape, SourceName::CloudWatch];

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceName::Prometheus => "prometheus",
            SourceName::Scrape => "scrape",
            SourceName::CloudWatch => "cloudwatch",
            SourceName::Http => "http",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum RuleQuery {
    Errors {
        total: Selector,
        bad: Selector,
    },
    /// The histogram's name without `_bucket`.
    Latency {
        histogram: Selector,
    },
    Value {
        series: Selector,
        combine: Combine,
        /// Growth per second of counters.
        rate: bool,
        /// Whether the series are the pods', or those of something beside them.
        pods: bool,
    },
    CloudWatch(CloudWatchQuery),
    Http(HttpCheckConfig),
}

/// How several series become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    Max,
    Min,
    Sum,
    Mean,
}

/// A GET, how often, and what it must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheckConfig {
    pub url: Url,
    pub status: u16,
    pub expect: Vec<Expect>,
    pub every: Duration,
    pub timeout: Duration,
}

/// Which alerts are about a service. Corroboration is part of its judging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsConfig {
    /// Never empty: it would match the alerts of everybody.
    pub match_labels: BTreeMap<String, String>,
    /// Values of the label `severity` that count.
    pub severities: Vec<String>,
}

impl AlertsConfig {
    /// Whether an alert with these labels is about the service and severe enough.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let severe = labels.get("severity").is_some_and(|severity| self.severities.contains(severity));
        severe && self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}
