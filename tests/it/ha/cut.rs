//! The network to Postgres is cut while the API server can be reached: nothing is done without the journal.
use std::time::Duration;

use axum::http::Method;

use super::{Pair, WEB, leads, quick};
use crate::kubernetes::world::SOON;
use crate::support::faulty::Fault;
use crate::support::until;
use crate::support::wire::Loss;

#[tokio::test]
#[ignore = "tests/run ha"]
async fn a_leader_that_cannot_write_the_journal_changes_nothing_and_makes_room() {
    let mut pair = Pair::start("ha-cut", quick(), |_| {}).await;
    // If it sent one, it would be missing from what is planned.
    pair.outside[0].kubernetes.plan(Fault::Refuse(503), 1, Method::PATCH, WEB);
    pair.place.deploy("v2-errors15").await;
    pair.first.await_watch("v2-errors15").await;
    pair.outside[0].postgres.lose(Loss::Everything);
    assert_eq!(pair.first.ended(Duration::from_secs(30)).await, Some(1));
    let log = pair.first.log();
    assert!(log.contains("the journal could not be written for 4 s"), "{log}");
    pair.second_leads(Duration::from_secs(10)).await;
    pair.rolled_back_once(&pair.second).await;
    assert_eq!(pair.outside[0].kubernetes.still_planned(), 1, "it acted without a journal");

    // It cannot be a standby without the journal either, and is one as soon as it is there again.
    pair.outside[0].postgres.lose(Loss::Nothing);
    pair.first.restart().await;
    assert!(leads(&pair.second).await && !leads(&pair.first).await);
}

#[tokio::test]
#[ignore = "tests/run ha"]
async fn a_standby_that_cannot_reach_the_journal_is_not_ready_and_does_not_stand() {
    let mut pair = Pair::start("ha-cut-standby", quick(), |_| {}).await;
    let ready = async |url: &str| {
        let answer = reqwest::get(format!("{url}/readyz?verbose")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let url = pair.second.url().to_owned();
    let (status, told) = ready(&url).await;
    assert!(status == 200 && told.contains("[+]leadership ok (standby, "), "{told}");
    pair.outside[1].postgres.lose(Loss::Everything);
    let down = async || Some(ready(&url).await).filter(|(status, _)| *status == 503);
    let (_, told) = until("it is not ready", SOON, down).await;
    assert!(told.contains("[-]journal failed: "), "{told}");

    pair.first.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(!leads(&pair.second).await, "it leads without a journal");
    pair.outside[1].postgres.lose(Loss::Nothing);
    pair.second_leads(SOON).await;
}
