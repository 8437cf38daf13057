//! Opens the journal that is configured.
use std::sync::Arc;

use crate::adapters::journal::{PostgresJournal, PostgresOptions, SqliteJournal, TlsMode};
use crate::config::{Config, JournalConfig, PostgresTls};
use crate::ports::{Journal, JournalError};

pub(super) async fn open(config: &Config) -> Result<Arc<dyn Journal>, JournalError> {
    match &config.journal {
        JournalConfig::StateDir => Ok(Arc::new(SqliteJournal::open(&config.state_dir)?)),
        JournalConfig::Postgres(postgres) => {
            let tls = match &postgres.tls {
                PostgresTls::Disable => TlsMode::Disable,
                PostgresTls::Require => TlsMode::Require,
                PostgresTls::VerifyFull { ca_file } => TlsMode::VerifyFull { ca_file: ca_file.clone() },
            };
            let (url, schema) = (postgres.url.clone(), postgres.schema.clone());
            Ok(Arc::new(PostgresJournal::open(&PostgresOptions { url, schema, tls }).await?))
        }
    }
}
