//! What the scrape source makes of pods that answer, are slow, dead or send nonsense.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use rollguard::adapters::signals::exposition::{BODY_BYTES_MAX, protobuf};
use rollguard::adapters::signals::scrape::{ScrapeOptions, ScrapeSource};
use rollguard::adapters::signals::values::ValueQuery;
use rollguard::adapters::signals::{Query, SourceRule};
use rollguard::config::Combine;
use rollguard::domain::histogram::{Histogram, Native, Zero};
use rollguard::domain::signal::Reading;
use rollguard::ports::{AskPod, AskTarget, SignalSource};

use super::{ask, errors, latency, lines, pod, serve, soon, target};
use crate::support::instrumented::{BOTH, Instrumented};

const PAGE: &str = "requests_total{code=\"200\"} 90\nrequests_total{code=\"500\"} 10\n\
                    seconds_bucket{le=\"0.5\"} 80\nseconds_bucket{le=\"+Inf\"} 100\nseconds_count 100\n";

fn source(rules: Vec<SourceRule>) -> ScrapeSource {
    // On a busy machine eight megabytes take a while.
    let timeout = Duration::from_secs(3);
    ScrapeSource::new(ScrapeOptions { timeout, ..ScrapeOptions::standard(rules) }).unwrap()
}

async fn huge() -> Body {
    let line = format!("requests_total{{code=\"200\",pad=\"{}\"}} 1\n", "x".repeat(4000));
    let chunks = (0..=BODY_BYTES_MAX / line.len()).map(move |_| Ok::<_, std::io::Error>(line.clone()));
    Body::from_stream(futures::stream::iter(chunks))
}

/// A server that plays all pods, each at its own path.
async fn pods() -> impl Fn(&str) -> AskPod {
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        PAGE
    };
    let moved = || async { (StatusCode::FOUND, [("location", "/good")], PAGE) };
    let router = Router::new()
        .route("/good", get(|| async { PAGE }))
        .route("/idle", get(|| async { "up 1\n" }))
        .route("/half", get(|| async { "requests_total{code=\"200\"} 7\nrequests_total{code=\"5\n" }))
        .route("/huge", get(huge))
        .route("/slow", get(slow))
        .route("/moved", get(moved))
        .route("/error", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, PAGE) }));
    let address = serve(router).await;
    move |name| pod(name, Some(format!("http://{address}/{name}")))
}

async fn read(rules: Vec<SourceRule>, targets: Vec<(&str, Vec<AskPod>)>) -> Vec<String> {
    lines(&soon(source(rules).read(&ask(targets))).await)
}

