//! The audit of a journal in Postgres: read beside who writes it, and a record that was edited or deleted is named.
use rollguard::adapters::journal::audit::{AuditTrail, PAGE, verify};
use rollguard::adapters::journal::{PostgresAudit, PostgresOptions};
use rollguard::domain::head::HeadMark;
use rollguard::ports::{Head, Journal, JournalError};

use super::{one, open};
use crate::support::postgres::Postgres;

async fn broken_at(options: &PostgresOptions, kept: Option<&HeadMark>) -> u64 {
    let mut audit = PostgresAudit::open(options).await.unwrap();
    verify(&mut audit, kept).await.unwrap().unwrap_err().seq
}

async fn written(options: &PostgresOptions) -> Head {
    let journal = open(options).await;
    let epoch = journal.claim().await.unwrap();
    for n in 0..9 {
        journal.commit(epoch, one("r", n)).await.unwrap();
    }
    let mut audit = PostgresAudit::open(options).await.unwrap();
    let head = journal.head().await.unwrap();
    assert_eq!(verify(&mut audit, None).await, Ok(Ok(head.clone())));
    // It goes on while somebody audits.
    journal.commit(epoch, one("r", 9)).await.unwrap();
    assert_eq!(verify(&mut audit, None).await, Ok(Ok(journal.head().await.unwrap())));
    assert_eq!(audit.after(7, PAGE).await.unwrap().len(), 3);
    head
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn what_was_edited_or_cut_off_in_postgres_is_named() {
    let server = Postgres::shared().await;
    let options = server.fresh();
    let head = written(&options).await;
    let kept: HeadMark = format!("{}:{}", head.seq, head.hash).parse().unwrap();
    server.edit(&options, "UPDATE records SET body = '7777' WHERE seq = 4").await;
    assert_eq!(broken_at(&options, None).await, 4);

    let options = server.fresh();
    written(&options).await;
    server.edit(&options, "DELETE FROM records WHERE seq = 5").await;
    assert_eq!(broken_at(&options, None).await, 5);
    server.edit(&options, "DELETE FROM records WHERE seq >= 5").await;
    assert!(verify(&mut PostgresAudit::open(&options).await.unwrap(), None).await.unwrap().is_ok());
    assert_eq!(broken_at(&options, Some(&kept)).await, 5, "nobody could tell without the head");
}

#[tokio::test]
#[ignore = "tests/run postgres"]
async fn an_audit_makes_no_journal() {
    let server = Postgres::shared().await;
    for _ in 0..2 {
        let opened = PostgresAudit::open(&server.fresh()).await;
        assert!(
            matches!(opened.map(|_| ()), Err(JournalError::Unavailable { why }) if why.contains("no journal"))
        );
    }
}
