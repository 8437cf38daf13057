//! Slack's Web API: calls in the pace that it asks for, and what its answers mean.
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::super::pace::Pace;
use super::super::post::{Post, final_answer, retry};
use crate::adapters::endpoint::Endpoint;
use crate::adapters::outbound::read_body;
use crate::ports::NotifyError;

const BODY_MAX_BYTES: usize = 512 * 1024;

#[derive(Debug)]
pub(super) struct Api {
    pub(super) channel: String,
    pub(super) base: Endpoint,
    pub(super) token: SecretString,
    pub(super) client: Client,
    pub(super) pace: Pace,
}

/// Why a call was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Slack's own word for it, in an answer of status 200.
    Said(String),
    Lost(NotifyError),
}

impl Api {
    pub(super) async fn post(&self, method: &str, body: &Value, now: Timestamp) -> Result<Value, Failed> {
        self.send(self.client.post(self.base.below(&[method]).url()).json(body), now).await
    }

    pub(super) async fn get(
        &self,
        method: &str,
        query: Vec<(&str, String)>,
        now: Timestamp,
    ) -> Result<Value, Failed> {
        self.send(self.client.get(self.base.below(&[method]).with_query(query).url()), now).await
    }

    async fn send(&self, request: RequestBuilder, now: Timestamp) -> Result<Value, Failed> {
        self.pace.turn().await;
        let request = request.bearer_auth(self.token.expose_secret());
        let sent = Post { channel: &self.channel, request, now }.send(final_answer).await;
        let response = sent.map_err(Failed::Lost)?;
        let strange = |why: String| Failed::Lost(retry(&self.channel, why, None));
        let body = read_body(response, BODY_MAX_BYTES).await.map_err(|e| strange(e.to_string()))?;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| strange("the answer is not Slack's: check notify.slack.url".into()))?;
        match (answer["ok"].as_bool(), answer["error"].as_str()) {
            (Some(true), _) => Ok(answer),
            (_, Some(word)) => Err(Failed::Said(word.chars().take(60).collect())),
            (_, None) => Err(strange("the answer is not Slack's: check notify.slack.url".into())),
        }
    }

    /// What a failure means for the message.
    pub(super) fn verdict(&self, failed: Failed) -> NotifyError {
        let word = match failed {
            Failed::Lost(error) => return error,
            Failed::Said(word) => word,
        };
        let passing = [
            "ratelimited",
            "rate_limited",
            "internal_error",
            "fatal_error",
            "service_unavailable",
            "request_timeout",
        ];
        if passing.contains(&word.as_str()) {
            let after = word.starts_with("rate").then_some(Duration::from_secs(30));
            return retry(&self.channel, word, after);
        }
        let channel = self.channel.clone();
        NotifyError::Refused { channel, why: format!("{word}{}", advice(&word)) }
    }
}

fn advice(word: &str) -> &'static str {
    match word {
        "not_in_channel" => ": invite the bot to the channel (/invite)",
        "channel_not_found" => ": notify.slack.channel is no channel that the bot can see",
        "is_archived" => ": the channel is archived",
        "missing_scope" => ": the bot needs the scope chat:write",
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            ": check notify.slack.bot_token"
        }
        _ => "",
    }
}
