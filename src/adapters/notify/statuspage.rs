//! The public status page: identified, monitoring, resolved, in words that the user has written and nobody else's.
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::pace::Pace;
use super::post::{Post, retry};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::adapters::outbound::read_body;
use crate::domain::code::Code;
use crate::domain::message::{Message, MessageKind};
use crate::ports::{Delivered, Notifier, NotifyError};

/// Statuspage takes one request a second.
pub const PACE: Duration = Duration::from_secs(1);
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Under this the page's incident is found again, by a later life too.
const MARKER: &str = "rollguard";

#[derive(Debug)]
pub struct StatuspageConfig {
    /// Base of the API: `https://api.statuspage.io/v1`.
    pub url: String,
    pub page: String,
    pub api_key: SecretString,
    /// Affected while it lasts, operational afterwards.
    pub components: Vec<String>,
    pub texts: PublicTexts,
    pub pace: Duration,
}

/// What everybody may read. Nothing of a release, an alert or a log line is ever added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicTexts {
    pub title: String,
    pub identified: String,
    pub monitoring: String,
    pub resolved: String,
}

#[derive(Debug)]
pub struct Statuspage {
    channel: String,
    incidents: Endpoint,
    api_key: SecretString,
    components: Vec<String>,
    texts: PublicTexts,
    pace: Pace,
    client: Client,
}

/// How far an incident is; it never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Identified,
    Monitoring,
    Resolved,
}

impl Stage {
    /// A rollback that failed stays identified: people write what is next themselves.
    fn of(message: &Message) -> Option<Self> {
        if message.kind == MessageKind::Resolve {
            return None;
        }
        let stages = [
            (Code::RollbackStarted, Stage::Identified),
            (Code::RollbackVerified, Stage::Monitoring),
            (Code::RollbackStable, Stage::Resolved),
        ];
        let code = message.code?;
        stages.into_iter().find_map(|(of, stage)| (of == code).then_some(stage))
    }

    fn as_str(self) -> &'static str {
        match self {
            Stage::Identified => "identified",
            Stage::Monitoring => "monitoring",
            Stage::Resolved => "resolved",
        }
    }

    /// Also of a state that a person has set.
    fn reached(status: &str) -> Option<Self> {
        match status {
            "identified" => Some(Stage::Identified),
            "monitoring" => Some(Stage::Monitoring),
            "resolved" | "postmortem" => Some(Stage::Resolved),
            _ => None,
        }
    }
}

impl Statuspage {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(channel: &str, config: StatuspageConfig, client: Client) -> Result<Self, EndpointError> {
        let incidents = Endpoint::parse(&config.url)?.below(&["pages", &config.page, "incidents"]);
        Ok(Self {
            channel: channel.to_string(),
            incidents,
            api_key: config.api_key,
            components: config.components,
            texts: config.texts,
            pace: Pace::new(config.pace),
            client,
        })
    }

    async fn call(
        &self,
        method: Method,
        at: &Endpoint,
        body: Option<Value>,
        now: Timestamp,
    ) -> Result<Value, NotifyError> {
        self.pace.turn().await;
        let key = format!("OAuth {}", self.api_key.expose_secret());
        let mut request = self.client.request(method, at.url()).header(AUTHORIZATION, key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = Post { channel: &self.channel, request, now }.send(refused).await?;
        let strange = |why: String| retry(&self.channel, why, None);
        let body = read_body(response, BODY_MAX_BYTES).await.map_err(|e| strange(e.to_string()))?;
        serde_json::from_slice(&body).map_err(|_| strange("the answer is not Statuspage's".into()))
    }

    /// Our incident among the latest ones of the page, with its state.
    async fn find(&self, incident: &str, now: Timestamp) -> Result<Option<(String, String)>, NotifyError> {
        let latest = self.incidents.clone().with_query([("limit", "100".to_string())]);
        let all = self.call(Method::GET, &latest, None, now).await?;
        let ours = |found: &&Value| found["metadata"][MARKER]["incident"] == incident;
        let text = |found: &Value, key: &str| found[key].as_str().map(str::to_string);
        let found = all.as_array().into_iter().flatten().find(ours);
        Ok(found.and_then(|found| Some((text(found, "id")?, text(found, "status")?))))
    }

    fn change(&self, stage: Stage, incident: &str) -> Value {
        let (text, state) = match stage {
            Stage::Identified => (&self.texts.identified, "partial_outage"),
            Stage::Monitoring => (&self.texts.monitoring, "degraded_performance"),
            Stage::Resolved => (&self.texts.resolved, "operational"),
        };
        let mut change = json!({"status": stage.as_str(), "body": text});
        if !self.components.is_empty() {
            let states = self.components.iter().map(|id| (id.clone(), state.into()));
            change["components"] = states.collect::<serde_json::Map<_, _>>().into();
            change["component_ids"] = json!(self.components);
        }
        if stage == Stage::Identified {
            change["name"] = self.texts.title.as_str().into();
            change["metadata"] = json!({MARKER: {"incident": incident}});
        }
        json!({"incident": change})
    }
}

#[async_trait]
impl Notifier for Statuspage {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        Stage::of(message).is_some()
    }

    /// Looks before it writes: an answer that was lost, or a life that ended in between, opens no second incident.
    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let Some(stage) = Stage::of(message) else { return Ok(Delivered::Once) };
        let change = self.change(stage, &message.incident);
        match self.find(&message.incident, now).await? {
            None if stage == Stage::Identified => {
                self.call(Method::POST, &self.incidents, Some(change), now).await?;
            }
            // Nothing was announced, or people have deleted it.
            None => {}
            Some((_, status)) if Stage::reached(&status) >= Some(stage) => {}
            Some((id, _)) => {
                self.call(Method::PATCH, &self.incidents.below(&[&id]), Some(change), now).await?;
            }
        }
        Ok(Delivered::Once)
    }
}

/// 420 is what Statuspage answers to requests that come too fast.
fn refused(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && status.as_u16() != 420
}
