//! Bad releases that the daemon takes back by itself.

use serde_json::json;

use super::world::{Place, SOON, slowly};

/// The runbook's own example: an elevated error rate (15 %) after a deployment.
#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn fifteen_percent_of_errors_are_rolled_back_and_everybody_is_told() {
    let world = Place::with("errors", slowly).await.guarded().await;
    world.deploy("v2-errors15").await;
    let run = world.verified().await;
    assert_eq!(world.tag().await, "v1");
    assert_eq!(run.summary, "backend v2-errors15 → v1");
    assert!(run.reason.contains(" % errors on ") && run.reason.contains("threshold 5.0 %"), "{}", run.reason);
    world.rolled_out().await;

    let action = world.told("action", "[ACTION] Initiating rollback").await;
    assert!(action.contains(&run.reason) && action.contains("rollback to backend v1"), "{action}");
    let complete = world.told("complete", "[COMPLETE] Rollback successful").await;
    assert!(complete.contains("✅ error rate: 0.0 %"), "{complete}");
    let over = world.daemon.await_run("the watch is over", SOON * 2, |run| !run.open).await;
    assert_eq!(over.phase, "recovered", "{over:?}");
    world.told("complete", "[STABLE]").await;
    assert_eq!(world.daemon.runs().await.len(), 1);
    assert!(!world.kinds().contains(&"page".to_owned()), "{:?}", world.kinds());
    assert_eq!(world.generation().await, 3, "v1, v2 and v1 again");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn crash_looping_pods_are_rolled_back_while_the_old_ones_serve() {
    let world = Place::new("crashloop").await.guarded().await;
    let before = world.serving();
    world.deploy("v2-crashloop").await;
    let run = world.verified().await;
    assert!(run.reason.contains("CrashLoopBackOff"), "{}", run.reason);
    assert_eq!(world.tag().await, "v1");
    assert_eq!((before.len(), world.serving()), (3, before), "no old pod was touched");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_bad_version_after_an_unjudged_bad_one_goes_back_to_the_good_one() {
    let world = Place::new("bad-after-bad").await.guarded().await;
    world.deploy("v2-errors15").await;
    world.daemon.await_watch("v2-errors15").await;
    world.deploy("v3-crashloop").await;
    let run = world.verified().await;
    assert_eq!(run.summary, "backend v3-crashloop → v1");
    assert_eq!(world.tag().await, "v1");
    assert_eq!(world.daemon.runs().await.len(), 1);
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_bad_version_after_a_rolled_back_one_goes_back_to_the_same_good_one() {
    let place = Place::new("bad-again").await;
    let world = place.guarded_with(|config| config["services"][0]["cool_down"] = json!("0s")).await;
    world.deploy("v2-crashloop").await;
    let first = world.verified().await;
    world.deploy("v3-crashloop").await;
    let second = world.daemon.await_run("the second is verified", SOON * 2, |run| {
        run.run != first.run && run.verified == Some(true)
    });
    assert_eq!(second.await.summary, "backend v3-crashloop → v1");
    assert_eq!(world.tag().await, "v1");
    let first = world.daemon.run(&first.run).await;
    assert_eq!(first.phase, "superseded", "by v3, which ended its watch");
    assert_eq!(world.generation().await, 5);
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_second_bad_version_within_the_hour_needs_a_person() {
    let world = Place::new("cooling-down").await.guarded().await;
    world.deploy("v2-crashloop").await;
    world.verified().await;
    world.deploy("v3-crashloop").await;
    let page = world.told("page", "shop/backend v3-crashloop").await;
    assert!(page.contains("Not rolled back: ") && page.contains("automation rests until"), "{page}");
    assert!(page.contains("rollguard rollback shop/backend"), "{page}");
    assert_eq!(world.tag().await, "v3-crashloop");
    // As the page says.
    world.daemon.cli_ok("rollback shop/backend --yes --wait").await;
    assert_eq!(world.tag().await, "v1");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn replicas_that_an_autoscaler_changed_stay_changed() {
    let world = Place::with("scaled", slowly).await.guarded().await;
    world.deploy("v2-errors15").await;
    world.kubectl("scale deployment/web --replicas=5").await;
    world.verified().await;
    let deployment = world.deployment().await;
    assert_eq!(deployment.spec.replicas, Some(5));
    assert_eq!(world.tag().await, "v1");
    let ours = deployment.metadata.managed_fields.unwrap();
    let ours = ours.into_iter().find(|entry| entry.manager.as_deref() == Some("rollguard")).unwrap();
    let ours = ours.fields_v1.unwrap().0;
    assert!(
        ours["f:spec"].get("f:template").is_some() && ours["f:spec"].get("f:replicas").is_none(),
        "{ours}"
    );
}