#[tokio::test]
async fn each_pod_is_read_and_failures_stay_their_own() {
    let at = pods().await;
    let dead = pod("dead", Some("http://127.0.0.1:1/metrics".into()));
    let mut all = ["good", "idle", "half", "huge", "slow", "moved", "error"].map(at).to_vec();
    all.extend([dead, pod("nowhere", None), pod("named", Some("http://localhost:9/metrics".into()))]);
    all.push(pod("sly", Some("http://10.0.0.1@127.0.0.1:9/metrics".into())));
    let lines = read(vec![errors("shop", "error-rate"), errors("pay", "x")], vec![("shop/web", all)]).await;
    let expected = [
        "shop/web dead error-rate: cannot connect: Connection refused (os error 111)",
        "shop/web error error-rate: its metrics answered HTTP 500",
        "shop/web good error-rate 10 of 100",
        "shop/web half error-rate: a line of its metrics that matters here cannot be read",
        "shop/web huge error-rate: the metrics are longer than 8388608 bytes",
        "shop/web moved error-rate: its metrics answered HTTP 302",
        "shop/web named error-rate: the address of its metrics is not an IP address",
        "shop/web nowhere error-rate: no address or port for metrics",
        "shop/web slow error-rate: timed out",
        "shop/web sly error-rate: the address of its metrics is not an IP address",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_target_without_any_reading_says_so_once() {
    let at = pods().await;
    let dead = || pod("dead", Some("http://127.0.0.1:1/metrics".into()));
    let lines = read(
        vec![errors("shop", "error-rate"), latency("shop")],
        vec![
            ("shop/dead", vec![dead(), dead()]),
            ("shop/idle", vec![at("idle")]),
            ("shop/none", vec![]),
            ("shop/web", vec![at("good")]),
            ("unknown/x", vec![at("good")]),
        ],
    )
    .await;
    let refused = "no pod could be read, dead: cannot connect: Connection refused (os error 111)";
    let expected = [
        format!("shop/dead - error-rate: {refused}"),
        format!("shop/dead - latency: {refused}"),
        "shop/idle - error-rate: no series".into(),
        "shop/idle - latency: no series".into(),
        "shop/none - error-rate: the target has no pods".into(),
        "shop/none - latency: the target has no pods".into(),
        "shop/web good error-rate 10 of 100".into(),
        "shop/web good latency [(0.5, 80.0), (inf, 100.0)]".into(),
    ];
    assert_eq!(lines, expected);
}

/// A rule about the histogram that shows both kinds of buckets.
fn latency_of_both(service: &str) -> SourceRule {
    let query = Query::Latency { histogram: BOTH.parse().unwrap() };
    SourceRule { query, ..latency(service) }
}

#[tokio::test]
async fn native_histograms_are_asked_for_where_a_rule_needs_them() {
    let service = Instrumented::start().await;
    service.observe("/a", 100_000, 4);
    service.observe("/b", 90_000, 5);
    let metrics = || pod("a", Some(format!("http://{}/metrics", service.address())));
    let errors_only = || {
        async |headers: HeaderMap| {
            let asked = headers[ACCEPT].to_str().unwrap().contains("protobuf");
            if asked { (StatusCode::NOT_ACCEPTABLE, "") } else { (StatusCode::OK, PAGE) }
        }
    };
    let broken = || async { ([(CONTENT_TYPE, protobuf::CONTENT_TYPE)], &b"\x20half a message"[..]) };
    let router = Router::new().route("/text", get(errors_only())).route("/broken", get(broken));
    let address = serve(router).await;
    let at = |name: &str| pod(name, Some(format!("http://{address}/{name}")));

    let rules = vec![errors("plain", "error-rate"), latency_of_both("shop")];
    let targets = vec![
        ("plain/web", vec![at("text")]),
        ("shop/native", vec![metrics()]),
        ("shop/broken", vec![at("broken")]),
        ("shop/text", vec![at("text")]),
    ];
    let samples = soon(source(rules).read(&ask(targets))).await;
    let expected = Native::new(3, Zero::default(), vec![(-27, 5.0), (-26, 4.0)]).unwrap();
    let native = samples.iter().find_map(|sample| match &sample.reading {
        Reading::Histogram { times, .. } => Some(times.clone()),
        _ => None,
    });
    assert_eq!(native, Some(Histogram::Native(expected)));
    let told: Vec<String> = lines(&samples).into_iter().filter(|line| !line.contains("latency [")).collect();
    let expected = [
        "plain/web text error-rate 10 of 100",
        "shop/broken - latency: no pod could be read, broken: the metrics are no delimited protobuf messages, or break off",
        "shop/text - latency: no pod could be read, text: its metrics answered HTTP 406",
    ];
    assert_eq!(told, expected);
}

fn value(name: &str, combine: Combine, rate: Option<u64>) -> SourceRule {
    let (series, rate) = (r#"jobs{kind!="idle"}"#.parse().unwrap(), rate.map(Duration::from_secs));
    SourceRule {
        service: "shop".to_string().try_into().unwrap(),
        rule: name.to_string().try_into().unwrap(),
        query: Query::Value(ValueQuery { series, combine, rate, pods: true }),
    }
}

#[tokio::test]
async fn values_are_read_and_counters_by_their_growth_between_two_readings() {
    let page = Arc::new(Mutex::new("jobs{kind=\"a\"} 70\njobs{kind=\"b\"} 5\njobs{kind=\"idle\"} 9\n"));
    let shown = page.clone();
    let address =
        serve(Router::new().route("/", get(|| async move { shown.lock().unwrap().to_string() }))).await;
    let rules = vec![value("largest", Combine::Max, None), value("growth", Combine::Sum, Some(60))];
    let source = source(rules);
    let asking = || ask(vec![("shop/web", vec![pod("web-0", Some(format!("http://{address}/")))])]);
    let first = lines(&soon(source.read(&asking())).await);
    let waits = "shop/web - growth: no pod could be read, web-0: a rate needs another reading";
    assert_eq!(first, [waits, "shop/web web-0 largest 70"]);
    // Started again: what it shows came since.
    *page.lock().unwrap() = "jobs{kind=\"a\"} 30\njobs{kind=\"b\"} 15\n";
    let mut later = asking();
    later.at += jiff::SignedDuration::from_secs(10);
    let growth = soon(source.read(&later)).await.into_iter().find_map(|sample| match sample.reading {
        Reading::Value { rule, value } if rule.as_str() == "growth" => Some(value),
        _ => None,
    });
    assert_eq!(growth, Some(4.0), "30 and 10 in 10 seconds");
}

#[tokio::test]
async fn it_keeps_no_past_and_is_asked_about_everything() {
    let source = source(vec![errors("shop", "error-rate")]);
    assert_eq!(source.intervals(), (Duration::from_secs(1), Some(Duration::from_secs(15))));
    let about = AskTarget { target: target("shop/web"), pods: vec![] };
    let past = source.history(&about, jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::UNIX_EPOCH).await;
    assert_eq!(past.missing.as_deref(), Some("the scrape source keeps no past"));
    assert!(past.batches.is_empty());
}
