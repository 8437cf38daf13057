//! The outbox over a journal that can be read and not written: nobody is told the same thing in a loop.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::code::Code;
use rollguard::domain::event::{Record, StreamId};
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::{ServiceName, TargetId};
use rollguard::engine::clock::SystemClock;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::outbox::{Outbox, Unsettled};
use rollguard::engine::snapshot::Picture;
use rollguard::ports::{
    Clock, Commit, Delivered, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow,
    NewRecord, Notifier, NotifyError, OutboxRow, Outgoing, Published, Received,
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
struct Chat {
    taken: AtomicUsize,
    last: Mutex<Option<Message>>,
}

#[async_trait]
impl Notifier for Chat {
    fn channel(&self) -> &str {
        "chat"
    }
    fn wants(&self, _: &Message) -> bool {
        true
    }
    async fn deliver(&self, message: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        self.taken.fetch_add(1, Ordering::SeqCst);
        *self.last.lock().unwrap() = Some(message.clone());
        Ok(Delivered::Once)
    }
}

fn message(what: &str, kind: MessageKind, code: Option<Code>) -> Outgoing {
    let message = Message {
        key: format!("i/{what}"),
        incident: "i".into(),
        kind,
        service: ServiceName::parse("shop").unwrap(),
        title: format!("[{what}]"),
        lines: vec![],
        targets: vec![],
        code,
        facts: None,
        level: 0,
    };
    Outgoing { channel: "chat".into(), message }
}

/// An outbox that has this to deliver.
async fn outbox(disk: &Arc<Disk>, chat: &Arc<Chat>, commit: Commit) -> Outbox {
    let (journal, clock): (Arc<dyn Journal>, Arc<dyn Clock>) = (disk.clone(), Arc::new(SystemClock));
    let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([chat.clone() as Arc<dyn Notifier>]);
    let epoch = journal.claim().await.unwrap();
    journal.commit(epoch, Commit { at: clock.now(), ..commit }).await.unwrap();
    let picture = Picture::default();
    let ledger = Ledger::new(journal.clone(), notifiers.clone(), clock.clone(), picture.clone(), epoch);
    let notifiers = notifiers.into();
    Outbox { journal, notifiers, clock, ledger, picture, unsettled: Unsettled::default() }
}

#[tokio::test]
async fn a_full_disk_repeats_no_message() {
    let (disk, chat) = (Arc::new(Disk::default()), Arc::new(Chat::default()));
    let messages = vec![message("note", MessageKind::Note, None)];
    let outbox = outbox(&disk, &chat, Commit { messages, ..Commit::default() }).await;

    disk.full.store(true, Ordering::SeqCst);
    assert!(!outbox.deliver_due().await, "nothing is done with, so nothing more is due at once");
    assert!(!outbox.deliver_due().await);
    disk.full.store(false, Ordering::SeqCst);
    assert!(outbox.deliver_due().await);
    assert_eq!(chat.taken.load(Ordering::SeqCst), 1);
    assert_eq!(disk.outbox_depth().await, Ok(0));
}

#[tokio::test]
async fn a_final_message_carries_the_head_of_the_journal() {
    let record =
        NewRecord { stream: StreamId::run("r"), kind: "opened".into(), body: serde_json::json!({"n": 1}) };
    for (kind, code, is_final) in [
        (MessageKind::Resolve, Code::PageOver, true),
        (MessageKind::Note, Code::RollbackDenied, true),
        (MessageKind::Action, Code::RollbackStarted, false),
    ] {
        let (disk, chat) = (Arc::new(Disk::default()), Arc::new(Chat::default()));
        let messages = vec![message("it", kind, Some(code))];
        let commit = Commit { messages, events: vec![record.clone()], ..Commit::default() };
        assert!(outbox(&disk, &chat, commit).await.deliver_due().await);
        let head = disk.head().await.unwrap();
        let line = format!("Journal: 1:{}", &head.hash[..16]);
        let told = chat.last.lock().unwrap().take().unwrap();
        assert_eq!(told.lines, if is_final { vec![line] } else { vec![] }, "{code:?}");
    }
}
