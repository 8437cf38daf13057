//! The whole of it: the built binary, a real control plane, a real Prometheus and a real Alertmanager.
mod alerted;
mod approved;
mod blind;
mod checked;
mod measured;
mod runbook;
mod secret;
mod started;
mod stopped;

use std::collections::BTreeSet;
use std::time::Duration;

use rollguard::client::dto::RunStatus;
use serde_json::{Value, json};

use crate::components::deployment;
use crate::support::alertmanager::Alertmanager;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, config};
use crate::support::pod_status::START_AFTER_MS;
use crate::support::prometheus::{Prometheus, Setup, discovered_targets};
use crate::support::receiver::Receiver;
use crate::support::until;

/// Evidence for a rollback takes 20 s of measurements at least.
const EVIDENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
/// Watched for so long, a version that is replaced leaves a known good one behind: `settle` is 5 s here.
const SETTLED_SECS: f64 = 7.0;
/// What Alertmanager shows to the daemon.
const WEBHOOK_TOKEN: &str = "token-of-the-alertmanager";

/// The world around a daemon: a namespace with the Deployment `web`, its pods scraped by a Prometheus, whose alerts go to an
/// Alertmanager, which tells somebody's pager and the daemon.
struct Stage {
    cluster: &'static Cluster,
    namespace: String,
    setup: Setup,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    /// Takes messages at `/messages` and what Alertmanager delivers at `/pager`.
    receiver: Receiver,
}

impl Stage {
    /// With version `v1`, whose pods take `start_after` to begin and are all measured.
    async fn set(purpose: &str, start_after: Duration) -> Self {
        Self::set_with(purpose, start_after, vec![]).await
    }

    /// With alerting rules too. (A rule that Prometheus is given later may fire before it has found Alertmanager again.)
    async fn set_with(purpose: &str, start_after: Duration, rules: Vec<Value>) -> Self {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(purpose).await;
        cluster.apply(&namespace, &slow(start_after)).await;
        let receiver = Receiver::start().await;
        let alertmanager = Alertmanager::start(&receiver.url("/pager"), None).await;
        let setup = Setup {
            scrape: vec![discovered_targets("pods", &cluster.kubelet().discovery_url(&namespace))],
            rules,
            alertmanager: Some(alertmanager.address()),
            ..Setup::default()
        };
        let prometheus = Prometheus::start(&setup).await;
        until("all pods are measured", SOON, async || {
            let found = prometheus.query("count(http_requests_total{code=\"200\"})").await;
            (found.first()?["value"][1] == "3").then_some(())
        })
        .await;
        Self { cluster, namespace, setup, prometheus, alertmanager, receiver }
    }

    /// The daemon's configuration for this stage.
    fn config(&self) -> Value {
        let messages = self.receiver.url("/messages");
        let mut config = config(&self.cluster.kubeconfig(), &self.namespace, &messages);
        config["sources"] =
            json!({ "prometheus": { "url": self.prometheus.url(), "interval": "1s", "timeout": "2s" } });
        config["alertmanager"] = json!({ "url": self.alertmanager.url(), "webhook_token": WEBHOOK_TOKEN });
        let service = &mut config["services"][0];
        service["watch"] = json!("45s");
        service["alerts"] = json!({ "match": { "service": "shop" }, "severities": ["critical"] });
        service["verify"]["checks"] = json!([
            { "name": "pods ready", "pods_ready": {} },
            { "name": "errors", "error_rate": { "below": "1%" } },
            { "name": "alerts", "no_active_alerts": {} },
        ]);
        config
    }

    /// Starts a daemon, and lets Alertmanager tell it too.
    async fn serve(&self, config: Value) -> Daemon {
        let daemon = Daemon::start(config).await;
        let webhook = format!("{}/webhook/alertmanager", daemon.url());
        let pager = self.receiver.url("/pager");
        self.alertmanager.deliver_to(&[(&pager, None), (&webhook, Some(WEBHOOK_TOKEN))]).await;
        daemon
    }

    async fn release(&self, tag: &str) {
        let line = format!("set image deployment/web app=app:{tag}");
        self.cluster.kubectl(&self.namespace, &line).await;
    }

    /// Releases `tag` after `v1` was watched for long enough to be known good.
    async fn release_over_known_good(&self, daemon: &Daemon, tag: &str) {
        let settled = |target: &rollguard::client::dto::TargetStatus| {
            let watch = target.watch.as_ref();
            watch.is_some_and(|w| {
                let measured = w.figures.recent.values().any(|counts| counts.total > 0.0);
                // Only time in which the daemon looked counts, and it may have begun after the release.
                measured && w.figures.recent_secs >= SETTLED_SECS
            })
        };
        daemon.await_target("v1 has settled", SOON, settled).await;
        self.release(tag).await;
        let watch = daemon.await_watch(tag).await;
        assert_eq!(watch.known_good.map(|v| v.label), Some("v1".into()));
    }

    async fn deployment(&self, json_path: &str) -> String {
        let line = format!("get deployment web -o jsonpath={{{json_path}}}");
        self.cluster.kubectl(&self.namespace, &line).await
    }

    async fn image(&self) -> String {
        self.deployment(".spec.template.spec.containers[0].image").await
    }

    /// Every change of the Deployment's spec since it was made, its making included.
    async fn changes(&self) -> String {
        self.deployment(".metadata.generation").await
    }

    /// The messages that were delivered, each once, in their order.
    fn messages(&self) -> Vec<Value> {
        let delivered = self.receiver.deliveries().into_iter().filter(|d| d.path == "/messages");
        let mut seen = BTreeSet::new();
        let events = delivered.map(|delivery| delivery.json());
        events
            .filter(|event| seen.insert(event["id"].to_string()))
            .map(|event| event["data"].clone())
            .collect()
    }

    /// Waits until the pager has what `wanted` accepts, an alert as Alertmanager delivers it.
    async fn paged(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let on_pager = |alert: &Value| alert["labels"]["alertname"] == "RollguardPage" && wanted(alert);
        let delivery = self
            .receiver
            .wait_for(what, limit, |d| {
                d.path == "/pager" && d.json()["alerts"].as_array().unwrap().iter().any(on_pager)
            })
            .await;
        delivery.json()["alerts"].as_array().unwrap().iter().find(|alert| on_pager(alert)).unwrap().clone()
    }
}

fn slow(start_after: Duration) -> Value {
    let mut deployment = deployment("v1");
    // Pods that are slow to start must not count as never ready.
    deployment["spec"]["progressDeadlineSeconds"] = json!(60);
    let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
    *annotations = json!({ START_AFTER_MS: start_after.as_millis().to_string() });
    deployment
}

fn firing(alert: &Value) -> bool {
    alert["status"] == "firing"
}

fn description(alert: &Value) -> &str {
    alert["annotations"]["description"].as_str().unwrap()
}

fn in_phase<'a>(run: &'a str, phase: &'a str) -> impl Fn(&RunStatus) -> bool + 'a {
    move |status| status.run == run && status.phase == phase
}
