//! From the configuration to adapters: one constructor per room.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::rooms::Room;
use super::{AppError, outside};
use crate::adapters::checks::{AlertmanagerAccess, OutsideChecks};
use crate::adapters::endpoint::Endpoint;
use crate::adapters::kubernetes::logs::{LOGS_EVERY, LogRule, LogsSource};
use crate::adapters::kubernetes::{
    AccessError, ClusterAccess, Extras, Keeping, KeyedHash, Kubernetes, KubernetesTarget, OwnerOptions,
};
use crate::adapters::notify::{
    alertmanager::{Alertmanager, AlertmanagerConfig},
    slack::Slack,
    webhook::Webhook,
};
use crate::adapters::outbound;
use crate::adapters::signals::prometheus::{Place, PrometheusOptions, PrometheusSource};
use crate::adapters::signals::scrape::{ScrapeOptions, ScrapeSource};
use crate::adapters::signals::values::ValueQuery;
use crate::adapters::signals::{Query, SourceRule};
use crate::config::{
    CloudWatchConfig, Config, GitOpsPolicy, KubernetesConfig, PrometheusConfig, RuleConfig, RuleQuery,
    ScrapeConfig, ServiceConfig, SourceName, TargetConfig, TargetKindConfig,
};
use crate::domain::keepsake::ObjectKind;
use crate::domain::names::{TargetId, TargetKind};
use crate::domain::runbook::{Judging, Rule};
use crate::engine::settings::{Fleet, ServiceSettings};
use crate::http::auth::People;
use crate::http::webhook::AlertRoute;
use crate::ports::{Checks, Clock, ImageRegistry, Notifier, SignalSource};

/// Messages and checks take no longer than this.
const OUTBOUND_MAX: Duration = Duration::from_secs(5);
/// Pods scraped at once.
const SCRAPES: usize = 64;

/// What could not be set up, with the source's own words.
pub(super) fn setup<E: Display>(what: &'static str) -> impl Fn(E) -> AppError {
    move |error| AppError::Setup { what, why: error.to_string() }
}

fn targets(config: &Config) -> impl Iterator<Item = (TargetId, &TargetKindConfig)> {
    config.services.iter().flat_map(|service| {
        service.targets.iter().map(|target| {
            (TargetId { service: service.name.clone(), target: target.name.clone() }, &target.kind)
        })
    })
}

pub(super) async fn cluster(config: &Config, clock: Arc<dyn Clock>) -> Result<Kubernetes, AccessError> {
    let access = match &config.kubernetes {
        KubernetesConfig::Infer if is_without_cluster(config) => ClusterAccess::Absent,
        KubernetesConfig::Infer => ClusterAccess::Inferred,
        KubernetesConfig::Kubeconfig { path, context } => {
            ClusterAccess::Kubeconfig { path: path.clone(), context: context.clone() }
        }
        KubernetesConfig::Url(url) => ClusterAccess::Url(url.to_string()),
    };
    let guarded = targets(config)
        .filter_map(|(target, kind)| Some(KubernetesTarget { target, workload: kind.workload()?.clone() }))
        .collect();
    let cluster = Kubernetes::open(&access, guarded, clock).await?;
    Ok(cluster.with_owners(owners(config)).with(extras(config)))
}

fn is_without_cluster(config: &Config) -> bool {
    targets(config).all(|(_, kind)| kind.workload().is_none()) && config.leadership.is_none()
}

/// What rolls back everything but workloads.
pub(super) fn rooms(config: &Config) -> Result<Vec<Room>, AppError> {
    Ok(frontend_room(config).into_iter().collect())
}

/// Frontends are in AWS.
fn frontend_room(config: &Config) -> Option<Room> {
    #[cfg(feature = "aws")]
    return super::aws::frontend_room(config);
    #[cfg(not(feature = "aws"))]
    return config.services.first().and(None);
}

pub(super) fn kinds(config: &Config) -> BTreeMap<TargetId, TargetKind> {
    targets(config).map(|(id, kind)| (id, kind.kind())).collect()
}

/// The key of the hashes is made only if something is hashed.
pub(super) fn keeping(config: &Config) -> Result<Option<Keeping>, AppError> {
    let on =
        [(config.compare.config_maps, ObjectKind::ConfigMap), (config.compare.secrets, ObjectKind::Secret)];
    let kinds: BTreeSet<ObjectKind> = on.into_iter().filter(|(on, _)| *on).map(|(_, kind)| kind).collect();
    if kinds.is_empty() {
        return Ok(None);
    }
    let key = KeyedHash::open(&config.state_dir.join("keepsake.key"));
    Ok(Some(Keeping { kinds, hash: key.map_err(setup("kubernetes.compare"))? }))
}

