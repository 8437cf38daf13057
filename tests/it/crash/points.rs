//! The points at which a process may die: fuel burns down at each, and at zero everything stands still for ever.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::domain::event::{Record, StreamId};
use rollguard::domain::names::TargetId;
use rollguard::ports::{
    Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow, Published,
    Received,
};
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Fuel {
    given: u32,
    left: AtomicU32,
    empty: Notify,
}

impl Fuel {
    pub(super) fn new(given: u32) -> Self {
        Self { given, left: AtomicU32::new(given), empty: Notify::new() }
    }

    /// One point. The process that has no fuel left dies here: what it would do next is never done.
    pub(super) async fn burn(&self) {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.empty.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn ran_out(&self) {
        self.empty.notified().await;
    }

    pub(super) fn burned(&self) -> u32 {
        self.given - self.left.load(Ordering::SeqCst)
    }
}

/// A journal with a point before and after every durable write.
pub(super) struct FueledJournal {
    inner: Arc<dyn Journal>,
    fuel: Arc<Fuel>,
}

impl FueledJournal {
    pub(super) fn new(inner: Arc<dyn Journal>, fuel: Arc<Fuel>) -> Self {
        Self { inner, fuel }
    }
}

#[async_trait]
impl Journal for FueledJournal {
    async fn claim(&self) -> Result<u64, JournalError> {
        self.inner.claim().await
    }
    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        self.fuel.burn().await;
        let result = self.inner.commit(epoch, commit).await;
        self.fuel.burn().await;
        result
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
    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.inner.receive(item).await
    }
    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        self.inner.inbox(limit).await
    }
    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        self.inner.outbox(now, limit).await
    }
    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        self.inner.settle(epoch, id, now, delivery).await
    }
    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        self.inner.outbox_depth().await
    }
    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        self.inner.save_minutes(epoch, target, rows).await
    }
    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        self.inner.minutes(target, since).await
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
}
