//! What `kubectl describe deployment` tells about a release and its rollback.

use std::sync::Arc;

use jiff::Timestamp;
use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesTarget};
use rollguard::domain::code::Code;
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::workload::WorkloadKind;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{Delivered, Notifier};
use serde_json::Value;

use super::world::{Place, SOON};
use crate::support::until;

/// The Events of rollguard about `web`, oldest first.
async fn story(place: &Place) -> Vec<Value> {
    let list: Value = serde_json::from_str(&place.kubectl("get events.events.k8s.io -o json").await).unwrap();
    let ours = |event: &&Value| event["reportingController"] == "rollguard";
    let mut events: Vec<Value> = list["items"].as_array().unwrap().iter().filter(ours).cloned().collect();
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap().to_string());
    events
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn kubectl_describe_tells_the_story_of_a_release() {
    let world = Place::new("story").await.guarded().await;
    world.deploy("v2-crashloop").await;
    world.verified().await;
    let reasons = ["ReleaseNoticed", "RollbackStarted", "WatchEnded", "ReleaseNoticed", "RollbackVerified"];
    let told = until("the story is told", SOON, async || {
        Some(story(&world).await).filter(|story| story.len() >= reasons.len())
    })
    .await;
    let mut found: Vec<&str> = told.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    let mut wanted = reasons.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let uid = world.deployment().await.metadata.uid.unwrap();
    assert!(told.iter().all(|event| event["regarding"]["uid"] == uid.as_str()), "{told:?}");
    let history = world.daemon.cli_ok("history shop/backend").await;
    let (good, bad) = (history.find("3  ").unwrap(), history.find("2  ").unwrap());
    assert!(good < bad && history.contains("known bad") && history.contains("known good"), "{history}");
    let described = world.kubectl("describe deployment web").await;
    for part in [
        "ReleaseNoticed",
        "shop/backend v2-crashloop was released",
        "RollbackStarted",
        "Initiating rollback - shop (backend v2-crashloop → v1)",
        "RollbackVerified",
        "Rollback successful",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_is_told_twice_is_one_event() {
    let place = Place::new("once").await;
    let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("backend").unwrap());
    let target = TargetId { service: service.clone(), target };
    let access = ClusterAccess::Kubeconfig { path: Some(place.cluster.kubeconfig()), context: None };
    let kind = WorkloadKind::Deployment;
    let workload = Workload { kind, namespace: place.namespace.clone(), name: "web".into() };
    let at = KubernetesTarget { target: target.clone(), workload };
    let events = Kubernetes::open(&access, vec![at], Arc::new(SystemClock)).await.unwrap().events();
    let message = Message {
        key: "shop-1/stuck".into(),
        incident: "shop-1".into(),
        kind: MessageKind::Page,
        service,
        title: "[FAILED] Rollback is stuck - shop (backend v2 → v1)".into(),
        lines: vec!["Step 1 of 2: → ".repeat(200)],
        targets: vec![target],
        code: Some(Code::RollbackStuck),
        facts: None,
        level: 0,
    };
    assert!(events.wants(&message));
    for _ in 0..2 {
        assert_eq!(events.deliver(&message, Timestamp::now()).await, Ok(Delivered::Once));
    }
    let story = story(&place).await;
    assert_eq!(story.len(), 1);
    assert_eq!((&story[0]["type"], &story[0]["reason"]), (&"Warning".into(), &"RollbackStuck".into()));
    assert!(story[0]["note"].as_str().unwrap().ends_with('…'));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_cluster_that_refuses_events_is_visible_and_holds_nothing_up() {
    let place = Place::new("no-events").await;
    // The Role without the one for Events.
    let token = place.shipped_role().await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let world = place.guarded_through(kubeconfig, |_| {}).await;
    world.deploy("v2-crashloop").await;
    world.verified().await;
    assert!(story(&world).await.is_empty());
    let metrics = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = metrics.get(format!("{}/metrics", world.daemon.url())).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let failed = "rollguard_notifications_failed_total{channel=\"kubernetes-events\"}";
    assert!(metrics.contains(failed), "{metrics}");
    let log = world.daemon.log();
    assert!(log.contains("set kubernetes.events to false"), "{log}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn the_shipped_role_for_events_is_enough() {
    let place = Place::new("events-role").await;
    let token = place.shipped_role().await;
    place.shipped_events_role().await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let world = place.guarded_through(kubeconfig, |_| {}).await;
    world.deploy("v2-errors15").await;
    world.daemon.await_watch("v2-errors15").await;
    until("the release is told", SOON, async || (!story(&world).await.is_empty()).then_some(())).await;
}
