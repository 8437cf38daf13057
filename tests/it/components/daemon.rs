//! The control plane and Prometheus together.

use std::time::Duration;

use super::deployment;
use crate::support::cluster::Cluster;
use crate::support::prometheus::{Prometheus, Setup, discovered_targets};
use crate::support::until;

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn prometheus_finds_the_pods_of_a_deployment() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("scraped").await;
    cluster.apply(&namespace, &deployment("v2-errors15")).await;
    let discovery = cluster.kubelet().discovery_url(&namespace);
    let prometheus = Prometheus::start(&Setup {
        scrape: vec![discovered_targets("pods", &discovery)],
        ..Setup::default()
    })
    .await;
    let counted = "count by (namespace) (http_requests_total{code=\"500\", pod=~\"web-.*\"} > 0)";
    until("all pods are scraped", Duration::from_secs(15), async || {
        let found = prometheus.query(counted).await;
        let pods = found.first()?["value"][1].as_str()?.to_owned();
        (pods == "3").then_some(())
    })
    .await;
}
