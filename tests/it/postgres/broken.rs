//! Postgres stops, the network is cut, answers are lost: calls are answered in time, and nothing is written twice.
use std::time::Instant;

use rollguard::adapters::journal::{PostgresJournal, PostgresOptions};
use rollguard::ports::{Journal, JournalError};
use tokio::join;

use super::{ANSWERED, commit_at_last, numbers, one, open};
use crate::journal::item;
use crate::support::postgres::Postgres;
use crate::support::wire::{Loss, Wire};

fn is_unavailable<T>(result: &Result<T, JournalError>) -> bool {
    matches!(result, Err(JournalError::Unavailable { .. }))
}

/// A journal behind a wire, another one that is not, and where they are.
async fn behind(server: &Postgres) -> (Wire, PostgresJournal, PostgresJournal) {
    let wire = Wire::to(server.port()).await;
    let direct = server.fresh();
    let through = PostgresOptions { url: server.url_through(wire.port()).into(), ..direct.clone() };
    (wire, open(&through).await, open(&direct).await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run postgres"]
async fn restarts_of_postgres_lose_and_double_nothing() {
    let mut server = Postgres::start(&[]).await;
    let journal = open(&server.fresh()).await;
    let epoch = journal.claim().await.unwrap();
    let writing = async {
        let mut failed = 0;
        for n in 0..400 {
            failed += commit_at_last(&journal, epoch, &one("r", n)).await;
        }
        failed
    };
    let restarting = async {
        for signal in ["INT", "QUIT"] {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            server.stop(signal).await;
            let began = Instant::now();
            assert!(is_unavailable(&journal.receive(item("while it is down")).await));
            assert!(began.elapsed() < ANSWERED);
            server.restart().await;
        }
    };
    let (failed, ()) = join!(writing, restarting);
    assert!(failed > 0, "it was down while something was written");
    let all: Vec<serde_json::Value> = (0..400).map(Into::into).collect();
    assert_eq!(numbers(&journal, "r").await, all);
    assert_eq!(journal.verify().await, Ok(400));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_commit_whose_answer_is_lost_is_not_written_twice() {
    let (wire, journal, direct) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    let (a, b) = (one("r", "a"), one("r", "b"));
    wire.lose(Loss::CommitAnswer);
    let (first, second) = join!(journal.commit(epoch, a.clone()), journal.commit(epoch, b.clone()));
    assert!(is_unavailable(&first) || is_unavailable(&second), "{first:?} {second:?}");
    assert!(wire.has_lost());
    for (commit, answer) in [(&a, first), (&b, second)] {
        if answer.is_err() {
            journal.commit(epoch, commit.clone()).await.unwrap();
        }
    }
    assert_eq!(numbers(&direct, "r").await, ["a", "b"]);
    // The same once more is meant.
    journal.commit(epoch, a).await.unwrap();
    assert_eq!(numbers(&direct, "r").await, ["a", "b", "a"]);
    assert_eq!(direct.verify().await, Ok(3));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_lost_answer_makes_no_refused_commit_a_written_one() {
    let (wire, journal, direct) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    // Postgres' text cannot hold this name, so that this one fails alone in their transaction.
    let (good, bad) = (one("r", 1), one("r\0", 2));
    wire.lose(Loss::CommitAnswer);
    let (first, second) = join!(journal.commit(epoch, good.clone()), journal.commit(epoch, bad.clone()));
    assert!(is_unavailable(&first) && is_unavailable(&second), "{first:?} {second:?}");
    assert!(is_unavailable(&journal.commit(epoch, bad).await));
    journal.commit(epoch, good).await.unwrap();
    assert_eq!(numbers(&direct, "r").await, [1]);
    assert_eq!(direct.verify().await, Ok(1));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_commit_that_never_arrived_is_written_by_its_repetition() {
    let (wire, journal, direct) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    wire.lose(Loss::Commit);
    assert!(is_unavailable(&journal.commit(epoch, one("r", 1)).await));
    assert!(wire.has_lost());
    // Postgres still has the transaction open, and ends it before it holds up anybody for long.
    let began = Instant::now();
    commit_at_last(&journal, epoch, &one("r", 1)).await;
    assert!(began.elapsed() < ANSWERED);
    assert_eq!(numbers(&direct, "r").await, [1]);
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_replica_that_stopped_inside_a_transaction_holds_up_no_other() {
    let (wire, journal, direct) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    wire.lose(Loss::Commit);
    assert!(is_unavailable(&journal.commit(epoch, one("r", 1)).await));
    let began = Instant::now();
    let next = direct.claim().await.unwrap();
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    let stale = JournalError::Stale { ours: epoch, current: next };
    assert_eq!(journal.commit(epoch, one("r", 1)).await, Err(stale));
    assert_eq!(direct.head().await.unwrap().seq, 0);
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_commit_whose_answer_is_lost_gives_no_right_to_act_after_a_takeover() {
    let (wire, journal, direct) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    wire.lose(Loss::CommitAnswer);
    assert!(is_unavailable(&journal.commit(epoch, one("r", 1)).await));
    let next = direct.claim().await.unwrap();
    let stale = JournalError::Stale { ours: epoch, current: next };
    assert_eq!(journal.commit(epoch, one("r", 1)).await, Err(stale));
    assert_eq!(numbers(&direct, "r").await, [1]);
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_cut_network_is_noticed_in_time_and_found_again() {
    let (wire, journal, _) = behind(Postgres::shared().await).await;
    let epoch = journal.claim().await.unwrap();
    wire.lose(Loss::Everything);
    for _ in 0..2 {
        let began = Instant::now();
        let (commit, receive, inbox) =
            join!(journal.commit(epoch, one("r", 1)), journal.receive(item("a")), journal.inbox(9));
        assert!(is_unavailable(&commit) && is_unavailable(&receive) && is_unavailable(&inbox));
        assert!(began.elapsed() < ANSWERED, "{:?}", began.elapsed());
        assert!(commit.unwrap_err().to_string().contains("did not answer within"));
    }
    wire.lose(Loss::Nothing);
    commit_at_last(&journal, epoch, &one("r", 1)).await;
    assert_eq!(numbers(&journal, "r").await, [1]);
    assert_eq!(journal.verify().await, Ok(1));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn what_postgres_replicas_have_not_confirmed_is_not_called_durable() {
    let server = Postgres::start(&[]).await;
    let journal = open(&server.fresh()).await;
    let epoch = journal.claim().await.unwrap();
    let admin = server.client().await;
    let wait_for = async |name: &str| {
        admin.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    };
    wait_for("a_replica_that_is_down").await;
    let began = Instant::now();
    assert!(is_unavailable(&journal.commit(epoch, one("r", 1)).await));
    assert!(began.elapsed() < ANSWERED, "{:?}", began.elapsed());
    wait_for("").await;
    commit_at_last(&journal, epoch, &one("r", 1)).await;
    assert_eq!(numbers(&journal, "r").await, [1]);
}
