//! Slack's incoming webhook: the message as blocks, with everything in it escaped.
mod api;
mod blocks;
pub mod bot;
mod thread;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::post::{Post, final_answer, reason};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::message::wording::Markup;
use crate::domain::message::{Message, MessageKind, Wording};
use crate::ports::{Delivered, Notifier, NotifyError};

/// One incoming webhook, that is: one Slack channel.
#[derive(Debug)]
pub struct Slack {
    channel: String,
    url: Endpoint,
    client: Client,
    wording: Arc<Wording>,
}

impl Slack {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When `url` is no http(s) URL.
    pub fn new(channel: &str, url: &SecretString, client: Client) -> Result<Self, EndpointError> {
        let url = Endpoint::parse(url.expose_secret())?;
        Ok(Self { channel: channel.to_string(), url, client, wording: Arc::default() })
    }

    /// The user's own words.
    #[must_use]
    pub fn worded(self, wording: Arc<Wording>) -> Self {
        Self { wording, ..self }
    }
}

#[async_trait]
impl Notifier for Slack {
    fn channel(&self) -> &str {
        &self.channel
    }

    /// The end of a page is for pagers: in the channel, the message that ended it stands beside it.
    fn wants(&self, message: &Message) -> bool {
        match message.kind {
            MessageKind::Action
            | MessageKind::Complete
            | MessageKind::Failed
            | MessageKind::Page
            | MessageKind::Ask
            | MessageKind::Note => true,
            MessageKind::Resolve | MessageKind::Trace => false,
        }
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let links = blocks::links(&self.wording.links(message));
        let body = blocks::body(&self.wording.say(message, Markup::Slack), links.into_iter().collect());
        let request = self.client.post(self.url.url()).json(&body);
        let response = Post { channel: &self.channel, request, now }.send(final_answer).await?;
        let status = response.status();
        match reason(response).await.as_deref() {
            Some("ok") if status == StatusCode::OK => Ok(Delivered::Once),
            said => Err(NotifyError::Refused {
                channel: self.channel.clone(),
                why: format!(
                    "HTTP {} without Slack's `ok`{}: check that the URL is an incoming webhook",
                    status.as_u16(),
                    said.map(|word| format!(" ({word})")).unwrap_or_default()
                ),
            }),
        }
    }
}
