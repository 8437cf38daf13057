//! Pages through Opsgenie, thinly: Atlassian ends it in April 2027.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::pagerduty::key_of;
use super::post::Post;
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::message::wording::Markup;
use crate::domain::message::{Message, MessageKind, Wording};
use crate::ports::{Delivered, Notifier, NotifyError};

/// Opsgenie's limits, in characters.
const MESSAGE: usize = 130;
const ALIAS: usize = 512;
const DESCRIPTION: usize = 15_000;

#[derive(Debug)]
pub struct OpsgenieConfig {
    /// `https://api.opsgenie.com`, or `https://api.eu.opsgenie.com`.
    pub url: String,
    pub api_key: SecretString,
}

#[derive(Debug)]
pub struct Opsgenie {
    channel: String,
    alerts: Endpoint,
    api_key: SecretString,
    wording: Arc<Wording>,
    client: Client,
}

impl Opsgenie {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(
        channel: &str,
        config: OpsgenieConfig,
        wording: Arc<Wording>,
        client: Client,
    ) -> Result<Self, EndpointError> {
        let alerts = Endpoint::parse(&config.url)?.below(&["v2", "alerts"]);
        Ok(Self { channel: channel.to_string(), alerts, api_key: config.api_key, wording, client })
    }

    fn alert(&self, message: &Message, alias: &str) -> Value {
        let spoken = self.wording.say(message, Markup::Plain);
        let links = self.wording.links(message);
        let links = links.iter().map(|link| format!("{}: {}", link.title, link.url));
        let description = spoken.lines.into_iter().chain(links).collect::<Vec<_>>().join("\n");
        json!({
            "message": short(&spoken.title, MESSAGE),
            "alias": alias,
            "description": short(&description, DESCRIPTION),
            "priority": priority(message),
            "source": "rollguard",
            "entity": message.service,
            "tags": ["rollguard"],
        })
    }
}

fn short(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_string();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

fn priority(message: &Message) -> String {
    let severity = message.facts.as_ref().and_then(|facts| facts.severity);
    format!("P{}", severity.unwrap_or(1).clamp(1, 5))
}

#[async_trait]
impl Notifier for Opsgenie {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        message.kind.pages() || message.kind == MessageKind::Resolve
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let alias = key_of(&message.incident, ALIAS);
        let under_way = message.facts.as_ref().is_some_and(|facts| facts.under_way);
        let (url, body) = match (message.kind.pages(), under_way) {
            (true, _) => (self.alerts.url(), self.alert(message, &alias)),
            (false, true) => (self.about(&alias, "acknowledge"), json!({"source": "rollguard"})),
            (false, false) => (self.about(&alias, "close"), json!({"source": "rollguard"})),
        };
        let key = format!("GenieKey {}", self.api_key.expose_secret());
        let request = self.client.post(url).header(AUTHORIZATION, key).json(&body);
        Post { channel: &self.channel, request, now }.send(refused).await?;
        Ok(Delivered::Once)
    }
}

impl Opsgenie {
    fn about(&self, alias: &str, what: &str) -> reqwest::Url {
        self.alerts.below(&[alias, what]).with_query([("identifierType", "alias".to_string())]).url()
    }
}

/// 422 is Opsgenie's word for a malformed alert.
fn refused(status: StatusCode) -> bool {
    super::pagerduty::malformed(status) || status == StatusCode::UNPROCESSABLE_ENTITY
}
