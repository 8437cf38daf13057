//! What a workload did before its release, from an hour that a real Prometheus has stored.
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::histogram::Histogram;
use rollguard::domain::names::RuleName;
use rollguard::ports::{History, SignalSource};

use super::{NAMESPACE, about, errors, latency, source};
use crate::support::prometheus::{Prometheus, Setup};

const STEP_SECS: i64 = 15;
const STEPS: i64 = 240;
/// At this step the pod is started again, and counts from zero.
const RESTART: i64 = 100;

/// 30 requests each step on each of two pods, 3 of them bad on the first; 40 % slower than 100 ms, none than 200 ms.
fn an_hour(from: i64) -> String {
    let mut text = String::from("# TYPE http_requests counter\n");
    let mut line = |name: &str, pod: &str, labels: &str, value: i64, at: i64| {
        writeln!(text, "{name}{{namespace=\"{NAMESPACE}\",pod=\"{pod}\",{labels}}} {value} {at}").unwrap();
    };
    let (one, two) = ("shop-web-5d8f7c9b4-bbbbb", "shop-web-5d8f7c9b4-ccccc");
    let steps = || (0..=STEPS).map(|step| (step, from + step * STEP_SECS));
    for (code, each) in [("200", 27), ("500", 3)] {
        for (step, at) in steps() {
            let since_start = if step < RESTART { step } else { step - RESTART + 1 };
            line("http_requests_total", one, &format!("code=\"{code}\""), since_start * each, at);
        }
    }
    for (step, at) in steps() {
        line("http_requests_total", two, "code=\"200\"", 5000 + step * 30, at);
    }
    // A pod of another Deployment whose name begins alike.
    for (step, at) in steps() {
        line("http_requests_total", "shop-web-admin-5d8f7c9b4-bbbbb", "code=\"500\"", step * 999, at);
    }
    text.push_str("# TYPE http_request_duration_seconds histogram\n");
    for (le, each) in [("0.1", 18), ("0.2", 30), ("+Inf", 30)] {
        for (step, at) in steps() {
            writeln!(
                text,
                "http_request_duration_seconds_bucket{{namespace=\"{NAMESPACE}\",pod=\"{two}\",le=\"{le}\"}} {} {at}",
                step * each
            )
            .unwrap();
        }
    }
    text.push_str("# EOF\n");
    text
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn the_hour_before_comes_back_step_by_step() {
    let to = Timestamp::now().as_second() / STEP_SECS * STEP_SECS;
    let from = to - STEPS * STEP_SECS;
    let prometheus = Prometheus::start_with_past(&Setup::default(), &an_hour(from)).await;
    let failed = "http_requests_total{code=~\"5..\"}";
    let source = source(prometheus.url(), vec![errors("shop", failed), latency("shop")]);
    let at = |second| Timestamp::from_second(second).unwrap();
    let past = source.history(&about("shop", &[]), at(from), at(to)).await;

    assert_eq!((past.missing.as_deref(), past.step), (None, Duration::from_secs(15)));
    let batches = &past.batches[&RuleName::parse("error-rate").unwrap()];
    // The restarted counter loses nothing: what it shows after its restart came in that step.
    assert_eq!(*batches, vec![Counts { bad: 3.0, total: 60.0 }; usize::try_from(STEPS).unwrap()]);
    let times = &past.times[&RuleName::parse("latency").unwrap()];
    assert_eq!((past.times_step, times.len()), (Some(Duration::from_secs(120)), 30));
    assert!(times.iter().all(|step| (step.count() - 240.0).abs() < 1e-6), "{times:?}");
    assert!(past.earlier.is_empty());
    // 60 % up to 100 ms, the rest up to 200 ms: the 95th percentile is 0.35/0.40 of the way.
    assert!((p95_ms(&past).unwrap() - 187.5).abs() < 0.1, "{past:?}");

    let before = source.history(&about("shop", &[]), at(from - 7200), at(from - 3600)).await;
    assert_eq!((before.batches.len(), before.missing.as_deref()), (0, Some("no series")));
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn the_same_clock_time_of_yesterday_comes_with_it() {
    let to = Timestamp::now().as_second() / STEP_SECS * STEP_SECS;
    let prometheus = Prometheus::start_with_past(&Setup::default(), &an_hour(to - 86_400)).await;
    let failed = "http_requests_total{code=~\"5..\"}";
    let source = source(prometheus.url(), vec![errors("shop", failed), latency("shop")]);
    let at = |second| Timestamp::from_second(second).unwrap();
    let past = source.history(&about("shop", &[]), at(to - 3600), at(to)).await;

    assert_eq!((past.batches.len(), past.times.len(), past.missing.as_deref()), (0, 0, Some("no series")));
    // Half an hour is 120 steps; between two readings, a minute apart, three of them are lost with the restarted pod.
    let days = &past.earlier[&RuleName::parse("error-rate").unwrap()];
    assert_eq!(days.iter().map(|day| day.counts).collect::<Vec<_>>(), [Counts { bad: 351.0, total: 7110.0 }]);
    let days = &past.earlier[&RuleName::parse("latency").unwrap()];
    let times = days[0].times.as_ref().unwrap();
    assert!(days.len() == 1 && (times.count() - 3600.0).abs() < 1e-6, "{times:?}");
    assert!((times.quantile(0.95).unwrap() - 0.1875).abs() < 1e-6, "{times:?}");
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn without_prometheus_the_past_is_missing_with_a_reason() {
    let mut prometheus = Prometheus::start(&Setup::default()).await;
    let source = source(prometheus.url(), vec![errors("shop", "http_requests_total{code=\"500\"}")]);
    prometheus.stop().await;
    let to = Timestamp::now();
    let past = source.history(&about("shop", &[]), to - Duration::from_secs(600), to).await;
    assert!(past.batches.is_empty() && p95_ms(&past).is_none());
    assert!(past.missing.as_deref().is_some_and(|why| why.contains("cannot connect")), "{past:?}");
}

fn p95_ms(past: &History) -> Option<f64> {
    let mut sum = Histogram::default();
    past.times.values().flatten().for_each(|batch| sum.add(batch));
    sum.quantile(0.95).map(|seconds| seconds * 1000.0)
}
