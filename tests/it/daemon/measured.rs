//! The daemon's own /metrics: as promtool wants them, and scraped by a real Prometheus.
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{EVIDENCE, SOON, Stage, in_phase};
use crate::support::binary;
use crate::support::prometheus::{Setup, static_targets};
use crate::support::until;

/// What promtool thinks of a page of metrics: nothing, if all is well.
fn lint(page: &str) -> String {
    let mut promtool = Command::new(binary("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every sample belongs to a name with HELP and TYPE.
fn described(page: &str) {
    let has = |keyword: &str, name: &str| page.contains(&format!("# {keyword} {name} "));
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = |name: &str| has("HELP", name) && has("TYPE", name);
        assert!(known(name) || family.is_some_and(known), "{line}");
    }
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn a_real_prometheus_scrapes_the_daemon() {
    let stage = Stage::set("measured", Duration::from_millis(300)).await;
    let daemon = stage.serve(stage.config()).await;
    let address = daemon.url().trim_start_matches("http://").to_owned();
    let mut setup: Setup = stage.setup.clone();
    setup.scrape.push(static_targets("rollguard", &[address]));
    stage.prometheus.reload(&setup).await;
    stage.release_over_known_good(&daemon, "v2-crashloop").await;
    let run = daemon.await_run("it is rolled back", EVIDENCE, |_| true).await;
    daemon.await_run("it is verified", EVIDENCE, in_phase(&run.run, "watching")).await;

    let page = reqwest::get(format!("{}/metrics", daemon.url())).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = page.text().await.unwrap();
    assert_eq!(lint(&page), "", "{page}");
    described(&page);
    for (query, value) in [
        ("up{job=\"rollguard\"}", "1"),
        ("rollguard_feed_up", "1"),
        ("rollguard_source_up{source=\"prometheus\"}", "1"),
        ("rollguard_runs_open", "1"),
        ("rollguard_watches_open", "1"),
        ("rollguard_releases_total{service=\"shop\"}", "3"),
        ("rollguard_decisions_total{service=\"shop\", decision=\"rollback\"}", "1"),
        ("rollguard_outbox_waiting", "0"),
        ("count(rollguard_build_info)", "1"),
        ("count(rollguard_journal_seconds_count > 0)", "1"),
        ("count(rollguard_source_seconds_count > 0)", "1"),
        ("count(rollguard_samples_total > 0)", "1"),
        ("count(rollguard_notifications_total{channel=\"webhook\"} >= 2)", "1"),
        ("rollguard_run_seconds_count{service=\"shop\"}", "1"),
    ] {
        until(query, SOON, async || {
            let found = stage.prometheus.query(query).await;
            (found.first()?["value"][1] == json!(value)).then_some(())
        })
        .await;
    }
}
