//! Buttons in Slack: a signed request becomes an order of the person who pressed, durable before it is acknowledged.
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::HttpState;
use super::auth::Member;
use super::connection::Peer;
use super::error::ApiError;
use super::orders::natural_key;
use crate::domain::button::{Button, Press};
use crate::domain::role::Role;
use crate::engine::commands::{Command, Received};

/// Slack waits for three seconds, and shows a warning then.
const ANSWER_TIME: Duration = Duration::from_millis(2500);
/// Older requests, and those from the future, may be anybody's who has kept one.
const FRESH: SignedDuration = SignedDuration::from_secs(300);
/// Requests remembered, so that none is taken twice while it is fresh.
const REMEMBERED_MAX: usize = 4096;

/// The Slack app whose buttons are answered.
#[derive(Clone)]
pub struct SlackApp {
    pub team: String,
    pub signing_secret: SecretString,
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Forged {
    #[error("it is not signed as Slack signs")]
    Unsigned,
    #[error("the signature does not fit")]
    Wrong,
    #[error("it is not of the last five minutes")]
    Stale,
    #[error("it was taken before")]
    Replayed,
}

impl SlackApp {
    /// Over the raw body, before anything in it is read.
    fn believe(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<[u8; 32], Forged> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let stamp = header("x-slack-request-timestamp").ok_or(Forged::Unsigned)?;
        let signature = header("x-slack-signature").and_then(|text| text.strip_prefix("v0="));
        let signature = signature.and_then(unhex).ok_or(Forged::Unsigned)?;
        let at = stamp.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        let at = at.ok_or(Forged::Unsigned)?;
        let key = self.signing_secret.expose_secret().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Forged::Wrong)?;
        for part in [b"v0:".as_slice(), stamp.as_bytes(), b":", body] {
            mac.update(part);
        }
        mac.verify_slice(&signature).map_err(|_| Forged::Wrong)?;
        if now.duration_since(at).abs() > FRESH {
            return Err(Forged::Stale);
        }
        Ok(Sha256::digest(&signature).into())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// What was taken lately. An order that is sent again after a restart is known by its key in the inbox.
#[derive(Default)]
pub(super) struct Taken(Mutex<VecDeque<(Timestamp, [u8; 32])>>);

impl Taken {
    fn first_time(&self, signature: [u8; 32], now: Timestamp) -> Result<(), Forged> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A request may be as far in the future as in the past.
        taken.retain(|(at, _)| now.duration_since(*at).abs() <= FRESH * 2);
        if taken.iter().any(|(_, other)| *other == signature) {
            return Err(Forged::Replayed);
        }
        if taken.len() >= REMEMBERED_MAX {
            taken.pop_front();
        }
        taken.push_back((now, signature));
        Ok(())
    }
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Named,
    team: Option<Named>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    #[serde(default)]
    value: String,
}

/// A JSON document in a form; nothing but what is needed of it.
fn payload(body: &[u8]) -> Result<Payload, ApiError> {
    let wrong = || ApiError::bad_request("this is no interaction of Slack: a form with a `payload` of JSON");
    let mut pairs = form_urlencoded::parse(body).filter(|(name, _)| name == "payload");
    let (_, text) = pairs.next().ok_or_else(wrong)?;
    if pairs.next().is_some() {
        return Err(wrong());
    }
    serde_json::from_str(&text).map_err(|_| wrong())
}

pub(super) async fn interactions(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let body = body?;
    let app = signed(&state, &headers, &body, from.ip())?;
    let payload = payload(&body)?;
    let taken = tokio::time::timeout(ANSWER_TIME, take(&state, &app, payload)).await;
    taken.unwrap_or_else(|_| Err(ApiError::unavailable("not taken in time: press it again")))
}

fn signed(state: &HttpState, headers: &HeaderMap, body: &[u8], from: IpAddr) -> Result<SlackApp, ApiError> {
    let nobody = || ApiError::not_found("no Slack app is configured: see api.slack");
    let app = state.0.gate.slack().ok_or_else(nobody)?;
    let now = state.now();
    let believed = app.believe(headers, body, now);
    match believed.and_then(|signature| state.0.taken.first_time(signature, now)) {
        Ok(()) => Ok(app),
        Err(why) => Err(state.0.gate.refuse_forged(from, &why.to_string())),
    }
}

async fn take(state: &HttpState, app: &SlackApp, payload: Payload) -> Result<StatusCode, ApiError> {
    let forbidden = |message: &str| ApiError::new(StatusCode::FORBIDDEN, "forbidden", message);
    if payload.team.as_ref().is_none_or(|team| team.id != app.team) {
        return Err(forbidden("this workspace is not the one of api.slack"));
    }
    let person = state.0.gate.in_slack(&payload.user.id);
    let person = person.ok_or_else(|| forbidden("nobody in api.people has this Slack user"))?;
    let [action] = payload.actions.as_slice() else {
        return Err(ApiError::bad_request("an interaction has exactly one action here"));
    };
    if payload.kind != "block_actions" {
        return Err(ApiError::bad_request("only buttons are answered here"));
    }
    let button = Button::parse(&action.action_id, &action.value);
    let button = button.ok_or_else(|| ApiError::bad_request("this is no button of rollguard"))?;
    let command = command(button, &person)?;
    let run = command.run().unwrap_or_default().to_string();
    let records = super::api::records_of(state, &run).await?;
    let order = order_of(&command);
    let key = natural_key(&command, &run, order, &records);
    let received = state.0.desk.submit(command, &key).await?;
    let again = received == Received::Duplicate;
    tracing::info!(run, order, by = %person.name, again, "a button was pressed in Slack");
    Ok(StatusCode::OK)
}

fn command(button: Button, person: &Member) -> Result<Command, ApiError> {
    let by = person.name.to_string();
    let Button { press, run, digest } = button;
    Ok(match press {
        Press::Approve => {
            person.may(Role::Approve)?;
            Command::Approve { run, digest, by, break_glass: None }
        }
        Press::Deny => {
            person.may(Role::Approve)?;
            Command::Deny { run, reason: "denied in Slack".to_string(), by }
        }
        Press::Acknowledge => Command::Acknowledge { run, by },
    })
}

fn order_of(command: &Command) -> &'static str {
    match command {
        Command::Approve { .. } => "approve",
        Command::Deny { .. } => "deny",
        Command::Acknowledge { .. }
        | Command::AcknowledgePage { .. }
        | Command::Resume { .. }
        | Command::Skip { .. }
        | Command::Abort { .. }
        | Command::Rollback { .. }
        | Command::Release { .. }
        | Command::Kill { .. } => "acknowledge",
    }
}
