//! The pods' logs, read through the API server from the node: error lines a minute, and kinds of errors that are new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use regex::Regex;
use rollguard::adapters::kubernetes::logs::{LogRule, LogsSource};
use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesTarget};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::signal::Reading;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{Ask, AskPod, AskTarget, SignalSource};
use serde_json::json;

use super::world::Place;
use crate::support::until;

const LOGS: &str = include_str!("../../../deploy/kubernetes/watched-namespace/optional/logs.yaml");

fn id() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

async fn source(place: &Place, token: &str) -> LogsSource {
    let target = KubernetesTarget { target: id(), workload: place.workload() };
    let access = ClusterAccess::Kubeconfig { path: Some(place.cluster.kubeconfig_as(token)), context: None };
    let cluster = Kubernetes::open(&access, vec![target], Arc::new(SystemClock)).await.unwrap();
    cluster.logs(vec![LogRule {
        service: id().service,
        rule: RuleName::parse("error-lines").unwrap(),
        error: Regex::new("ERROR").unwrap(),
        container: None,
        show_lines: false,
    }])
}

fn about(pods: &[String], release: &str) -> AskTarget {
    let pod = |name: &String| AskPod { name: name.clone(), release: Some(release.into()), metrics_url: None };
    AskTarget { target: id(), pods: pods.iter().map(pod).collect() }
}

/// Error lines a minute by pod, the kinds that are told, and why nothing could be read.
async fn read(source: &LogsSource, about: &AskTarget) -> (BTreeMap<String, f64>, Vec<String>, Vec<String>) {
    let ask = Ask { at: Timestamp::now(), targets: vec![about.clone()] };
    let (mut values, mut kinds, mut missing) = (BTreeMap::new(), Vec::new(), Vec::new());
    for sample in source.read(&ask).await {
        match sample.reading {
            Reading::Value { value, .. } => drop(values.insert(sample.pod.unwrap(), value)),
            Reading::Remark { detail, .. } => kinds.push(detail),
            Reading::NoData { reason, .. } => missing.push(reason),
            other => panic!("{other:?}"),
        }
    }
    (values, kinds, missing)
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn error_lines_are_counted_once_and_new_kinds_are_told_once() {
    let place = Place::new("logs").await;
    let token = place.shipped_role().await;
    let source = source(&place, &token).await;
    let old = about(&place.serving(), "v1");
    let (values, _, missing) = read(&source, &old).await;
    assert!(values.is_empty() && missing[0].contains("allow get on pods/log there"), "{missing:?}");
    let past = source.history(&old, Timestamp::now() - Duration::from_secs(600), Timestamp::now()).await;
    assert!(past.missing.unwrap().contains("allow get on pods/log"), "and so is the past");

    place.optional_role(LOGS).await;
    let (values, kinds) = until("the role counts", Duration::from_secs(10), async || {
        let (values, kinds, _) = read(&source, &old).await;
        (!values.is_empty()).then_some((values, kinds))
    })
    .await;
    assert!(
        values.len() == 3 && values.values().all(|errors| *errors == 0.0) && kinds.is_empty(),
        "{values:?}"
    );

    place.deploy("v2-logerrors600").await;
    place.rolled_out().await;
    let new = about(&place.serving(), "v2");
    let kind = ["ERROR request # timed out after # ms"];
    let (first, kinds, _) = read(&source, &new).await;
    assert_eq!(kinds, kind, "told once, though three pods write it");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (second, kinds, _) = read(&source, &new).await;
    assert!(kinds.is_empty(), "{kinds:?}");
    for (pod, errors) in &second {
        // Ten a second for five seconds, and for however long the requests took.
        let came = errors - first[pod];
        assert!((45.0..90.0).contains(&came), "{pod}: {came}");
    }
    let past = source.history(&new, Timestamp::now() - Duration::from_secs(60), Timestamp::now()).await;
    let means = past.values.into_values().next().unwrap();
    assert!(means.len() == 1 && means[0] > 45.0, "{means:?}");
    let (_, kinds, _) = read(&source, &about(&place.serving(), "v3")).await;
    assert!(kinds.is_empty(), "what was there before is nothing new: {kinds:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_release_that_fills_its_log_with_errors_is_rolled_back_and_told_what_they_say() {
    let place = Place::new("log-errors").await;
    let token = place.shipped_role().await;
    place.optional_role(LOGS).await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let rule = json!({ "name": "error-lines", "logs": { "above": 30, "for": "5s" } });
    let world = place
        .guarded_through(kubeconfig, |config| {
            config["services"][0]["rules"].as_array_mut().unwrap().push(rule);
            config["services"][0]["watch"] = json!("60s");
        })
        .await;
    world.deploy("v2-odderrors240").await;
    let what = "a rollback is verified";
    let run = world.daemon.await_run(what, Duration::from_secs(150), |run| run.verified.is_some()).await;
    // Two pods of three are enough for the rule; whether the third has been past the bound for as long by then is chance.
    let said = Regex::new(r"^error-lines .*> 30 on [23] of 3 new pods").unwrap();
    assert!(said.is_match(&run.reason), "{run:?}");
    let kind = "error lines of a new kind: `ERROR cannot read cart #: no such column #`";
    assert!(run.reason.contains(kind), "{}", run.reason);
    assert_eq!((world.tag().await.as_str(), run.verified), ("v1", Some(true)));
    let shown = world.daemon.cli_ok(&format!("show {}", run.run)).await;
    assert!(shown.contains("error lines of a new kind"), "{shown}");
}
