//! Delivers what is enqueued: at least once, in order per incident and channel, without ever holding up a rollback.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::current::Notifiers;
use super::ledger::Ledger;
use super::notes::Notes;
use super::snapshot::{Health, Picture};
use crate::domain::event::ToldEvent;
use crate::domain::head::HeadMark;
use crate::domain::message::Message;
use crate::ports::{Clock, Delivered, Delivery, Journal, Notifier, NotifyError, OutboxRow};
use crate::telemetry::{Metric, label};

/// Deliveries taken at once.
const BATCH: usize = 64;
/// Without a hint the outbox is looked at this often, for retries and repeated pages.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Back-off between attempts, doubling.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

#[derive(Clone)]
pub struct Outbox {
    pub journal: Arc<dyn Journal>,
    pub notifiers: Notifiers,
    pub clock: Arc<dyn Clock>,
    pub ledger: Ledger,
    pub picture: Picture,
    pub unsettled: Unsettled,
}

/// What was done and could not be noted down: it is noted down later, not done again.
#[derive(Clone, Default)]
pub struct Unsettled {
    deliveries: Arc<Mutex<BTreeMap<i64, Delivery>>>,
    notes: Notes,
}

/// Effects of one delivery, each noted down before the next: the message itself, and those that it changes.
const EFFECTS_MAX: usize = 16;

impl Outbox {
    /// Channels do not wait for each other: one that is slow or paced holds up only its own messages.
    pub async fn run(self, stop: CancellationToken) {
        let (mut work, mut busy, mut resting) = (FuturesUnordered::new(), BTreeMap::new(), Vec::new());
        loop {
            for (channel, rows) in self.due(&busy).await {
                busy.insert(channel.clone(), rows.len());
                let delivering = self.deliver_all(rows);
                work.push(async move { (channel, delivering.await) });
            }
            let wake = self.clock.now().saturating_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
            // A delivery that is cut off is repeated by the next life: nobody out there holds up the end.
            tokio::select! {
                biased;
                Some((channel, any)) = work.next() => {
                    if any { busy.remove(&channel); } else { resting.push(channel); }
                    self.show_depth().await;
                    continue;
                }
                () = self.ledger.enqueued() => {}
                () = self.clock.sleep_until(wake) => {}
                () = stop.cancelled() => return,
            }
            for channel in resting.drain(..) {
                busy.remove(&channel);
            }
        }
    }

    /// Delivers what is due now; true when some of it is done with, so that more may be due.
    pub async fn deliver_due(&self) -> bool {
        let due = self.due(&BTreeMap::new()).await;
        let settled = join_all(due.into_values().map(|rows| self.deliver_all(rows))).await;
        self.show_depth().await;
        settled.into_iter().any(|any| any)
    }

