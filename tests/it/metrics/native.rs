//! Native histograms, scraped by a real Prometheus as protobuf, are to our source what they are to our own scrape.
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::signals::scrape::{ScrapeOptions, ScrapeSource};
use rollguard::adapters::signals::{Query, SourceRule};
use rollguard::domain::histogram::{Histogram, Native, Zero};
use rollguard::domain::names::RuleName;
use rollguard::domain::signal::Reading;
use rollguard::ports::{Ask, AskPod, AskTarget, SignalSource};

use super::{LIMIT, NAMESPACE, errors, rule, source, target};
use crate::support::instrumented::{BOTH, CLASSIC, FLOATS, Instrumented, SCHEMA, ZERO_THRESHOLD};
use crate::support::prometheus::{Prometheus, Setup, pod_targets};
use crate::support::until;

const POD: &str = "shop-web-0";

/// One rule for each kind, named as people do: with `_bucket` and without, and narrowed by a label.
fn rules() -> Vec<SourceRule> {
    let latency = |name: &str, selector: String| {
        rule("shop", name, Query::Latency { histogram: selector.parse().unwrap() })
    };
    vec![
        latency("both", format!("{BOTH}_bucket")),
        latency("narrowed", format!("{BOTH}{{path!=\"/metrics\"}}")),
        latency("classic", CLASSIC.into()),
        latency("floats", FLOATS.into()),
        errors("shop", "http_requests_total{code=\"500\"}"),
    ]
}

fn ask(service: &Instrumented) -> Ask {
    let metrics_url = Some(format!("http://{}/metrics", service.address()));
    let pods = vec![AskPod { name: POD.into(), release: Some("v2".into()), metrics_url }];
    Ask { at: Timestamp::now(), targets: vec![AskTarget { target: target("shop"), pods }] }
}

/// The readings, by rule.
async fn read(source: &dyn SignalSource, ask: &Ask) -> Vec<Reading> {
    let samples = source.read(ask).await;
    assert!(samples.iter().all(|sample| sample.at == ask.at), "{samples:?}");
    let mut readings: Vec<Reading> = samples.into_iter().map(|sample| sample.reading).collect();
    readings.sort_by_key(|reading| format!("{reading:?}"));
    readings
}

fn times(readings: &[Reading], name: &str) -> Histogram {
    let of_rule = |reading: &Reading| match reading {
        Reading::Histogram { rule, times } if rule.as_str() == name => Some(times.clone()),
        _ => None,
    };
    readings.iter().find_map(of_rule).unwrap_or_else(|| panic!("no times of {name}: {readings:?}"))
}

fn native(zero: f64, counts: &[(i32, f64)]) -> Histogram {
    let zero = Zero { threshold: ZERO_THRESHOLD, count: zero };
    Histogram::Native(Native::new(SCHEMA, zero, counts.to_vec()).unwrap())
}

async fn prometheus(service: &Instrumented) -> Prometheus {
    let pods = [(POD, service.address().to_string())];
    let scrape = vec![pod_targets("pods", NAMESPACE, &pods)];
    Prometheus::start(&Setup { scrape, native_histograms: true, ..Setup::default() }).await
}

