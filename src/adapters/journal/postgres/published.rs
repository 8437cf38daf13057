//! The published table: the one picture that the leading replica shows to the others.
use super::super::{sortable, stored_json, stored_time};
use super::connection::cell;
use super::writer::Store;
use crate::ports::{JournalError, Published};

const SAVE: &str = "
INSERT INTO published (at, picture) VALUES ($1, $2)
ON CONFLICT (one) DO UPDATE SET at = $1, picture = $2";

pub(super) async fn save(store: &mut Store, shown: &Published) -> Result<(), JournalError> {
    store.session()?.execute(SAVE, &[&sortable(shown.at), &shown.picture.to_string()]).await?;
    Ok(())
}

pub(super) async fn load(store: &mut Store) -> Result<Option<Published>, JournalError> {
    let rows = store.session()?.rows("SELECT at, picture FROM published", &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let picture = stored_json(cell(row, 1)?, "the published picture")?;
    Ok(Some(Published { at: stored_time(cell(row, 0)?)?, picture }))
}
