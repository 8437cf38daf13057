//! The journal's file read by somebody else than its daemon: without its lock, and without a trace.
use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};

use super::super::audit::AuditTrail;
use super::super::chain::Line;
use super::super::damaged;
use super::error::file_error;
use super::open::BUSY_TIMEOUT;
use super::records;
use super::schema::SCHEMA_VERSION;
use crate::ports::JournalError;

/// `journal.db` of a state directory, whether a daemon writes it or not.
pub struct SqliteAudit {
    conn: Connection,
}

impl SqliteAudit {
    /// # Errors
    /// When there is no journal, it cannot be read, or was written by a newer version.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("journal.db");
        let found = std::fs::metadata(&path).map_err(|e| file_error(&path, &e))?;
        if found.len() == 0 {
            return Err(damaged(0, format!("{} is empty", path.display())));
        }
        let conn = connect(&path, dir.join("journal.db-wal").exists())?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => Err(damaged(0, format!("{} is no journal", path.display()))),
            1..=SCHEMA_VERSION => Ok(Self { conn }),
            _ => Err(JournalError::Newer { found: version, known: SCHEMA_VERSION }),
        }
    }
}

/// Nobody has the journal open if it has no write-ahead log. Then SQLite is told that nothing changes it: otherwise it would
/// leave a log behind, which may belong to a user that locks the daemon out.
fn connect(path: &Path, in_use: bool) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if in_use {
        return Ok(Connection::open_with_flags(path, flags)?);
    }
    let absolute = std::path::absolute(path).map_err(|e| file_error(path, &e))?;
    let escaped = absolute.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let url = format!("file:{escaped}?immutable=1");
    Ok(Connection::open_with_flags(url, flags | OpenFlags::SQLITE_OPEN_URI)?)
}

#[async_trait]
impl AuditTrail for SqliteAudit {
    async fn after(&mut self, seq: u64, limit: usize) -> Result<Vec<Line>, JournalError> {
        records::lines_after(&self.conn, seq, limit)
    }
}
