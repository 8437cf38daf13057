//! A rollback that will not complete: what stands in the way is told in the page and in `rollguard show`, and nothing is forced.

use std::sync::Arc;

use rollguard::adapters::kubernetes::{ClusterAccess, Extras, Kubernetes, KubernetesTarget};
use rollguard::domain::diagnosis::{Diagnosis, ObstacleKind};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::{Goal, draft};
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use serde_json::{Value, json};

use super::world::{Place, SOON};
use crate::support::until;

fn quota(pods: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few" },
        "spec": { "hard": { "pods": pods.to_string() } },
    })
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_quota_and_a_finalizer_are_told_in_the_page_and_in_show() {
    let held = |object: &mut Value| {
        object["spec"]["template"]["metadata"]["finalizers"] = json!(["example.com/drain"]);
    };
    let place = Place::with("hindered", held).await;
    let world = place.guarded_with(|config| config["services"][0]["rollout_deadline"] = json!("20s")).await;
    world.deploy("v2-errors15").await;
    world.rolled_out().await;
    // Three pods of v1 are held by their finalizer, which a quota does not count; three of v2 run, and no more may.
    world.cluster.apply(&world.namespace, &quota(3)).await;
    let page = world.told("page", "[FAILED] Rollback is stuck").await;
    assert!(
        page.contains("In the way: a quota refuses new pods: ") && page.contains("exceeded quota"),
        "{page}"
    );
    let describe = format!("Consider: kubectl describe resourcequota -n {}", world.namespace);
    assert!(page.contains(&describe), "{page}");
    assert!(page.contains("was deleted, but a finalizer holds it: example.com/drain"), "{page}");
    let stuck = world.daemon.await_run("it waits for a person", SOON, |run| run.phase == "stuck").await;
    let shown = world.daemon.cli_ok(&format!("show {}", stuck.run)).await;
    assert!(shown.contains("Diagnosis") && shown.contains("In the way: a quota refuses new pods"), "{shown}");

    world.kubectl("delete resourcequota few").await;
    // The controller's own pauses between attempts have grown meanwhile.
    until("the pods of v1 are there", SOON * 2, async || {
        let updated = world.kubectl("get deployment web -o jsonpath={.status.updatedReplicas}").await;
        (updated == "3").then_some(())
    })
    .await;
    world.daemon.cli_ok(&format!("resume {}", stuck.run)).await;
    world.verified().await;
    assert_eq!(world.tag().await, "v1");
    let held = world.kubectl("get pods -o jsonpath={.items[*].metadata.finalizers}").await;
    assert!(held.contains("example.com/drain"), "nothing was forced: {held}");
}

async fn adapter(place: &Place) -> Kubernetes {
    let target = KubernetesTarget { target: id(), workload: place.workload() };
    let access = ClusterAccess::Kubeconfig { path: Some(place.cluster.kubeconfig()), context: None };
    let cluster = Kubernetes::open(&access, vec![target], Arc::new(SystemClock)).await.unwrap();
    cluster.with(Extras { failed_probes: true, ..Extras::default() })
}

fn id() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

/// Restores a revision and waits until something stands in the way.
async fn hindered(place: &Place, revision: u64) -> Diagnosis {
    let cluster = adapter(place).await;
    let targets = cluster.targets();
    let survey = targets.survey(&id()).await.unwrap();
    let plan = draft(&survey, &Goal::Revision(revision), "r1", 60).unwrap();
    assert!(matches!(targets.apply(&plan.steps[0]).await, Outcome::Done { .. }));
    until("something is in the way", SOON, async || match targets.observe(&plan.steps[1]).await {
        Finding::NotYet { diagnosis, .. } => Some(diagnosis).filter(|d| !d.is_empty()),
        other => panic!("{other:?}"),
    })
    .await
}

fn requests(object: &mut Value, cpu: &str) {
    object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": cpu } });
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_node_that_is_full_is_told_in_the_schedulers_words() {
    // The one node has 1,000 cores.
    let place = Place::with("no-room", |object| requests(object, "200")).await;
    let mut small = crate::components::deployment("v2");
    requests(&mut small, "1");
    place.cluster.apply(&place.namespace, &small).await;
    place.rolled_out().await;
    let mut hog = crate::components::deployment("v1");
    requests(&mut hog, "850");
    (hog["metadata"]["name"], hog["spec"]["replicas"]) = (json!("hog"), json!(1));
    hog["spec"]["selector"]["matchLabels"] = json!({ "app": "hog" });
    hog["spec"]["template"]["metadata"]["labels"] = json!({ "app": "hog" });
    place.cluster.apply(&place.namespace, &hog).await;
    place.kubectl("rollout status deployment/hog --timeout=30s").await;

    let diagnosis = hindered(&place, 1).await;
    let [obstacle] = diagnosis.obstacles.as_slice() else { panic!("{diagnosis:?}") };
    assert_eq!(obstacle.kind, ObstacleKind::Capacity);
    assert!(obstacle.why.contains("Insufficient cpu"), "{obstacle:?}");
    assert!(obstacle.consider[0].contains("kubectl describe nodes"), "{obstacle:?}");
    place.kubectl("delete deployment hog web").await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_image_that_is_gone_is_told_with_its_pod() {
    let place = Place::new("no-image").await;
    // Revision 1 is the good one; the one that is put back is a later one whose image is gone.
    let bad = |tag: &str| format!("set image deployment/web app=app:{tag}");
    place.kubectl(&bad("v0-imagepull")).await;
    until("its ReplicaSet exists", SOON, async || {
        let sets = place.kubectl("get replicasets -o name").await;
        (sets.lines().count() == 2).then_some(())
    })
    .await;
    place.kubectl(&bad("v1")).await;
    place.rolled_out().await;
    let diagnosis = hindered(&place, 2).await;
    let sentence = diagnosis.obstacles[0].sentence();
    assert!(sentence.starts_with("pod web-") && sentence.contains("ImagePullBackOff"), "{sentence}");
}

/// Neither has a condition for it: their controllers say it in Events only.
#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_quota_is_told_for_the_other_kinds_too() {
    for (kind, left) in [("statefulset", 2), ("daemonset", 0)] {
        let place = Place::of(kind, &format!("quota-{kind}"), |_| {}).await;
        place.deploy("v2").await;
        place.rolled_out().await;
        place.cluster.apply(&place.namespace, &quota(left)).await;
        let diagnosis = hindered(&place, 1).await;
        let [obstacle, ..] = diagnosis.obstacles.as_slice() else { panic!("{diagnosis:?}") };
        assert_eq!(obstacle.kind, ObstacleKind::Quota, "{diagnosis:?}");
        assert!(
            obstacle.why.starts_with("pods \"web-") && obstacle.why.contains("exceeded quota"),
            "{obstacle:?}"
        );
        let describe = format!("kubectl describe resourcequota -n {}", place.namespace);
        assert_eq!(obstacle.consider, [describe]);
        place.kubectl(&format!("delete {kind} web")).await;
    }
}
