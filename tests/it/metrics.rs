//! The Prometheus source, the pages through Alertmanager and the check of alerts, against the real ones.
mod alerts;
mod counted;
mod missing;
mod native;
mod paged;
mod past;
mod replay;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::signals::prometheus::{Place, PrometheusOptions, PrometheusSource};
use rollguard::adapters::signals::{Query, SourceRule};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::signal::{Reading, Sample};
use rollguard::ports::{Ask, AskPod, AskTarget, SignalSource};

use crate::support::until;
use crate::support::workload::{Traffic, Workload};

const LIMIT: Duration = Duration::from_secs(20);
const NAMESPACE: &str = "shop";

/// The target `web` of a service, which is the Deployment `SERVICE-web`.
fn target(service: &str) -> TargetId {
    TargetId { service: ServiceName::parse(service).unwrap(), target: TargetName::parse("web").unwrap() }
}

fn errors(service: &str, bad: &str) -> SourceRule {
    let query = Query::Errors { total: "http_requests_total".parse().unwrap(), bad: bad.parse().unwrap() };
    rule(service, "error-rate", query)
}

fn latency(service: &str) -> SourceRule {
    let histogram = "http_request_duration_seconds".parse().unwrap();
    rule(service, "latency", Query::Latency { histogram })
}

fn rule(service: &str, name: &str, query: Query) -> SourceRule {
    let (service, rule) = (ServiceName::parse(service).unwrap(), RuleName::parse(name).unwrap());
    SourceRule { service, rule, query }
}

/// A source over the services that the rules are about.
fn source(url: &str, rules: Vec<SourceRule>) -> PrometheusSource {
    let place = |rule: &SourceRule| {
        let workload = format!("{}-web", rule.service);
        (target(rule.service.as_str()), Place { namespace: NAMESPACE.into(), workload })
    };
    let places: BTreeMap<TargetId, Place> = rules.iter().map(place).collect();
    let options = PrometheusOptions {
        name: "prometheus".into(),
        url: url.into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        bearer: None,
        headers: vec![],
        namespace_label: "namespace".into(),
        pod_label: "pod".into(),
        rules,
        places,
    };
    PrometheusSource::new(options).unwrap()
}

fn about(service: &str, pods: &[&str]) -> AskTarget {
    let pod = |name: &&str| AskPod { name: (*name).into(), release: Some("v2".into()), metrics_url: None };
    AskTarget { target: target(service), pods: pods.iter().map(pod).collect() }
}

/// One line per sample: who, and what was read.
async fn read(source: &PrometheusSource, targets: &[AskTarget]) -> Vec<String> {
    let samples = source.read(&Ask { at: Timestamp::now(), targets: targets.to_vec() }).await;
    let mut lines: Vec<String> = samples.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(sample: &Sample) -> String {
    let who = format!("{} {}", sample.service, sample.pod.as_deref().unwrap_or("-"));
    match &sample.reading {
        Reading::Counts { rule, bad, total } => format!("{who} {rule} {bad} of {total}"),
        Reading::Histogram { rule, times } => format!("{who} {rule} {}", times.count()),
        Reading::Value { rule, value } => format!("{who} {rule} {value}"),
        Reading::NoData { rule, reason } => format!("{who} {rule}: {reason}"),
        other => panic!("{other:?}"),
    }
}

/// Reads until the lines are these; shows in the panic what they were instead.
async fn reads(source: &PrometheusSource, targets: &[AskTarget], expected: &[&str]) {
    let mut last = Vec::new();
    let found = async {
        until("the counts are read", LIMIT, async || {
            last = read(source, targets).await;
            (last == expected).then_some(())
        })
        .await;
    };
    if tokio::time::timeout(LIMIT - Duration::from_secs(1), found).await.is_err() {
        panic!("{last:#?} instead of {expected:#?}");
    }
}

/// A workload whose only traffic is what a test records.
async fn quiet() -> Workload {
    Workload::local("v2", Traffic { requests_per_sec: 0.0, ..Traffic::default() }).await
}
