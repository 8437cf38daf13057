//! The runbook's own example, 15 % errors after a deploy, with nobody at the keyboard and a daemon that is killed again and again.
use std::time::Duration;

use serde_json::Value;

use super::{EVIDENCE, SOON, Stage, in_phase};
use crate::support::until;

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn fifteen_percent_errors_are_rolled_back_once_however_often_the_daemon_dies() {
    let stage = Stage::set("runbook", Duration::from_millis(1500)).await;
    let mut daemon = stage.serve(stage.config()).await;
    stage.release_over_known_good(&daemon, "v2-errors15").await;

    // First death: the run has just begun. Three pods follow each other, so the rollout takes some seconds.
    let run = daemon.await_run("a rollback begins", EVIDENCE, |_| true).await;
    daemon.kill();
    daemon.restart().await;
    daemon.await_run("it goes on", SOON, in_phase(&run.run, "rolling back")).await;
    // Second death: the rollout goes on without us, to its end.
    daemon.kill();
    stage.cluster.kubectl(&stage.namespace, "rollout status deployment/web --timeout=30s").await;
    daemon.restart().await;
    daemon.await_run("it is verified", EVIDENCE, in_phase(&run.run, "watching")).await;
    // Third death: the restored version is under watch.
    daemon.kill();
    daemon.restart().await;
    daemon.await_run("it has recovered", EVIDENCE * 2, in_phase(&run.run, "recovered")).await;

    assert_eq!(stage.image().await, "app:v1");
    assert_eq!(stage.changes().await, "3", "made, released, rolled back: nothing else");
    assert_eq!(daemon.runs().await.len(), 1);
    let told = daemon.run(&run.run).await;
    assert_eq!((told.open, told.verified), (false, Some(true)));
    let times = |kind: &str| told.timeline.iter().filter(|moment| moment.kind == kind).count();
    assert_eq!((times("opened"), times("adopted")), (1, 4), "{:#?}", told.timeline);
    // Killed between the patch and its record, it finds the patch done; that it was made once is what `changes` says.
    assert!(times("applied") <= 1, "{:#?}", told.timeline);
    let target = daemon.target().await;
    assert!(target.watch.is_none(), "{target:?}");
    assert_eq!(target.current, target.known_good);
    errors_are_gone(&stage).await;
    everybody_was_told(&stage).await;
}

async fn errors_are_gone(stage: &Stage) {
    let errors = "sum(increase(http_requests_total{code=\"500\"}[10s]))";
    let found = stage.prometheus.query(errors).await;
    assert_eq!(found[0]["value"][1], "0", "{found:?}");
}

/// Before, after and at the end of the watch, once each and in this order, with the numbers; and nobody was woken.
async fn everybody_was_told(stage: &Stage) {
    let messages = until("the end is told", SOON, async || {
        let messages = stage.messages();
        messages.iter().any(|message| title(message).starts_with("[STABLE]")).then_some(messages)
    })
    .await;
    let told: Vec<&Value> = messages.iter().filter(|message| message["kind"] != "resolve").collect();
    let starts = ["[ACTION] Initiating rollback", "[COMPLETE] Rollback successful", "[STABLE] The watch"];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (message, start) in told.iter().zip(starts) {
        assert!(title(message).starts_with(start), "{message:#}");
    }
    for part in [" % errors on ", "threshold 5.0 %", "requests of", "known good", "by policy"] {
        assert!(told[0].to_string().contains(part), "{part}: {:#}", told[0]);
    }
    for part in ["✅ pods ready: 3 of 3 pods ready", "✅ errors: 0.0 %", "✅ alerts: no alert is active"] {
        assert!(told[1].to_string().contains(part), "{part}: {:#}", told[1]);
    }
    let pages = stage.receiver.deliveries().iter().filter(|d| d.path == "/pager").count();
    assert_eq!(pages, 0, "somebody was paged");
}

fn title(message: &Value) -> &str {
    message["title"].as_str().unwrap()
}
