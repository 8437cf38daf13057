//! One-minute rows as both databases keep them: how two of the same minute add up, and their text.
use super::{damaged, stored_json, stored_time};
use crate::domain::detect::errors::Counts;
use crate::domain::names::RuleName;
use crate::ports::{JournalError, MinuteRow};

/// The same minute goes on, after a restart.
pub(super) fn add_minute(known: &mut MinuteRow, more: &MinuteRow) {
    known.counts.add(more.counts);
    match (&mut known.times, &more.times) {
        (Some(times), Some(more)) => times.add(more),
        (None, Some(more)) => known.times = Some(more.clone()),
        (_, None) => {}
    }
}

pub(super) fn times_text(row: &MinuteRow) -> Result<Option<String>, JournalError> {
    let text = row.times.as_ref().map(serde_json::to_string).transpose();
    text.map_err(|e| JournalError::Unavailable { why: format!("a histogram: {e}") })
}

/// A row as it is stored.
pub(super) struct Stored {
    pub(super) rule: String,
    pub(super) minute: String,
    pub(super) counts: Counts,
    pub(super) times: Option<String>,
}

impl Stored {
    pub(super) fn parse(self) -> Result<MinuteRow, JournalError> {
        let rule = RuleName::parse(self.rule);
        let rule = rule.map_err(|e| damaged(0, format!("in the one-minute counts: {e}")))?;
        let times = self.times.as_deref().map(|text| stored_json(text, "a one-minute histogram"));
        let minute = stored_time(&self.minute)?;
        Ok(MinuteRow { rule, minute, counts: self.counts, times: times.transpose()? })
    }
}
