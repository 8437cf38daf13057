//! The sandbox's API against the real client: refusals, watches, and the end.

use super::*;

#[tokio::test]
async fn a_guarded_patch_that_comes_too_late_is_422_and_changes_nothing() {
    let world = World::start().await;
    let before = world.deployment().await;
    let late = json!([
        {"op": "test", "path": "/metadata/annotations/deployment.kubernetes.io~1revision", "value": "7"},
        {"op": "replace", "path": "/spec/replicas", "value": 9},
    ]);
    assert_eq!(code(world.patch(&late).await.unwrap_err()), (422, "Invalid".into()));
    assert_eq!(world.deployment().await.resource_version(), before.resource_version());
}

#[tokio::test]
async fn dry_runs_conflicts_and_missing_objects_answer_like_an_api_server() {
    let world = World::start().await;
    let api = world.deployments();
    let image = json!({"spec": {"template": {"metadata": {"annotations": {"tried": "yes"}}}}});
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let answer = api.patch("backend", &dry, &Patch::Merge(&image)).await.unwrap();
    assert_eq!(answer.metadata.generation, Some(2));
    let stored = world.deployment().await;
    assert_eq!(stored.metadata.generation, Some(1));

    world.sandbox.deploy(&Deploy::new("v2", Fault::None)).unwrap();
    let conflict = api.replace("backend", &PostParams::default(), &stored).await.unwrap_err();
    assert_eq!(code(conflict), (409, "Conflict".into()));
    assert_eq!(code(api.get("nobody").await.unwrap_err()), (404, "NotFound".into()));
    let odd = ListParams::default().labels("app in (a,b)");
    assert_eq!(code(api.list(&odd).await.unwrap_err()), (400, "BadRequest".into()));
    let ssa = api.patch("backend", &PatchParams::apply("test"), &Patch::Apply(&image)).await;
    assert_eq!(code(ssa.unwrap_err()), (415, "UnsupportedMediaType".into()));
}

#[tokio::test]
async fn a_version_that_is_too_old_is_410() {
    let world = World::start().await;
    let watch = world.pods().watch(&WatchParams::default(), "1").await.unwrap();
    match watch.boxed().try_next().await.unwrap() {
        Some(WatchEvent::Error(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"))
        }
        other => panic!("no error but {other:?}"),
    }
}

#[tokio::test]
async fn watchers_follow_a_rollout_and_recover_from_lost_history() {
    let world = World::start().await;
    let mut deployments = watcher::watcher(world.deployments(), watcher::Config::default()).boxed();
    let mut replica_sets = watcher::watcher(world.replica_sets(), watcher::Config::default()).boxed();
    let v1_pods = watcher::Config::default().labels("app=backend");
    let mut pods = watcher::watcher(world.pods(), v1_pods).boxed();
    assert_eq!(initial(&mut deployments).await, 1);
    assert_eq!(initial(&mut replica_sets).await, 1);
    assert_eq!(initial(&mut pods).await, 3);

    world.sandbox.deploy(&Deploy::new("v2", Fault::None)).unwrap();
    until(&mut deployments, |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "2" && is_complete(seen))).await;
    until(
        &mut replica_sets,
        |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "2"),
    )
    .await;
    for _ in 0..3 {
        until(&mut pods, |event| matches!(event, Event::Delete(_))).await;
    }

    world.sandbox.expire_watches();
    assert_eq!(initial(&mut deployments).await, 1);
    assert_eq!(initial(&mut replica_sets).await, 2);
    assert_eq!(initial(&mut pods).await, 3);
    world.undo_to("v1").await.unwrap();
    until(&mut deployments, |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "3" && is_complete(seen))).await;
}

#[tokio::test]
async fn a_stopped_world_leaves_nothing_listening() {
    let world = World::start().await;
    let (kube, front) = (world.sandbox.kube_url(), world.sandbox.front_url());
    let watch = world.pods().watch(&WatchParams::default(), "0").await.unwrap();
    tokio::time::timeout(PATIENCE, world.sandbox.stop()).await.unwrap();
    assert_eq!(watch.count().await, 3);
    assert!(reqwest::get(kube).await.is_err());
    assert!(reqwest::get(front).await.is_err());
}

type Events<K> = futures::stream::BoxStream<'static, watcher::Result<Event<K>>>;

/// Waits for a whole listing, and counts its objects.
async fn initial<K>(events: &mut Events<K>) -> usize {
    until(events, |event| matches!(event, Event::Init)).await;
    let mut count = 0;
    until(events, |event| {
        count += usize::from(matches!(event, Event::InitApply(_)));
        matches!(event, Event::InitDone)
    })
    .await;
    count
}

/// Reads on, over errors as a watcher's user does, until an event is the one.
async fn until<K>(events: &mut Events<K>, mut is_it: impl FnMut(&Event<K>) -> bool) {
    let reading = async {
        loop {
            if let Ok(event) = events.next().await.unwrap()
                && is_it(&event)
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
}
