//! Opens the journal's file, or says why not: it never starts empty as if nothing had been.
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::damaged;
use super::error::file_error;
use super::schema::{CREATE, FROM_1_TO_2, FROM_2_TO_3, SCHEMA_VERSION};
use super::writer::Store;
use super::{inbox, records, wal};
use crate::ports::JournalError;

pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Records whose hashes are checked whenever the journal is opened.
const CHECKED_AT_OPEN: u64 = 1000;

/// Opens `journal.db` in `dir`, creating both if neither exists, and holds the directory's lock.
pub(super) fn open(dir: &Path) -> Result<Store, JournalError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| file_error(dir, &e))?;
    let mut lock = Lock::take(&dir.join("journal.lock"))?;
    let path = dir.join("journal.db");
    match fs::metadata(&path) {
        Ok(found) if found.is_file() && found.len() == 0 => {
            return Err(damaged(0, format!("{} is empty", path.display())));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && lock.had_journal => {
            return Err(damaged(
                0,
                format!(
                    "{} is gone, and journal.lock beside it remembers one (to begin anew, remove that too)",
                    path.display()
                ),
            ));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => create(dir, &path)?,
        Err(e) => return Err(file_error(&path, &e)),
    }
    wal::check(&dir.join("journal.db-wal"))?;
    let conn = connect(&path)?;
    check(&conn)?;
    let tail = records::check_tail(&conn, CHECKED_AT_OPEN)?;
    prepare(&conn, &path)?;
    let unfolded = inbox::count_unfolded(&conn)?;
    lock.note_journal()?;
    Ok(Store::new(conn, tail, unfolded, lock))
}

/// What stands in the lock's file beside the process: an empty directory is not taken for a first start.
const HAD_JOURNAL: &str = "journal.db";

/// Held by this process until it ends; the kernel releases it even if the process is killed.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    had_journal: bool,
}

impl Drop for Lock {
    /// Not by closing the file alone: a child that was forked a moment ago and has not begun its program yet has it open, too.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the state directory's lock is released only with this process");
        }
    }
}

impl Lock {
    fn take(path: &Path) -> Result<Self, JournalError> {
        let failed = |e: std::io::Error| file_error(path, &e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let taken = file.try_lock();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        match taken {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(failed(e)),
            Err(TryLockError::WouldBlock) => {
                let why = format!(
                    "{} is held by process {}: stop that one, or give this one another state directory",
                    path.display(),
                    text.lines().next().unwrap_or_default()
                );
                return Err(JournalError::Unavailable { why });
            }
        }
        let had_journal = text.lines().any(|line| line == HAD_JOURNAL);
        let mut lock = Self { file, path: path.to_path_buf(), had_journal };
        lock.write()?;
        Ok(lock)
    }

    fn note_journal(&mut self) -> Result<(), JournalError> {
        self.had_journal = true;
        self.write()
    }

    fn write(&mut self) -> Result<(), JournalError> {
        let noted = if self.had_journal { HAD_JOURNAL } else { "" };
        let text = format!("{}\n{noted}\n", std::process::id());
        let (file, path) = (&mut self.file, &self.path);
        // Over what is there, and only then the rest is cut off: a disk that fills up in between takes nothing away.
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64))
            .map_err(|e| file_error(path, &e))
    }
}

/// Creates the file under another name first: an existing `journal.db` always has its tables.
fn create(dir: &Path, path: &Path) -> Result<(), JournalError> {
    let wal = dir.join("journal.db-wal");
    if wal.exists() {
        let why = format!("{} is missing, but {} exists", path.display(), wal.display());
        return Err(damaged(0, why));
    }
    let new = dir.join("journal.db.new");
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(file_error(&new, &e)),
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(|e| file_error(&new, &e))?;
    let conn = Connection::open_with_flags(&new, flags())?;
    conn.execute_batch(&format!("BEGIN; {CREATE} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?;
    conn.close().map_err(|(_, e)| e)?;
    fs::rename(&new, path).map_err(|e| file_error(path, &e))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| file_error(dir, &e))
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn connect(path: &Path) -> Result<Connection, JournalError> {
    let conn = Connection::open_with_flags(path, flags())?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // What is found to be damaged is left as it is: closing it must not move its log into it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if conn.is_readonly("main")? {
        let why = format!("{} is read-only: make it writable for this user", path.display());
        return Err(JournalError::Unavailable { why });
    }
    let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        1..=SCHEMA_VERSION => Ok(conn),
        0 => Err(damaged(0, format!("{} is no journal", path.display()))),
        _ => Err(JournalError::Newer { found, known: SCHEMA_VERSION }),
    }
}

/// Makes a sound journal one that is written.
fn prepare(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        1 => migrate(conn, &[FROM_1_TO_2, FROM_2_TO_3])?,
        2 => migrate(conn, &[FROM_2_TO_3])?,
        _ => {}
    }
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!(
            "{}: write-ahead logging is not possible here ({mode}): use a local disk, not a network file system",
            path.display()
        );
        return Err(JournalError::Unavailable { why });
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // Keeps the write-ahead log from staying large after a flood.
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(conn: &Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let steps = steps.concat();
    conn.execute_batch(&format!("BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))
}

fn check(conn: &Connection) -> Result<(), JournalError> {
    // The quick one does not look into the indexes, and a run is read through one.
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(damaged(0, verdict));
    }
    Ok(())
}
