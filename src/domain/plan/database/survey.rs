//! What an adapter found out about a database: its schema's version, the scripts of the release that runs, and its RDS instance.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::names::TargetId;
use crate::domain::release::{Fingerprint, Version, hex};

/// A database and the migrations of the release that made its schema what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSurvey {
    pub target: TargetId,
    /// For people, without any password: `the database shop on db.internal:5432`.
    pub place: String,
    pub version: Version,
    pub schema: SchemaState,
    /// The table that golang-migrate keeps, with its schema.
    pub table: String,
    pub migrations: Migrations,
    pub terms: Terms,
    /// Where it is one of RDS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// What must hold when it is back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<SchemaQuery>,
}

impl DatabaseSurvey {
    pub fn target(&self) -> &TargetId {
        &self.target
    }

    /// What is served now.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// What stands in golang-migrate's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaState {
    /// `None` while no migration was applied.
    pub version: Option<u64>,
    /// A migration to this version has begun, and has not ended well.
    pub dirty: bool,
}

impl SchemaState {
    pub fn clean(version: Option<u64>) -> Self {
        Self { version, dirty: false }
    }

    /// `12`, `12 (dirty)` or `the empty schema`, as `migrate version` says it.
    pub fn told(&self) -> String {
        let number = super::number(self.version);
        if self.dirty { format!("{number} (dirty)") } else { number }
    }
}

impl Version {
    /// A version of a schema is its number and nothing else.
    pub fn of_schema(version: Option<u64>) -> Self {
        let label = version.map_or_else(|| "empty".to_string(), |version| version.to_string());
        Self::of_label(label)
    }

    /// A version that somebody else has a name for.
    pub fn of_label(label: String) -> Self {
        let fingerprint = Fingerprint::named(hex(&Sha256::digest(format!("schema {label}"))));
        Self { fingerprint, label, images: Vec::new() }
    }
}

/// The scripts of the release that runs, in golang-migrate's layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Migrations {
    /// By ascending version.
    Listed {
        directory: String,
        all: Vec<Migration>,
    },
    Unreadable {
        directory: String,
        why: String,
    },
    /// Versions are told by a query, so nobody knows how to go from one to another.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    pub version: u64,
    pub down: Down,
}

/// The script that takes a migration back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    Missing,
    /// golang-migrate would lower the version, and do nothing else.
    Empty {
        file: String,
    },
    Script {
        file: String,
        sha256: String,
    },
    /// Too large, not to be read, or so many versions back that nobody looked.
    Unread {
        file: String,
        why: String,
    },
}

/// How the scripts are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub runner: Runner,
    /// Each statement by itself, as with golang-migrate's `x-multi-statement`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_statement: bool,
    /// Longest time of one script.
    pub script_secs: u64,
    /// Longest wait for another migrator, and for each lock that a script needs.
    pub lock_secs: u64,
    pub snapshot_secs: u64,
}

/// Who runs the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    Rollguard,
    /// golang-migrate's program.
    Migrate,
}

/// An instance of RDS, as it was described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    pub engine: String,
    pub status: String,
    /// The Aurora cluster that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// A query whose answer tells whether the data is as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaQuery {
    pub name: String,
    pub sql: String,
    /// The first value of the first row, as text. Without it any row will do whose first value is not false or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

impl SchemaQuery {
    /// Judges the first value of the first row; the outer `None` is no row.
    ///
    /// # Errors
    /// What was found in place of what must be there.
    pub fn judge(&self, found: Option<Option<&str>>) -> Result<String, String> {
        let Some(value) = found else { return Err(format!("{}: no row", self.name)) };
        let shown: String = value.unwrap_or("null").chars().take(80).collect();
        let passed = match (&self.expect, value) {
            (Some(wanted), value) => value == Some(wanted),
            (None, value) => !matches!(value, None | Some("f")),
        };
        match (&self.expect, passed) {
            (_, true) => Ok(format!("{}: {shown}", self.name)),
            (Some(wanted), false) => Err(format!("{}: {shown}, and not {wanted}", self.name)),
            (None, false) => Err(format!("{}: {shown}", self.name)),
        }
    }
}
