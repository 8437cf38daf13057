//! From SQLite's errors to the journal's: damaged, or out of order with what to do about it.
use std::path::Path;

use rusqlite::ErrorCode;

use super::super::damaged;
use crate::ports::JournalError;

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        // What we wrote reads back as what it was.
        let unlike_written = matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
        );
        if unlike_written {
            return damaged(0, error.to_string());
        }
        let advice = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                return JournalError::Damaged { seq: 0, why: error.to_string() };
            }
            Some(ErrorCode::DiskFull) => "free some space on its file system",
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                "make the state directory writable for this user"
            }
            Some(ErrorCode::CannotOpen) => {
                "journal.db must be a file that this user may read and write, in a writable directory"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program holds it: close every sqlite3 shell on journal.db"
            }
            Some(ErrorCode::SystemIoFailure) => "check the disk, see the kernel's log",
            _ => "see the log",
        };
        JournalError::Unavailable { why: format!("{error}; {advice}") }
    }
}

/// A failed file operation, with its path and what to do.
pub(super) fn file_error(path: &Path, error: &std::io::Error) -> JournalError {
    let why = format!(
        "{}: {error}; the state directory must exist, have space and be writable for this user",
        path.display()
    );
    JournalError::Unavailable { why }
}
