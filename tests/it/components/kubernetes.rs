//! The control plane, the stand-in for its kubelet, and the faults put in front of it.

use std::time::Duration;

use axum::http::Method;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::Value;

use super::deployment;
use crate::support::cluster::{Cluster, connect};
use crate::support::faulty::{Fault, Faulty};
use crate::support::until;

async fn image(cluster: &Cluster, namespace: &str) -> String {
    let api: Api<Deployment> = Api::namespaced(cluster.client().await, namespace);
    let spec = api.get("web").await.unwrap().spec;
    spec.template.spec.unwrap().containers[0].image.clone().unwrap()
}

async fn rolled_out(cluster: &Cluster, namespace: &str) {
    let status = "rollout status deployment/web --timeout=30s";
    cluster.kubectl(namespace, status).await;
}

async fn set_image(cluster: &Cluster, namespace: &str, tag: &str) {
    let line = format!("set image deployment/web app=app:{tag}");
    cluster.kubectl(namespace, &line).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn the_api_server_has_a_certificate_that_can_be_checked() {
    let cluster = Cluster::shared().await;
    let trusted = std::fs::read(cluster.ca()).unwrap();
    let trusted = reqwest::Certificate::from_pem_bundle(&trusted).unwrap();
    let http = reqwest::Client::builder().tls_certs_only(trusted).build().unwrap();
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
    let undo = "rollout undo deployment/web";
    cluster.kubectl(&namespace, undo).await;
    rolled_out(cluster, &namespace).await;

    assert_eq!(image(cluster, &namespace).await, "app:v1");
    let serving = || cluster.kubelet().workloads(&namespace);
    until("three pods serve v1", Duration::from_secs(10), async || {
        let versions: Vec<String> =
            serving().iter().map(|(_, workload)| workload.version().to_owned()).collect();
        (versions == ["v1", "v1", "v1"]).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn planned_faults_happen_and_then_all_is_well() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("faults").await;
    let token = cluster.service_account(&namespace, "guard").await;
    bind(cluster, &namespace, "edit").await;
    let faulty = Faulty::start(cluster).await;
    let client = connect(faulty.kubeconfig_as(cluster, &token)).await;
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let one = serde_json::json!({ "metadata": { "name": "one" } });
    let one: ConfigMap = serde_json::from_value(one).unwrap();

    faulty.plan(Fault::Refuse(409), 1, Method::POST, "/configmaps");
    let refused = api.create(&PostParams::default(), &one).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
    assert!(api.get_opt("one").await.unwrap().is_none());
    faulty.plan(Fault::LoseAnswer, 1, Method::POST, "/configmaps");
    let lost = api.create(&PostParams::default(), &one).await;
    assert!(lost.is_err(), "{lost:?}");
    assert!(api.get_opt("one").await.unwrap().is_some());
    assert_eq!(faulty.still_planned(), 0);

    let config = WatchParams::default().fields("metadata.name=one");
    let mut events = api.watch(&config, "0").await.unwrap().boxed();
    let first = events.next().await;
    assert!(matches!(first, Some(Ok(WatchEvent::Added(_)))), "{first:?}");
    faulty.cut_watches();
    let rest = tokio::time::timeout(Duration::from_secs(5), events.count()).await;
    assert!(rest.is_ok(), "the watch goes on");
}

/// Binds a ClusterRole to the ServiceAccount `guard`.
async fn bind(cluster: &Cluster, namespace: &str, role: &str) {
    let account = format!("--serviceaccount={namespace}:guard");
    let line = format!("create rolebinding guard --clusterrole={role} {account}");
    cluster.kubectl(namespace, &line).await;
}

/// The reason why a container of a new pod waits, and how often that was started again.
async fn waiting(cluster: &Cluster, namespace: &str, tag: &str) -> Option<(String, i32)> {
    let api: Api<Pod> = Api::namespaced(cluster.client().await, namespace);
    let pods = api.list(&ListParams::default()).await.unwrap();
    let statuses = pods.into_iter().filter_map(|pod| pod.status?.container_statuses);
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

    bind(cluster, &namespace, "view").await;
    until("the role counts", Duration::from_secs(5), async || pods.list(&ListParams::default()).await.ok())
        .await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn pods_fail_as_their_tag_says() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("failing").await;
    let limit = Duration::from_secs(15);
    for (tag, reason) in [("v1-oom", "OOMKilled"), ("v1-imagepull", "ImagePullBackOff")] {
        cluster.apply(&namespace, &deployment(tag)).await;
        until(reason, limit, async || {
            let pods = cluster.kubectl(&namespace, "get pods -o json").await;
            pods.contains(reason).then_some(())
        })
        .await;
    }
    cluster.apply(&namespace, &deployment("v1-unready")).await;
    let events = "get events --field-selector=reason=Unhealthy";
    until("a probe fails", limit, async || {
        let events = cluster.kubectl(&namespace, events).await;
        events.contains("Readiness probe failed").then_some(())
    })
    .await;
    let (_, workload) =
        until("it serves", limit, async || cluster.kubelet().workloads(&namespace).pop()).await;
    let health = reqwest::get(format!("http://{}/healthz", workload.address()));
    assert_eq!(health.await.unwrap().status(), 503);
}
