//! Shows that the parts the other tests stand on work: the control plane with its stand-in kubelet, Prometheus and Alertmanager.

/// A Deployment `web` of three pods that listen on port 8080, run `app:TAG`, and never let go of a ready pod for a new one.
pub(crate) fn deployment(tag: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 3,
            "progressDeadlineSeconds": 5,
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{
                    "name": "app",
                    "image": format!("app:{tag}"),
                    "ports": [{ "containerPort": 8080 }],
                }]},
            },
        },
    })
}

mod kubernetes {
    use std::time::Duration;

    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::ListParams;
    use serde_json::Value;

    use super::deployment;
    use crate::support::cluster::Cluster;
    use crate::support::until;

    async fn image(cluster: &Cluster, namespace: &str) -> String {
        let api: Api<Deployment> = Api::namespaced(cluster.client().await, namespace);
        let spec = api.get("web").await.unwrap().spec;
        spec.template.spec.unwrap().containers[0]
            .image
            .clone()
            .unwrap()
    }

    async fn rolled_out(cluster: &Cluster, namespace: &str) {
        let status = ["rollout", "status", "deployment/web", "--timeout=30s"];
        cluster
            .kubectl(&[&status[..], &["-n", namespace]].concat())
            .await;
    }

    async fn set_image(cluster: &Cluster, namespace: &str, tag: &str) {
        let image = format!("app=app:{tag}");
        cluster
            .kubectl(&["set", "image", "-n", namespace, "deployment/web", &image])
            .await;
    }

    #[tokio::test]
    #[ignore = "tests/run kubernetes"]
    async fn the_api_server_has_a_certificate_that_can_be_checked() {
        let cluster = Cluster::shared().await;
        let trusted = std::fs::read(cluster.ca()).unwrap();
        let trusted = reqwest::Certificate::from_pem_bundle(&trusted).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only(trusted)
            .build()
            .unwrap();
        let version = http.get(format!("{}/version", cluster.url()));
        let version: Value = version.send().await.unwrap().json().await.unwrap();
        assert_eq!(version["minor"], "36", "{version}");
    }

    #[tokio::test]
    #[ignore = "tests/run kubernetes"]
    async fn a_deployment_rolls_out_and_is_undone() {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace("rollout").await;
        cluster.apply(&namespace, &deployment("v1")).await;
        rolled_out(cluster, &namespace).await;
        set_image(cluster, &namespace, "v2").await;
        rolled_out(cluster, &namespace).await;
        let undo = ["rollout", "undo", "deployment/web", "-n", &namespace];
        cluster.kubectl(&undo).await;
        rolled_out(cluster, &namespace).await;

        assert_eq!(image(cluster, &namespace).await, "app:v1");
        let serving = || cluster.kubelet().workloads(&namespace);
        until("three pods serve v1", Duration::from_secs(10), async || {
            let versions: Vec<String> = serving()
                .iter()
                .map(|(_, workload)| workload.version().to_owned())
                .collect();
            (versions == ["v1", "v1", "v1"]).then_some(())
        })
        .await;
    }

    /// The reason why a container of a new pod waits, and how often that was started again.
    async fn waiting(cluster: &Cluster, namespace: &str, tag: &str) -> Option<(String, i32)> {
        let api: Api<Pod> = Api::namespaced(cluster.client().await, namespace);
        let pods = api.list(&ListParams::default()).await.unwrap();
        let statuses = pods
            .into_iter()
            .filter_map(|pod| pod.status?.container_statuses);
        statuses.flatten().find_map(|container| {
            let waiting = container.state?.waiting?;
            let ours = container.image.ends_with(tag);
            ours.then_some((waiting.reason?, container.restart_count))
        })
    }

