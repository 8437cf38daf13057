//! A query whose answer tells whether the data is as it should be; it cannot change anything.
use std::time::Duration;

use crate::adapters::postgres::{Access, CONNECT_MAX, first_value, told};
use crate::domain::plan::database::SchemaQuery;

const ANSWER_MAX: Duration = Duration::from_secs(6);
const SESSION: &str =
    "SET statement_timeout = '5s'; SET lock_timeout = '2s'; SET default_transaction_read_only = on;";

pub(super) async fn ask(access: &Access, query: &SchemaQuery) -> Result<String, String> {
    let asking = async {
        let client = access.log_in().await?;
        client.batch_execute(SESSION).await?;
        client.simple_query(&query.sql).await
    };
    match tokio::time::timeout(CONNECT_MAX + ANSWER_MAX, asking).await {
        Ok(Ok(messages)) => query.judge(first_value(&messages)),
        Ok(Err(error)) => Err(told(&error)),
        Err(_) => Err(format!("no answer within {} s", (CONNECT_MAX + ANSWER_MAX).as_secs())),
    }
}
