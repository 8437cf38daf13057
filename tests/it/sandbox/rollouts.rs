//! Rollouts in the sandbox, good and bad, and their undo.

use super::*;

/// It exited with code 1 more than once, and waits before the next start.
fn is_crash_looping(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    container.restart_count >= 2
        && waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
        && ended.is_some_and(|ended| ended.exit_code == 1)
}

#[tokio::test]
async fn the_first_version_was_rolled_out_long_ago() {
    let world = World::start().await;
    let deployment = world.deployment().await;
    assert!(is_complete(&deployment));
    assert_eq!(deployment.annotations()[REVISION], "1");
    assert_eq!(reason(&deployment, "Progressing"), "NewReplicaSetAvailable");
    let age = |at: jiff::Timestamp| jiff::Timestamp::now().duration_since(at).as_secs();
    let conditions = deployment.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().all(|condition| age(condition.last_update_time.as_ref().unwrap().0) >= 7199));
    for pod in world.pods().list(&ListParams::default().labels("app=backend")).await.unwrap() {
        assert!(age(pod.status.as_ref().unwrap().start_time.as_ref().unwrap().0) >= 7199);
        assert_eq!(pod.owner_references()[0].controller, Some(true));
    }
    let events: Api<KubeEvent> = Api::all(world.client.clone());
    assert_eq!(events.list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert!(world.client.apiserver_version().await.unwrap().git_version.contains("sandbox"));
    world.sandbox.stop().await;
}

#[tokio::test]
async fn a_bad_rollout_and_its_undo() {
    let world = World::start().await;
    let first = world.replica_set("v1").await;
    let bad = Deploy::new("v2", Fault::Errors(0.5)).because("new checkout");
    world.sandbox.deploy(&bad).unwrap();
    eventually("v2 serves", || async { world.ready_versions() == BTreeMap::from([("v2".into(), 3)]) }).await;
    world.rolled_out().await;
    let second = world.replica_set("v2").await;
    assert_eq!(second.annotations()["kubernetes.io/change-cause"], "new checkout");
    assert_eq!(second.annotations()[REVISION], "2");
    eventually("v2 fails half of its requests", || async {
        let (ok, failed) = (world.requests("v2", 200).await, world.requests("v2", 500).await);
        ok + failed > 60.0 && (0.3..0.7).contains(&(failed / (ok + failed)))
    })
    .await;

    world.undo_to("v1").await.unwrap();
    eventually("v1 serves again", || async { world.ready_versions() == BTreeMap::from([("v1".into(), 3)]) })
        .await;
    world.rolled_out().await;
    let reused = world.replica_set("v1").await;
    assert_eq!(reused.uid(), first.uid());
    assert_eq!(reused.annotations()[REVISION], "3");
    assert_eq!(reused.annotations()["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(world.deployment().await.annotations()[REVISION], "3");
    assert_eq!(world.replica_set("v2").await.spec.replicas, Some(0));
    assert_eq!(world.sandbox.running_version().unwrap(), "v1");
    let (status, body) = fetch(&format!("{}/version", world.sandbox.front_url())).await;
    assert_eq!((status, body.as_str()), (200, r#"{"version":"v1"}"#));
}

#[tokio::test]
async fn crash_looping_pods_leave_the_old_ones_serving() {
    let world = World::with(SandboxOptions {
        progress_deadline: Duration::from_secs(3),
        ..SandboxOptions::default()
    })
    .await;
    world.sandbox.deploy(&Deploy::new("v2", Fault::CrashLoop)).unwrap();
    eventually("a pod of v2 waits in CrashLoopBackOff", || async {
        world.containers("v2").await.iter().any(is_crash_looping)
    })
    .await;
    eventually("the deadline is exceeded", || async {
        reason(&world.deployment().await, "Progressing") == "ProgressDeadlineExceeded"
    })
    .await;
    assert_eq!(world.ready_versions(), BTreeMap::from([("v1".into(), 3)]));
    assert_eq!(reason(&world.deployment().await, "Available"), "MinimumReplicasAvailable");
    world.undo_to("v1").await.unwrap();
    eventually("the crash-looping pod is gone", || async {
        world.pods().list(&ListParams::default()).await.unwrap().items.len() == 3
    })
    .await;
    world.rolled_out().await;
}

#[tokio::test]
async fn pods_whose_probes_fail_run_and_are_never_ready() {
    let world = World::start().await;
    world.sandbox.deploy(&Deploy::new("v2", Fault::ProbesFail)).unwrap();
    eventually("a pod of v2 runs and is not ready", || async {
        let containers = world.containers("v2").await;
        containers.iter().any(|container| !container.ready && container.restart_count == 0)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ready_versions(), BTreeMap::from([("v1".into(), 3)]));
    assert_eq!(world.deployment().await.status.unwrap().unavailable_replicas, Some(1));
}

#[tokio::test]
async fn a_broken_dependency_hits_old_and_new_pods_side_by_side() {
    let world = World::start().await;
    world.sandbox.deploy(&Deploy::new("v2", Fault::None).paced(Duration::from_secs(60))).unwrap();
    eventually("both serve", || async { world.ready_versions().len() == 2 }).await;
    assert_eq!(world.requests("v1", 500).await + world.requests("v2", 500).await, 0.0);
    world.sandbox.break_dependency(0.9);
    eventually("both fail", || async {
        world.requests("v1", 500).await > 0.0 && world.requests("v2", 500).await > 0.0
    })
    .await;
    assert_eq!(world.ready_versions(), BTreeMap::from([("v1".into(), 3), ("v2".into(), 1)]));
}

#[tokio::test]
async fn a_paused_deployment_does_not_roll_out_until_it_is_resumed() {
    let world = World::start().await;
    world.patch(&json!([{"op": "add", "path": "/spec/paused", "value": true}])).await.unwrap();
    world.sandbox.deploy(&Deploy::new("v2", Fault::None)).unwrap();
    eventually("the pause is noticed", || async {
        reason(&world.deployment().await, "Progressing") == "DeploymentPaused"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.replica_sets().list(&ListParams::default()).await.unwrap().items.len(), 1);
    world.patch(&json!([{"op": "remove", "path": "/spec/paused"}])).await.unwrap();
    eventually("v2 serves", || async { world.ready_versions() == BTreeMap::from([("v2".into(), 3)]) }).await;
}
