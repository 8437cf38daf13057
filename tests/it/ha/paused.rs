//! The leader is paused for longer than its lease, as by a machine that swaps, and goes on in the middle of a step.
use std::time::Duration;

use axum::http::Method;

use super::{Pair, WEB, quick};
use crate::kubernetes::world::SOON;
use crate::support::faulty::Fault;
use crate::support::until;

#[tokio::test]
#[ignore = "tests/run ha"]
async fn a_leader_that_was_paused_past_its_lease_changes_nothing_any_more() {
    let mut pair = Pair::start("ha-paused", quick(), |_| {}).await;
    pair.outside[0].kubernetes.plan(Fault::Refuse(503), 100, Method::PATCH, WEB);
    pair.place.deploy("v2-errors15").await;
    let tried = async || (pair.outside[0].kubernetes.still_planned() < 100).then_some(());
    until("it has tried in vain", SOON, tried).await;
    pair.first.signal("STOP");
    let before = pair.outside[0].kubernetes.still_planned();
    pair.second_leads(Duration::from_secs(10)).await;
    let run = pair.rolled_back_once(&pair.second).await;

    pair.first.signal("CONT");
    assert_eq!(pair.first.ended(Duration::from_secs(15)).await, Some(1));
    let log = pair.first.log();
    assert!(log.contains("this replica") && log.contains("and stops: its next start stands by"), "{log}");
    let sent = before - pair.outside[0].kubernetes.still_planned();
    assert_eq!((sent, pair.place.generation().await), (0, 3), "it went on");
    pair.watched_to_the_end(&pair.second, &run.run).await;
}
