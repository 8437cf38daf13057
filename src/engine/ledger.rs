//! The one way into the journal: events and the messages that they cause, in one durable commit.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::alarm::Outage;
use super::current::Notifiers;
use super::snapshot::{Health, Picture};
use crate::domain::event::{HouseEvent, RunEvent, StreamId, TargetEvent, to_parts};
use crate::domain::message::Message;
use crate::domain::names::TargetId;
use crate::ports::{Clock, Commit, Journal, JournalError, NewRecord, Outgoing};
use crate::telemetry::{Metric, Stopwatch};

/// One event with the stream that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    Run { run: String, event: RunEvent },
    Target { target: TargetId, event: TargetEvent },
    House { event: HouseEvent },
}

/// Writes as the holder of one epoch. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    journal: Arc<dyn Journal>,
    notifiers: Notifiers,
    clock: Arc<dyn Clock>,
    picture: Picture,
    epoch: u64,
    enqueued: Arc<Notify>,
    outage: Arc<Outage>,
    stop: CancellationToken,
}

/// Between attempts to write a journal that cannot be written. Nothing is done meanwhile: it comes before every effect.
const RETRY: Duration = Duration::from_secs(1);

impl Ledger {
    pub fn new(
        journal: Arc<dyn Journal>,
        notifiers: impl Into<Notifiers>,
        clock: Arc<dyn Clock>,
        picture: Picture,
        epoch: u64,
    ) -> Self {
        let ledger = Self {
            journal,
            notifiers: notifiers.into(),
            clock,
            picture,
            epoch,
            enqueued: Arc::new(Notify::new()),
            outage: Arc::default(),
            stop: CancellationToken::new(),
        };
        // The epoch was claimed by writing: a daemon is ready even if nothing happens after its start.
        ledger.shown(true, String::new());
        ledger
    }

    /// When `stop` is cancelled, a journal that cannot be written is no longer waited for.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Resolves when messages were enqueued since the last call.
    pub async fn enqueued(&self) {
        self.enqueued.notified().await;
    }

    /// Commits, and does not give up while the journal is unavailable.
    ///
    /// # Errors
    /// When another process has taken over, the journal is damaged, or it is unavailable while this process stops.
    pub async fn commit(
        &self,
        at: Timestamp,
        entries: &[Entry],
        messages: Vec<Message>,
        folded: Vec<i64>,
    ) -> Result<(), JournalError> {
        let events = entries.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let messages = self.address(messages);
        let any_messages = !messages.is_empty();
        let commit = Commit { at, events, messages, folded };
        loop {
            let began = Stopwatch::start();
            match self.journal.commit(self.epoch, commit.clone()).await {
                Ok(()) => break,
                Err(JournalError::Unavailable { why }) if !self.stop.is_cancelled() => {
                    self.unavailable(&why, began).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.shown(true, String::new());
        if let Some(over) = self.outage.ended(self.clock.now()) {
            self.enqueue(at, over).await;
        }
        if any_messages {
            self.enqueued.notify_one();
        }
        Ok(())
    }

    /// A message about the journal itself, which nothing depends on: what was to be written is written.
    async fn enqueue(&self, at: Timestamp, message: Message) {
        let commit = Commit { at, messages: self.address(vec![message]), ..Commit::default() };
        match self.journal.commit(self.epoch, commit).await {
            Ok(()) => self.enqueued.notify_one(),
            Err(error) => tracing::error!(%error, "nobody is told that the journal is written again"),
        }
    }

    async fn unavailable(&self, why: &str, began: Stopwatch) {
        Metric::JournalErrorsTotal.add(1, vec![]);
        self.shown(false, why.to_string());
        let after_ms = began.elapsed().as_millis();
        tracing::error!(why, after_ms, "the journal cannot be written: nothing is done until it can");
        self.outage.goes_on(&self.notifiers.get(), why, self.clock.now()).await;
        let again = self.clock.now().saturating_add(RETRY).unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = self.clock.sleep_until(again) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn shown(&self, up: bool, detail: String) {
        let now = self.clock.now();
        self.picture.change(|s| s.journal = Some(Health::turn(s.journal.as_ref(), up, detail, now)));
    }

    fn address(&self, messages: Vec<Message>) -> Vec<Outgoing> {
        let notifiers = self.notifiers.get();
        let to = |message: Message| {
            let wanting = notifiers.iter().filter(|n| n.wants(&message));
            let channels: Vec<_> = wanting.map(|n| n.channel().to_string()).collect();
            channels.into_iter().map(move |channel| Outgoing { channel, message: message.clone() })
        };
        messages.into_iter().flat_map(to).collect()
    }
}

fn record(entry: &Entry) -> Result<NewRecord, JournalError> {
    let (stream, parts) = match entry {
        Entry::Run { run, event } => (StreamId::run(run), to_parts(event)),
        Entry::Target { target, event } => (StreamId::target(target), to_parts(event)),
        Entry::House { event } => (StreamId::house(), to_parts(event)),
    };
    let (kind, body) = parts.map_err(|e| JournalError::Unavailable { why: e.to_string() })?;
    Ok(NewRecord { stream, kind, body })
}
