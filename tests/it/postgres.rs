//! The journal in a real Postgres: the contract of every journal, several replicas, and what networks and restarts do.
use crate::journal::contract::{self, promises};
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
