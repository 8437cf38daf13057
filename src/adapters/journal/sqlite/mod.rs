//! The journal in one SQLite file with write-ahead logging, synced before anything is answered.
mod audit;
mod error;
mod inbox;
mod minutes;
mod number;
mod open;
mod outbox;
mod published;
mod records;
mod schema;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::path::Path;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::chain::Tail;
use super::{KEEP_DONE, KEEP_MINUTES, before, noted, prune_is_due, timed};
use crate::domain::event::{Record, StreamId};
use crate::domain::names::TargetId;
use crate::ports::{
    Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow, Published,
    Received,
};
pub use audit::SqliteAudit;
use writer::{Job, Store};

/// Requests that wait for the writer; more callers wait for their turn.
const QUEUE: usize = 1024;
/// Records that [`SqliteJournal::verify`] checks before it lets others write.
const VERIFY_AT_ONCE: u64 = 1000;

/// `journal.db` in a state directory that no other process can use meanwhile.
pub struct SqliteJournal {
    /// `None` only while being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteJournal {
    /// Opens the journal in `dir`, or creates it if the directory has none.
    ///
    /// # Errors
    /// When the file cannot be used, is damaged, was written by a newer version, or belongs to another process.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let store = open::open(dir)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("journal".into()).spawn(move || writer::run(store, queue));
        let thread = thread.map_err(|e| JournalError::Unavailable {
            why: format!("its thread cannot be started: {e}; raise the limit on threads"),
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Checks every record and the whole chain; returns how many records there are.
    ///
    /// # Errors
    /// The first record that is damaged or not ours to read.
    pub async fn verify(&self) -> Result<u64, JournalError> {
        let mut tail = Tail::default();
        loop {
            let from = tail.clone();
            let work = move |store: &mut Store| records::check_after(&store.conn, from, VERIFY_AT_ONCE);
            let reached = self.ask(work).await?;
            if reached.seq < tail.seq + VERIFY_AT_ONCE {
                return Ok(reached.seq);
            }
            tail = reached;
        }
    }

    /// Runs `work` in the writer's next transaction and returns its result when that is durable.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let gone = || JournalError::Unavailable { why: "its thread has ended: restart, see the log".into() };
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(writer::job(work, reply)).await.map_err(|_| gone())?;
        noted(answer.await.unwrap_or_else(|_| Err(gone())))
    }

    /// As [`Self::ask`], measured.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        timed(self.ask(work)).await
    }
}

impl Drop for SqliteJournal {
    /// Everything that was asked for is written, and the directory is free again.
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread panicked");
        }
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn claim(&self) -> Result<u64, JournalError> {
        self.write(records::claim).await
    }

    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        self.write(move |store| {
            records::check_epoch(store, epoch)?;
            records::append(store, epoch, commit.at, &commit.events)?;
            outbox::enqueue(store, &commit.messages, commit.at)?;
            inbox::fold(store, &commit.folded, commit.at)
        })
        .await
    }

    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
        let stream = stream.clone();
        self.ask(move |store| records::read(store, &stream)).await
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
        let prefix = prefix.to_string();
        self.ask(move |store| records::streams(store, &prefix)).await
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.ask(|store| Ok(store.known.tail.clone())).await
    }

    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.write(move |store| inbox::receive(store, &item)).await
    }

    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        self.ask(move |store| inbox::unfolded(store, limit)).await
    }

    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        self.ask(move |store| {
            prune(store, now)?;
            outbox::due(store, now, limit)
        })
        .await
    }

    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        self.write(move |store| {
            records::check_epoch(store, epoch)?;
            outbox::settle(store, id, now, &delivery)
        })
        .await
    }

    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        self.ask(|store| outbox::depth(store)).await
    }

    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        let target = target.clone();
        self.write(move |store| {
            records::check_epoch(store, epoch)?;
            minutes::save(store, &target, &rows)
        })
        .await
    }

    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        let target = target.clone();
        self.ask(move |store| minutes::since(store, &target, since)).await
    }

    async fn epoch(&self) -> Result<u64, JournalError> {
        self.ask(|store| records::epoch(store)).await
    }

    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError> {
        self.write(move |store| {
            records::check_epoch(store, epoch)?;
            published::save(store, &shown)
        })
        .await
    }

    async fn published(&self) -> Result<Option<Published>, JournalError> {
        self.ask(|store| published::load(store)).await
    }
}

/// Once after the start and then daily; here, because asking what is due is the one call that brings the time regularly.
fn prune(store: &mut Store, now: Timestamp) -> Result<(), JournalError> {
    if !prune_is_due(store.known.pruned_at, now) {
        return Ok(());
    }
    inbox::prune(store, before(now, KEEP_DONE))?;
    outbox::prune(store, before(now, KEEP_DONE), now)?;
    minutes::prune(store, before(now, KEEP_MINUTES))?;
    store.known.pruned_at = Some(now);
    Ok(())
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
