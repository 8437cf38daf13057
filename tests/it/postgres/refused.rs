//! What the journal refuses to start from, and how it says so.
use rollguard::adapters::journal::{PostgresOptions, TlsMode};
use rollguard::ports::{Journal, JournalError};

use super::{one, open, refusal};
use crate::support::postgres::Postgres;
use crate::support::process::free_port;

async fn journal_of(records: usize) -> (&'static Postgres, PostgresOptions) {
    let server = Postgres::shared().await;
    let options = server.fresh();
    let journal = open(&options).await;
    let epoch = journal.claim().await.unwrap();
    for n in 0..records {
        journal.commit(epoch, one("r", n)).await.unwrap();
    }
    (server, options)
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn what_a_newer_version_wrote_is_left_to_it() {
    let (server, options) = journal_of(1).await;
    let running = open(&options).await;
    let epoch = running.claim().await.unwrap();
    server.edit(&options, "UPDATE meta SET version = 2").await;
    let newer = JournalError::Newer { found: 2, known: 1 };
    assert_eq!(refusal(&options).await, newer);
    assert_eq!(running.commit(epoch, one("r", 2)).await, Err(newer), "one that runs stops writing");
    server.edit(&options, "UPDATE meta SET version = 1; UPDATE records SET v = 9").await;
    assert_eq!(refusal(&options).await, JournalError::Newer { found: 9, known: 1 });
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn what_is_damaged_is_not_started_from() {
    for (damage, at) in [
        ("UPDATE records SET body = '{}' WHERE seq = 3", 4),
        ("DELETE FROM records WHERE seq = 3", 4),
        ("DELETE FROM records WHERE seq > 3", 3),
        ("UPDATE records SET body = '{}' WHERE seq = 5", 5),
        ("DELETE FROM meta", 0),
        ("DROP TABLE meta", 0),
        ("ALTER TABLE meta DROP COLUMN hash", 0),
    ] {
        let (server, options) = journal_of(5).await;
        server.edit(&options, damage).await;
        let error = refusal(&options).await;
        assert!(matches!(error, JournalError::Damaged { seq, .. } if seq == at), "{damage}: {error:?}");
    }
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn an_altered_record_is_noticed_by_verifying_all() {
    let (server, options) = journal_of(5).await;
    let journal = open(&options).await;
    server.edit(&options, "UPDATE records SET body = '{}' WHERE seq = 2").await;
    assert!(matches!(journal.verify().await, Err(JournalError::Damaged { seq: 3, .. })));
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn what_cannot_be_reached_is_named_with_what_to_do() {
    let server = Postgres::shared().await;
    let said = async |url: String| {
        let options = PostgresOptions { url: url.into(), ..server.fresh() };
        let said = refusal(&options).await.to_string();
        assert!(!said.contains("sesame"), "{said}");
        said
    };
    let url = server.url();
    let wrong = said(url.replace("open", "shut")).await;
    assert!(wrong.contains("password authentication failed") && wrong.contains("check the user"), "{wrong}");
    let nobody = said(server.url_through(free_port())).await;
    assert!(nobody.contains("Connection refused") && nobody.contains("check that Postgres runs"), "{nobody}");
    let elsewhere = said(url.replace("/postgres", "/shop")).await;
    assert!(
        elsewhere.contains("\"shop\" does not exist") && elsewhere.contains("CREATE DATABASE"),
        "{elsewhere}"
    );
    let unknown = said(format!("{url}?sslmode=verify-full&sslrootcert=/sesame")).await;
    assert!(unknown.contains("cannot be read: write postgres://"), "{unknown}");
    let plain = PostgresOptions { tls: TlsMode::Require, ..server.fresh() };
    let plain = refusal(&plain).await.to_string();
    assert!(plain.contains("does not support TLS"), "{plain}");
    let missing = TlsMode::VerifyFull { ca_file: "/nowhere/ca.pem".into() };
    let missing = refusal(&PostgresOptions { tls: missing, ..server.fresh() }).await.to_string();
    assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn a_user_needs_no_more_than_its_own_schema() {
    let server = Postgres::shared().await;
    let admin = server.client().await;
    admin.batch_execute("CREATE ROLE guard LOGIN PASSWORD 'little'").await.unwrap();
    let url = server.url().replace("rollguard:open%2Fsesame", "guard:little");
    let options = PostgresOptions { url: url.into(), ..server.fresh() };
    let refused = refusal(&options).await.to_string();
    assert!(refused.contains("permission denied") && refused.contains("CREATE SCHEMA"), "{refused}");

    admin.batch_execute(&format!("CREATE SCHEMA {} AUTHORIZATION guard", options.schema)).await.unwrap();
    let journal = open(&options).await;
    let epoch = journal.claim().await.unwrap();
    journal.commit(epoch, one("r", 1)).await.unwrap();
    assert_eq!(journal.verify().await, Ok(1));
}
