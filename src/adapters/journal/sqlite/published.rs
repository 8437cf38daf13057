//! The published table: the one picture that the leading replica shows to the others.
use rusqlite::OptionalExtension;

use super::super::{sortable, stored_json, stored_time};
use super::writer::Store;
use crate::ports::{JournalError, Published};

pub(super) fn save(store: &Store, shown: &Published) -> Result<(), JournalError> {
    let sql = "INSERT OR REPLACE INTO published (id, at, picture) VALUES (1, ?1, ?2)";
    store.conn.prepare_cached(sql)?.execute([sortable(shown.at), shown.picture.to_string()])?;
    Ok(())
}

pub(super) fn load(store: &Store) -> Result<Option<Published>, JournalError> {
    let mut select = store.conn.prepare_cached("SELECT at, picture FROM published")?;
    let row = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let read = |(at, picture): (String, String)| {
        let picture = stored_json(&picture, "the published picture")?;
        Ok(Published { at: stored_time(&at)?, picture })
    };
    row.map(read).transpose()
}
