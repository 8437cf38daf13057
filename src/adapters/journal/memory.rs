//! The journal in memory, with the rules of the SQLite one: for tests, and for worlds that end with the process.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::chain::Tail;
use super::minutes::add_minute;
use super::outbox::given_up;
use super::{INBOX_MAX, KEEP_DONE, KEEP_MINUTES, before, inbox_full, prune_is_due};
use crate::domain::event::{Record, StreamId};
use crate::domain::message::MessageKind;
use crate::domain::names::{RuleName, TargetId};
use crate::ports::{
    Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow, Outgoing,
    Published, Received,
};

/// Lost with the process.
#[derive(Default)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    epoch: u64,
    records: Vec<Record>,
    tail: Tail,
    inbox: Vec<Item>,
    outbox: Vec<Sending>,
    /// Last ids given out; rows may be pruned, ids never come again.
    inbox_id: i64,
    outbox_id: i64,
    minutes: BTreeMap<(TargetId, Timestamp, RuleName), MinuteRow>,
    published: Option<Published>,
    pruned_at: Option<Timestamp>,
}

struct Item {
    row: InboxRow,
    key: String,
    folded_at: Option<Timestamp>,
}

struct Sending {
    row: OutboxRow,
    progress: Progress,
    created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Progress {
    Waiting { next_at: Timestamp },
    Repeating { next_at: Timestamp },
    Over { at: Timestamp },
}

impl MemoryJournal {
    /// Everything recorded so far, in order.
    pub fn records(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method panics between two writes, so the state is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check_epoch(&self, ours: u64) -> Result<(), JournalError> {
        let current = self.epoch;
        if ours == current { Ok(()) } else { Err(JournalError::Stale { ours, current }) }
    }

    fn commit(&mut self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        self.check_epoch(epoch)?;
        let mut tail = self.tail.clone();
        let mut appended = Vec::new();
        for event in &commit.events {
            let line = tail.next(event, commit.at, epoch);
            tail = Tail::of(&line);
            appended.push(line.parse()?);
        }
        self.tail = tail;
        self.records.extend(appended);
        commit.messages.into_iter().for_each(|message| self.enqueue(message, commit.at));
        for item in self.inbox.iter_mut().filter(|item| commit.folded.contains(&item.row.id)) {
            item.folded_at = item.folded_at.or(Some(commit.at));
        }
        Ok(())
    }

    fn enqueue(&mut self, Outgoing { channel, message }: Outgoing, at: Timestamp) {
        let known = |s: &Sending| s.row.message.key == message.key && s.row.channel == channel;
        if self.outbox.iter().any(known) {
            return;
        }
        self.outbox_id += 1;
        let row = OutboxRow { id: self.outbox_id, channel, message, attempts: 0 };
        self.outbox.push(Sending { row, progress: Progress::Waiting { next_at: at }, created_at: at });
    }

    fn receive(&mut self, item: InboxItem) -> Result<Received, JournalError> {
        if self.inbox.iter().any(|known| known.key == item.key) {
            return Ok(Received::Duplicate);
        }
        if self.inbox.iter().filter(|item| item.folded_at.is_none()).count() >= INBOX_MAX {
            return Err(inbox_full());
        }
        self.inbox_id += 1;
        let row = InboxRow { id: self.inbox_id, kind: item.kind, body: item.body, at: item.at };
        self.inbox.push(Item { row, key: item.key, folded_at: None });
        Ok(Received::New(self.inbox_id))
    }

    fn is_due(&self, sending: &Sending, now: Timestamp) -> bool {
        let waits = |other: &&Sending| {
            matches!(other.progress, Progress::Waiting { .. }) && same_incident(&other.row, &sending.row)
        };
        let mut waiting = self.outbox.iter().filter(waits);
        match sending.progress {
            Progress::Waiting { next_at } => {
                next_at <= now && waiting.all(|other| other.row.id >= sending.row.id)
            }
            Progress::Repeating { next_at } => {
                next_at <= now && waiting.all(|other| other.row.message.kind != MessageKind::Resolve)
            }
            Progress::Over { .. } => false,
        }
    }

    fn settle(&mut self, id: i64, now: Timestamp, delivery: Delivery) {
        let open = |s: &&mut Sending| s.row.id == id && !matches!(s.progress, Progress::Over { .. });
        let Some(sending) = self.outbox.iter_mut().find(open) else { return };
        let delivered_again = matches!(delivery, Delivery::Repeat { .. });
        match delivery {
            Delivery::Done | Delivery::Repeat { .. } => sending.row.attempts = 0,
            Delivery::Retry { .. } | Delivery::Dropped { .. } => sending.row.attempts += 1,
        }
        sending.progress = match (delivery, sending.progress) {
            (Delivery::Done | Delivery::Dropped { .. }, _) => Progress::Over { at: now },
            (Delivery::Repeat { at }, _) => Progress::Repeating { next_at: at },
            (Delivery::Retry { at, .. }, Progress::Repeating { .. }) => Progress::Repeating { next_at: at },
            (Delivery::Retry { at, .. }, Progress::Waiting { .. } | Progress::Over { .. }) => {
                Progress::Waiting { next_at: at }
            }
        };
        let over = matches!(sending.progress, Progress::Over { .. });
        let resolves = over && sending.row.message.kind == MessageKind::Resolve;
        if resolves || delivered_again {
            let newer = sending.row.clone();
            self.end_repetitions(&newer, now);
        }
    }

    /// The incident's end was told to this channel (or cannot be), or a newer page: what repeats there from before does so
    /// no more.
    fn end_repetitions(&mut self, newer: &OutboxRow, now: Timestamp) {
        for sending in self.outbox.iter_mut().filter(|sending| same_incident(&sending.row, newer)) {
            if sending.row.id < newer.id && matches!(sending.progress, Progress::Repeating { .. }) {
                sending.progress = Progress::Over { at: now };
            }
        }
    }

    fn prune(&mut self, now: Timestamp) {
        if !prune_is_due(self.pruned_at, now) {
            return;
        }
        let oldest = before(now, KEEP_DONE);
        self.inbox.retain(|item| item.folded_at.is_none_or(|at| at >= oldest));
        self.outbox.retain(|s| !matches!(s.progress, Progress::Over { at } if at < oldest));
        let waits = |s: &&Sending| matches!(s.progress, Progress::Waiting { .. });
        let old = self.outbox.iter().filter(waits).filter(|s| s.created_at < oldest);
        for id in old.map(|s| s.row.id).collect::<Vec<_>>() {
            self.settle(id, now, given_up(id));
        }
        let oldest = before(now, KEEP_MINUTES);
        self.minutes.retain(|(_, minute, _), _| *minute >= oldest);
        self.pruned_at = Some(now);
    }
}

fn same_incident(a: &OutboxRow, b: &OutboxRow) -> bool {
    a.channel == b.channel && a.message.incident == b.message.incident
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn claim(&self) -> Result<u64, JournalError> {
        let mut state = self.state();
        state.epoch += 1;
        Ok(state.epoch)
    }

    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        self.state().commit(epoch, commit)
    }

    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
        Ok(self.state().records.iter().filter(|record| record.stream == *stream).cloned().collect())
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
        let state = self.state();
        let matching = state.records.iter().map(|r| &r.stream).filter(|s| s.as_str().starts_with(prefix));
        let mut streams: Vec<_> = matching.cloned().collect();
        streams.sort();
        streams.dedup();
        Ok(streams)
    }

