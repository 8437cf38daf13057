//! The generic webhook: every message as a CloudEvent, signed.
use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;

use super::post::{Post, final_answer};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::message::{Message, MessageKind};
use crate::domain::release::hex;
use crate::ports::{Delivered, Notifier, NotifyError};

/// Receivers recompute `v1=` + hex HMAC-SHA256 of `v1:{timestamp}:{body}`, and refuse timestamps that are minutes off.
const SIGNATURE: &str = "X-Rollguard-Signature";
const TIMESTAMP: &str = "X-Rollguard-Timestamp";

/// One receiver of signed CloudEvents.
#[derive(Debug)]
pub struct Webhook {
    channel: String,
    url: Endpoint,
    signer: Hmac<Sha256>,
    client: Client,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Url(#[from] EndpointError),
    #[error("the signing secret is empty: anybody could forge messages; use 32 random bytes or more")]
    EmptySecret,
}

impl Webhook {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When `url` is no http(s) URL or the secret is empty.
    pub fn new(
        channel: &str,
        url: &SecretString,
        secret: &SecretString,
        client: Client,
    ) -> Result<Self, WebhookError> {
        let url = Endpoint::parse(url.expose_secret())?;
        let key = secret.expose_secret().as_bytes();
        if key.is_empty() {
            return Err(WebhookError::EmptySecret);
        }
        let signer = Hmac::new_from_slice(key).map_err(|_| WebhookError::EmptySecret)?;
        Ok(Self { channel: channel.to_string(), url, signer, client })
    }

    fn signature(&self, timestamp: i64, body: &str) -> String {
        let mut signer = self.signer.clone();
        signer.update(format!("v1:{timestamp}:{body}").as_bytes());
        format!("v1={}", hex(&signer.finalize().into_bytes()))
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        message.kind != MessageKind::Trace
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let (timestamp, body) = (now.as_second(), event(message, now).to_string());
        let request = self
            .client
            .post(self.url.url())
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, self.signature(timestamp, &body))
            .body(body);
        Post { channel: &self.channel, request, now }.send(final_answer).await?;
        Ok(Delivered::Once)
    }
}

/// CloudEvents 1.0. A repeated delivery has the same `source` and `id`, so receivers can drop it.
fn event(message: &Message, now: Timestamp) -> Value {
    let kind = message.kind.as_str();
    let mut event = json!({
        "specversion": "1.0",
        "id": message.key,
        "source": "rollguard",
        "type": format!("io.rollguard.{kind}.v1"),
        "subject": message.service,
        "time": now,
        "datacontenttype": "application/json",
        "data": {
            "incident": message.incident,
            "kind": kind,
            "service": message.service,
            "title": message.title,
            "lines": message.lines,
            "targets": message.targets,
            "code": message.code,
        },
    });
    if let Some(facts) = &message.facts {
        event["data"]["facts"] = json!(facts);
    }
    event
}