fn extras(config: &Config) -> Extras {
    let of = |service: &ServiceConfig| -> Vec<(TargetId, String)> {
        let in_front = |target: &TargetConfig| {
            let id = TargetId { service: service.name.clone(), target: target.name.clone() };
            Some((id, target.service.clone()?))
        };
        service.targets.iter().filter_map(in_front).collect()
    };
    let services = config.services.iter().flat_map(of).collect();
    let logged = |service: &&ServiceConfig| service.rules.iter().any(|rule| rule.source == SourceName::Logs);
    let of = |service: &ServiceConfig| -> Vec<TargetId> {
        let id = |t: &TargetConfig| TargetId { service: service.name.clone(), target: t.name.clone() };
        service.targets.iter().map(id).collect()
    };
    let logs = config.services.iter().filter(logged).flat_map(of).collect();
    Extras { failed_probes: config.watch_failed_probes, services, logs }
}

fn owners(config: &Config) -> OwnerOptions {
    let suspending = config.services.iter().filter(|service| service.gitops == GitOpsPolicy::Suspend);
    let target = |service: &ServiceConfig, target: &TargetConfig| TargetId {
        service: service.name.clone(),
        target: target.name.clone(),
    };
    OwnerOptions {
        argocd_namespace: config.argocd_namespace.clone(),
        may_hold: suspending.flat_map(|s| s.targets.iter().map(|t| target(s, t))).collect(),
    }
}

pub(super) fn fleet(config: &Config) -> Fleet {
    let services = config.services.iter().map(|service| settings(config, service)).collect();
    Fleet::new(services, config.rollbacks_at_once).configured_by(config.hash())
}

fn settings(config: &Config, service: &ServiceConfig) -> ServiceSettings {
    ServiceSettings {
        name: service.name.clone(),
        mode: service.mode,
        targets: service.targets.iter().map(|t| t.name.clone()).collect(),
        rules: runbook(config, service),
        judging: judging(config, service),
        watch: service.watch,
        page_after: service.page_after,
        rails: service.rails.clone(),
        minimums: service
            .targets
            .iter()
            .filter_map(|t| Some((t.name.clone(), t.min_version.clone()?)))
            .collect(),
        approval_expires: service.approval_expires,
        rollout_deadline: service.rollout_deadline,
        together: service.together,
        verify_deadline: service.verify_deadline,
        checks: service.checks.clone(),
        status_page: config.status_page.as_ref().map(ToString::to_string),
    }
}

/// The rules with how late their sources are.
pub(super) fn runbook(config: &Config, service: &ServiceConfig) -> Vec<Rule> {
    let lag = |rule: &RuleConfig| match rule.source {
        SourceName::CloudWatch => config.sources.cloudwatch.as_ref().map(CloudWatchConfig::lag),
        SourceName::Prometheus | SourceName::Scrape | SourceName::Http | SourceName::Logs => None,
    };
    let secs = |rule: &RuleConfig| lag(rule).unwrap_or_default().as_secs_f64();
    service.rules.iter().map(|rule| Rule { lag_secs: secs(rule), ..rule.rule.clone() }).collect()
}

/// A batch is never shorter than the interval at which its source is asked: empty batches are no evidence.
pub(super) fn judging(config: &Config, service: &ServiceConfig) -> Judging {
    let interval = |rule: &RuleConfig| match rule.source {
        SourceName::Prometheus => config.sources.prometheus.as_ref().map(|p| p.interval),
        SourceName::Scrape => config.sources.scrape.as_ref().map(|s| s.fresh_interval),
        SourceName::CloudWatch => config.sources.cloudwatch.as_ref().map(|c| c.interval),
        SourceName::Logs => Some(LOGS_EVERY),
        // Checks are no part of any batch.
        SourceName::Http => None,
    };
    // A rule that is read once a minute must not slow down the others of its service.
    let quick = service.rules.iter().filter(|rule| rule.source != SourceName::CloudWatch);
    let slowest =
        quick.filter_map(interval).max().or_else(|| service.rules.iter().filter_map(interval).max());
    let slowest = slowest.unwrap_or_default();
    let batch_secs = service.judging.batch_secs.max(slowest.as_secs_f64());
    Judging { batch_secs, ..service.judging.clone() }
}

