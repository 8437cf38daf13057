//! What the daemon must not touch: it pages, says why and what to do, and changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Place, SOON, World, slowly};
use crate::support::until;
use crate::support::workload::Traffic;

/// Nothing has changed the Deployment since `generation`, nor does in the time in which a rollback would have begun.
async fn untouched(world: &World, generation: i64) {
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.generation().await, generation);
    assert!(world.daemon.runs().await.is_empty());
    assert!(!world.kinds().contains(&"action".to_owned()), "{:?}", world.kinds());
}

/// v2 goes bad when it has rolled out, and the daemon, which is started anew, surveys the Deployment as it is then.
async fn goes_bad_after(world: &mut World, before: impl AsyncFnOnce(&World)) {
    world.deploy("v2").await;
    world.rolled_out().await;
    world.daemon.await_watch("v2").await;
    before(world).await;
    world.daemon.terminate().await;
    world.daemon.restart().await;
    for (_, workload) in world.cluster.kubelet().workloads(&world.namespace) {
        workload.set_traffic(Traffic { error_ratio: 0.3, ..Traffic::default() });
    }
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn somebodys_own_undo_is_watched_but_never_undone() {
    let world = Place::new("own-undo").await.guarded().await;
    world.deploy("v2-errors15").await;
    world.daemon.await_watch("v2-errors15").await;
    world.deploy("v3").await;
    world.daemon.await_watch("v3").await;
    world.rolled_out().await;
    world.kubectl("rollout undo deployment/web").await;
    let generation = world.generation().await;
    let page = world.told("page", "an undo is never undone").await;
    assert!(page.contains("shop/backend v2-errors15 is bad"), "{page}");
    assert_eq!(world.tag().await, "v2-errors15");
    untouched(&world, generation).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_paused_deployment_is_left_to_who_paused_it() {
    let mut world = Place::new("paused").await.guarded().await;
    goes_bad_after(&mut world, async |world| {
        world.kubectl("rollout pause deployment/web").await;
    })
    .await;
    let generation = world.generation().await;
    let page = world.told("page", "is paused").await;
    assert!(
        page.contains(&format!("kubectl rollout resume deployment/web -n {}", world.namespace)),
        "{page}"
    );
    untouched(&world, generation).await;
    let order = world.daemon.cli("rollback shop/backend --yes").await;
    assert_eq!(order.status.code(), Some(3), "{order:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_deployment_paused_under_a_rollback_stops_it() {
    let world = Place::with("paused-late", slowly).await.guarded().await;
    world.deploy("v2-errors15").await;
    // The survey at the beginning of the watch could not know. Paused at once: the first new pod comes all the same, and a
    // rollout that had ended by then would be surveyed anew.
    world.daemon.await_watch("v2-errors15").await;
    world.kubectl("rollout pause deployment/web").await;
    until("a new pod serves", SOON, async || (world.serving().len() > 3).then_some(())).await;
    let generation = world.generation().await;
    let page = world.told("page", "was paused since the plan was made").await;
    assert!(page.contains("rollguard resume "), "{page}");
    let stuck = world.daemon.await_run("it waits for a person", SOON, |run| run.phase == "stuck").await;
    assert_eq!(world.generation().await, generation, "nothing was changed");

    world.kubectl("rollout resume deployment/web").await;
    world.daemon.cli_ok(&format!("resume {}", stuck.run)).await;
    world.verified().await;
    assert_eq!(world.tag().await, "v1");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_watch_that_ends_in_trouble_pages() {
    let place = Place::new("late-trouble").await;
    let world = place
        .guarded_with(|config| {
            config["services"][0]["watch"] = json!("15s");
            config["services"][0]["page_after"] = json!("1h");
        })
        .await;
    // Under the threshold of a rollback, and over that of a page.
    world.deploy("v2-errors4").await;
    let page = world.told("page", "shop/backend v2-errors4").await;
    assert!(page.contains(" % errors on ") && page.contains("threshold 5.0 %"), "{page}");
    untouched(&world, 2).await;
    world.daemon.await_target("the watch is over", SOON, |target| target.watch.is_none()).await;
}

async fn owned(purpose: &str, own: impl FnOnce(&mut Value), owner: &str, hold: &str) {
    let world = Place::with(purpose, own).await.guarded().await;
    world.deploy("v2-crashloop").await;
    let generation = world.generation().await;
    let page = world.told("page", owner).await;
    assert!(page.contains("which may undo a rollback: it was not found") && page.contains(hold), "{page}");
    untouched(&world, generation).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_names_an_owner_that_is_not_to_be_found_is_left_alone() {
    let flux = |object: &mut Value| {
        object["metadata"]["labels"] = json!({
            "kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        });
    };
    let argo = |object: &mut Value| {
        let id = "web-shop:apps/Deployment:shop/web";
        object["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": id });
    };
    tokio::join!(
        owned("flux", flux, "Flux Kustomization flux-system/apps", "flux suspend kustomization apps"),
        owned("argo", argo, "Argo CD application web-shop", "argocd app set web-shop"),
    );
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_revision_that_is_gone_needs_a_person() {
    let without_history = |object: &mut Value| object["spec"]["revisionHistoryLimit"] = json!(0);
    let mut world = Place::with("no-history", without_history).await.guarded().await;
    goes_bad_after(&mut world, async |world| {
        until("the history is gone", SOON, async || {
            let sets = world.kubectl("get replicasets -o name").await;
            (sets.lines().count() == 1).then_some(())
        })
        .await;
    })
    .await;
    let generation = world.generation().await;
    let page = world.told("page", "v1 is no longer in the history").await;
    assert!(page.contains("revisionHistoryLimit is 0"), "{page}");
    untouched(&world, generation).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_release_that_comes_during_the_rollback_wins() {
    let world = Place::with("superseded", slowly).await.guarded().await;
    world.deploy_quickly("v2-errors15").await;
    world.rolled_out().await;
    let run = world.daemon.await_run("it rolls out v1", SOON, |run| run.step == Some(1)).await;
    assert_eq!(world.tag().await, "v1");
    world.deploy_quickly("v4").await;
    let generation = world.generation().await;
    let ended = world.daemon.await_run("it stops", SOON, |run| !run.open || run.phase == "stuck").await;
    assert!(["superseded", "stuck"].contains(&ended.phase.as_str()), "{ended:?}");
    world.daemon.await_watch("v4").await;
    world.rolled_out().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((world.tag().await, world.generation().await), ("v4".into(), generation));
    let run = world.daemon.run(&run.run).await;
    assert_eq!((run.phase.as_str(), run.verified), ("superseded", None));
    world.told("note", "v4 was released meanwhile and is being watched now").await;
}