    async fn head(&self) -> Result<Head, JournalError> {
        Ok(self.state().tail.clone())
    }

    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.state().receive(item)
    }

    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        let state = self.state();
        let open = state.inbox.iter().filter(|item| item.folded_at.is_none());
        Ok(open.take(limit).map(|item| item.row.clone()).collect())
    }

    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        let mut state = self.state();
        state.prune(now);
        let due = state.outbox.iter().filter(|sending| state.is_due(sending, now));
        Ok(due.take(limit).map(|sending| sending.row.clone()).collect())
    }

    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        let mut state = self.state();
        state.check_epoch(epoch)?;
        state.settle(id, now, delivery);
        Ok(())
    }

    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        let state = self.state();
        Ok(state.outbox.iter().filter(|s| matches!(s.progress, Progress::Waiting { .. })).count())
    }

    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        self.state().check_epoch(epoch)?;
        let Some(newest) = rows.iter().map(|row| row.minute).max() else { return Ok(()) };
        let mut state = self.state();
        for row in rows {
            let key = (target.clone(), row.minute, row.rule.clone());
            match state.minutes.entry(key) {
                Entry::Vacant(free) => drop(free.insert(row)),
                Entry::Occupied(mut known) => add_minute(known.get_mut(), &row),
            }
        }
        let oldest = before(newest, KEEP_MINUTES);
        state.minutes.retain(|(of, minute, _), _| of != target || *minute >= oldest);
        Ok(())
    }

    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        let state = self.state();
        let rows = state.minutes.iter().filter(|((of, minute, _), _)| of == target && *minute >= since);
        Ok(rows.map(|(_, row)| row.clone()).collect())
    }
    async fn epoch(&self) -> Result<u64, JournalError> {
        Ok(self.state().epoch)
    }

    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError> {
        let mut state = self.state();
        state.check_epoch(epoch)?;
        state.published = Some(shown);
        Ok(())
    }

    async fn published(&self) -> Result<Option<Published>, JournalError> {
        Ok(self.state().published.clone())
    }
}
