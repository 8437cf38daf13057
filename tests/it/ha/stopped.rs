//! The leader is stopped as a rolling update stops it: the other one leads within seconds.
use std::time::{Duration, Instant};

use serde_json::json;

use super::Pair;
use crate::kubernetes::world::SOON;

/// With the default times of the lease.
#[tokio::test]
#[ignore = "tests/run ha"]
async fn a_leader_that_is_stopped_gives_its_lease_back() {
    let mut pair = Pair::start("ha-stopped", json!({}), |_| {}).await;
    pair.place.deploy_quickly("v2-errors15").await;
    pair.first.await_run("it awaits the rollout", SOON, |run| run.step == Some(1)).await;
    let asked = Instant::now();
    pair.first.terminate().await;
    pair.second_leads(Duration::from_secs(5)).await;
    println!("the standby led {:?} after SIGTERM", asked.elapsed());
    pair.rolled_back_once(&pair.second).await;
    assert!(!pair.first.state_dir().join("journal.db").exists(), "it keeps a journal of its own");
    assert!(
        ![&pair.first, &pair.second].iter().any(|daemon| daemon.log().contains("sesame")),
        "a secret is logged"
    );
    let lease = pair.place.kubectl("get lease rollguard -o jsonpath={.spec.leaseTransitions}").await;
    // The first one's first life, its second one, and the second one.
    assert_eq!(lease, "2");
}
