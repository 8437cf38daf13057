//! The journal in a Postgres database that several replicas share, durable there before anything is answered.
mod audit;
mod connection;
mod error;
mod inbox;
mod meta;
mod minutes;
mod outbox;
mod published;
mod records;
mod schema;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::chain::Tail;
use super::{KEEP_DONE, KEEP_MINUTES, before, noted, prune_is_due, timed};
pub use crate::adapters::tls::TlsMode;
use crate::domain::event::{Record, StreamId};
use crate::domain::names::TargetId;
use crate::ports::{
    Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow, Published,
    Received,
};
pub use audit::PostgresAudit;
pub use connection::PostgresOptions;
use writer::{Job, Kind, Store};

/// Requests that wait for the writer; more callers wait for their turn.
const QUEUE: usize = 1024;
/// Records that [`PostgresJournal::verify`] checks before it lets others write.
const VERIFY_AT_ONCE: u64 = 1000;

/// One schema of a database; every replica has one of these.
pub struct PostgresJournal {
    jobs: mpsc::Sender<Job>,
    pruned_at: Mutex<Option<Timestamp>>,
}

impl PostgresJournal {
    /// Opens the journal, or sets it up if the schema has none.
    ///
    /// # Errors
    /// When the database cannot be used, or the journal in it is damaged or was written by a newer version.
    pub async fn open(options: &PostgresOptions) -> Result<Self, JournalError> {
        let store = Store::open(options).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(writer::run(store, queue));
        Ok(Self { jobs, pruned_at: Mutex::default() })
    }

    /// Checks every record and the whole chain; returns how many records there are.
    ///
    /// # Errors
    /// The first record that is damaged or not ours to read.
    pub async fn verify(&self) -> Result<u64, JournalError> {
        let mut tail = Tail::default();
        loop {
            let from = tail.clone();
            let reached = self
                .read_with(move |store| {
                    Box::pin(
                        async move { records::check_after(store.session()?, from, VERIFY_AT_ONCE).await },
                    )
                })
                .await?;
            if reached.seq < tail.seq + VERIFY_AT_ONCE {
                return Ok(reached.seq);
            }
            tail = reached;
        }
    }

    async fn ask<T, W>(&self, kind: Kind, work: W) -> Result<T, JournalError>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store) -> BoxFuture<'a, Result<T, JournalError>> + Send + 'static,
    {
        let gone = || error::unavailable("its task has ended: restart, see the log");
        let (reply, answer) = oneshot::channel();
        let asked = self.jobs.send(Job::new(kind, work, reply)).await;
        asked.map_err(|_| gone())?;
        noted(answer.await.unwrap_or_else(|_| Err(gone())))
    }

    async fn read_with<T, W>(&self, work: W) -> Result<T, JournalError>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store) -> BoxFuture<'a, Result<T, JournalError>> + Send + 'static,
    {
        self.ask(Kind::Reads, work).await
    }

    /// Runs `work` in the writer's next transaction and returns its result when that is durable.
    async fn write<T, W>(&self, work: W) -> Result<T, JournalError>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store) -> BoxFuture<'a, Result<T, JournalError>> + Send + 'static,
    {
        timed(self.ask(Kind::Writes, work)).await
    }

    /// Once after the start and then daily; here, because asking what is due is the one call that brings the time regularly.
    async fn prune(&self, now: Timestamp) -> Result<(), JournalError> {
        if !prune_is_due(*self.pruned_at.lock().unwrap_or_else(PoisonError::into_inner), now) {
            return Ok(());
        }
        self.write(move |store| {
            Box::pin(async move {
                inbox::prune(store, before(now, KEEP_DONE)).await?;
                outbox::prune(store, before(now, KEEP_DONE), now).await?;
                minutes::prune(store, before(now, KEEP_MINUTES)).await?;
                meta::prune_writers(store.session()?).await
            })
        })
        .await?;
        *self.pruned_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }
}

#[async_trait]
impl Journal for PostgresJournal {
    async fn claim(&self) -> Result<u64, JournalError> {
        self.write(|store| {
            Box::pin(async move {
                store.meta.epoch += 1;
                Ok(store.meta.epoch)
            })
        })
        .await
    }

    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        let sent = Arc::new((epoch, commit));
        self.write(move |store| {
            Box::pin(async move {
                let (epoch, commit) = &*sent;
                store.check_epoch(*epoch)?;
                if store.has_landed(&sent) {
                    return Ok(());
                }
                records::append(store, *epoch, commit.at, &commit.events).await?;
                outbox::enqueue(store, &commit.messages, commit.at).await?;
                inbox::fold(store, &commit.folded, commit.at).await?;
                store.has_written(sent);
                Ok(())
            })
        })
        .await
    }

    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
        let stream = stream.clone();
        self.read_with(move |store| Box::pin(async move { records::read(store, &stream).await })).await
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
        let prefix = prefix.to_string();
        self.read_with(move |store| Box::pin(async move { records::streams(store, &prefix).await })).await
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.read_with(|store| Box::pin(async move { Ok(store.known().await?.tail) })).await
    }

    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.write(move |store| Box::pin(async move { inbox::receive(store, &item).await })).await
    }

    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        self.read_with(move |store| Box::pin(inbox::unfolded(store, limit))).await
    }

    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        self.prune(now).await?;
        let (found, dropped) = self.read_with(move |store| Box::pin(outbox::due(store, now, limit))).await?;
        for (id, delivery) in dropped {
            self.write(move |store| Box::pin(async move { outbox::settle(store, id, now, &delivery).await }))
                .await?;
        }
        Ok(found)
    }

    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        self.write(move |store| {
            Box::pin(async move {
                store.check_epoch(epoch)?;
                outbox::settle(store, id, now, &delivery).await
            })
        })
        .await
    }

    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        self.read_with(|store| Box::pin(outbox::depth(store))).await
    }

    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        let target = target.clone();
        self.write(move |store| {
            Box::pin(async move {
                store.check_epoch(epoch)?;
                minutes::save(store, &target, &rows).await
            })
        })
        .await
    }

    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        let target = target.clone();
        self.read_with(move |store| Box::pin(async move { minutes::since(store, &target, since).await }))
            .await
    }

    async fn epoch(&self) -> Result<u64, JournalError> {
        self.read_with(|store| Box::pin(async move { Ok(store.known().await?.epoch) })).await
    }

    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError> {
        self.write(move |store| {
            Box::pin(async move {
                store.check_epoch(epoch)?;
                published::save(store, &shown).await
            })
        })
        .await
    }

    async fn published(&self) -> Result<Option<Published>, JournalError> {
        self.read_with(|store| Box::pin(published::load(store))).await
    }
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
