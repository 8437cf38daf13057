//! HTTP checks against a small server that answers as it is told.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::signals::http::{HttpRule, HttpSource};
use rollguard::config::Secrets;
use rollguard::domain::answer::{Expect, Wanted};
use rollguard::domain::probe::{HttpProbe, Probe};
use rollguard::domain::signal::{Reading, Sample};
use rollguard::ports::{Ask, SignalSource};
use serde_json::json;

use super::{ask, serve, soon};

/// Answers `/health` with `status`, and counts how often it was asked.
struct Service {
    url: String,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Service {
    async fn start() -> Self {
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let (answer, count) = (status.clone(), asked.clone());
        let health = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
            (status, [("location", "/elsewhere")], r#"{"status": "healthy"}"#)
        };
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            "late"
        };
        let elsewhere = || async { "all is well" };
        let router = Router::new()
            .route("/health", get(health))
            .route("/slow", get(slow))
            .route("/elsewhere", get(elsewhere));
        Self { url: format!("http://{}", serve(router).await), status, asked }
    }

    fn rule(&self, service: &str, name: &str, path: &str) -> HttpRule {
        rule(service, name, format!("{}{path}", self.url), Wanted::status(200))
    }
}

fn rule(service: &str, name: &str, url: String, wanted: Wanted) -> HttpRule {
    HttpRule {
        service: service.to_string().try_into().unwrap(),
        rule: name.to_string().try_into().unwrap(),
        probe: Probe::Http(HttpProbe { timeout_secs: 0.3, ..HttpProbe::new(url, wanted) }),
        secrets: Secrets::default(),
        every: Duration::from_secs(10),
    }
}

const AT_REST: Duration = Duration::from_secs(60);

fn lines(samples: &[Sample]) -> Vec<String> {
    let line = |sample: &Sample| {
        assert!(sample.pod.is_none() && sample.release.is_none());
        let target = sample.target.as_ref().map_or("", |target| target.as_str());
        match &sample.reading {
            Reading::Check { rule, ok, detail } => {
                format!(
                    "{}/{target} {rule} {}: {detail}",
                    sample.service,
                    if *ok { "passes" } else { "fails" }
                )
            }
            other => panic!("{other:?}"),
        }
    };
    let mut lines: Vec<String> = samples.iter().map(line).collect();
    lines.sort();
    lines
}

fn later(ask: Ask, secs: i64) -> Ask {
    let at: Timestamp = ask.at + SignedDuration::from_secs(secs);
    Ask { at, ..ask }
}

#[tokio::test]
async fn a_check_is_sent_once_and_told_to_every_target() {
    let service = Service::start().await;
    let healthy = Expect::Json { pointer: "/status".into(), equals: json!("healthy") };
    let rules = vec![
        rule(
            "shop",
            "health",
            format!("{}/health", service.url),
            Wanted { expect: vec![healthy], ..Wanted::status(200) },
        ),
        service.rule("shop", "slow", "/slow"),
        rule("shop", "gone", "http://127.0.0.1:1/".into(), Wanted::status(200)),
        service.rule("other", "health", "/health"),
    ];
    let source = HttpSource::new("http", rules, AT_REST).unwrap();
    let asking = || ask(vec![("shop/web", vec![]), ("shop/api", vec![])]);
    let refused = "fails: cannot connect: Connection refused (os error 111)";
    let samples = soon(source.read(&asking())).await;
    let expected = |health: &str| {
        ["api", "web"].map(|target| {
            [
                format!("shop/{target} gone {refused}"),
                format!("shop/{target} health {health}"),
                format!("shop/{target} slow fails: timed out"),
            ]
        })
    };
    assert_eq!(lines(&samples), expected(r#"passes: 200, /status is "healthy""#).concat());
    assert_eq!(service.asked.load(Ordering::SeqCst), 1, "nobody asked about the other service");
    for (status, detail) in [
        (503, "fails: HTTP 503 instead of 200"),
        (302, "fails: HTTP 302 instead of 200 (redirects are not followed)"),
    ] {
        service.status.store(status, Ordering::SeqCst);
        let secs = i64::from(status);
        let samples = soon(source.read(&later(asking(), secs))).await;
        assert_eq!(lines(&samples), expected(detail).concat());
    }
}

#[tokio::test]
async fn each_check_has_its_own_pace() {
    let service = Service::start().await;
    let often = service.rule("shop", "often", "/health");
    let seldom = HttpRule { every: Duration::from_secs(30), ..service.rule("shop", "seldom", "/health") };
    let source = HttpSource::new("http", vec![often, seldom], AT_REST).unwrap();
    assert_eq!(source.intervals(), (Duration::from_secs(10), Some(Duration::from_secs(60))));
    let mut sent = Vec::new();
    // The poller's tick comes a little early or late; at last the clock was set back.
    for second in [0, 10, 20, 29, 40, 41, 50, 61, -1000, -999] {
        let samples = source.read(&later(ask(vec![("shop/web", vec![])]), second)).await;
        sent.push(samples.len());
    }
    assert_eq!(sent, [2, 1, 1, 2, 1, 0, 1, 2, 2, 0]);
    assert_eq!(service.asked.load(Ordering::SeqCst), sent.iter().sum::<usize>());
}
