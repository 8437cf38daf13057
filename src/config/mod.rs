//! The configuration: YAML in, typed values out, or every problem at once with file, line and column.
mod cases;
mod check;
mod cloudwatch;
mod database;
mod diff;
mod durations;
mod frontend;
mod infrastructure;
mod journal;
mod journeys;
mod keys;
mod leadership;
mod load;
mod notify;
mod people;
mod policies;
mod probes;
mod problem;
mod raw;
mod read;
mod registries;
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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use url::Url;

pub use cases::{Cases, Expected, PolicyCase, load_cases};
pub use cloudwatch::{AlarmPattern, CloudWatchConfig, CloudWatchMetric, CloudWatchQuery, Statistic};
pub use database::{DatabaseConfig, DatabaseUrl, RdsConfig, VersionsConfig};
pub use diff::Changes;
pub use frontend::FrontendConfig;
pub use infrastructure::InfrastructureConfig;
pub use journal::{JournalConfig, PostgresConfig, PostgresTls};
pub use leadership::LeadershipConfig;
pub use load::{Env, Loaded, load, parse};
pub use notify::{
    GitHubConfig, NotifyConfig, OpsgenieConfig, PagerDutyConfig, SlackConfig, StatuspageConfig,
    TemplatesConfig, WebhookConfig,
};
pub use people::TokenDigest;
pub use problem::{LoadError, Problem, Severity};
pub use registries::{EcrConfig, RegistriesConfig};
pub use schema::json_schema;
pub use secrets::{SecretUrl, Secrets};
pub use selector::Selector;

use crate::domain::guardrails::Rails;
use crate::domain::guardrails::minimum::MinVersion;
use crate::domain::names::{PersonName, ServiceName, TargetKind, TargetName};
use crate::domain::plan::kubernetes::Workload;
use crate::domain::policy::Policy;
use crate::domain::probe::Probe;
use crate::domain::role::Role;
use crate::domain::runbook::{Judging, Rule};
use crate::domain::verification::CheckSpec;

/// All that `serve` needs. Secrets are read already, and no Debug shows them.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// Of the journal and the recordings.
    pub state_dir: PathBuf,
    pub journal: JournalConfig,
    /// `Some` where several replicas take turns.
    pub leadership: Option<LeadershipConfig>,
    /// Where people reach rollguard, without a slash at its end.
    pub external_url: Option<String>,
    pub status_page: Option<Url>,
    pub people: Vec<Person>,
    /// `Some` if buttons in Slack are answered.
    pub slack_buttons: Option<SlackButtons>,
    pub kubernetes: KubernetesConfig,
    /// Where Argo CD keeps its own Applications.
    pub argocd_namespace: String,
    /// Whether each workload's story is told in Kubernetes Events.
    pub kubernetes_events: bool,
    /// Events about failed probes are watched, which needs a right of its own.
    pub watch_failed_probes: bool,
    /// What versions run with is remembered, which needs rights of its own.
    pub compare: CompareConfig,
    pub sources: SourcesConfig,
    pub registries: RegistriesConfig,
    pub alertmanager: Option<AlertmanagerConfig>,
    pub notify: NotifyConfig,
    /// Rollbacks that are carried out at once by themselves.
    pub rollbacks_at_once: usize,
    /// At least one, with distinct names.
    pub services: Vec<ServiceConfig>,
}

