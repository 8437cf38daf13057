//! golang-migrate's table and lock: read and written exactly as its Postgres driver does.
use flate2::Crc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::adapters::postgres::{first_value, is_final, told};
use crate::domain::plan::database::SchemaState;

/// Why something could not be read or done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Postgres said no, and nothing was done.
    Refused(String),
    /// Not known what became of it.
    Unclear(String),
}

impl Trouble {
    pub(super) fn reason(self) -> String {
        match self {
            Trouble::Refused(why) | Trouble::Unclear(why) => why,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.as_db_error() {
            Some(_) if !is_final(&error) => Trouble::Refused(told(&error)),
            Some(_) | None => Trouble::Unclear(told(&error)),
        }
    }
}

/// The table that holds the version, and the locks under which it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    schema: String,
    name: String,
    locks: [u32; 2],
}

/// golang-migrate multiplies the hash of a lock's names by this.
const LOCK_SALT: u32 = 1_486_364_155;

/// What golang-migrate calls no version.
const NONE: &str = "-1";

impl Table {
    /// `configured` may have a schema before a dot; without it is the first one of the user's search path.
    pub(super) async fn find(client: &Client, configured: &str, database: &str) -> Result<Self, Trouble> {
        let (schema, name) = match configured.split_once('.') {
            Some((schema, name)) => (schema.to_string(), name.to_string()),
            None => {
                let schema = value(client, "SELECT current_schema()").await?.flatten();
                let none = || Trouble::Refused("no schema of the search path exists".into());
                (schema.ok_or_else(none)?, configured.to_string())
            }
        };
        let locks = locks(&schema, &name, database);
        Ok(Self { schema, name, locks })
    }

    fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// The version, and whether somebody migrates.
    pub(super) async fn look(&self, client: &Client) -> Result<(SchemaState, bool), Trouble> {
        // Whoever holds the lock changes the version: first the lock, or a migration that just ended would look as if it had failed.
        let held = value(client, &self.held()).await?.flatten();
        Ok((self.state(client).await?, held.is_some_and(|count| count != "0")))
    }

    fn held(&self) -> String {
        let [one, other] = self.locks;
        format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid = 0 \
             AND objid::bigint IN ({one}, {other}) \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    }

    pub(super) async fn state(&self, client: &Client) -> Result<SchemaState, Trouble> {
        let sql = format!("SELECT version, dirty FROM {} LIMIT 1", self.quoted());
        let messages = match client.simple_query(&sql).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                return Ok(SchemaState::clean(None));
            }
            other => other?,
        };
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0), row.get(1))),
            _ => None,
        });
        let unreadable = || Trouble::Refused(format!("{} is not as golang-migrate makes it", self.quoted()));
        match row {
            None => Ok(SchemaState::clean(None)),
            Some((Some(NONE), dirty)) => Ok(SchemaState { version: None, dirty: dirty == Some("t") }),
            Some((Some(version), Some(dirty))) => {
                let version = version.parse().map_err(|_| unreadable())?;
                Ok(SchemaState { version: Some(version), dirty: dirty == "t" })
            }
            Some((_, _)) => Err(unreadable()),
        }
    }

    /// Both locks or none; it never waits, since whoever waits in Postgres holds up a `CREATE INDEX CONCURRENTLY`.
    pub(super) async fn try_lock(&self, client: &Client) -> Result<bool, Trouble> {
        let [one, other] = self.locks;
        let take = async |lock: u32| {
            let taken = value(client, &format!("SELECT pg_try_advisory_lock({lock})")).await?;
            Ok::<_, Trouble>(taken.flatten().as_deref() == Some("t"))
        };
        if !take(one).await? {
            return Ok(false);
        }
        if take(other).await? {
            return Ok(true);
        }
        client.batch_execute(&format!("SELECT pg_advisory_unlock({one})")).await?;
        Ok(false)
    }

    /// In one transaction, as golang-migrate writes it: the empty schema has a row only while it is dirty.
    pub(super) async fn write(&self, client: &Client, state: SchemaState) -> Result<(), Trouble> {
        let table = self.quoted();
        let version = state.version.map_or_else(|| NONE.to_string(), |version| version.to_string());
        let insert = match state.version.is_some() || state.dirty {
            true => format!("INSERT INTO {table} (version, dirty) VALUES ({version}, {});", state.dirty),
            false => String::new(),
        };
        client.batch_execute(&format!("BEGIN; TRUNCATE {table}; {insert} COMMIT")).await?;
        Ok(())
    }
}

/// The name that golang-migrate's program gives to its lock, after the path of its URL, and the one of those who use it as a
/// library and let it ask for the database's name.
fn locks(schema: &str, table: &str, database: &str) -> [u32; 2] {
    [format!("/{database}"), database.to_string()].map(|database| {
        let mut hash = Crc::new();
        hash.update(format!("{schema}\0{table}\0{database}").as_bytes());
        hash.sum().wrapping_mul(LOCK_SALT)
    })
}

/// The first value of the first row; the outer `None` is no row.
pub(super) async fn value(client: &Client, sql: &str) -> Result<Option<Option<String>>, Trouble> {
    let messages = client.simple_query(sql).await?;
    Ok(first_value(&messages).map(|value| value.map(str::to_string)))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
