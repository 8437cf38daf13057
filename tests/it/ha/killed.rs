//! The leader is killed in the middle of a rollback: the other one finishes it.
use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use super::{Pair, WEB};
use crate::kubernetes::world::SOON;
use crate::support::faulty::Fault;
use crate::support::until;

/// With the default times of the lease.
#[tokio::test]
#[ignore = "tests/run ha"]
async fn a_leader_that_is_killed_right_after_its_change_is_followed_within_20_seconds() {
    let mut pair = Pair::start("ha-killed", json!({}), |_| {}).await;
    pair.outside[0].kubernetes.plan(Fault::LoseAnswer, 1, Method::PATCH, WEB);
    pair.place.deploy("v2-errors15").await;
    let changed = async || (pair.outside[0].kubernetes.still_planned() == 0).then_some(());
    until("the change arrives", SOON, changed).await;
    pair.first.kill();
    let took = pair.second_leads(Duration::from_secs(20)).await;
    println!("the standby led {took:?} after the leader was killed");
    let run = pair.rolled_back_once(&pair.second).await;
    pair.watched_to_the_end(&pair.second, &run.run).await;
    // The one that was killed comes back, and stands by.
    pair.first.restart().await;
    assert!(pair.first.cli_ok("status").await.contains("which stands by"));
}
