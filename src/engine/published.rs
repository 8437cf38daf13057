//! The picture of the replica that leads, for the others to show: written into the journal by the one, read by the others.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::snapshot::{Health, Picture, Snapshot, Viewer};
use crate::ports::{Clock, Journal, JournalError, Published};
use crate::telemetry::Stopwatch;

/// No picture is published more often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// One that does not change is published so often all the same: whoever cannot write must notice.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// An answer of the journal takes no longer than this.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Why a replica must not go on leading.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the journal could not be written for {} s", .0.as_secs())]
    Away(Duration),
    #[error(transparent)]
    Journal(JournalError),
}

/// Publishes what this replica sees for as long as it leads.
pub struct Publisher {
    pub journal: Arc<dyn Journal>,
    pub viewer: Viewer,
    pub clock: Arc<dyn Clock>,
    pub epoch: u64,
    /// A leader without a journal can do nothing: after so long it lets another one try.
    pub away_max: Duration,
}

impl Publisher {
    /// # Errors
    /// When the journal is not ours any more, or was away for too long.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PublishError> {
        let (mut written, mut shown) = (Stopwatch::start(), None::<Stopwatch>);
        let mut ticks = tokio::time::interval(PUBLISH_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let is_old = shown.is_none_or(|shown| shown.elapsed() >= AGAIN_AFTER);
            if !self.viewer.has_changed() && !is_old {
                continue;
            }
            match self.publish().await {
                Ok(()) => (written, shown) = (Stopwatch::start(), Some(Stopwatch::start())),
                Err(JournalError::Unavailable { why }) => {
                    shown = None;
                    tracing::warn!(why, "what this replica sees cannot be shown to the others");
                }
                Err(error) => return Err(PublishError::Journal(error)),
            }
            if written.elapsed() >= self.away_max {
                return Err(PublishError::Away(self.away_max));
            }
        }
    }

    async fn publish(&self) -> Result<(), JournalError> {
        let unreadable = |e: serde_json::Error| JournalError::Unavailable { why: e.to_string() };
        let picture = self.viewer.look(|seen| serde_json::to_value(seen)).map_err(unreadable)?;
        let shown = Published { at: self.clock.now(), picture };
        in_time(self.journal.publish(self.epoch, shown)).await
    }
}

/// Shows the leader's picture as our own; answers whether the journal could be read.
pub async fn mirror(journal: &dyn Journal, picture: &Picture, now: Timestamp) -> bool {
    let read = in_time(journal.published()).await;
    let (up, why) = match &read {
        Ok(_) => (true, String::new()),
        Err(error) => (false, error.to_string()),
    };
    let theirs = read.ok().flatten().and_then(|shown| match serde_json::from_value(shown.picture) {
        Ok(theirs) => Some((shown.at, theirs)),
        Err(error) => {
            tracing::warn!(%error, "what the leader shows cannot be read: is it of another version?");
            None
        }
    });
    picture.change(|ours| {
        if let Some((at, theirs)) = theirs {
            let (config, mut leadership) = (ours.config.take(), ours.leadership.take());
            if let Some(leadership) = &mut leadership {
                leadership.shown_at = Some(at);
            }
            let journal = ours.journal.take();
            *ours = Snapshot { config, leadership, journal, ..theirs };
        }
        ours.journal = Some(Health::turn(ours.journal.as_ref(), up, why, now));
    });
    up
}

/// A journal behind a network that swallows everything does not answer at all.
async fn in_time<T>(answer: impl Future<Output = Result<T, JournalError>>) -> Result<T, JournalError> {
    let late = |_| JournalError::Unavailable { why: format!("no answer within {} s", ANSWER_MAX.as_secs()) };
    tokio::time::timeout(ANSWER_MAX, answer).await.map_err(late)?
}
