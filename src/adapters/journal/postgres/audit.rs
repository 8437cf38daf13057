//! The Postgres journal for whoever does not trust it: a connection of its own that writes nothing.
use async_trait::async_trait;

use super::super::audit::AuditTrail;
use super::super::chain::Line;
use super::connection::{PostgresOptions, Server, Session};
use super::{records, schema};
use crate::ports::JournalError;

/// One schema of a database, whether replicas write it or not.
pub struct PostgresAudit {
    session: Session,
}

impl PostgresAudit {
    /// # Errors
    /// When the database cannot be used, has no journal, or one of a newer version.
    pub async fn open(options: &PostgresOptions) -> Result<Self, JournalError> {
        let mut session = Server::new(options)?.connect().await?;
        session.run("SET default_transaction_read_only = on").await?;
        schema::check(&mut session, &options.schema).await?;
        Ok(Self { session })
    }
}

#[async_trait]
impl AuditTrail for PostgresAudit {
    async fn after(&mut self, seq: u64, limit: usize) -> Result<Vec<Line>, JournalError> {
        records::lines_after(&mut self.session, seq, u64::try_from(limit).unwrap_or(u64::MAX)).await
    }
}
