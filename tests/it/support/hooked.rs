//! The real journal with a hook before and after every durable write.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::event::{Record, StreamId};
use rollguard::domain::names::TargetId;
use rollguard::ports::{
    Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow, Published,
    Received,
};

/// A durable write of a process.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Claim,
    Commit { epoch: u64, commit: Commit },
    Settle { epoch: u64, id: i64, at: Timestamp, delivery: Delivery },
    Receive(InboxItem),
    Minutes { epoch: u64, target: TargetId, rows: Vec<MinuteRow> },
}

impl Write {
    /// The epoch that it is written in, of all that name one.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match self {
            Write::Commit { epoch, .. } | Write::Settle { epoch, .. } | Write::Minutes { epoch, .. } => {
                Some(*epoch)
            }
            Write::Claim | Write::Receive(_) => None,
        }
    }
}

#[async_trait]
pub(crate) trait Hook: Send + Sync {
    /// An error keeps it from being written.
    async fn before(&self, write: &Write) -> Result<(), JournalError>;
    /// It is durable now; an error hides that from the writer.
    async fn after(&self, write: Write) -> Result<(), JournalError>;
}

pub(crate) struct Hooked<H> {
    inner: Arc<MemoryJournal>,
    hook: H,
}

impl<H: Hook> Hooked<H> {
    pub(crate) fn new(inner: Arc<MemoryJournal>, hook: H) -> Self {
        Self { inner, hook }
    }

    async fn write<T>(
        &self,
        write: Write,
        inner: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        self.hook.before(&write).await?;
        let done = inner.await?;
        self.hook.after(write).await?;
        Ok(done)
    }
}

#[async_trait]
impl<H: Hook> Journal for Hooked<H> {
    async fn claim(&self) -> Result<u64, JournalError> {
        self.write(Write::Claim, self.inner.claim()).await
    }
    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        let write = Write::Commit { epoch, commit: commit.clone() };
        self.write(write, self.inner.commit(epoch, commit)).await
    }
    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        at: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        let write = Write::Settle { epoch, id, at, delivery: delivery.clone() };
        self.write(write, self.inner.settle(epoch, id, at, delivery)).await
    }
    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.write(Write::Receive(item.clone()), self.inner.receive(item)).await
    }
    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        let write = Write::Minutes { epoch, target: target.clone(), rows: rows.clone() };
        self.write(write, self.inner.save_minutes(epoch, target, rows)).await
    }
    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
        self.inner.read(stream).await
    }
    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
        self.inner.streams(prefix).await
    }
    async fn head(&self) -> Result<Head, JournalError> {
        self.inner.head().await
    }
    async fn epoch(&self) -> Result<u64, JournalError> {
        self.inner.epoch().await
    }
    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError> {
        self.inner.publish(epoch, shown).await
    }
    async fn published(&self) -> Result<Option<Published>, JournalError> {
        self.inner.published().await
    }
    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        self.inner.inbox(limit).await
    }
    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        self.inner.outbox(now, limit).await
    }
    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        self.inner.outbox_depth().await
    }
    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        self.inner.minutes(target, since).await
    }
}