/// Until Prometheus has scraped what our own scrape reads; shows in the panic what it read instead.
async fn agree(stored: &dyn SignalSource, scraped: &dyn SignalSource, ask: &Ask) -> Vec<Reading> {
    let (own, mut last) = (read(scraped, ask).await, Vec::new());
    let found = async {
        until("both read the same", LIMIT, async || {
            last = read(stored, ask).await;
            (last == own).then_some(())
        })
        .await;
    };
    if tokio::time::timeout(LIMIT - Duration::from_secs(1), found).await.is_err() {
        panic!("{last:#?} instead of {own:#?}");
    }
    own
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn what_prometheus_stored_is_what_we_scrape() {
    let service = Instrumented::start().await;
    let prometheus = prometheus(&service).await;
    let stored = source(prometheus.url(), rules());
    let scraped = ScrapeSource::new(ScrapeOptions::standard(rules())).unwrap();
    let ask = ask(&service);
    // At schema 3, (0.0917, 0.1] is within bucket -26, and 2 seconds are the upper bound of bucket 8.
    service.observe("/a", 500, 2);
    service.observe("/a", 100_000, 40);
    service.observe("/b", 100_000, 2);
    service.observe("/b", 2_000_000, 7);
    service.observe("/metrics", 10_000, 100);

    let readings = agree(&stored, &scraped, &ask).await;
    assert_eq!(readings.len(), 5);
    assert_eq!(times(&readings, "narrowed"), native(2.0, &[(-26, 42.0), (8, 7.0)]));
    assert_eq!(times(&readings, "both"), native(2.0, &[(-53, 100.0), (-26, 42.0), (8, 7.0)]));
    assert_eq!(times(&readings, "floats"), times(&readings, "both"));
    let bounds =
        [(0.005, 2.0), (0.05, 102.0), (0.25, 144.0), (1.0, 144.0), (5.0, 151.0), (f64::INFINITY, 151.0)];
    assert_eq!(times(&readings, "classic").cumulative().bounds(), bounds);

    service.observe("/a", 90_000, 5);
    let later = agree(&stored, &scraped, &ask).await;
    let came = times(&later, "narrowed").since(&times(&readings, "narrowed"));
    assert_eq!(came, native(0.0, &[(-27, 5.0)]));

    service.restart();
    service.observe("/a", 100_000, 3);
    let restarted = agree(&stored, &scraped, &ask).await;
    let came = times(&restarted, "narrowed").since(&times(&later, "narrowed"));
    assert_eq!(came, native(0.0, &[(-26, 3.0)]), "after a restart everything is new");
}

/// A scraper that cannot read protobuf gets classic buckets, and so do we from a Prometheus without native histograms.
#[tokio::test]
#[ignore = "tests/run metrics"]
async fn without_protobuf_the_classic_buckets_are_read() {
    let service = Instrumented::start().await;
    let pods = [(POD, service.address().to_string())];
    let scrape = vec![pod_targets("pods", NAMESPACE, &pods)];
    let prometheus = Prometheus::start(&Setup { scrape, ..Setup::default() }).await;
    let stored = source(prometheus.url(), rules());
    let ask = ask(&service);
    service.observe("/a", 100_000, 40);
    until("the classic buckets are read", LIMIT, async || {
        let readings = read(&stored, &ask).await;
        let of_both = readings.iter().find_map(|reading| match reading {
            Reading::Histogram { rule, times } if rule.as_str() == "both" => Some(times),
            _ => None,
        });
        of_both.is_some_and(|times| times.cumulative().bounds()[2] == (0.25, 40.0)).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn the_past_of_native_histograms_is_their_growth() {
    let service = Instrumented::start().await;
    let prometheus = prometheus(&service).await;
    let source = source(prometheus.url(), rules());
    let about = AskTarget { target: target("shop"), pods: vec![] };
    service.observe("/a", 100_000, 1000);
    let both = RuleName::parse("both").unwrap();
    let classic = RuleName::parse("classic").unwrap();
    let grown = until("the growth is read", LIMIT, async || {
        service.observe("/a", 100_000, 30);
        service.observe("/a", 2_000_000, 10);
        let now = Timestamp::now();
        let past = source.history(&about, now - Duration::from_secs(60), now).await;
        assert!(past.earlier.is_empty(), "nothing was stored a day ago: {past:?}");
        let whole = |rule| past.times.get(rule).is_some_and(|t| t[0].count() > 100.0);
        (whole(&both) && whole(&classic)).then_some(past)
    })
    .await;
    assert_eq!(grown.times_step, Some(Duration::from_secs(60)));
    let Histogram::Native(_) = &grown.times[&both][0] else { panic!("{grown:?}") };
    // What was there at the first scrape is no growth: three quarters of the rest are fast.
    for times in [&grown.times[&both][0], &grown.times[&classic][0]] {
        let cumulative = times.cumulative();
        let fast = cumulative.bounds().iter().rfind(|(le, _)| *le < 1.0).unwrap().1;
        assert!((fast / times.count() - 0.75).abs() < 0.01, "{times:?}");
    }
}
