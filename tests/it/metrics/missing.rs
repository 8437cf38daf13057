//! A Prometheus that answers in part, or not at all, gives no numbers; when it is back, the numbers are too.
use super::{NAMESPACE, about, errors, quiet, read, reads, source};
use crate::recorder::{Answer, Recorder};
use crate::support::prometheus::{Prometheus, Setup, pod_targets};

const FAILED: &str = "http_requests_total{code=~\"5..\"}";
const WHOLE: [&str; 1] = ["shop shop-web-0 error-rate 10 of 100"];

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_stopped_prometheus_is_no_data_until_it_is_back() {
    let workload = quiet().await;
    workload.record(100, 10);
    let pods = [("shop-web-0", workload.address().to_string())];
    let setup = Setup { scrape: vec![pod_targets("pods", NAMESPACE, &pods)], ..Setup::default() };
    let mut prometheus = Prometheus::start(&setup).await;
    let source = source(prometheus.url(), vec![errors("shop", FAILED)]);
    let asked = [about("shop", &["shop-web-0"])];
    reads(&source, &asked, &WHOLE).await;

    prometheus.stop().await;
    let refused = "shop - error-rate: Prometheus: cannot connect: Connection refused";
    let lines = read(&source, &asked).await;
    assert!(lines.len() == 1 && lines[0].starts_with(refused), "{lines:?}");

    workload.record(100, 10);
    prometheus.restart().await;
    reads(&source, &asked, &["shop shop-web-0 error-rate 20 of 200"]).await;
}

/// A store that answers nothing: Prometheus answers with what it has itself, and a warning.
#[tokio::test]
#[ignore = "tests/run metrics"]
async fn an_answer_with_a_warning_is_not_used() {
    let workload = quiet().await;
    workload.record(100, 10);
    let pods = [("shop-web-0", workload.address().to_string())];
    let whole = Setup { scrape: vec![pod_targets("pods", NAMESPACE, &pods)], ..Setup::default() };
    let prometheus = Prometheus::start(&whole).await;
    let source = source(prometheus.url(), vec![errors("shop", FAILED)]);
    let asked = [about("shop", &["shop-web-0"])];
    reads(&source, &asked, &WHOLE).await;

    let store = Recorder::start(Answer::new(503, "down")).await;
    let partial = Setup { remote_read: Some(format!("{}/read", store.url)), ..whole.clone() };
    prometheus.reload(&partial).await;
    let lines = read(&source, &asked).await;
    let warned = lines.len() == 1
        && lines[0].starts_with("shop - error-rate: partial answer, not used: ")
        && lines[0].contains("503");
    assert!(warned, "{lines:?}");
    assert!(!store.seen().is_empty(), "the store was not asked");

    prometheus.reload(&whole).await;
    reads(&source, &asked, &WHOLE).await;
}
