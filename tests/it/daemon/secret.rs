//! Secrets that were planted wherever one may stand are nowhere to be read, not even when everything fails.
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{EVIDENCE, SOON, Stage};
use crate::support::daemon::{ANN, BEN, Daemon, WEBHOOK_SECRET};
use crate::support::until;

const PLANTED: [&str; 4] =
    ["hush-slack-path", "hush-hook-key", "hush-prometheus-token", "hush-tenant-header"];

fn secrets() -> Vec<&'static str> {
    let others = [ANN.1, BEN.1, WEBHOOK_SECRET, super::WEBHOOK_TOKEN];
    PLANTED.into_iter().chain(others).collect()
}

fn keeps_quiet(what: &str, text: &str) {
    for secret in secrets() {
        assert!(!text.contains(secret), "{what} tells {secret}:\n{text}");
    }
}

/// Everything that the daemon answers to a GET.
async fn answers(daemon: &Daemon, run: &str) {
    let http = reqwest::Client::new();
    let run = format!("/api/v1/runs/{run}");
    let plan = "/api/v1/targets/shop/backend/plan";
    let paths =
        ["/", "/metrics", "/readyz?verbose", "/api/v1/services", "/api/v1/runs", &run, plan, "/nowhere"];
    for path in paths {
        let answer = http.get(format!("{}{path}", daemon.url())).bearer_auth(ANN.1).send().await.unwrap();
        keeps_quiet(path, &format!("{:?} {}", answer.headers().clone(), answer.text().await.unwrap()));
    }
    let wrong = format!("Bearer {}x", BEN.1);
    let order = http.post(format!("{}{run}/abort", daemon.url())).header("authorization", wrong);
    let answer = order.json(&json!({ "reason": "a test" })).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    keeps_quiet("a refusal", &answer.text().await.unwrap());
}

async fn command_line(daemon: &Daemon, run: &str) {
    for line in ["status", "plan shop/backend", &format!("show {run}"), "show no-such-run"] {
        for format in ["text", "json"] {
            let output = daemon.cli(&format!("{line} -o {format}")).await;
            keeps_quiet(line, &String::from_utf8_lossy(&output.stdout));
            keeps_quiet(line, &String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn files(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path);
        } else {
            keeps_quiet("the state", &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn planted_secrets_are_told_to_nobody() {
    let mut stage = Stage::set("secret", Duration::from_millis(300)).await;
    let nobody = crate::recorder::nobody();
    let mut config = stage.config();
    config["sources"]["prometheus"]["bearer_token"] = json!("hush-prometheus-token");
    config["sources"]["prometheus"]["headers"] = json!({ "X-Scope-OrgID": "hush-tenant-header" });
    config["notify"]["slack"] = json!({ "webhook_url": format!("{nobody}/services/hush-slack-path") });
    config["notify"]["webhook"]["url"] = json!(stage.receiver.url("/messages?key=hush-hook-key"));
    let daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-crashloop").await;
    stage.receiver.fail_next(3);
    let run = daemon.await_run("it is rolled back", EVIDENCE, |_| true).await.run;
    until("a message is refused", SOON, async || (stage.receiver.refused() > 0).then_some(())).await;
    stage.prometheus.stop().await;
    stage.alertmanager.stop().await;
    daemon
        .await_target("the source fails", SOON, |target| {
            target.current.as_ref().is_some_and(|v| v.label == "v1")
        })
        .await;
    until("Prometheus is missed", SOON, async || {
        let sources = daemon.client().services().await.unwrap().sources;
        sources.values().any(|health| !health.up).then_some(())
    })
    .await;

    answers(&daemon, &run).await;
    command_line(&daemon, &run).await;
    files(&daemon.state_dir());
    let log = daemon.log();
    assert!(log.contains("a message was not taken"), "nothing failed:\n{log}");
    keeps_quiet("the log", &log);
}
