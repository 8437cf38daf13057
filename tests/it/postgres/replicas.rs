//! Several replicas on one journal: one epoch at a time, one order for all, and each sees what the others wrote.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use rollguard::ports::{Journal, JournalError, Published, Received};
use serde_json::{Value, json};

use super::{numbers, one, open};
use crate::journal::{at, events, item};
use crate::support::postgres::Postgres;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run postgres"]
async fn replicas_that_start_together_set_up_one_journal() {
    let options = Postgres::shared().await.fresh();
    let replicas = join_all((0..5).map(|_| open(&options))).await;
    let epochs = join_all(replicas.iter().map(|replica| replica.claim())).await;
    let mut epochs: Vec<u64> = epochs.into_iter().map(Result::unwrap).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=5).collect::<Vec<_>>());
    assert_eq!(replicas[3].epoch().await, Ok(5));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn each_replica_goes_on_from_what_the_other_wrote() {
    let options = Postgres::shared().await.fresh();
    let (first, second) = (open(&options).await, open(&options).await);
    let epoch = first.claim().await.unwrap();
    first.commit(epoch, one("r", 1)).await.unwrap();
    first.publish(epoch, Published { at: at(3), picture: json!({"who": "first"}) }).await.unwrap();
    assert_eq!(second.published().await.unwrap().unwrap().picture["who"], "first");
    assert_eq!(second.receive(item("alert")).await, Ok(Received::New(1)));
    assert_eq!(first.receive(item("alert")).await, Ok(Received::Duplicate));
    assert_eq!(first.inbox(9).await.unwrap().len(), 1);

    let next = second.claim().await.unwrap();
    second.commit(next, one("r", 2)).await.unwrap();
    let stale = JournalError::Stale { ours: epoch, current: next };
    assert_eq!(first.commit(epoch, one("r", 3)).await, Err(stale));
    let again = first.claim().await.unwrap();
    first.commit(again, one("r", 4)).await.unwrap();
    assert_eq!(numbers(&second, "r").await, [1, 2, 4]);
    assert_eq!((first.head().await, first.verify().await), (second.head().await, Ok(3)));
}

/// Each claims, writes until it is told that it has lost, and claims again.
async fn contend(journal: &dyn Journal, run: &str, rounds: usize) -> Vec<Value> {
    let mut durable = Vec::new();
    for round in 0..rounds {
        let epoch = journal.claim().await.unwrap();
        for n in 0..40 {
            let written =
                join_all((0..3).map(|i| journal.commit(epoch, one(run, round * 1000 + n * 10 + i)))).await;
            let mut lost = false;
            for (i, answer) in written.into_iter().enumerate() {
                match answer {
                    Ok(()) => durable.push(json!(round * 1000 + n * 10 + i)),
                    Err(JournalError::Stale { .. }) => lost = true,
                    Err(error) => panic!("{error}"),
                }
            }
            if lost {
                break;
            }
        }
    }
    durable
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run postgres"]
async fn epochs_never_mix_however_replicas_contend() {
    let server = Postgres::shared().await;
    let options = server.fresh();
    let replicas = [open(&options).await, open(&options).await, open(&options).await];
    let runs = ["a", "b", "c"];
    let contending = replicas.iter().zip(runs).map(|(replica, run)| contend(replica, run, 15));
    let durable = join_all(contending).await;

    assert!(durable.iter().all(|written| !written.is_empty()), "each has written: {durable:?}");
    for (run, durable) in runs.into_iter().zip(&durable) {
        assert_eq!(
            &numbers(&replicas[0], run).await,
            durable,
            "what was answered is there, and nothing else"
        );
    }
    let all: usize = durable.iter().map(Vec::len).sum();
    assert_eq!(replicas[1].verify().await, Ok(all as u64));
    let client = server.client().await;
    let sql = format!("SELECT epoch FROM {}.records ORDER BY seq", options.schema);
    let epochs: Vec<i64> = client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    let changes = epochs.chunk_by(|a, b| a == b).count();
    assert!(changes > 10, "they took turns: {changes}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run postgres"]
async fn no_inbox_row_appears_below_one_that_was_seen() {
    const EACH: usize = 400;
    let options = Postgres::shared().await.fresh();
    let (first, second, leader) = (open(&options).await, open(&options).await, open(&options).await);
    let (first, second) = (Arc::new(first), Arc::new(second));
    let over = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let over = over.clone();
        async move {
            let mut seen: Vec<i64> = Vec::new();
            loop {
                let last_look = over.load(Ordering::SeqCst);
                let rows = leader.inbox(usize::MAX).await.unwrap();
                let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
                assert_eq!(ids[..seen.len()], seen, "rows came in between");
                seen = ids;
                if last_look {
                    return seen.len();
                }
            }
        }
    });
    let receive = |i: usize| {
        let to = if i.is_multiple_of(2) { first.clone() } else { second.clone() };
        async move { to.receive(item(&format!("alert-{i}"))).await.unwrap() }
    };
    for batch in 0..20 {
        join_all((0..2 * EACH / 20).map(|i| receive(batch * 2 * EACH / 20 + i))).await;
    }
    over.store(true, Ordering::SeqCst);
    assert_eq!(reading.await.unwrap(), 2 * EACH);
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn requests_of_one_transaction_fail_alone() {
    let journal = open(&Postgres::shared().await.fresh()).await;
    let epoch = journal.claim().await.unwrap();
    // Postgres' text cannot hold this key.
    let alerts = ["a", "b\0", "c"].map(|key| journal.receive(item(key)));
    let commits = [0, 1, 2].map(|n| journal.commit(epoch + n % 2, one("r", n)));
    let (alerts, commits) = futures::join!(join_all(alerts), join_all(commits));
    assert_eq!(alerts[0], Ok(Received::New(1)));
    assert!(matches!(alerts[1], Err(JournalError::Unavailable { .. })), "{alerts:?}");
    assert_eq!(alerts[2], Ok(Received::New(2)));
    assert!(matches!(commits[1], Err(JournalError::Stale { .. })), "{commits:?}");
    assert_eq!(numbers(&journal, "r").await, [0, 2]);
    assert_eq!(journal.verify().await, Ok(2));
    journal.commit(epoch, events(vec![])).await.unwrap();
}