    /// What is due, by channel. `busy` are those that are delivering, each with how many; they keep their order.
    async fn due(&self, busy: &BTreeMap<String, usize>) -> BTreeMap<String, Vec<OutboxRow>> {
        let limit = BATCH + busy.values().sum::<usize>();
        let rows = match self.journal.outbox(self.clock.now(), limit).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                Vec::new()
            }
        };
        let mut by_channel: BTreeMap<String, Vec<OutboxRow>> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| !busy.contains_key(&row.channel)) {
            by_channel.entry(row.channel.clone()).or_default().push(row);
        }
        by_channel
    }

    async fn deliver_all(&self, rows: Vec<OutboxRow>) -> bool {
        let mut any = false;
        for row in rows {
            let made = self.unsettled().remove(&row.id);
            let delivery = match made {
                Some(delivery) => delivery,
                None => self.deliver(&row).await,
            };
            match self.journal.settle(self.ledger.epoch(), row.id, self.clock.now(), delivery.clone()).await {
                Ok(()) => any = true,
                Err(error) => {
                    tracing::error!(%error, "a delivery cannot be noted down yet");
                    self.unsettled().insert(row.id, delivery);
                }
            }
        }
        any
    }

    fn show_channel(&self, channel: &str, failed: Option<&NotifyError>, now: Timestamp) {
        let detail = failed.map(ToString::to_string).unwrap_or_default();
        self.picture.change(|s| {
            let health = Health::turn(s.channels.get(channel), failed.is_none(), detail, now);
            s.channels.insert(channel.to_string(), health);
        });
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeMap<i64, Delivery>> {
        self.unsettled.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, row: &OutboxRow) -> Delivery {
        let notifiers = self.notifiers.get();
        let Some(notifier) = notifiers.iter().find(|n| n.channel() == row.channel) else {
            return Delivery::Dropped { why: format!("channel {} is no longer configured", row.channel) };
        };
        let now = self.clock.now();
        let channel = || vec![label("channel", &row.channel)];
        let message = self.anchored(&row.message).await;
        let outcome = self.hand_over(notifier.as_ref(), &message, now).await;
        self.show_channel(&row.channel, outcome.as_ref().err(), now);
        match outcome {
            Ok(delivered) => {
                Metric::NotificationsTotal.add(1, channel());
                match delivered {
                    Delivered::Once | Delivered::Noted(_) => Delivery::Done,
                    Delivered::RepeatAfter(wait) => Delivery::Repeat { at: later(now, wait) },
                }
            }
            Err(NotifyError::Retry { why, after, .. }) => {
                Metric::NotificationsFailedTotal.add(1, channel());
                tracing::warn!(
                    channel = row.channel,
                    attempt = row.attempts + 1,
                    why,
                    "a message was not taken"
                );
                Delivery::Retry { at: later(now, after.unwrap_or_else(|| back_off(row.attempts))), why }
            }
            Err(NotifyError::Refused { why, .. }) => {
                Metric::NotificationsFailedTotal.add(1, channel());
                tracing::error!(
                    channel = row.channel,
                    message = row.message.key,
                    why,
                    "a message was refused for good"
                );
                Delivery::Dropped { why }
            }
        }
    }

    /// A channel that keeps notes is asked to go on until it is done, and each note is written down before it goes on.
    async fn hand_over(
        &self,
        notifier: &dyn Notifier,
        message: &Message,
        now: Timestamp,
    ) -> Result<Delivered, NotifyError> {
        if !notifier.keeps_notes() {
            return notifier.deliver(message, now).await;
        }
        let (channel, incident) = (notifier.channel(), message.incident.as_str());
        let (journal, notes) = (self.journal.as_ref(), &self.unsettled.notes);
        let retry = |why: String| NotifyError::Retry { channel: channel.to_string(), why, after: None };
        for _ in 0..EFFECTS_MAX {
            let known = notes.of(journal, channel, incident).await.map_err(|e| retry(e.to_string()))?;
            match notifier.deliver_noted(message, &known, now).await? {
                Delivered::Noted(note) => {
                    let noted = ToldEvent::Noted { channel: channel.to_string(), note };
                    notes.add(journal, self.ledger.epoch(), now, incident, noted).await;
                }
                done @ (Delivered::Once | Delivered::RepeatAfter(_)) => return Ok(done),
            }
        }
        Err(retry(format!("it is not done after {EFFECTS_MAX} requests")))
    }

    /// A final message carries the journal's head out of the house. Another delivery of the same message may name a later
    /// head, which proves no less; and a journal that cannot be read holds up no message.
    async fn anchored<'a>(&self, message: &'a Message) -> Cow<'a, Message> {
        if !message.is_final() {
            return Cow::Borrowed(message);
        }
        let Ok(head) = self.journal.head().await else { return Cow::Borrowed(message) };
        let mut message = message.clone();
        message.lines.push(format!("Journal: {}", HeadMark::short(head.seq, &head.hash)));
        Cow::Owned(message)
    }

    async fn show_depth(&self) {
        if let Ok(depth) = self.journal.outbox_depth().await {
            Metric::OutboxWaiting.set(depth as f64, vec![]);
            self.picture.change(|s| s.outbox_waiting = depth);
        }
    }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn back_off(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.min(12)).min(RETRY_MAX)
}
