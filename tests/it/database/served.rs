//! The whole of it: a bad migration is noticed, a person approves, it is taken back and verified, and no password is told.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use rollguard::domain::plan::database::Runner;
use serde_json::{Value, json};

use super::stage::{Stage, carry_out};
use crate::support::daemon::{ANN, Daemon, WATCH, config};
use crate::support::postgres::{PASSWORD, session};
use crate::support::receiver::Receiver;
use crate::support::until;
use crate::support::workload::{Served, serve};

const SOON: Duration = Duration::from_secs(60);

/// An application that the index breaks, and how often it was asked.
async fn application(url: &str) -> (Served, Arc<AtomicUsize>) {
    let (url, asked) = (url.to_string(), Arc::<AtomicUsize>::default());
    let count = asked.clone();
    let health = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        let sql = "SELECT 1 FROM pg_indexes WHERE indexname = 'orders_user'";
        let broken = session(&url).await.query(sql, &[]).await.unwrap();
        if broken.is_empty() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
    };
    let router = Router::new().route("/health", get(health));
    (serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await, asked)
}

fn configured(stage: &Stage, application: &Served, messages: &str) -> Value {
    let mut config = config(Path::new("none"), "none", messages);
    config["kubernetes"] = json!({ "events": false });
    config["sources"] = json!({});
    let health = format!("http://{}/health", application.address());
    let service = &mut config["services"][0];
    service["policy"] = json!("approval");
    service["targets"] = json!([{ "name": "database", "database": {
        "url": stage.url,
        "tls": { "mode": "disable" },
        "migrations": stage.scripts.path(),
        "interval": "1s",
        "verify": [{ "name": "orders", "query": "SELECT count(*) FROM orders", "expect": "0" }],
    } }]);
    service["rules"] =
        json!([{ "name": "health", "http": { "url": health, "every": "1s", "failing_for": "3s" } }]);
    service["verify"] = json!({ "deadline": "40s", "checks": [
        { "name": "health", "http": { "url": health } },
        { "name": "database", "sql": {} },
    ] });
    config
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_bad_migration_is_taken_back_when_a_person_approves() {
    let stage = Stage::shop(Runner::Rollguard).await;
    assert_eq!(stage.migrate(&["goto", "2"]).0, Some(0));
    let (application, asked) = application(&stage.url).await;
    let receiver = Receiver::start().await;
    let config = configured(&stage, &application, &receiver.url("/messages"));
    let mut first = config.clone();
    first["services"][0]["watch"] = json!("10s");
    let mut daemon = Daemon::start(first).await;
    daemon.await_known_good("2").await;
    daemon.terminate().await;
    daemon.configure(config);
    let before = asked.load(Ordering::Relaxed);
    daemon.restart().await;
    // What was never seen to pass is held against nobody.
    until("it is seen to pass", SOON, async || (asked.load(Ordering::Relaxed) > before).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    stage.up();
    daemon.await_watch("3").await;
    let run = daemon.await_run("somebody is asked", SOON, |run| run.phase == "awaiting approval").await;
    assert_eq!(run.summary, "database 3 → 2");
    let shown = daemon.cli_ok(&format!("show {}", run.run)).await;
    assert!(shown.contains("migrate 3 down to 2 with 3_index.down.sql"), "{shown}");
    assert!(
        shown.contains("no RDS instance is configured"),
        "the checklist says that there is no backup: {shown}"
    );
    assert!(
        stage.end_state().await.contains(&"version 3 false".to_string()),
        "nothing before it is approved"
    );
    daemon.cli_ok(&format!("approve {}", run.run)).await;
    daemon.await_run("it is verified", SOON, |run| run.phase == "watching").await;
    assert!(stage.end_state().await.contains(&"version 2 false".to_string()));
    let told = daemon.run(&run.run).await;
    assert_eq!((told.approved_by.as_deref(), told.verified), (Some("ann"), Some(true)));
    let over = daemon.await_run("the watch is over", WATCH * 2, |run| !run.open).await;
    assert_eq!(over.phase, "recovered", "{over:?}");

    for text in [daemon.log(), stored(&daemon.state_dir()), messages(&receiver), answers(&daemon).await] {
        keeps_quiet(&text);
    }
    let again = daemon.cli("rollback shop/database --to-revision 9 --yes").await;
    let refused = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(refused.contains("does not know version 9"), "{refused}");
}

fn keeps_quiet(text: &str) {
    for secret in [PASSWORD, "open%2Fsesame", "sesame"] {
        assert!(!text.contains(secret), "{secret} is told: {text}");
    }
}

fn stored(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.is_dir() {
        true => stored(&path),
        false => String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned(),
    };
    entries.map(text).collect()
}

fn messages(receiver: &Receiver) -> String {
    receiver.deliveries().iter().map(|delivery| delivery.json().to_string()).collect()
}

async fn answers(daemon: &Daemon) -> String {
    let mut all = String::new();
    for path in [
        "/metrics",
        "/api/v1/services",
        "/api/v1/runs",
        "/api/v1/targets/shop/database/plan",
        "/readyz?verbose",
    ] {
        let request = reqwest::Client::new().get(format!("{}{path}", daemon.url())).bearer_auth(ANN.1);
        all.push_str(&request.send().await.unwrap().text().await.unwrap());
    }
    all
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn golang_migrates_program_is_told_the_password_where_nobody_else_reads_it() {
    let stage = Stage::new(Runner::Migrate).await;
    stage.write(&[("1_x.up.sql", "SELECT 1"), ("1_x.down.sql", "SELECT pg_sleep(3)")]);
    stage.up();
    let plan = stage.plan(0).await.unwrap();
    let name = stage.url.rsplit('/').next().unwrap().to_string();
    let ours = |line: &String| line.contains(&format!("/{name}?")) && line.contains("rollguard-");
    let seen = until("the program runs", SOON, async || arguments().into_iter().find(ours));
    let databases = stage.databases();
    let (done, seen) = tokio::join!(carry_out(&databases, &plan), seen);
    done.unwrap();
    keeps_quiet(&seen);
    let broken = Stage::shop(Runner::Migrate).await;
    broken.write(&[("3_index.down.sql", "SELECT 1/0 -- open/sesame")]);
    let plan = broken.plan(2).await.unwrap();
    let why = carry_out(&broken.databases(), &plan).await.unwrap_err();
    assert!(why.contains("division by zero") && why.contains("•••"), "{why}");
    keeps_quiet(&why);
}

/// The command line of every process.
fn arguments() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    processes.filter_map(line).map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}
