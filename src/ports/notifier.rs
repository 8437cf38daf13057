//! The port to one channel that people are told through.
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::message::Message;

/// Delivers messages to one channel.
#[async_trait]
pub trait Notifier: Send + Sync {
    fn channel(&self) -> &str;
    /// Whether this channel takes messages of this kind.
    fn wants(&self, message: &Message) -> bool;
    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError>;
    /// Whether it goes on where it began: then it delivers by [`Notifier::deliver_noted`].
    fn keeps_notes(&self) -> bool {
        false
    }
    /// The same for a channel that edits or answers what it said before. `notes` are its own about this incident, oldest first.
    async fn deliver_noted(
        &self,
        message: &Message,
        _notes: &[String],
        now: Timestamp,
    ) -> Result<Delivered, NotifyError> {
        self.deliver(message, now).await
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    Once,
    /// Deliver it again after this time, until the incident closes.
    RepeatAfter(Duration),
    /// One effect was had, of which this is to be remembered; then it is asked to go on.
    Noted(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    #[error("{channel} did not take the message, it will be tried again: {why}")]
    Retry { channel: String, why: String, after: Option<Duration> },
    #[error("{channel} refused the message for good: {why}")]
    Refused { channel: String, why: String },
}
