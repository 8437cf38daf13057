//! Where the journal is: a file in the state directory, or a Postgres that several replicas share.
use std::path::PathBuf;

use secrecy::SecretString;

use super::raw::Fields;
use super::secrets::{self, Outside};
use super::shape::Leaf;
use super::value::{FromText, no_choice};

#[derive(Clone, Debug, Default)]
pub enum JournalConfig {
    #[default]
    StateDir,
    Postgres(PostgresConfig),
}

#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Begins with postgres:// and may hold a password.
    pub url: SecretString,
    pub schema: String,
    pub tls: PostgresTls,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    Disable,
    Require,
    VerifyFull { ca_file: PathBuf },
}

impl JournalConfig {
    pub(super) fn secret(&self) -> Option<&SecretString> {
        match self {
            JournalConfig::StateDir => None,
            JournalConfig::Postgres(postgres) => Some(&postgres.url),
        }
    }
}

/// What stands at `tls.mode`, as libpq names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Require,
    VerifyFull,
}

impl FromText for Mode {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "disable" => Ok(Mode::Disable),
            "require" => Ok(Mode::Require),
            "verify-full" => Ok(Mode::VerifyFull),
            _ => Err(no_choice(leaf)),
        }
    }
}

pub(super) fn journal(fields: &Fields<'_>, outside: &Outside<'_>) -> JournalConfig {
    let postgres = fields.map("postgres").and_then(|postgres| read(&postgres, outside));
    postgres.map_or(JournalConfig::StateDir, JournalConfig::Postgres)
}

fn read(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<PostgresConfig> {
    let url = secrets::postgres_url(fields, "url", outside);
    let schema = match fields.read::<String>("schema") {
        None => "rollguard".to_string(),
        Some(name) if is_schema(&name) => name,
        Some(_) => {
            let message = "schema: this is no name that needs no quotes in SQL: write such as rollguard";
            fields.notes.error(fields.at("schema"), message);
            return None;
        }
    };
    let tls = tls(fields, outside)?;
    Some(PostgresConfig { url: url?, schema, tls })
}

/// Postgres keeps names that begin with pg_ for itself.
fn is_schema(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    begins && name.chars().all(plain) && name.len() < 64 && !name.starts_with("pg_")
}

pub(super) fn tls(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<PostgresTls> {
    let own = fields.map("tls");
    let ca_file = own.as_ref().and_then(|tls| tls.read::<PathBuf>("ca_file"));
    match (own.as_ref().and_then(|tls| tls.read("mode")).unwrap_or(Mode::VerifyFull), ca_file) {
        (Mode::VerifyFull, Some(file)) => Some(PostgresTls::VerifyFull { ca_file: outside.path(file) }),
        (Mode::VerifyFull, None) => {
            let at = own.as_ref().map_or(fields.begin(), Fields::begin);
            let message = "tls: ca_file is missing: name the certificates that the server's is signed by, or choose another mode";
            fields.notes.error(at, message);
            None
        }
        (Mode::Disable, None) => Some(PostgresTls::Disable),
        (Mode::Require, None) => Some(PostgresTls::Require),
        (Mode::Disable | Mode::Require, Some(_)) => {
            let at = own.as_ref().map_or(fields.begin(), |tls| tls.at("ca_file"));
            fields.notes.error(at, "ca_file: this mode verifies no certificate: write mode: verify-full");
            None
        }
    }
}
