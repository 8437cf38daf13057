//! The signal sources against small HTTP servers that misbehave on demand.
mod http;
mod prometheus;
mod scrape;

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use jiff::Timestamp;
use rollguard::adapters::signals::{Query, SourceRule};
use rollguard::domain::names::TargetId;
use rollguard::domain::signal::{Reading, Sample};
use rollguard::ports::{Ask, AskPod, AskTarget};

/// Serves until the test's runtime ends.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn target(text: &str) -> TargetId {
    let (service, target) = text.split_once('/').unwrap();
    TargetId {
        service: service.to_string().try_into().unwrap(),
        target: target.to_string().try_into().unwrap(),
    }
}

fn errors(service: &str, rule: &str) -> SourceRule {
    SourceRule {
        service: service.to_string().try_into().unwrap(),
        rule: rule.to_string().try_into().unwrap(),
        query: Query::Errors {
            total: "requests_total".parse().unwrap(),
            bad: r#"requests_total{code=~"5.."}"#.parse().unwrap(),
        },
    }
}

fn latency(service: &str) -> SourceRule {
    SourceRule {
        service: service.to_string().try_into().unwrap(),
        rule: "latency".to_string().try_into().unwrap(),
        query: Query::Latency { histogram: "seconds".parse().unwrap() },
    }
}

fn pod(name: &str, metrics_url: Option<String>) -> AskPod {
    AskPod { name: name.into(), release: Some("v2".into()), metrics_url }
}

fn ask(targets: Vec<(&str, Vec<AskPod>)>) -> Ask {
    let about = |(name, pods)| AskTarget { target: target(name), pods };
    Ask {
        at: Timestamp::from_second(1_700_000_000).unwrap(),
        targets: targets.into_iter().map(about).collect(),
    }
}

/// One line per sample: who, and what was read.
fn lines(samples: &[Sample]) -> Vec<String> {
    let mut lines: Vec<String> = samples.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(sample: &Sample) -> String {
    assert_eq!(sample.at.as_second(), 1_700_000_000);
    assert_eq!(sample.pod.is_some(), sample.release.is_some());
    let target = sample.target.as_ref().map_or("", |target| target.as_str());
    let who = format!("{}/{target} {}", sample.service, sample.pod.as_deref().unwrap_or("-"));
    match &sample.reading {
        Reading::Counts { rule, bad, total } => format!("{who} {rule} {bad} of {total}"),
        Reading::Histogram { rule, times } => format!("{who} {rule} {:?}", times.cumulative().bounds()),
        Reading::Value { rule, value } => format!("{who} {rule} {value}"),
        Reading::NoData { rule, reason } => format!("{who} {rule}: {reason}"),
        other => panic!("{other:?}"),
    }
}

/// The test's own limit: a source that hangs fails its test.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(20), work).await.expect("it takes too long")
}
