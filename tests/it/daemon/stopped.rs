//! SIGTERM: the daemon ends soon and well, whatever it is doing, and goes on where it was.
use std::time::{Duration, Instant};

use serde_json::json;

use super::{EVIDENCE, SOON, Stage, in_phase};
use crate::support::daemon::Daemon;
use crate::support::until;

const A_FEW_SECONDS: Duration = Duration::from_secs(3);

async fn ends_soon(daemon: &mut Daemon) {
    let asked = Instant::now();
    daemon.terminate().await;
    let took = asked.elapsed();
    assert!(took < A_FEW_SECONDS, "it took {took:?}");
    assert!(daemon.log().lines().last().unwrap().contains("stopped"), "{}", daemon.log());
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn a_daemon_that_is_stopped_in_the_middle_of_a_rollback_finishes_it_later() {
    let stage = Stage::set("stopped", Duration::from_secs(3)).await;
    let mut daemon = stage.serve(stage.config()).await;
    ends_soon(&mut daemon).await;
    daemon.restart().await;
    stage.release_over_known_good(&daemon, "v2-errors15").await;
    let run = daemon.await_run("a rollback begins", EVIDENCE, |_| true).await;
    ends_soon(&mut daemon).await;
    let rolling =
        stage.cluster.try_kubectl(&stage.namespace, "rollout status deployment/web --watch=false").await;
    let rolling = String::from_utf8_lossy(&rolling.stdout).into_owned();
    assert!(rolling.contains("Waiting for deployment"), "it was not stopped in the middle: {rolling}");

    daemon.restart().await;
    daemon.await_run("it is finished", EVIDENCE, in_phase(&run.run, "watching")).await;
    assert_eq!((stage.image().await.as_str(), stage.changes().await.as_str()), ("app:v1", "3"));
    assert_eq!(daemon.runs().await.len(), 1);
    ends_soon(&mut daemon).await;
}

/// A receiver that takes connections and never answers; a Prometheus and an Alertmanager that are gone.
#[tokio::test]
#[ignore = "tests/run daemon"]
async fn nobody_out_there_holds_up_the_end() {
    let mut stage = Stage::set("held-up", Duration::from_millis(300)).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = stage.config();
    config["notify"]["webhook"]["url"] = json!(format!("http://{}/messages", silent.local_addr().unwrap()));
    config["services"][0]["policy"] = json!("page");
    config["services"][0]["judging"]["blind_after"] = json!("2s");
    let mut daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-crashloop").await;
    stage.paged("somebody is paged", EVIDENCE, super::firing).await;
    stage.prometheus.stop().await;
    stage.alertmanager.stop().await;
    // A delivery that has just begun would wait for its answer for some seconds more.
    silent.set_nonblocking(true).unwrap();
    let mut held = Vec::new();
    while let Ok(before) = silent.accept() {
        held.push(before);
    }
    held.push(until("a message is sent again", SOON, async || silent.accept().ok()).await);
    ends_soon(&mut daemon).await;
}
