//! `rollguard check --live`: what the configuration names is there, or it is said what is not.
use std::time::Duration;

use serde_json::{Value, json};

use super::{EVIDENCE, Stage};
use crate::support::daemon::Daemon;
use crate::support::until;

async fn check(daemon: &Daemon, mut config: Value) -> (bool, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rollguard.yaml");
    config["listen"] = json!("127.0.0.1:0");
    config["state_dir"] = json!(folder.path().join("state"));
    std::fs::write(&file, config.to_string()).unwrap();
    let output = daemon.cli(&format!("check --live -o json --config {}", file.display())).await;
    let out = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(out.lines().last().unwrap_or("null")).unwrap();
    (output.status.success(), answer)
}

/// With an HTTP check of something that a test can stop.
fn with_health(stage: &Stage) -> Value {
    let mut config = stage.config();
    let url = format!("{}/-/healthy", stage.prometheus.url());
    let rules = config["services"][0]["rules"].as_array_mut().unwrap();
    rules.push(json!({ "name": "health", "http": { "url": url, "failing_for": "20s" } }));
    let api = format!("{}/api/v1", stage.prometheus.url());
    let steps = json!([
        { "url": format!("{api}/status/buildinfo"), "capture": { "version": { "json": "/data/version" } } },
        { "method": "POST", "url": format!("{api}/query"), "body": { "form": { "query": "vector(1)" } },
          "header": { "name": "content-type", "equals": "application/json" },
          "json": { "pointer": "/data/result/0/value/1", "equals": "1" } },
        { "url": format!("{api}/label/version/values?match[]=prometheus_build_info{{version=\"${{version}}\"}}"),
          "json": { "pointer": "/status", "equals": "success" } },
    ]);
    rules.push(json!({ "name": "asking", "journey": { "steps": steps } }));
    config
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn the_live_check_asks_the_cluster_prometheus_and_the_urls_of_checks() {
    let mut stage = Stage::set("checked", Duration::from_millis(300)).await;
    let daemon = stage.serve(stage.config()).await;
    // A past of two steps of 15 seconds is the least that there is anything to learn from.
    let answer = until("Prometheus has a past", EVIDENCE, async || {
        let (good, answer) = check(&daemon, with_health(&stage)).await;
        good.then_some(answer)
    })
    .await;
    let what: Vec<&str> =
        answer["live"].as_array().unwrap().iter().filter_map(|f| f["what"].as_str()).collect();
    let expected = [
        "target shop/backend",
        "prometheus about shop/backend",
        "check health of shop",
        "check asking of shop",
    ];
    assert_eq!(what, expected, "{answer}");
    assert_eq!(answer["live"][2]["detail"], "HTTP 200");
    assert_eq!(answer["live"][3]["detail"], "3 steps answered as expected");

    let mut elsewhere = with_health(&stage);
    elsewhere["services"][0]["targets"][0]["kubernetes"]["deployment"] = json!("nobody");
    stage.prometheus.stop().await;
    let (good, answer) = check(&daemon, elsewhere).await;
    assert!(!good, "{answer}");
    let findings = answer["live"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["ok"] == false), "{answer}");
    assert!(findings[0]["detail"].as_str().unwrap().contains("does not exist"), "{answer}");
}
