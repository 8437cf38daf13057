//! What the journal's file survives, and what it refuses to start from.
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::event::StreamId;
use rollguard::domain::message::MessageKind::Page;
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::ports::{Commit, Delivery, Journal, JournalError, MinuteRow, Received};
use rusqlite::Connection;
use serde_json::json;

use super::{at, event, events, item, message};

fn refused(dir: &Path) -> JournalError {
    SqliteJournal::open(dir).err().expect("the journal must not open")
}

fn is_damaged(error: &JournalError) -> bool {
    matches!(error, JournalError::Damaged { .. })
}

/// A closed journal with so many records of 1 KiB.
async fn journal_of(records: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let epoch = journal.claim().await.unwrap();
    let one = |i| event(&format!("r{}", i % 10), json!({"n": i, "filler": "x".repeat(1000)}));
    journal.commit(epoch, events((0..records).map(one).collect())).await.unwrap();
    dir
}

fn edit(dir: &Path, sql: &str) {
    Connection::open(dir.join("journal.db")).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let epoch = journal.claim().await.unwrap();
    journal.receive(item("a")).await.unwrap();
    let commit = Commit {
        messages: vec![message("am", "i", "page", Page), message("slack", "i", "page", Page)],
        ..events(vec![event("r", json!({"n": 1}))])
    };
    journal.commit(epoch, commit).await.unwrap();
    let rows = journal.outbox(at(0), 9).await.unwrap();
    journal.settle(epoch, rows[0].id, at(0), Delivery::Repeat { at: at(60) }).await.unwrap();
    let records = journal.read(&StreamId::run("r")).await.unwrap();
    drop(journal);

    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(journal.read(&StreamId::run("r")).await, Ok(records));
    assert_eq!(journal.inbox(9).await.unwrap().len(), 1);
    assert_eq!(journal.receive(item("a")).await, Ok(Received::Duplicate));
    assert_eq!(journal.outbox(at(0), 9).await.unwrap(), rows[1..]);
    assert_eq!(journal.outbox(at(60), 9).await.unwrap(), rows);
    assert_eq!(journal.claim().await, Ok(epoch + 1));
    journal.commit(epoch + 1, events(vec![event("r", json!({}))])).await.unwrap();
    assert_eq!(journal.verify().await, Ok(2));
}

#[tokio::test]
async fn only_its_user_can_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let journal = SqliteJournal::open(&dir).unwrap();
    journal.claim().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn two_processes_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = SqliteJournal::open(dir.path()).unwrap();
    let error = refused(dir.path()).to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    SqliteJournal::open(dir.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(dir.path()).unwrap());
    const ALERTS: usize = 3000;
    let receive = |i: usize| {
        let journal = Arc::clone(&journal);
        // Every key comes twice, at about the same time.
        tokio::spawn(async move { journal.receive(item(&format!("alert-{}", i / 2))).await.unwrap() })
    };
    let answers = futures::future::join_all((0..2 * ALERTS).map(receive)).await;
    let new = answers.into_iter().filter(|a| matches!(a, Ok(Received::New(_)))).count();
    assert_eq!(new, ALERTS);
    drop(journal);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(journal.inbox(usize::MAX).await.unwrap().len(), ALERTS);
}

const KILLED_DIR: &str = "ROLLGUARD_TEST_KILLED_DIR";

/// Runs itself once more as another process, which writes until it is killed.
#[tokio::test]
async fn all_that_was_answered_survives_a_kill() {
    if let Some(dir) = std::env::var_os(KILLED_DIR) {
        return write_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::sqlite::all_that_was_answered_survives_a_kill", "--nocapture"])
        .env(KILLED_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let answered = |line: String| line.strip_prefix("answered ").map(|n| n.parse::<usize>().unwrap());
    let last = lines.filter_map(answered).nth(300);
    child.kill().unwrap();
    child.wait().unwrap();

    let journal = SqliteJournal::open(dir.path()).unwrap();
    let records = journal.verify().await.unwrap();
    assert!(records > last.expect("300 answers") as u64);
    // Each commit has one event and one message: both came, or neither.
    assert_eq!(journal.outbox_depth().await.unwrap() as u64, records);
}

async fn write_until_killed(dir: &Path) {
    let journal = SqliteJournal::open(dir).unwrap();
    let epoch = journal.claim().await.unwrap();
    for n in 0.. {
        let messages = vec![message("slack", "i", &format!("note-{n}"), Page)];
        let commit = Commit { messages, ..events(vec![event("r", json!(n))]) };
        journal.commit(epoch, commit).await.unwrap();
        println!("answered {n}");
    }
}

#[tokio::test]
async fn what_is_no_journal_is_not_started_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    fs::write(&path, "").unwrap();
    assert!(is_damaged(&refused(dir.path())));
    fs::write(&path, "these are my notes, not a database".repeat(100)).unwrap();
    assert!(is_damaged(&refused(dir.path())));
    fs::remove_file(&path).unwrap();
    edit(dir.path(), "CREATE TABLE recipes (name TEXT)");
    assert!(is_damaged(&refused(dir.path())));
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("journal.db-wal"), "x").unwrap();
    assert!(is_damaged(&refused(dir.path())));
    fs::remove_file(dir.path().join("journal.db-wal")).unwrap();
    SqliteJournal::open(dir.path()).unwrap();
}