pub(super) fn sources(config: &Config) -> Result<Vec<Arc<dyn SignalSource>>, AppError> {
    let mut sources = measuring(config)?;
    for outside in outside::sources(config)? {
        sources.push(Arc::new(outside));
    }
    Ok(sources)
}

/// `None` where no rule is about logs: then nobody's logs are read.
pub(super) fn logs_source(config: &Config, cluster: &Kubernetes) -> Result<Option<LogsSource>, AppError> {
    let mut rules = Vec::new();
    for service in &config.services {
        for rule in &service.rules {
            let RuleQuery::Logs(logs) = &rule.query else { continue };
            rules.push(LogRule {
                service: service.name.clone(),
                rule: rule.rule.name.clone(),
                error: Regex::new(&logs.error).map_err(setup("a rule on logs"))?,
                container: logs.container.clone(),
                show_lines: logs.show_lines,
            });
        }
    }
    Ok((!rules.is_empty()).then(|| cluster.logs(rules)))
}

/// Those that may know the past.
pub(super) fn measuring(config: &Config) -> Result<Vec<Arc<dyn SignalSource>>, AppError> {
    let mut sources: Vec<Arc<dyn SignalSource>> = Vec::new();
    if let Some(prometheus) = &config.sources.prometheus {
        sources.push(prometheus_source(config, prometheus)?);
    }
    if let Some(scrape) = &config.sources.scrape {
        sources.push(scrape_source(config, scrape)?);
    }
    #[cfg(feature = "aws")]
    if let Some(cloudwatch) = &config.sources.cloudwatch {
        sources.push(super::aws::cloudwatch_source(config, cloudwatch));
    }
    Ok(sources)
}

/// Who knows whether images are still there.
pub(super) fn registry(config: &Config) -> Option<Arc<dyn ImageRegistry>> {
    #[cfg(feature = "aws")]
    return config.registries.ecr.as_ref().map(super::aws::ecr_registry);
    #[cfg(not(feature = "aws"))]
    return config.registries.ecr.as_ref().and(None);
}

fn prometheus_source(
    config: &Config,
    prometheus: &PrometheusConfig,
) -> Result<Arc<dyn SignalSource>, AppError> {
    let rules = rules(config, SourceName::Prometheus);
    Ok(Arc::new(prometheus_of(config, prometheus, rules)?))
}

/// What pods tell when they are scraped, a Prometheus that scrapes them has too.
pub(super) fn prometheus_of_all(
    config: &Config,
    prometheus: &PrometheusConfig,
) -> Result<PrometheusSource, AppError> {
    let sources = [SourceName::Prometheus, SourceName::Scrape];
    prometheus_of(config, prometheus, sources.into_iter().flat_map(|source| rules(config, source)).collect())
}

fn prometheus_of(
    config: &Config,
    prometheus: &PrometheusConfig,
    rules: Vec<SourceRule>,
) -> Result<PrometheusSource, AppError> {
    let place = |(target, kind): (TargetId, &TargetKindConfig)| {
        let workload = kind.workload()?;
        Some((target, Place { namespace: workload.namespace.clone(), workload: workload.name.clone() }))
    };
    let options = PrometheusOptions {
        name: "prometheus".into(),
        url: prometheus.url.to_string(),
        interval: prometheus.interval,
        timeout: prometheus.timeout,
        bearer: prometheus.bearer_token.clone(),
        headers: prometheus.headers.clone(),
        namespace_label: prometheus.namespace_label.clone(),
        pod_label: prometheus.pod_label.clone(),
        rules,
        places: targets(config).filter_map(place).collect(),
    };
    PrometheusSource::new(options).map_err(setup("Prometheus"))
}

fn scrape_source(config: &Config, scrape: &ScrapeConfig) -> Result<Arc<dyn SignalSource>, AppError> {
    let options = ScrapeOptions {
        name: "scrape".into(),
        interval: scrape.interval,
        fresh_interval: scrape.fresh_interval,
        timeout: scrape.timeout,
        concurrent: SCRAPES,
        rules: rules(config, SourceName::Scrape),
    };
    let source = ScrapeSource::new(options).map_err(setup("the scrape source"))?;
    Ok(Arc::new(source))
}

