//! The policy `approval`: nothing is changed before a person who may do so has said yes.

use std::time::Duration;

use rollguard::client::dto::RunStatus;
use serde_json::json;

use super::world::{Place, SOON, World};
use crate::support::daemon::BEN;

async fn asked(purpose: &str, expires: &str) -> (World, RunStatus) {
    let place = Place::new(purpose).await;
    let world = place
        .guarded_with(|config| {
            config["services"][0]["policy"] = json!("approval");
            config["services"][0]["approval_expires"] = json!(expires);
        })
        .await;
    world.deploy("v2-crashloop").await;
    let run = world.daemon.await_run("it asks", SOON, |run| run.phase == "awaiting approval").await;
    let ask = world.told("ask", "[ASK] Approve the rollback?").await;
    assert!(ask.contains(&format!("rollguard approve {}", run.run)), "{ask}");
    (world, run)
}

async fn nothing_was_changed(world: &World) {
    assert_eq!((world.tag().await, world.generation().await), ("v2-crashloop".into(), 2));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_approved_rollback_is_carried_out_in_the_name_of_who_approved() {
    let (world, run) = asked("approved", "5m").await;
    let approve = format!("approve {}", run.run);
    let refused = world.daemon.cli_as("token-of-nobody-0123456", &approve).await;
    assert_eq!(refused.status.code(), Some(1));
    let http = reqwest::Client::new();
    let url = format!("{}/api/v1/runs/{}/approve", world.daemon.url(), run.run);
    let body = json!({ "digest": run.digest });
    let send = |token: &str| http.post(&url).bearer_auth(token).json(&body).send();
    assert_eq!(send("token-of-nobody-0123456").await.unwrap().status(), 401);
    assert_eq!(http.post(&url).json(&body).send().await.unwrap().status(), 401);
    nothing_was_changed(&world).await;

    let approved = world.daemon.cli_as(BEN.1, &approve).await;
    assert!(approved.status.success(), "{approved:?}");
    world.verified().await;
    assert_eq!(world.tag().await, "v1");
    let run = world.daemon.run(&run.run).await;
    assert_eq!(run.approved_by.as_deref(), Some("ben"));
    world.told("action", "approved by ben").await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_denial_is_final() {
    let (world, run) = asked("denied", "5m").await;
    let deny = format!("deny {} --reason expected", run.run);
    world.daemon.cli_ok(&deny).await;
    let denied = world.daemon.await_run("it is denied", SOON, |run| !run.open).await;
    assert_eq!(denied.phase, "denied");
    world.told("note", "Denied by ann: expected").await;
    let approve = world.daemon.cli(&format!("approve {}", run.run)).await;
    assert_eq!(approve.status.code(), Some(3), "{approve:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.daemon.runs().await.len(), 1, "nobody is asked again");
    nothing_was_changed(&world).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_approval_that_nobody_gave_is_void() {
    let (world, run) = asked("expired", "1m").await;
    let expired = world.daemon.await_run("it expires", Duration::from_secs(70), |run| !run.open).await;
    assert_eq!(expired.phase, "expired");
    world.told("page", "[EXPIRED] Nobody approved the rollback").await;
    let approve = world.daemon.cli(&format!("approve {}", run.run)).await;
    assert_eq!(approve.status.code(), Some(3), "{approve:?}");
    nothing_was_changed(&world).await;
}