#[tokio::test]
async fn overwritten_pages_are_noticed() {
    let dir = journal_of(200).await;
    let path = dir.path().join("journal.db");
    let size = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in 10..20 {
        file.write_all_at(&[0xa5; 4096], 4096 * page).unwrap();
    }
    let error = refused(dir.path());
    assert!(is_damaged(&error), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
}

#[tokio::test]
async fn an_altered_record_is_noticed() {
    let dir = journal_of(20).await;
    edit(dir.path(), "UPDATE records SET body = '{}' WHERE seq = 7");
    assert!(matches!(refused(dir.path()), JournalError::Damaged { seq: 8, .. }));

    let dir = journal_of(20).await;
    edit(dir.path(), "DELETE FROM records WHERE seq = 7");
    assert!(matches!(refused(dir.path()), JournalError::Damaged { seq: 8, .. }));
}

#[tokio::test]
async fn an_old_altered_record_is_noticed_by_verifying_all() {
    let dir = journal_of(2500).await;
    assert_eq!(SqliteJournal::open(dir.path()).unwrap().verify().await, Ok(2500));
    edit(dir.path(), "UPDATE records SET body = 'no json' WHERE seq = 1007");
    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert!(matches!(journal.verify().await, Err(JournalError::Damaged { seq: 1008, .. })));
    let stream = journal.read(&StreamId::run("r6")).await;
    assert!(matches!(stream, Err(JournalError::Damaged { seq: 1007, .. })), "{stream:?}");
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_to_it() {
    let dir = journal_of(1).await;
    edit(dir.path(), "PRAGMA user_version = 4");
    assert_eq!(refused(dir.path()), JournalError::Newer { found: 4, known: 3 });
    edit(dir.path(), "PRAGMA user_version = 3; UPDATE records SET v = 9");
    assert_eq!(refused(dir.path()), JournalError::Newer { found: 9, known: 1 });
}

#[tokio::test]
async fn what_an_older_version_wrote_is_taken_over() {
    let dir = journal_of(3).await;
    let as_of_version_1 = "ALTER TABLE minutes DROP COLUMN times; DROP TABLE published;
        INSERT INTO minutes VALUES ('shop/web', 'errors', '2026-11-22T10:01:00.000000000Z', 2, 30);
        PRAGMA user_version = 1";
    edit(dir.path(), as_of_version_1);
    for _ in 0..2 {
        let journal = SqliteJournal::open(dir.path()).unwrap();
        assert_eq!(journal.verify().await, Ok(3));
        let target = TargetId {
            service: ServiceName::parse("shop").unwrap(),
            target: TargetName::parse("web").unwrap(),
        };
        let rows = journal.minutes(&target, at(0)).await.unwrap();
        let counts = Counts { bad: 2.0, total: 30.0 };
        let rule = RuleName::parse("errors").unwrap();
        assert_eq!(rows, [MinuteRow { rule, minute: at(60), counts, times: None }]);
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    fs::create_dir(&path).unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, JournalError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refused(file.path());
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn an_unreadable_message_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let epoch = journal.claim().await.unwrap();
    let both = vec![message("slack", "i", "first", Page), message("slack", "i", "second", Page)];
    journal.commit(epoch, super::messages(both)).await.unwrap();
    drop(journal);
    edit(dir.path(), r#"UPDATE outbox SET body = '{"kind":"telepathy"}' WHERE key = 'i/first'"#);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(journal.outbox(at(0), 9).await, Ok(vec![]));
    assert_eq!(journal.outbox(at(0), 9).await.unwrap()[0].message.key, "i/second");
}
