//! Two workloads of one service that are released together: they go back together, or a person is asked.

use rollguard::client::dto::{TargetStatus, WayBack};
use rollguard::domain::release::ReleaseKind;
use serde_json::json;

use super::world::{Place, SOON, World};
use crate::components::deployment;
use crate::support::until;

/// `shop/backend` is the Deployment `web`, `shop/worker` the Deployment `worker`.
async fn guarded(purpose: &str, together: bool) -> World {
    let place = Place::new(purpose).await;
    let mut worker = deployment("v1");
    worker["metadata"]["name"] = json!("worker");
    worker["spec"]["selector"] = json!({ "matchLabels": { "app": "worker" } });
    worker["spec"]["template"]["metadata"]["labels"] = json!({ "app": "worker" });
    place.cluster.apply(&place.namespace, &worker).await;
    place.kubectl("rollout status deployment/worker --timeout=30s").await;
    // It must have run for a first watch, too.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let namespace = place.namespace.clone();
    let world = place.guarded_with(|config| {
        let service = &mut config["services"][0];
        let worker =
            json!({ "name": "worker", "kubernetes": { "namespace": namespace, "deployment": "worker" } });
        service["targets"].as_array_mut().unwrap().push(worker);
        service["together"] = together.into();
    });
    world.await
}

impl World {
    async fn worker(&self) -> TargetStatus {
        self.daemon.client().services().await.unwrap().targets.remove(1)
    }

    async fn await_worker(&self, what: &str, wanted: impl Fn(&TargetStatus) -> bool) -> TargetStatus {
        until(what, SOON, async || Some(self.worker().await).filter(&wanted)).await
    }

    /// The worker's release is under watch before that of the backend begins.
    async fn deploy_worker(&self, tag: &str) {
        self.kubectl(&format!("set image deployment/worker app=app:{tag}")).await;
        self.await_worker("the worker is under watch", |worker| {
            worker.watch.as_ref().is_some_and(|w| w.release.to.label == tag)
        })
        .await;
    }

    async fn worker_tag(&self) -> String {
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let image = self.kubectl(&format!("get deployment worker -o {image}")).await;
        image.trim_start_matches("app:").to_owned()
    }
}

fn is_after_rollback(status: &TargetStatus) -> bool {
    let kind = status.watch.as_ref().map(|w| &w.release.kind);
    matches!(kind, Some(ReleaseKind::OurRollback { .. }))
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_was_released_together_goes_back_in_one_run() {
    let world = guarded("together", true).await;
    world.deploy_worker("v2").await;
    world.deploy("v2-crashloop").await;
    let run = world.verified().await;
    assert_eq!(run.summary, "backend v2-crashloop → v1, worker v2 → v1");
    let steps: Vec<&str> = run.steps.iter().map(|step| step.split(" of ").next().unwrap()).collect();
    let expected = [
        "backend: restore the pod template",
        "worker: restore the pod template",
        "backend: await the rollout",
        "worker: await the rollout",
    ];
    assert_eq!(steps, expected);
    assert_eq!((world.tag().await, world.worker_tag().await), ("v1".into(), "v1".into()));
    let ready = run.checks.iter().find(|check| check.detail.contains("ready")).unwrap();
    assert!(ready.detail.contains("backend: 3 of 3") && ready.detail.contains("worker: 3 of 3"), "{ready:?}");
    let (backend, worker) = (world.daemon.target().await, world.worker().await);
    assert!(is_after_rollback(&backend) && is_after_rollback(&worker), "{backend:?} {worker:?}");
    assert_eq!(world.daemon.runs().await.len(), 1);

    // A newer release of one of them ends the run; the other one stays under watch.
    world.deploy_worker("v3").await;
    let over = world.daemon.await_run("the run is over", SOON, |run| !run.open).await;
    assert_eq!(over.phase, "superseded", "{over:?}");
    let backend = world.daemon.target().await;
    assert!(is_after_rollback(&backend), "{backend:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn half_a_rollback_is_left_to_a_person() {
    let world = guarded("half", true).await;
    world.kubectl(r#"patch deployment worker -p {"spec":{"revisionHistoryLimit":0}}"#).await;
    world.deploy_worker("v2").await;
    let barred = |worker: &TargetStatus| matches!(worker.way_back, Some(WayBack::Barred { .. }));
    world.await_worker("its history is gone", barred).await;
    world.deploy("v2-crashloop").await;
    let page = world.told("page", "shop/worker was released together with it").await;
    assert!(page.contains("v1 is no longer in the history of deployment/worker"), "{page}");
    assert!(page.contains("rollguard rollback shop/backend"), "{page}");
    assert!(world.daemon.runs().await.is_empty());
    assert_eq!((world.tag().await, world.worker_tag().await), ("v2-crashloop".into(), "v2".into()));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_stands_against_one_of_them_is_found_before_anything_is_changed() {
    let world = guarded("paused", true).await;
    world.deploy_worker("v2").await;
    // Later than its survey.
    world.kubectl("rollout pause deployment/worker").await;
    world.deploy("v2-crashloop").await;
    let page = world.told("page", "[FAILED] Rollback is stuck").await;
    assert!(page.contains("nothing was changed yet") && page.contains("deployment/worker"), "{page}");
    assert!(page.contains("was paused since the plan was made"), "{page}");
    assert_eq!((world.tag().await, world.worker_tag().await), ("v2-crashloop".into(), "v2".into()));
    world.kubectl("rollout resume deployment/worker").await;
    let stuck = world.daemon.await_run("it is stuck", SOON, |run| run.phase == "stuck").await;
    world.daemon.cli_ok(&format!("resume {}", stuck.run)).await;
    world.verified().await;
    assert_eq!((world.tag().await, world.worker_tag().await), ("v1".into(), "v1".into()));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn each_goes_its_own_way_where_that_is_configured() {
    let world = guarded("apart", false).await;
    world.deploy_worker("v2").await;
    world.deploy("v2-crashloop").await;
    let run = world.verified().await;
    assert_eq!(run.summary, "backend v2-crashloop → v1");
    assert_eq!((world.tag().await, world.worker_tag().await), ("v1".into(), "v2".into()));
}
