//! Pages through PagerDuty's Events API v2: one dedup key per incident, so that whatever is sent again changes nothing.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::post::Post;
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::domain::message::wording::Markup;
use crate::domain::message::{Facts, Message, MessageKind, Wording};
use crate::domain::release::hex;
use crate::ports::{Delivered, Notifier, NotifyError};

/// PagerDuty's limits.
const SUMMARY_CHARS: usize = 1024;
const KEY_CHARS: usize = 255;
const EVENT_BYTES: usize = 512_000;

#[derive(Debug)]
pub struct PagerDutyConfig {
    /// `https://events.pagerduty.com`, or that of another region.
    pub url: String,
    /// The integration key of a service.
    pub routing_key: SecretString,
}

#[derive(Debug)]
pub struct PagerDuty {
    channel: String,
    events: Endpoint,
    routing_key: SecretString,
    wording: Arc<Wording>,
    client: Client,
}

/// What becomes of the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Trigger,
    /// Somebody has answered, and it is not over yet.
    Acknowledge,
    Resolve,
}

impl PagerDuty {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(
        channel: &str,
        config: PagerDutyConfig,
        wording: Arc<Wording>,
        client: Client,
    ) -> Result<Self, EndpointError> {
        let events = Endpoint::parse(&config.url)?.below(&["v2", "enqueue"]);
        Ok(Self { channel: channel.to_string(), events, routing_key: config.routing_key, wording, client })
    }

    fn event(&self, message: &Message) -> Value {
        let action = Action::of(message);
        let mut event = json!({
            "routing_key": self.routing_key.expose_secret(),
            "event_action": action.as_str(),
            "dedup_key": key_of(&message.incident, KEY_CHARS),
        });
        if action == Action::Trigger {
            event["client"] = "rollguard".into();
            event["client_url"] = json!(self.wording.external_url);
            let links = self.wording.links(message);
            event["links"] = links.iter().map(|l| json!({"href": l.url, "text": l.title})).collect();
            event["payload"] = self.payload(message);
            if event.to_string().len() > EVENT_BYTES {
                let cut = "too long for PagerDuty: `rollguard show` and `rollguard status` have all of it";
                event["payload"]["custom_details"] = json!({"details": cut});
            }
        }
        event
    }

    fn payload(&self, message: &Message) -> Value {
        let spoken = self.wording.say(message, Markup::Plain);
        let facts = message.facts.as_deref();
        let targets: Vec<String> = message.targets.iter().map(ToString::to_string).collect();
        let checklist = facts.iter().flat_map(|facts| &facts.checklist);
        let checklist: Value = checklist
            .map(|item| (item.item.title().to_string(), format!("{} {}", item.mark(), item.detail).into()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        json!({
            "summary": summary(message, facts),
            "source": message.service,
            "severity": severity(facts),
            "timestamp": facts.map(|facts| facts.at),
            "component": targets.join(", "),
            "group": message.service,
            "class": message.code.map(|code| code.name()),
            "custom_details": {
                "details": spoken.lines.join("\n"),
                "run": facts.and_then(|facts| facts.run.as_deref()),
                "checklist": checklist,
                "changed": facts.map(|facts| facts.changed.as_slice()),
                "plan": facts.map(|facts| facts.steps.as_slice()),
            },
        })
    }
}

impl Action {
    fn of(message: &Message) -> Self {
        let under_way = message.facts.as_ref().is_some_and(|facts| facts.under_way);
        match (message.kind.pages(), under_way) {
            (true, _) => Action::Trigger,
            (false, true) => Action::Acknowledge,
            (false, false) => Action::Resolve,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Action::Trigger => "trigger",
            Action::Acknowledge => "acknowledge",
            Action::Resolve => "resolve",
        }
    }
}

/// What stands on the lock screen: what it is, and why.
fn summary(message: &Message, facts: Option<&Facts>) -> String {
    let why = facts.map(|facts| format!(": {}", facts.reason)).unwrap_or_default();
    let text = format!("{}{why}", message.title);
    if text.chars().count() <= SUMMARY_CHARS {
        return text;
    }
    text.chars().take(SUMMARY_CHARS - 1).chain(['…']).collect()
}

/// What nobody has rated is a page all the same.
fn severity(facts: Option<&Facts>) -> &'static str {
    match facts.and_then(|facts| facts.severity) {
        Some(2) => "error",
        Some(3) => "warning",
        Some(4..) => "info",
        Some(_) | None => "critical",
    }
}

/// The incident, as a key of at most so many characters.
pub(super) fn key_of(incident: &str, limit: usize) -> String {
    let key = format!("rollguard/{incident}");
    if key.len() <= limit { key } else { format!("rollguard/{}", hex(&Sha256::digest(incident))) }
}

#[async_trait]
impl Notifier for PagerDuty {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        message.kind.pages() || message.kind == MessageKind::Resolve
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let request = self.client.post(self.events.url()).json(&self.event(message));
        Post { channel: &self.channel, request, now }.send(malformed).await?;
        Ok(Delivered::Once)
    }
}

/// Only what is wrong with the event itself, or its key, is final: a page outlives what people mend on the way.
pub(super) fn malformed(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
}
