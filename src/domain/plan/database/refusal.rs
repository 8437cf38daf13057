//! Why a database has no safe way back, and what a person can do.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseRefusal {
    /// Its versions come from a query.
    NoMigrations {
        place: String,
    },
    Unreadable {
        directory: String,
        why: String,
    },
    Dirty {
        place: String,
        version: String,
    },
    /// The directory belongs to an earlier release, which cannot know how to take back a later one.
    OtherRelease {
        directory: String,
        version: String,
    },
    GoalUnknown {
        directory: String,
        version: String,
    },
    NotBehind {
        place: String,
        version: String,
        wanted: String,
    },
    NoDownScript {
        directory: String,
        /// Versions.
        missing: Vec<String>,
        /// Files.
        empty: Vec<String>,
    },
    NoImages,
    /// Declared by the owner of both.
    Incompatible {
        why: String,
    },
    InstanceBusy {
        instance: String,
        status: String,
    },
    OtherEngine {
        instance: String,
        engine: String,
    },
    Cluster {
        instance: String,
        cluster: String,
    },
}

impl fmt::Display for DatabaseRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseRefusal::NoMigrations { place } => {
                write!(f, "{place} is only watched: its versions are told by a query")
            }
            DatabaseRefusal::Unreadable { directory, why } => write!(f, "{directory} cannot be read: {why}"),
            DatabaseRefusal::Dirty { place, version } => {
                write!(f, "the schema of {place} is at {version}: a migration failed or is under way")
            }
            DatabaseRefusal::OtherRelease { directory, version } => {
                write!(f, "{directory} does not know version {version}, which the schema is at")
            }
            DatabaseRefusal::GoalUnknown { directory, version } => {
                write!(f, "{directory} does not know version {version}, where the rollback should go")
            }
            DatabaseRefusal::NotBehind { place, version, wanted } => {
                write!(f, "the schema of {place} is at {version}, and {wanted} is not before that")
            }
            DatabaseRefusal::NoDownScript { directory, missing, empty } => {
                let missing = missing.iter().map(|version| format!("none for {version}"));
                let empty = empty.iter().map(|file| format!("{file} is empty"));
                let told: Vec<String> = missing.chain(empty).collect();
                write!(f, "{directory} lacks down scripts: {}", told.join(", "))
            }
            DatabaseRefusal::NoImages => f.write_str("a database has no image"),
            DatabaseRefusal::Incompatible { why } => {
                write!(f, "application and schema would not fit, by `compatible_with`: {why}")
            }
            DatabaseRefusal::InstanceBusy { instance, status } => {
                write!(f, "the RDS instance {instance} is {status}, so no snapshot can be taken")
            }
            DatabaseRefusal::OtherEngine { instance, engine } => {
                write!(f, "the RDS instance {instance} runs {engine}, and only PostgreSQL is supported")
            }
            DatabaseRefusal::Cluster { instance, cluster } => {
                write!(f, "{instance} belongs to the Aurora cluster {cluster}, which is not supported")
            }
        }
    }
}

impl DatabaseRefusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            DatabaseRefusal::NoMigrations { .. } => {
                "take the migration back with the tool that made it".into()
            }
            DatabaseRefusal::Unreadable { .. } => {
                "name the migrations of the release that runs as `migrations` of the target".into()
            }
            DatabaseRefusal::Dirty { .. } => {
                "look at what the last migration did, repair it by hand, and tell golang-migrate with `migrate force`".into()
            }
            DatabaseRefusal::OtherRelease { .. } => {
                "give the target the migrations of the release that runs, not of the one before".into()
            }
            DatabaseRefusal::GoalUnknown { .. } => {
                "check that the migrations are complete, or name another version with --to-revision".into()
            }
            DatabaseRefusal::NotBehind { .. } => "nothing needs to be taken back".into(),
            DatabaseRefusal::NoDownScript { .. } => {
                "golang-migrate would only lower the version: write the scripts, or restore to a new instance".into()
            }
            DatabaseRefusal::NoImages => "name a version with --to-revision".into(),
            DatabaseRefusal::Incompatible { .. } => {
                "roll both back in an order in which they fit (that of `targets`), or roll forward".into()
            }
            DatabaseRefusal::InstanceBusy { .. } => "wait until it is available".into(),
            DatabaseRefusal::OtherEngine { .. } => "take the migration back by hand".into(),
            DatabaseRefusal::Cluster { .. } => {
                "take a cluster snapshot and the migration back by hand".into()
            }
        }
    }
}
