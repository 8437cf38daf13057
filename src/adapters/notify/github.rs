//! Deployment statuses on GitHub: the bad deployment failed, and the rollback is a deployment of its own.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::ACCEPT;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::post::{Post, final_answer, retry};
use crate::adapters::endpoint::{Endpoint, EndpointError};
use crate::adapters::outbound::read_body;
use crate::domain::code::Code;
use crate::domain::message::{Message, MessageKind, Versions, Wording};
use crate::domain::names::ServiceName;
use crate::ports::{Delivered, Notifier, NotifyError};

/// GitHub's limit.
const DESCRIPTION_CHARS: usize = 140;
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub struct GitHubConfig {
    /// `https://api.github.com`, or `https://HOST/api/v3` of a server of your own.
    pub url: String,
    pub token: SecretString,
    pub environment: String,
    /// `OWNER/NAME` for each service that has one.
    pub repositories: BTreeMap<ServiceName, String>,
}

#[derive(Debug)]
pub struct GitHub {
    channel: String,
    base: Endpoint,
    token: SecretString,
    environment: String,
    repositories: BTreeMap<ServiceName, String>,
    wording: Arc<Wording>,
    client: Client,
}

/// What is said of the rollback's deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InProgress,
    Success,
    Failure,
}

impl State {
    fn of(message: &Message) -> Option<Self> {
        if message.kind == MessageKind::Resolve {
            return None;
        }
        let states = [
            (Code::RollbackStarted, State::InProgress),
            (Code::RollbackVerified, State::Success),
            (Code::RollbackUnverified, State::Failure),
            (Code::StillBad, State::Failure),
            (Code::RollbackFailed, State::Failure),
            (Code::RollbackAborted, State::Failure),
        ];
        let code = message.code?;
        states.into_iter().find_map(|(of, state)| (of == code).then_some(state))
    }

    fn as_str(self) -> &'static str {
        match self {
            State::InProgress => "in_progress",
            State::Success => "success",
            State::Failure => "failure",
        }
    }
}

impl GitHub {
    /// `channel` is the name in our configuration; `client` must not follow redirects.
    ///
    /// # Errors
    /// When the URL is no http(s) URL.
    pub fn new(
        channel: &str,
        config: GitHubConfig,
        wording: Arc<Wording>,
        client: Client,
    ) -> Result<Self, EndpointError> {
        let GitHubConfig { url, token, environment, repositories } = config;
        let base = Endpoint::parse(&url)?;
        Ok(Self { channel: channel.to_string(), base, token, environment, repositories, wording, client })
    }

    async fn call(
        &self,
        method: Method,
        at: Endpoint,
        body: Option<Value>,
        now: Timestamp,
    ) -> Result<Value, NotifyError> {
        let mut request = self
            .client
            .request(method, at.url())
            .bearer_auth(self.token.expose_secret())
            .header(ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = Post { channel: &self.channel, request, now }.send(refused).await?;
        let strange = |why: String| retry(&self.channel, why, None);
        let body = read_body(response, BODY_MAX_BYTES).await.map_err(|e| strange(e.to_string()))?;
        serde_json::from_slice(&body).map_err(|_| strange("the answer is not GitHub's".into()))
    }

    /// Deployments of this version in our environment, the latest first.
    async fn deployments(
        &self,
        at: &Endpoint,
        label: &str,
        now: Timestamp,
    ) -> Result<Vec<Value>, NotifyError> {
        let query = [("environment", self.environment.clone()), ("ref", label.to_string())];
        let found = self.call(Method::GET, at.clone().with_query(query), None, now).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }

    /// Finds the rollback's own deployment, or makes it.
    async fn own(
        &self,
        at: &Endpoint,
        run: &str,
        way: &Versions,
        to: &str,
        now: Timestamp,
    ) -> Result<u64, NotifyError> {
        let ours = |found: &&Value| payload(found)["rollguard"]["run"] == run;
        let known = self.deployments(at, to, now).await?;
        if let Some(id) = known.iter().find(ours).and_then(|found| found["id"].as_u64()) {
            return Ok(id);
        }
        let body = json!({
            "ref": to, "task": "rollback", "environment": self.environment, "auto_merge": false,
            "required_contexts": [], "payload": {"rollguard": {"run": run}},
            "description": short(&format!("Rollback of {} to {to}", way.target)),
        });
        let made = self.call(Method::POST, at.clone(), Some(body), now).await?;
        made["id"].as_u64().ok_or_else(|| retry(&self.channel, "the answer is not GitHub's".into(), None))
    }

    /// Says so once: the latest status is looked at first.
    async fn say(
        &self,
        at: &Endpoint,
        id: u64,
        (state, description): (State, String),
        message: &Message,
        now: Timestamp,
    ) -> Result<(), NotifyError> {
        let statuses = at.below(&[&id.to_string(), "statuses"]);
        let known = self.call(Method::GET, statuses.clone(), None, now).await?;
        if known[0]["state"] == state.as_str() {
            return Ok(());
        }
        let mut body = json!({
            "state": state.as_str(), "description": short(&description), "environment": self.environment,
            "auto_inactive": state == State::Success,
        });
        if let Some(link) = self.wording.links(message).last() {
            body["log_url"] = link.url.as_str().into();
        }
        self.call(Method::POST, statuses, Some(body), now).await?;
        Ok(())
    }
}

/// GitHub gives back what was sent, as an object or as its text.
fn payload(deployment: &Value) -> Value {
    match &deployment["payload"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_CHARS {
        return text.to_string();
    }
    text.chars().take(DESCRIPTION_CHARS - 1).chain(['…']).collect()
}

#[async_trait]
impl Notifier for GitHub {
    fn channel(&self) -> &str {
        &self.channel
    }

    fn wants(&self, message: &Message) -> bool {
        self.repositories.contains_key(&message.service) && State::of(message).is_some()
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Result<Delivered, NotifyError> {
        let (Some(state), Some(facts)) = (State::of(message), message.facts.as_deref()) else {
            return Ok(Delivered::Once);
        };
        let (Some(repository), Some(run)) = (self.repositories.get(&message.service), &facts.run) else {
            return Ok(Delivered::Once);
        };
        let path: Vec<&str> = std::iter::once("repos").chain(repository.split('/')).collect();
        let at = self.base.below(&path).below(&["deployments"]);
        for way in &facts.versions {
            let Some(to) = &way.to else { continue };
            if state == State::InProgress
                && let Some(id) =
                    self.deployments(&at, &way.from, now).await?.first().and_then(|bad| bad["id"].as_u64())
            {
                let why = format!("Bad, rolled back: {}", facts.reason);
                self.say(&at, id, (State::Failure, why), message, now).await?;
            }
            let id = self.own(&at, run, way, to, now).await?;
            self.say(&at, id, (state, message.title.clone()), message, now).await?;
        }
        Ok(Delivered::Once)
    }
}

/// GitHub answers 403 where requests come too fast, too.
fn refused(status: StatusCode) -> bool {
    final_answer(status) && status != StatusCode::FORBIDDEN
}
