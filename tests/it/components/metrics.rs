//! Prometheus, Alertmanager, the workload that is scraped and the webhook that is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::alertmanager::Alertmanager;
use crate::support::prometheus::{Prometheus, Setup, static_targets};
use crate::support::receiver::Receiver;
use crate::support::until;
use crate::support::workload::{Traffic, Workload};

const LIMIT: Duration = Duration::from_secs(15);
const SHARE_OF_ERRORS: &str =
    "sum(rate(http_requests_total{code=\"500\"}[5s])) / sum(rate(http_requests_total[5s]))";

fn errors(ratio: f64) -> Traffic {
    Traffic { error_ratio: ratio, ..Traffic::default() }
}

fn number(sample: &Value) -> f64 {
    sample["value"][1].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn prometheus_sees_what_the_workload_counts() {
    let workload = Workload::local("v1", errors(0.15)).await;
    let setup =
        Setup { scrape: vec![static_targets("web", &[workload.address().to_string()])], ..Setup::default() };
    let mut prometheus = Prometheus::start(&setup).await;
    let share = until("the error rate is 15 %", LIMIT, async || {
        let share = number(prometheus.query(SHARE_OF_ERRORS).await.first()?);
        (share > 0.1).then_some(share)
    })
    .await;
    assert!(share < 0.2, "{share}");

    workload.record(10_000, 0);
    until("counted requests are scraped", LIMIT, async || {
        let counted = prometheus.query("sum(http_requests_total) > 10000").await;
        counted.first().map(|_| ())
    })
    .await;

    prometheus.stop().await;
    let gone = reqwest::get(prometheus.url()).await;
    assert!(gone.is_err(), "it answers after its end");
    prometheus.restart().await;
    let past = prometheus.query("max_over_time(http_requests_total[1m])").await;
    assert_eq!(past.len(), 2, "it forgot what it stored");
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_firing_rule_reaches_the_webhook_and_resolves() {
    let receiver = Receiver::start().await;
    let alertmanager = Alertmanager::start(&receiver.url("/webhook"), Some("s3cret")).await;
    let workload = Workload::local("v2", errors(0.15)).await;
    let prometheus = Prometheus::start(&Setup {
        scrape: vec![static_targets("web", &[workload.address().to_string()])],
        rules: vec![json!({ "alert": "HighErrorRate", "expr": format!("{SHARE_OF_ERRORS} > 0.05"), "labels": { "severity": "critical" } })],
        alertmanager: Some(alertmanager.address()),
        ..Setup::default()
    })
    .await;
    let firing =
        receiver.wait_for("the alert fires", LIMIT, |delivery| delivery.json()["status"] == "firing").await;
    assert_eq!(firing.path, "/webhook");
    assert_eq!(firing.headers["authorization"], "Bearer s3cret");
    assert_eq!(firing.json()["alerts"][0]["labels"]["alertname"], "HighErrorRate");

    workload.set_traffic(errors(0.0));
    receiver
        .wait_for("the alert is resolved", LIMIT, |delivery| delivery.json()["status"] == "resolved")
        .await;
    prometheus.reload(&Setup::default()).await;
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn alertmanager_delivers_again_until_the_webhook_accepts() {
    let receiver = Receiver::start().await;
    receiver.fail_next(2);
    let mut alertmanager = Alertmanager::start(&receiver.url("/page"), None).await;
    let alert = json!([{ "labels": { "alertname": "RolledBack", "service": "shop" } }]);
    alertmanager.post(&alert).await;
    let delivered = receiver.wait_for("the alert is delivered", LIMIT, |_| true).await;
    assert_eq!(delivered.json()["alerts"][0]["labels"]["service"], "shop");
    assert_eq!(receiver.refused(), 2);
    assert_eq!(alertmanager.active().await.len(), 1);
    alertmanager.stop().await;
    alertmanager.restart().await;
}