fn rules(config: &Config, source: SourceName) -> Vec<SourceRule> {
    let of_service = |service: &ServiceConfig| {
        let name = service.name.clone();
        let of_source = service.rules.iter().filter(|r| r.source == source).cloned().collect::<Vec<_>>();
        let window = rate_window(config, source);
        of_source.into_iter().filter_map(move |r| {
            let query = query(&r.query, window)?;
            Some(SourceRule { service: name.clone(), rule: r.rule.name, query })
        })
    };
    config.services.iter().flat_map(of_service).collect()
}

/// Four scrapes at least: one of them may be missing or late.
fn rate_window(config: &Config, source: SourceName) -> Duration {
    let interval = match source {
        SourceName::Prometheus => config.sources.prometheus.as_ref().map(|p| p.interval),
        SourceName::Scrape => config.sources.scrape.as_ref().map(|s| s.fresh_interval),
        SourceName::CloudWatch | SourceName::Http | SourceName::Logs => None,
    };
    (interval.unwrap_or_default() * 4).max(Duration::from_secs(60))
}

/// `None` for what has no series.
fn query(query: &RuleQuery, window: Duration) -> Option<Query> {
    match query.clone() {
        RuleQuery::Errors { total, bad } => Some(Query::Errors { total, bad }),
        RuleQuery::Latency { histogram } => Some(Query::Latency { histogram }),
        RuleQuery::Value { series, combine, rate, pods } => {
            Some(Query::Value(ValueQuery { series, combine, rate: rate.then_some(window), pods }))
        }
        RuleQuery::CloudWatch(_) | RuleQuery::Http(_) | RuleQuery::Logs(_) => None,
    }
}

/// The channels in the order in which they are tried.
pub(super) fn notifiers(config: &Config) -> Result<Vec<Arc<dyn Notifier>>, AppError> {
    let client = outbound::build(outbound::builder(OUTBOUND_MAX)).map_err(setup("HTTP"))?;
    let mut notifiers: Vec<Arc<dyn Notifier>> = Vec::new();
    if let Some(paging) = config.alertmanager.as_ref().and_then(|a| a.paging.as_ref()) {
        let options = AlertmanagerConfig {
            url: paging.url.to_string().into(),
            token: None,
            labels: paging.labels.clone(),
        };
        let channel = Alertmanager::new("alertmanager", options, client.clone());
        notifiers.push(Arc::new(channel.map_err(setup("paging through Alertmanager"))?));
    }
    if let Some(slack) = &config.notify.slack {
        let url = slack.webhook_url.expose().to_string().into();
        let channel = Slack::new("slack", &url, client.clone()).map_err(setup("Slack"))?;
        notifiers.push(Arc::new(channel));
    }
    if let Some(webhook) = &config.notify.webhook {
        let url = webhook.url.expose().to_string().into();
        let channel = Webhook::new("webhook", &url, &webhook.secret, client);
        notifiers.push(Arc::new(channel.map_err(setup("the webhook"))?));
    }
    Ok(notifiers)
}

pub(super) fn checks(config: &Config) -> Result<Arc<dyn Checks>, AppError> {
    let client = outbound::build(outbound::builder(OUTBOUND_MAX)).map_err(setup("HTTP"))?;
    let url = config.alertmanager.as_ref().and_then(|a| a.url.as_ref());
    let access = match url {
        None => None,
        Some(url) => {
            let url = Endpoint::parse(url.as_str()).map_err(setup("Alertmanager"))?;
            Some(AlertmanagerAccess { url, token: None, match_labels: match_labels(config) })
        }
    };
    let checks: Arc<dyn Checks> =
        Arc::new(OutsideChecks::new(client, access).with_secrets(outside::secrets(config)));
    #[cfg(feature = "aws")]
    let checks = super::aws::with_frontends(config, checks).map_err(setup("HTTP"))?;
    Ok(checks)
}

fn match_labels(config: &Config) -> BTreeMap<crate::domain::names::ServiceName, BTreeMap<String, String>> {
    let of = |s: &ServiceConfig| Some((s.name.clone(), s.alerts.as_ref()?.match_labels.clone()));
    config.services.iter().filter_map(of).collect()
}

pub(super) fn people(config: &Config) -> People {
    People::new(config.people.iter().map(|p| (p.name.clone(), p.token.clone())).collect())
}

pub(super) fn alert_routes(config: &Config) -> Vec<AlertRoute> {
    let route = |service: &ServiceConfig| {
        let alerts = service.alerts.as_ref()?;
        Some(AlertRoute {
            service: service.name.clone(),
            match_labels: alerts.match_labels.clone(),
            severities: alerts.severities.clone(),
        })
    };
    config.services.iter().filter_map(route).collect()
}
