//! A daemon that starts while a release is fresh.
use std::time::Duration;

use serde_json::json;

use super::{EVIDENCE, SOON, Stage, in_phase};

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn a_release_from_before_the_start_is_picked_up_and_rolled_back() {
    let stage = Stage::set("fresh", Duration::from_millis(300)).await;
    let mut config = stage.config();
    let watch = Duration::from_secs(15);
    config["services"][0]["watch"] = json!("15s");
    stage.cluster.kubectl(&stage.namespace, "rollout status deployment/web --timeout=30s").await;
    // What ran for a whole watch before its successor came is known to be good.
    tokio::time::sleep(watch).await;
    stage.release("v2-crashloop").await;
    let daemon = stage.serve(config).await;
    let run = daemon.await_run("it is rolled back", SOON, |_| true).await;
    let told = daemon.run(&run.run).await;
    let change = &told.plan.changes[0];
    assert_eq!((change.from.label.as_str(), change.to.label.as_str()), ("v2-crashloop", "v1"));
    daemon.await_run("it is verified", EVIDENCE, in_phase(&run.run, "watching")).await;
    assert_eq!(stage.image().await, "app:v1");
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn without_a_known_good_version_somebody_is_paged_instead() {
    let stage = Stage::set("first", Duration::from_millis(300)).await;
    stage.release("v2-crashloop").await;
    let daemon = stage.serve(stage.config()).await;
    let page = stage.paged("somebody is paged", SOON, super::firing).await;
    assert!(super::description(&page).contains("no version is known to be good"), "{page:#}");
    assert!(daemon.runs().await.is_empty());
    assert_eq!(stage.image().await, "app:v2-crashloop");
}