impl Config {
    /// SHA-256 of all that is in force, in hexadecimal. Secrets take no part, since no Debug shows them. The same
    /// configuration has the same hash under the same version of rollguard.
    pub fn hash(&self) -> String {
        Sha256::digest(format!("{self:?}")).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Somebody who may approve, deny and order; no two have the same token.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: PersonName,
    pub token: Option<TokenDigest>,
    pub roles: BTreeSet<Role>,
    pub groups: Vec<String>,
    /// The user ID in Slack.
    pub slack: Option<String>,
}

/// Who may press buttons, and how they are known to come from Slack.
#[derive(Clone, Debug)]
pub struct SlackButtons {
    pub team: String,
    pub signing_secret: SecretString,
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

/// What is read of ConfigMaps and Secrets, to be compared later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareConfig {
    pub config_maps: bool,
    pub secrets: bool,
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

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceConfig {
    pub name: ServiceName,
    pub policy: Policy,
    pub watch: Duration,
    pub page_after: Duration,
    pub rails: Rails,
    pub approval_expires: Duration,
    pub rollout_deadline: Duration,
    /// Targets that were released together are rolled back together, or not at all.
    pub together: bool,
    pub gitops: GitOpsPolicy,
    /// At least one, with distinct names.
    pub targets: Vec<TargetConfig>,
    pub rules: Vec<RuleConfig>,
    pub alerts: Option<AlertsConfig>,
    /// Alarms of CloudWatch about this service.
    pub alarms: Vec<AlarmPattern>,
    pub judging: Judging,
    pub checks: Vec<CheckSpec>,
    /// What the journeys among the checks may use, by the check's name.
    pub check_secrets: BTreeMap<String, Secrets>,
    pub verify_deadline: Duration,
}

/// What is done about a GitOps owner that would undo a rollback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GitOpsPolicy {
    /// Page, and change nothing.
    #[default]
    Refuse,
    /// Suspend it first, and leave it so.
    Suspend,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetConfig {
    pub name: TargetName,
    /// Automation does not go back behind it.
    pub min_version: Option<MinVersion>,
    pub kind: TargetKindConfig,
    /// The Kubernetes Service in front of it.
    pub service: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TargetKindConfig {
    Kubernetes(Workload),
    Frontend(Box<FrontendConfig>),
    Database(Box<DatabaseConfig>),
    Infrastructure(Box<InfrastructureConfig>),
}

impl TargetKindConfig {
    pub fn kind(&self) -> TargetKind {
        match self {
            TargetKindConfig::Kubernetes(_) => TargetKind::Kubernetes,
            TargetKindConfig::Frontend(_) => TargetKind::Frontend,
            TargetKindConfig::Database(_) => TargetKind::Database,
            TargetKindConfig::Infrastructure(_) => TargetKind::Infrastructure,
        }
    }

    pub fn workload(&self) -> Option<&Workload> {
        match self {
            TargetKindConfig::Kubernetes(workload) => Some(workload),
            TargetKindConfig::Frontend(_)
            | TargetKindConfig::Database(_)
            | TargetKindConfig::Infrastructure(_) => None,
        }
    }

    pub fn frontend(&self) -> Option<&FrontendConfig> {
        match self {
            TargetKindConfig::Frontend(frontend) => Some(frontend),
            TargetKindConfig::Kubernetes(_)
            | TargetKindConfig::Database(_)
            | TargetKindConfig::Infrastructure(_) => None,
        }
    }

    pub fn database(&self) -> Option<&DatabaseConfig> {
        match self {
            TargetKindConfig::Database(database) => Some(database),
            TargetKindConfig::Kubernetes(_)
            | TargetKindConfig::Frontend(_)
            | TargetKindConfig::Infrastructure(_) => None,
        }
    }

    pub fn infrastructure(&self) -> Option<&InfrastructureConfig> {
        match self {
            TargetKindConfig::Infrastructure(infrastructure) => Some(infrastructure),
            TargetKindConfig::Kubernetes(_)
            | TargetKindConfig::Frontend(_)
            | TargetKindConfig::Database(_) => None,
        }
    }

    /// What it is, as messages name it; no two targets may be the same.
    pub fn place(&self) -> String {
        match self {
            TargetKindConfig::Kubernetes(workload) => {
                format!("the {} {}/{}", workload.kind.title(), workload.namespace, workload.name)
            }
            TargetKindConfig::Frontend(frontend) => format!("the frontend {}", frontend.site.place()),
            TargetKindConfig::Database(database) => database.place(),
            TargetKindConfig::Infrastructure(infrastructure) => infrastructure.place(),
        }
    }
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
    /// The pods' logs.
    Logs,
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
            SourceName::Logs => "logs",
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
    Http(OutsideCheck),
    Logs(LogsConfig),
}

/// How several series become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    Max,
    Min,
    Sum,
    Mean,
}

/// What is asked from outside, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideCheck {
    pub probe: Probe,
    pub secrets: Secrets,
    /// While a release is fresh.
    pub every: Duration,
    /// While nothing is released.
    pub at_rest: Duration,
}

/// What counts as an error line in the pods' logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsConfig {
    /// A regular expression that compiles.
    pub error: String,
    /// For pods with several.
    pub container: Option<String>,
    /// Whether lines are shown to people, and not only their patterns.
    pub show_lines: bool,
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
