//! Rollbacks through a network that fails and an API server that is overloaded, and by a daemon that is killed meanwhile.

use axum::http::Method;

use super::world::{Place, SOON, World, slowly};
use crate::support::faulty::{Fault, Faulty};
use crate::support::until;

const WEB: &str = "/deployments/web";

async fn through_a_proxy(purpose: &str) -> (Faulty, World) {
    let place = Place::with(purpose, slowly).await;
    let faulty = Faulty::start(place.cluster).await;
    let token = place.shipped_role().await;
    let kubeconfig = faulty.kubeconfig_as(place.cluster, &token);
    (faulty, place.guarded_through(kubeconfig, |_| {}).await)
}

/// One rollback, one change of the Deployment, each message once.
async fn rolled_back_once(world: &World) {
    let run = world.verified().await;
    assert_eq!((world.tag().await, world.generation().await), ("v1".into(), 3));
    let deployment = world.deployment().await;
    assert_eq!(deployment.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(world.daemon.runs().await.len(), 1);
    world.told("complete", "[COMPLETE] Rollback successful").await;
    let mut keys: Vec<String> =
        world.receiver.deliveries().iter().map(|d| d.json()["id"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys.dedup();
    let of = |what: &str| keys.iter().filter(|key| **key == format!("{}/{what}", run.run)).count();
    assert_eq!((of("action"), of("verified")), (1, 1), "{keys:?}");
    let actions = keys.iter().filter(|key| key.ends_with("/action")).count();
    assert_eq!(actions, 1, "{keys:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_overloaded_api_server_and_cut_watches_only_take_time() {
    let (faulty, world) = through_a_proxy("overloaded").await;
    for fault in [Fault::Refuse(409), Fault::Refuse(429), Fault::Refuse(503), Fault::LoseAnswer] {
        faulty.plan(fault, 1, Method::PATCH, WEB);
    }
    world.deploy("v2-errors15").await;
    faulty.cut_watches();
    world.daemon.await_watch("v2-errors15").await;
    world.daemon.await_run("it begins", SOON, |run| run.step == Some(0)).await;
    faulty.plan(Fault::Refuse(500), 2, Method::GET, WEB);
    faulty.cut_watches();
    world.daemon.await_run("it awaits the rollout", SOON, |run| run.step == Some(1)).await;
    faulty.cut_watches();
    rolled_back_once(&world).await;
    assert_eq!(faulty.still_planned(), 0);
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn killed_while_it_judges() {
    let mut world = Place::with("killed-judging", slowly).await.guarded().await;
    world.deploy("v2-errors15").await;
    world
        .daemon
        .await_target("requests are counted", SOON, |target| {
            let watch = target.watch.as_ref();
            watch.is_some_and(|w| w.figures.recent.values().any(|counts| counts.total > 50.0))
        })
        .await;
    world.daemon.kill();
    world.daemon.restart().await;
    rolled_back_once(&world).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn killed_before_the_patch() {
    let (faulty, mut world) = through_a_proxy("killed-before").await;
    faulty.plan(Fault::Refuse(503), 3, Method::PATCH, WEB);
    world.deploy("v2-errors15").await;
    until("it has tried in vain", SOON, async || (faulty.still_planned() == 2).then_some(())).await;
    world.daemon.kill();
    assert_eq!(world.tag().await, "v2-errors15");
    world.daemon.restart().await;
    rolled_back_once(&world).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn killed_before_the_answer_to_the_patch() {
    let (faulty, mut world) = through_a_proxy("killed-at").await;
    faulty.plan(Fault::LoseAnswer, 1, Method::PATCH, WEB);
    world.deploy("v2-errors15").await;
    until("the patch arrives", SOON, async || (faulty.still_planned() == 0).then_some(())).await;
    world.daemon.kill();
    world.daemon.restart().await;
    rolled_back_once(&world).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn killed_while_it_rolls_out_and_while_it_verifies() {
    let mut world = Place::with("killed-after", slowly).await.guarded().await;
    world.deploy_quickly("v2-errors15").await;
    world.daemon.await_run("it awaits the rollout", SOON, |run| run.step == Some(1)).await;
    world.daemon.kill();
    world.daemon.restart().await;
    let moved_on = |phase: &str| phase == "verifying" || phase == "watching";
    world.daemon.await_run("it verifies", SOON, |run| moved_on(&run.phase)).await;
    world.daemon.kill();
    world.daemon.restart().await;
    rolled_back_once(&world).await;
    let over = world.daemon.await_run("the watch is over", SOON * 2, |run| !run.open).await;
    assert_eq!(over.phase, "recovered", "{over:?}");
}
