//! Opens the journal that is configured, to write it or to read it only.
use std::sync::Arc;

use crate::adapters::journal::audit::AuditTrail;
use crate::adapters::journal::{PostgresAudit, PostgresJournal, PostgresOptions, SqliteAudit, SqliteJournal};
use crate::config::{Config, JournalConfig, PostgresConfig};
use crate::ports::{Journal, JournalError};

pub(super) async fn open(config: &Config) -> Result<Arc<dyn Journal>, JournalError> {
    match &config.journal {
        JournalConfig::StateDir => Ok(Arc::new(SqliteJournal::open(&config.state_dir)?)),
        JournalConfig::Postgres(postgres) => Ok(Arc::new(PostgresJournal::open(&options(postgres)).await?)),
    }
}

/// The same journal, to be read only.
pub(super) async fn audit(config: &Config) -> Result<Box<dyn AuditTrail>, JournalError> {
    match &config.journal {
        JournalConfig::StateDir => Ok(Box::new(SqliteAudit::open(&config.state_dir)?)),
        JournalConfig::Postgres(postgres) => Ok(Box::new(PostgresAudit::open(&options(postgres)).await?)),
    }
}

fn options(postgres: &PostgresConfig) -> PostgresOptions {
    let tls = super::databases::tls(&postgres.tls);
    PostgresOptions { url: postgres.url.clone(), schema: postgres.schema.clone(), tls }
}
