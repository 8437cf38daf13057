//! The outbox over a journal that can be read and not written: nobody is told the same thing in a loop.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::event::{Record, StreamId};
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::{ServiceName, TargetId};
use rollguard::engine::clock::SystemClock;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::outbox::{Outbox, Unsettled};
use rollguard::engine::snapshot::Picture;
use rollguard::ports::{
    Clock, Commit, Delivered, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow,
    Notifier, NotifyError, OutboxRow, Outgoing, Published, Received,
};

/// A journal on a disk that may be full.
#[derive(Default)]
struct Disk {
    journal: MemoryJournal,
    full: AtomicBool,
}

#[async_trait]
impl Journal for Disk {
    async fn claim(&self) -> Result<u64, JournalError> {
        self.journal.claim().await
    }
    async fn commit(&self, epoch: u64, commit: Commit) -> Result<(), JournalError> {
        self.journal.commit(epoch, commit).await
    }
    async fn read(&self, stream: &StreamId) -> Result<Vec<Record>, JournalError> {
        self.journal.read(stream).await
    }
    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, JournalError> {
        self.journal.streams(prefix).await
    }
    async fn head(&self) -> Result<Head, JournalError> {
        self.journal.head().await
    }
    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        self.journal.receive(item).await
    }
    async fn inbox(&self, limit: usize) -> Result<Vec<InboxRow>, JournalError> {
        self.journal.inbox(limit).await
    }
    async fn outbox(&self, now: Timestamp, limit: usize) -> Result<Vec<OutboxRow>, JournalError> {
        self.journal.outbox(now, limit).await
    }
    async fn settle(
        &self,
        epoch: u64,
        id: i64,
        now: Timestamp,
        delivery: Delivery,
    ) -> Result<(), JournalError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(JournalError::Unavailable { why: "the disk is full".into() });
        }
        self.journal.settle(epoch, id, now, delivery).await
    }
    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        self.journal.outbox_depth().await
    }
    async fn save_minutes(
        &self,
        epoch: u64,
        target: &TargetId,
        rows: Vec<MinuteRow>,
    ) -> Result<(), JournalError> {
        self.journal.save_minutes(epoch, target, rows).await
    }
    async fn minutes(&self, target: &TargetId, since: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        self.journal.minutes(target, since).await
    }
    async fn epoch(&self) -> Result<u64, JournalError> {
        self.journal.epoch().await
    }
    async fn publish(&self, epoch: u64, shown: Published) -> Result<(), JournalError> {
        self.journal.publish(epoch, shown).await
    }
    async fn published(&self) -> Result<Option<Published>, JournalError> {
        self.journal.published().await
    }
}

#[derive(Default)]
struct Chat(AtomicUsize);

#[async_trait]
impl Notifier for Chat {
    fn channel(&self) -> &str {
        "chat"
    }
    fn wants(&self, _: &Message) -> bool {
        true
    }
    async fn deliver(&self, _: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Delivered::Once)
    }
}

#[tokio::test]
async fn a_full_disk_repeats_no_message() {
    let (disk, chat) = (Arc::new(Disk::default()), Arc::new(Chat::default()));
    let (journal, clock): (Arc<dyn Journal>, Arc<dyn Clock>) = (disk.clone(), Arc::new(SystemClock));
    let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([chat.clone() as Arc<dyn Notifier>]);
    let epoch = journal.claim().await.unwrap();
    let message = Message {
        key: "i/note".into(),
        incident: "i".into(),
        kind: MessageKind::Note,
        service: ServiceName::parse("shop").unwrap(),
        title: "[NOTE]".into(),
        lines: vec![],
        targets: vec![],
        code: None,
    };
    let messages = vec![Outgoing { channel: "chat".into(), message }];
    journal.commit(epoch, Commit { at: clock.now(), messages, ..Commit::default() }).await.unwrap();
    let picture = Picture::default();
    let ledger = Ledger::new(journal.clone(), notifiers.clone(), clock.clone(), picture.clone(), epoch);
    let outbox = Outbox {
        journal,
        notifiers: notifiers.into(),
        clock,
        ledger,
        picture,
        unsettled: Unsettled::default(),
    };

    disk.full.store(true, Ordering::SeqCst);
    assert!(!outbox.deliver_due().await, "nothing is done with, so nothing more is due at once");
    assert!(!outbox.deliver_due().await);
    disk.full.store(false, Ordering::SeqCst);
    assert!(outbox.deliver_due().await);
    assert_eq!(chat.0.load(Ordering::SeqCst), 1);
    assert_eq!(disk.outbox_depth().await, Ok(0));
}
