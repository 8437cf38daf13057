//! Pages through Alertmanager: one alert per incident, so that the user's own routes, silences and rotas apply.
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::post::Post;
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::message::{Message, MessageKind, OWN_ALERT};
use crate::ports::{Delivered, Notifier, NotifyError};

pub use crate::domain::message::is_own_alert as is_own;

/// Alertmanager takes an alert as over at its `endsAt`: a page outlives some minutes in which it cannot be repeated.
const LASTS: SignedDuration = SignedDuration::from_mins(5);
const REPEAT: Duration = Duration::from_secs(60);
/// A policy escalates once or twice; what is not ended here ends by itself after [`LASTS`].
const LEVELS_ENDED: u8 = 3;

/// Where and as what pages are posted.
#[derive(Debug)]
pub struct AlertmanagerConfig {
    /// With the base path, if Alertmanager runs under one.
    pub url: SecretString,
    pub token: Option<SecretString>,
    /// Added to every alert; `severity` is `critical` unless it is set here.
    pub labels: BTreeMap<String, String>,
}

/// Pages through one Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    channel: String,
    alerts: Endpoint,
    token: Option<SecretString>,
    labels: BTreeMap<String, String>,
    client: Client,
}

impl Alertmanager {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(channel: &str, config: AlertmanagerConfig, client: Client) -> Result<Self, EndpointError> {
        let alerts = Endpoint::parse(config.url.expose_secret())?.below(&["api", "v2", "alerts"]);
        let mut labels = config.labels;
        labels.entry("severity".to_string()).or_insert_with(|| "critical".to_string());
        Ok(Self { channel: channel.to_string(), alerts, token: config.token, labels, client })
    }

    /// The labels are the alert's identity: all messages of an incident share them, only annotations differ. One that is
    /// escalated is another alert, so that it notifies again and your routes can send it to whoever comes next.
    fn alert(&self, message: &Message, level: u8, now: Timestamp, ends_at: Timestamp) -> Value {
        let mut labels = self.labels.clone();
        let identity = [
            ("alertname", "RollguardPage"),
            ("service", message.service.as_str()),
            ("incident", message.incident.as_str()),
            OWN_ALERT,
        ];
        labels.extend(identity.map(|(name, value)| (name.to_string(), value.to_string())));
        if level > 0 {
            labels.insert("level".to_string(), level.to_string());
        }
        json!({
            "labels": labels,
            "annotations": {"summary": message.title, "description": message.lines.join("\n")},
            // Alertmanager keeps the earliest start of an alert that it still holds.
            "startsAt": now,
            "endsAt": ends_at,
        })
    }
}

#[async_trait]
impl Notifier for Alertmanager {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        message.kind.pages() || message.kind == MessageKind::Resolve
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let lasts = now.saturating_add(LASTS).unwrap_or(now);
        let (alerts, delivered) = if message.kind.pages() {
            (vec![self.alert(message, message.level, now, lasts)], Delivered::RepeatAfter(REPEAT))
        } else {
            // Of levels that were not reached Alertmanager knows nothing, and that is well.
            ((0..=LEVELS_ENDED).map(|level| self.alert(message, level, now, now)).collect(), Delivered::Once)
        };
        let mut request = self.client.post(self.alerts.url()).json(&alerts);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        Post { channel: &self.channel, request, now }.send(malformed).await?;
        Ok(delivered)
    }
}

/// Only what is wrong with the alert itself is final: a page outlives a wrong token or route, which people mend.
fn malformed(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
}