    #[tokio::test]
    #[ignore = "tests/run kubernetes"]
    async fn a_bad_image_crash_loops_past_the_progress_deadline() {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace("crashloop").await;
        cluster.apply(&namespace, &deployment("v1")).await;
        rolled_out(cluster, &namespace).await;
        set_image(cluster, &namespace, "v2-crashloop").await;

        let limit = Duration::from_secs(20);
        until("the new pod crash-loops", limit, async || {
            let (reason, restarts) = waiting(cluster, &namespace, "v2-crashloop").await?;
            (reason == "CrashLoopBackOff" && restarts >= 2).then_some(())
        })
        .await;
        let api: Api<Deployment> = Api::namespaced(cluster.client().await, &namespace);
        let status = until("the deadline is exceeded", limit, async || {
            let status = api.get("web").await.unwrap().status.unwrap();
            let conditions = status.conditions.clone().unwrap_or_default();
            conditions
                .into_iter()
                .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
                .then_some(status)
        })
        .await;
        assert_eq!(status.ready_replicas, Some(3), "the old pods still serve");
        assert_eq!(status.updated_replicas, Some(1));
    }

    #[tokio::test]
    #[ignore = "tests/run kubernetes"]
    async fn a_service_account_may_do_only_what_its_role_says() {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace("rights").await;
        let token = cluster.service_account(&namespace, "guard").await;
        let pods: Api<Pod> = Api::namespaced(cluster.client_as(&token).await, &namespace);
        let refused = pods.list(&ListParams::default()).await.unwrap_err();
        assert!(refused.to_string().contains("forbidden"), "{refused}");

        let account = format!("--serviceaccount={namespace}:guard");
        let bind = [
            "create",
            "rolebinding",
            "guard",
            "--clusterrole=view",
            "-n",
            &namespace,
            &account,
        ];
        cluster.kubectl(&bind).await;
        until("the role counts", Duration::from_secs(5), async || {
            pods.list(&ListParams::default()).await.ok()
        })
        .await;
    }
}

mod metrics {
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
        Traffic {
            error_ratio: ratio,
            ..Traffic::default()
        }
    }

    fn number(sample: &Value) -> f64 {
        sample["value"][1].as_str().unwrap().parse().unwrap()
    }

    #[tokio::test]
    #[ignore = "tests/run metrics"]
    async fn prometheus_sees_what_the_workload_counts() {
        let workload = Workload::local("v1", errors(0.15)).await;
        let setup = Setup {
            scrape: vec![static_targets("web", &[workload.address().to_string()])],
            ..Setup::default()
        };
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
        let past = prometheus
            .query("max_over_time(http_requests_total[1m])")
            .await;
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
        })
        .await;
        let firing = receiver
            .wait_for("the alert fires", LIMIT, |delivery| {
                delivery.json()["status"] == "firing"
            })
            .await;
        assert_eq!(firing.path, "/webhook");
        assert_eq!(firing.headers["authorization"], "Bearer s3cret");
        assert_eq!(
            firing.json()["alerts"][0]["labels"]["alertname"],
            "HighErrorRate"
        );

        workload.set_traffic(errors(0.0));
        receiver
            .wait_for("the alert is resolved", LIMIT, |delivery| {
                delivery.json()["status"] == "resolved"
            })
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
        let delivered = receiver
            .wait_for("the alert is delivered", LIMIT, |_| true)
            .await;
        assert_eq!(delivered.json()["alerts"][0]["labels"]["service"], "shop");
        assert_eq!(receiver.refused(), 2);
        assert_eq!(alertmanager.active().await.len(), 1);
        alertmanager.stop().await;
        alertmanager.restart().await;
    }
}

mod daemon {
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
        let counted =
            "count by (namespace) (http_requests_total{code=\"500\", pod=~\"web-.*\"} > 0)";
        until(
            "all pods are scraped",
            Duration::from_secs(15),
            async || {
                let found = prometheus.query(counted).await;
                let pods = found.first()?["value"][1].as_str()?.to_owned();
                (pods == "3").then_some(())
            },
        )
        .await;
    }
}
