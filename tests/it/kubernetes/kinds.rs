//! Bad releases of StatefulSets and DaemonSets: taken back as those of Deployments are, as far as their controllers let us.

use serde_json::{Value, json};

use super::world::{Place, SOON};
use crate::support::pod_status::START_AFTER_MS;

fn slowly(workload: &mut Value) {
    workload["spec"]["template"]["metadata"]["annotations"] = json!({ START_AFTER_MS: "2000" });
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_stateful_set_whose_pods_fail_requests_is_rolled_back() {
    let world = Place::of("statefulset", "sts-errors", slowly).await.guarded().await;
    world.deploy("v2-errors15").await;
    let run = world.verified().await;
    assert_eq!(run.summary, "backend v2-errors15 → v1");
    assert!(run.reason.contains(" % errors on "), "{}", run.reason);
    world.rolled_out().await;
    assert_eq!(world.tag().await, "v1");
    assert_eq!(world.serving(), ["web-0", "web-1", "web-2"]);
    let over = world.daemon.await_run("the watch is over", SOON * 2, |run| !run.open).await;
    assert_eq!(over.phase, "recovered", "{over:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_daemon_set_that_crashes_is_rolled_back() {
    let world = Place::of("daemonset", "daemons", |_| {}).await.guarded().await;
    world.deploy("v2-crashloop").await;
    let run = world.verified().await;
    assert!(run.reason.contains("CrashLoopBackOff"), "{}", run.reason);
    assert_eq!(world.tag().await, "v1");
    world.rolled_out().await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_stateful_set_that_waits_for_its_broken_pod_is_told_with_the_command() {
    let world = Place::of("statefulset", "sts-stuck", |_| {}).await.guarded().await;
    world.deploy("v2-crashloop").await;
    let command = format!("kubectl delete pod web-2 -n {}", world.namespace);
    let page = world.told("page", &command).await;
    assert!(page.contains("[FAILED] Rollback is stuck") && page.contains("CrashLoopBackOff"), "{page}");
    let stuck = world.daemon.await_run("it is stuck", SOON, |run| run.phase == "stuck").await;
    assert_eq!(world.tag().await, "v1", "the template is restored");
    // As the page says; the pod is never deleted by the daemon.
    world.kubectl("delete pod web-2").await;
    world.daemon.cli_ok(&format!("resume {}", stuck.run)).await;
    world.verified().await;
    world.rolled_out().await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn pods_that_change_only_when_deleted_are_left_to_a_person() {
    let place = Place::of("statefulset", "on-delete", |_| {}).await;
    let on_delete = r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#;
    place.kubectl(&format!("patch statefulset web --type=merge -p {on_delete}")).await;
    let world = place.guarded().await;
    world.deploy("v2-crashloop").await;
    let observed = "--for=jsonpath={.status.observedGeneration}=3";
    world.kubectl(&format!("wait {observed} statefulset/web --timeout=10s")).await;
    world.kubectl("delete pod web-2").await;
    let page = world.told("page", "shop/backend v2-crashloop").await;
    assert!(page.contains("Not rolled back: the update strategy of statefulset/web"), "{page}");
    assert!(page.contains(&format!("kubectl rollout undo statefulset/web -n {}", world.namespace)), "{page}");
    assert!(world.daemon.runs().await.is_empty());
}
