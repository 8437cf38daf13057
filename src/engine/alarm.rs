//! Tells people directly when the journal, and with it the outbox, cannot be used.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::domain::message::{Message, journal_unwritable, journal_writable};
use crate::ports::{Delivered, Notifier};

/// Shorter outages, such as a slow backup, are nobody's business.
const PAGE_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Between attempts to tell a channel that did not take the page.
const RETRY: Duration = Duration::from_secs(10);

/// What a channel asked for.
enum Told {
    Once,
    Again(Timestamp),
}

impl Told {
    fn is_due(&self, now: Timestamp) -> bool {
        match self {
            Told::Once => false,
            Told::Again(at) => now >= *at,
        }
    }
}

/// Tells every channel that wants it and is due by `told`.
async fn tell(
    notifiers: &[Arc<dyn Notifier>],
    message: &Message,
    now: Timestamp,
    told: &mut BTreeMap<String, Told>,
) {
    let due = |n: &&Arc<dyn Notifier>| {
        n.wants(message) && told.get(n.channel()).is_none_or(|told| told.is_due(now))
    };
    let deliver = async |n: &Arc<dyn Notifier>| (n.channel().to_string(), n.deliver(message, now).await);
    let outcomes = join_all(notifiers.iter().filter(due).map(deliver)).await;
    for (channel, outcome) in outcomes {
        let again = |wait| Told::Again(now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        let what = match outcome {
            Ok(Delivered::Once | Delivered::Noted(_)) => Told::Once,
            Ok(Delivered::RepeatAfter(wait)) => again(wait),
            Err(error) => {
                tracing::error!(%error, "nobody was told through this channel");
                again(RETRY)
            }
        };
        told.insert(channel, what);
    }
}

/// Tells all channels once, past the outbox: for a process that is about to end.
pub async fn tell_at_once(notifiers: &[Arc<dyn Notifier>], message: &Message, now: Timestamp) {
    tell(notifiers, message, now, &mut BTreeMap::new()).await;
}

/// A journal that cannot be written: people are told when it lasts, and when it is over.
#[derive(Default)]
pub(super) struct Outage(Mutex<Option<Lasting>>);

struct Lasting {
    since: Timestamp,
    told: BTreeMap<String, Told>,
}

impl Outage {
    /// Another attempt to write has failed. Of all that wait, one tells.
    pub(super) async fn goes_on(&self, notifiers: &[Arc<dyn Notifier>], why: &str, now: Timestamp) {
        let Ok(mut lasting) = self.0.try_lock() else { return };
        let Lasting { since, told } = lasting.get_or_insert(Lasting { since: now, told: BTreeMap::new() });
        if now.duration_since(*since) >= PAGE_AFTER {
            tell(notifiers, &journal_unwritable(why, *since), now, told).await;
        }
    }

    /// Something was written: what is to be told if people were paged, once.
    pub(super) fn ended(&self, now: Timestamp) -> Option<Message> {
        let lasting = self.0.try_lock().ok()?.take()?;
        (!lasting.told.is_empty()).then(|| journal_writable(lasting.since, now))
    }
}
