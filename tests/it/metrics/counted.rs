//! What the workloads counted is what is read, pod by pod, with one query per rule.
use super::{NAMESPACE, about, errors, latency, quiet, reads, source};
use crate::support::prometheus::{Prometheus, Setup, pod_targets};

const FAILED: &str = "http_requests_total{code=~\"5..\"}";

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn counts_per_pod_are_what_the_pods_counted() {
    let (one, two, other) = (quiet().await, quiet().await, quiet().await);
    let pods = [
        ("shop-web-5d8f7c9b4-aaaaa", one.address().to_string()),
        ("shop-web-5d8f7c9b4-bbbbb", two.address().to_string()),
        ("shop-web-admin-1", other.address().to_string()),
    ];
    let setup = Setup { scrape: vec![pod_targets("pods", NAMESPACE, &pods)], ..Setup::default() };
    let prometheus = Prometheus::start(&setup).await;
    let source = source(prometheus.url(), vec![errors("shop", FAILED), latency("shop")]);
    let asked = [about("shop", &[pods[0].0, pods[1].0])];

    one.record(1000, 150);
    two.record(412, 0);
    other.record(9999, 9999);
    reads(
        &source,
        &asked,
        &[
            "shop shop-web-5d8f7c9b4-aaaaa error-rate 150 of 1000",
            "shop shop-web-5d8f7c9b4-aaaaa latency 1000",
            "shop shop-web-5d8f7c9b4-bbbbb error-rate 0 of 412",
            "shop shop-web-5d8f7c9b4-bbbbb latency 412",
        ],
    )
    .await;

    // A container that is started again keeps its pod's name, and counts from zero.
    one.restart();
    one.record(7, 2);
    reads(
        &source,
        &asked,
        &[
            "shop shop-web-5d8f7c9b4-aaaaa error-rate 2 of 7",
            "shop shop-web-5d8f7c9b4-aaaaa latency 7",
            "shop shop-web-5d8f7c9b4-bbbbb error-rate 0 of 412",
            "shop shop-web-5d8f7c9b4-bbbbb latency 412",
        ],
    )
    .await;
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn no_series_of_failures_are_no_failures_and_no_series_at_all_are_no_data() {
    let workload = quiet().await;
    let pods = [("shop-web-0", workload.address().to_string())];
    let setup = Setup { scrape: vec![pod_targets("pods", NAMESPACE, &pods)], ..Setup::default() };
    let prometheus = Prometheus::start(&setup).await;
    workload.record(80, 8);
    let never_seen = "http_requests_total{code=\"503\"}";
    let rules = vec![errors("shop", never_seen), errors("pay", never_seen)];
    let source = source(prometheus.url(), rules);
    let asked = [about("shop", &["shop-web-0", "shop-web-1"]), about("pay", &["pay-web-0"])];
    reads(&source, &asked, &["pay - error-rate: no series", "shop shop-web-0 error-rate 0 of 80"]).await;
}

/// How many instant queries this Prometheus has answered.
async fn queries(prometheus: &Prometheus) -> f64 {
    let metrics = reqwest::get(format!("{}/metrics", prometheus.url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let answered = |line: &&str| {
        line.starts_with("prometheus_http_requests_total{") && line.contains("handler=\"/api/v1/query\"")
    };
    metrics
        .lines()
        .filter(answered)
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_rule_is_one_query_however_many_services_have_it() {
    let workload = quiet().await;
    let services: Vec<String> = (0..40).map(|n| format!("service{n}")).collect();
    let names: Vec<String> = services.iter().map(|service| format!("{service}-web-0")).collect();
    let pods: Vec<(&str, String)> =
        names.iter().map(|name| (name.as_str(), workload.address().to_string())).collect();
    let setup = Setup { scrape: vec![pod_targets("pods", NAMESPACE, &pods)], ..Setup::default() };
    let prometheus = Prometheus::start(&setup).await;
    workload.record(100, 3);
    let rules = services.iter().flat_map(|service| [errors(service, FAILED), latency(service)]);
    let source = source(prometheus.url(), rules.collect());
    let asked: Vec<_> = services.iter().zip(&names).map(|(s, pod)| about(s, &[pod])).collect();
    let mut expected: Vec<String> = services
        .iter()
        .zip(&names)
        .flat_map(|(s, pod)| [format!("{s} {pod} error-rate 3 of 100"), format!("{s} {pod} latency 100")])
        .collect();
    expected.sort();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    reads(&source, &asked, &expected).await;

    let before = queries(&prometheus).await;
    reads(&source, &asked, &expected).await;
    assert_eq!(queries(&prometheus).await - before, 2.0, "one for each of two rules");
}
