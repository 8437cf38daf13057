//! A running daemon reads its configuration again: the built binary against the embedded world.
use std::time::Duration;

use rollguard::sandbox::{Deploy, Fault, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::daemon::{ANN, Daemon};
use crate::support::until;

const SOON: Duration = Duration::from_secs(20);

/// `shop` is the sandbox's Deployment, under this service name.
pub(crate) fn config(sandbox: &Sandbox, service: &str) -> Value {
    let (front, kube) = (sandbox.front_url(), sandbox.kube_url());
    json!({
        "api": { "people": [{ "name": ANN.0, "token": ANN.1 }] },
        "kubernetes": { "url": kube, "events": false },
        "sources": { "scrape": { "interval": "1s", "fresh_interval": "1s", "timeout": "1s" } },
        "notify": { "webhook": { "url": format!("{front}/messages"), "secret": "only-for-the-test" } },
        "services": [{
            "name": service,
            "policy": "auto",
            "watch": "15s",
            "targets": [{ "name": "backend", "kubernetes": { "namespace": "default", "deployment": "shop" } }],
            "rules": [{ "name": "error-rate", "errors": {
                "above": "5%", "total": "http_requests_total", "bad": "http_requests_total{code=~\"5..\"}",
            }}],
            "judging": { "batch": "1s", "settle": "5s" },
            "verify": {
                "deadline": "30s",
                "checks": [{ "name": "health", "http": { "url": format!("{front}/health"), "status": 200 } }],
            },
        }],
    })
}

pub(crate) async fn sandbox() -> Sandbox {
    let options = SandboxOptions { ready_after: Duration::from_secs(1), ..SandboxOptions::default() };
    Sandbox::start(options).await.unwrap()
}

async fn post(daemon: &Daemon, token: Option<&str>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.post(format!("{}/-/reload", daemon.url()));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn metric(daemon: &Daemon, name: &str) -> f64 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = http.get(format!("{}/metrics", daemon.url())).send().await.unwrap().text().await.unwrap();
    let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

const SUCCESSFUL: &str = "rollguard_config_last_reload_successful";
const SUCCEEDED_AT: &str = "rollguard_config_last_reload_success_timestamp_seconds";

#[tokio::test]
async fn a_bad_file_changes_nothing_and_a_good_one_is_in_force_at_once() {
    let sandbox = sandbox().await;
    let good = config(&sandbox, "shop");
    let mut daemon = Daemon::start(good.clone()).await;
    daemon.await_known_good("v1").await;
    assert_eq!(metric(&daemon, SUCCESSFUL).await, 1.0);
    let read_at = metric(&daemon, SUCCEEDED_AT).await;

    let mut bad = good.clone();
    bad["services"][0]["watsh"] = json!("15s");
    bad["services"][0]["policy"] = json!("maybe");
    daemon.configure(bad);
    daemon.hang_up();
    until("SIGHUP was heard", SOON, async || (metric(&daemon, SUCCESSFUL).await == 0.0).then_some(())).await;
    assert_eq!(metric(&daemon, SUCCEEDED_AT).await, read_at);
    let log = daemon.log();
    assert!(log.contains("rollguard.yaml:1:") && log.contains("watsh"), "every mistake is in the log: {log}");

    assert_eq!(post(&daemon, None).await.0, 401, "only a person may");
    let (status, answer) = post(&daemon, Some(ANN.1)).await;
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("mistaken")));
    let problems = answer["error"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "all of them: {answer}");
    assert!(problems.iter().all(|p| p.as_str().unwrap().contains("rollguard.yaml:1:")), "{answer}");
    let told = daemon.cli("reload").await;
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("watsh"), "{told:?}");
    assert_eq!(daemon.target().await.target.to_string(), "shop/backend", "the old one is in force");

    let mut elsewhere = good.clone();
    elsewhere["listen"] = json!("127.0.0.1:1");
    daemon.write(&elsewhere);
    let (status, answer) = post(&daemon, Some(ANN.1)).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("needs_restart")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("listen"), "{answer}");

    daemon.configure(config(&sandbox, "store"));
    let answer: Value = serde_json::from_str(&daemon.cli_ok("reload -o json").await).unwrap();
    assert_eq!((&answer["added"], &answer["removed"]), (&json!(["store"]), &json!(["shop"])));
    assert_eq!(metric(&daemon, SUCCESSFUL).await, 1.0);
    assert!(metric(&daemon, SUCCEEDED_AT).await > read_at);
    let target = daemon.target().await;
    assert_eq!(target.target.to_string(), "store/backend");
    daemon.await_known_good("v1").await;
    sandbox.deploy(&Deploy::new("v2", Fault::None)).unwrap();
    daemon.await_watch("v2").await;
    assert_eq!(daemon.cli_ok("reload").await.trim(), "Nothing has changed.");
    daemon.terminate().await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_run_of_a_removed_service_goes_on_to_its_end() {
    let sandbox = sandbox().await;
    let mut daemon = Daemon::start(config(&sandbox, "shop")).await;
    daemon.await_known_good("v1").await;
    sandbox.deploy(&Deploy::new("v2", Fault::CrashLoop)).unwrap();
    let run = daemon.await_run("a rollback has begun", Duration::from_secs(60), |run| run.open).await.run;
    daemon.configure(config(&sandbox, "store"));
    daemon.cli_ok("reload").await;
    let over = |run: &rollguard::client::dto::RunStatus| !run.open;
    let run = daemon.await_run("it is over", Duration::from_secs(90), |r| r.run == run && over(r)).await;
    assert_eq!(run.verified, Some(true), "{run:?}");
    assert_eq!(sandbox.running_version().unwrap(), "v1");
    assert_eq!(daemon.runs().await.len(), 1);
    daemon.terminate().await;
    sandbox.stop().await;
}
