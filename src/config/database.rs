//! Databases as targets: where one is, whose scripts lead back, and its RDS instance.
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::check;
use super::journal::{self, PostgresTls};
use super::raw::Fields;
use super::secrets::{self, Outside};
use super::shape::Leaf;
use super::value::{FromText, no_choice};
use crate::domain::names::TargetName;
use crate::domain::plan::compatibility::{Compatibility, LabelPattern};
use crate::domain::plan::database::{Runner, SchemaQuery};

/// A Postgres whose schema is migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseConfig {
    pub url: DatabaseUrl,
    pub tls: PostgresTls,
    pub versions: VersionsConfig,
    pub interval: Duration,
    pub runner: Runner,
    /// golang-migrate's program.
    pub program: PathBuf,
    pub multi_statement: bool,
    pub script_timeout: Duration,
    pub lock_timeout: Duration,
    pub queries: Vec<SchemaQuery>,
    pub rds: Option<RdsConfig>,
    pub compatible_with: Vec<Compatibility>,
}

/// How the version of the schema is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionsConfig {
    Migrate { table: String, directory: Option<String> },
    Query(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdsConfig {
    pub instance: String,
    pub region: String,
    pub profile: Option<String>,
    pub endpoint: Option<Url>,
    pub timeout: Duration,
    pub snapshot_timeout: Duration,
}

/// Begins with postgres:// and most often holds a password, which no Debug shows.
#[derive(Clone, Debug)]
pub struct DatabaseUrl(pub SecretString);

impl PartialEq for DatabaseUrl {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for DatabaseUrl {}

impl DatabaseConfig {
    /// Without user and password.
    pub(super) fn place(&self) -> String {
        let url = Url::parse(self.url.0.expose_secret()).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
        let port = url.as_ref().and_then(Url::port).unwrap_or(5432);
        let name = url.as_ref().map(|url| url.path().trim_start_matches('/')).unwrap_or_default();
        let what = match &self.versions {
            VersionsConfig::Migrate { table, .. } if table == TABLE => String::new(),
            VersionsConfig::Migrate { table, .. } => format!("{table} in "),
            VersionsConfig::Query(_) => "what a query tells of ".to_string(),
        };
        format!("{what}the database {name} on {host}:{port}")
    }
}

const TABLE: &str = "schema_migrations";

impl FromText for Runner {
    fn from_text(text: &str, leaf: Leaf) -> Result<Self, String> {
        match text {
            "rollguard" => Ok(Runner::Rollguard),
            "migrate" => Ok(Runner::Migrate),
            _ => Err(no_choice(leaf)),
        }
    }
}

pub(super) fn read(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<DatabaseConfig> {
    let url = secrets::postgres_url(fields, "url", outside);
    let tls = journal::tls(fields, outside);
    let versions = versions(fields, outside);
    let seconds = |key: &str, usual| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let rds = match fields.map("rds") {
        Some(rds) => Some(read_rds(&rds)?),
        None => None,
    };
    Some(DatabaseConfig {
        url: DatabaseUrl(url?),
        tls: tls?,
        versions: versions?,
        interval: seconds("interval", 10),
        runner: fields.read("runner").unwrap_or(Runner::Rollguard),
        program: fields.read("program").unwrap_or_else(|| PathBuf::from("/usr/local/bin/migrate")),
        multi_statement: fields.read("multi_statement").unwrap_or(false),
        script_timeout: seconds("script_timeout", 600),
        lock_timeout: seconds("lock_timeout", 15),
        queries: queries(fields),
        rds,
        compatible_with: fields.maps("compatible_with").iter().filter_map(compatibility).collect(),
    })
}

fn versions(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<VersionsConfig> {
    if fields.has("version_query") {
        for key in ["migrations", "table", "runner", "program"].into_iter().filter(|key| fields.has(key)) {
            let message = format!("{key}: not beside version_query: such a database is only watched");
            fields.notes.error(fields.key_at(key), message);
        }
        return Some(VersionsConfig::Query(fields.read("version_query")?));
    }
    let table = fields.read::<String>("table").unwrap_or_else(|| TABLE.to_string());
    if !is_table(&table) {
        let message = "table: this is no name of a table: write such as schema_migrations or app.migrations";
        fields.notes.error(fields.at("table"), message);
        return None;
    }
    let directory = fields.read::<PathBuf>("migrations");
    if directory.is_none() && !fields.has("migrations") {
        let message =
            "migrations is missing: without the scripts of the release that runs there is no way back";
        fields.notes.warning(fields.begin(), message);
    }
    let directory = directory.map(|path| outside.path(path).to_string_lossy().into_owned());
    Some(VersionsConfig::Migrate { table, directory })
}

/// Quotes have no place in it: golang-migrate finds the parts of a quoted name by them.
fn is_table(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || c == '-';
    parts.len() <= 2
        && parts.iter().all(|part| !part.is_empty() && part.len() < 64 && part.chars().all(plain))
}

fn queries(fields: &Fields<'_>) -> Vec<SchemaQuery> {
    let all = fields.maps("verify");
    check::distinct(&all, "name", "query");
    all.iter().filter_map(query).collect()
}

/// A query with its name.
pub(super) fn query(fields: &Fields<'_>) -> Option<SchemaQuery> {
    let (name, sql) = (fields.read("name"), fields.read("query"));
    Some(SchemaQuery { name: name?, sql: sql?, expect: fields.read("expect") })
}

fn compatibility(fields: &Fields<'_>) -> Option<Compatibility> {
    let number = |key: &str| {
        let text = fields.has(key).then(|| fields.read::<String>(key)).flatten()?;
        let number = text.parse::<u64>().ok();
        if number.is_none() {
            fields.notes.error(fields.at(key), format!("{key}: the number of a migration is expected"));
        }
        number
    };
    let (target, versions) = (fields.read::<TargetName>("target"), fields.read::<String>("versions"));
    let (from, to) = (number("from"), number("to"));
    if !fields.has("from") && !fields.has("to") {
        fields.notes.error(fields.begin(), "one of from, to is missing");
    }
    Some(Compatibility { target: target?, versions: LabelPattern::parse(&versions?), from, to })
}

fn read_rds(fields: &Fields<'_>) -> Option<RdsConfig> {
    if !cfg!(feature = "aws") {
        fields.notes.error(
            fields.begin(),
            "rds: this rollguard was built without AWS: build it with its default features, or leave rds out",
        );
        return None;
    }
    let seconds = |key: &str, usual| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let (instance, region) = (fields.read("instance"), fields.read("region"));
    Some(RdsConfig {
        instance: instance?,
        region: region?,
        profile: fields.read("profile"),
        endpoint: fields.read("endpoint"),
        timeout: seconds("timeout", 5),
        snapshot_timeout: seconds("snapshot_timeout", 2 * 3600),
    })
}
