//! Prometheus goes away in the middle of a watch: nothing is rolled back, somebody is paged, and judging goes on once it is back.
use std::time::Duration;

use rollguard::domain::policy::Decision;
use serde_json::json;

use super::{EVIDENCE, SOON, Stage, description, firing, in_phase};

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn a_stopped_prometheus_pages_and_rolls_nothing_back() {
    let mut stage = Stage::set("blind", Duration::from_millis(300)).await;
    let mut config = stage.config();
    config["services"][0]["watch"] = json!("3m");
    // Longer than a busy machine takes until Prometheus has found the new pods.
    config["services"][0]["judging"]["blind_after"] = json!("12s");
    let daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-errors15").await;
    let measured = |target: &rollguard::client::dto::TargetStatus| {
        let watch = target.watch.as_ref();
        watch.is_some_and(|w| w.figures.recent.values().any(|counts| counts.bad > 0.0))
    };
    daemon.await_target("errors are seen", SOON, measured).await;

    stage.prometheus.stop().await;
    let page = stage.paged("somebody is paged", EVIDENCE, firing).await;
    assert!(description(&page).contains("error-rate has had no data since"), "{page:#}");
    assert!(description(&page).contains("cannot connect"), "{page:#}");
    assert!(description(&page).contains("Nothing was changed"), "{page:#}");
    assert_eq!(
        (&page["labels"]["service"], &page["labels"]["severity"]),
        (&json!("shop"), &json!("critical"))
    );
    // Longer than the evidence would have taken.
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(daemon.runs().await.is_empty(), "{:#?}", daemon.runs().await);
    assert_eq!(stage.image().await, "app:v2-errors15");
    let watch = daemon.target().await.watch.unwrap();
    assert_eq!(watch.decision, Decision::Page);

    stage.prometheus.restart().await;
    let run = daemon.await_run("it is rolled back after all", EVIDENCE, |_| true).await;
    daemon.await_run("that is verified", EVIDENCE, in_phase(&run.run, "watching")).await;
    assert_eq!(stage.image().await, "app:v1");
    let ended = |alert: &serde_json::Value| alert["status"] == "resolved";
    stage.paged("the page ends", SOON, ended).await;
}
