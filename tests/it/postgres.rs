//! The journal in a real Postgres: the contract of every journal, several replicas, and what networks and restarts do.
mod audit;
mod broken;
mod refused;
mod replicas;
mod tls;

use std::time::Duration;

use rollguard::adapters::journal::{PostgresJournal, PostgresOptions};
use rollguard::domain::event::StreamId;
use rollguard::ports::{Commit, Journal, JournalError};
use serde_json::{Value, json};

use crate::journal::contract::{self, promises};
use crate::journal::{event, events};
use crate::support::postgres::{Postgres, open};

macro_rules! in_postgres {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test]
        #[ignore = "tests/run postgres"]
        async fn $promise() {
            let journal = open(&Postgres::shared().await.fresh()).await;
            contract::$promise(&journal).await;
            journal.verify().await.unwrap();
        }
    )*};
}

promises!(in_postgres);

/// Within this, a call must be answered whatever happens to Postgres.
const ANSWERED: Duration = Duration::from_secs(10);

fn one(run: &str, n: impl Into<Value>) -> Commit {
    events(vec![event(run, json!({ "n": n.into() }))])
}

/// The numbers of the events in a run's stream.
async fn numbers(journal: &dyn Journal, run: &str) -> Vec<Value> {
    let records = journal.read(&StreamId::run(run)).await.unwrap();
    records.into_iter().map(|record| record.body["n"].clone()).collect()
}

/// As the ledger does: again until the journal can be written. Answers how often it could not.
async fn commit_at_last(journal: &dyn Journal, epoch: u64, commit: &Commit) -> usize {
    for failed in 0..600 {
        match journal.commit(epoch, commit.clone()).await {
            Ok(()) => return failed,
            Err(JournalError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the journal did not become writable again");
}

async fn refusal(options: &PostgresOptions) -> JournalError {
    PostgresJournal::open(options).await.err().expect("the journal must not open")
}
