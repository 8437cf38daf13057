//! What only the inside of the SQLite journal shows: its pragmas, a full disk, a full inbox, and its query plans.
use serde_json::json;
use tempfile::TempDir;

use super::super::outbox::{DEPTH, DUE, END_REPETITIONS, ENQUEUE, FORGET, SETTLE, WAITING_SINCE};
use super::super::{INBOX_MAX, sortable};
use super::*;
use crate::ports::NewRecord;

fn at() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn commit(run: &str, size: usize) -> Commit {
    let body = json!({ "filler": "x".repeat(size) });
    let event = NewRecord { stream: StreamId::run(run), kind: "opened".into(), body };
    Commit { at: at(), events: vec![event], ..Commit::default() }
}

fn item(key: usize) -> InboxItem {
    InboxItem { key: key.to_string(), kind: "alert".into(), body: json!({}), at: at() }
}

fn open() -> (SqliteJournal, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteJournal::open(dir.path()).unwrap(), dir)
}

#[tokio::test]
async fn every_commit_is_synced_to_the_disk() {
    let (journal, _dir) = open();
    let pragma = |name: &'static str| {
        journal.ask(move |store| {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            Ok(store.conn.pragma_query_value(None, name, read)?)
        })
    };
    const FULL: i64 = 2;
    assert_eq!(pragma("synchronous").await, Ok(FULL.into()));
    assert_eq!(pragma("journal_mode").await, Ok("wal".to_string().into()));
    assert_eq!(pragma("foreign_keys").await, Ok(1.into()));
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_nothing_else() {
    let (journal, _dir) = open();
    let epoch = journal.claim().await.unwrap();
    journal.commit(epoch, commit("a", 10)).await.unwrap();
    journal
        .ask(|store| {
            let pages: u32 = store.conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
            Ok(store.conn.pragma_update_and_check(None, "max_page_count", pages + 4, |_| Ok(()))?)
        })
        .await
        .unwrap();

    let failed = journal.commit(epoch, commit("b", 1 << 20)).await;
    let why = failed.unwrap_err().to_string();
    assert!(why.contains("free some space"), "{why}");
    journal.commit(epoch, commit("c", 10)).await.unwrap();

    assert_eq!(journal.read(&StreamId::run("b")).await, Ok(vec![]));
    assert_eq!(journal.read(&StreamId::run("c")).await.unwrap()[0].seq, 2);
    assert_eq!(journal.verify().await, Ok(2));
}

#[tokio::test]
async fn requests_of_one_transaction_fail_alone() {
    let (journal, _dir) = open();
    let epoch = journal.claim().await.unwrap();
    let good = (0..20).map(|i| journal.commit(epoch, commit(&format!("good-{i}"), 10)));
    let stale = (0..20).map(|i| journal.commit(epoch + 1, commit(&format!("stale-{i}"), 10)));
    let (good, stale) =
        futures::future::join(futures::future::join_all(good), futures::future::join_all(stale)).await;
    assert!(good.iter().all(Result::is_ok), "{good:?}");
    assert!(stale.iter().all(|r| matches!(r, Err(JournalError::Stale { .. }))), "{stale:?}");
    assert_eq!(journal.verify().await, Ok(20));
    assert_eq!(journal.streams("run:stale").await, Ok(vec![]));
}

#[tokio::test]
async fn a_full_inbox_refuses_until_some_is_folded() {
    let (journal, dir) = open();
    let fill = move |store: &mut Store| {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                   INSERT INTO inbox (key, kind, body, at) SELECT 'k' || i, 'alert', '{}', ?2 FROM n";
        store.conn.execute(sql, rusqlite::params![INBOX_MAX as u32, sortable(at())])?;
        Ok(())
    };
    journal.ask(fill).await.unwrap();
    drop(journal);

    let journal = SqliteJournal::open(dir.path()).unwrap();
    let refused = journal.receive(item(1)).await.unwrap_err();
    assert!(refused.to_string().contains("inbox is full"), "{refused}");
    let epoch = journal.claim().await.unwrap();
    let folded = vec![journal.inbox(1).await.unwrap()[0].id];
    journal.commit(epoch, Commit { at: at(), folded, ..Commit::default() }).await.unwrap();
    assert!(matches!(journal.receive(item(1)).await, Ok(Received::New(_))));
    assert!(journal.receive(item(2)).await.is_err());
}

#[tokio::test]
async fn what_is_asked_often_is_found_through_an_index() {
    let (journal, _dir) = open();
    let plan = |sql: &'static str| {
        journal.ask(move |store| {
            let mut explain = store.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let anything = rusqlite::params![1, 1].iter().take(explain.parameter_count());
            let steps =
                explain.query_map(rusqlite::params_from_iter(anything), |row| row.get::<_, String>(3))?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("\n"))
        })
    };
    let due = plan(DUE).await.unwrap();
    assert!(due.contains("SEARCH other USING INDEX outbox_open (channel=? AND incident=?)"), "{due}");
    let unfolded = plan("SELECT id FROM inbox WHERE folded_at IS NULL ORDER BY id LIMIT 1").await.unwrap();
    assert!(unfolded.contains("inbox_open"), "{unfolded}");
}

#[tokio::test]
async fn sqlite_numbers_the_shared_parameters_as_postgres_does() {
    let (journal, _dir) = open();
    let check = |store: &mut Store| {
        for sql in [DUE, ENQUEUE, SETTLE, END_REPETITIONS, DEPTH, FORGET, WAITING_SINCE] {
            let statement = store.conn.prepare(sql)?;
            for i in 1..=statement.parameter_count() {
                assert_eq!(statement.parameter_name(i), Some(format!("${i}").as_str()), "{sql}");
            }
        }
        Ok(())
    };
    journal.ask(check).await.unwrap();
}
