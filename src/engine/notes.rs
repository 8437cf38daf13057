//! What channels remember of an incident, kept in the journal: a later life goes on in the same thread.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::domain::event::{StreamId, ToldEvent, from_record, to_parts};
use crate::ports::{Commit, Journal, JournalError, NewRecord};

/// Notes that wait for a journal that cannot be written; beyond it the oldest are given up, and said again.
const WAITING_MAX: usize = 1_000;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Notes {
    /// Incident and note, oldest first.
    waiting: Arc<Mutex<Vec<(String, ToldEvent)>>>,
}

impl Notes {
    /// The channel's own notes about an incident, oldest first.
    pub(super) async fn of(
        &self,
        journal: &dyn Journal,
        channel: &str,
        incident: &str,
    ) -> Result<Vec<String>, JournalError> {
        let records = journal.read(&StreamId::told(incident)).await?;
        let kept = records.iter().filter_map(|record| from_record::<ToldEvent>(record).ok());
        let waiting =
            self.waiting().iter().filter(|(of, _)| of == incident).map(|(_, e)| e.clone()).collect();
        let all = kept.chain::<Vec<ToldEvent>>(waiting);
        let ours = all.filter_map(|ToldEvent::Noted { channel: of, note }| (of == channel).then_some(note));
        Ok(ours.collect())
    }

    /// Remembers a note, durably as soon as the journal can be written. It holds up no other channel.
    pub(super) async fn add(
        &self,
        journal: &dyn Journal,
        epoch: u64,
        at: Timestamp,
        incident: &str,
        noted: ToldEvent,
    ) {
        let mut notes = std::mem::take(&mut *self.waiting());
        notes.push((incident.to_string(), noted));
        let events = notes.iter().filter_map(|(incident, event)| {
            let (kind, body) = to_parts(event).ok()?;
            Some(NewRecord { stream: StreamId::told(incident), kind, body })
        });
        let commit = Commit { at, events: events.collect(), ..Commit::default() };
        if let Err(error) = journal.commit(epoch, commit).await {
            tracing::error!(%error, "where a message stands cannot be noted down yet");
            let mut waiting = self.waiting();
            notes.append(&mut waiting);
            let surplus = notes.len().saturating_sub(WAITING_MAX);
            *waiting = notes.split_off(surplus);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(String, ToldEvent)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
