//! The writing half of the API: orders of people and of deploy tools, durable before they are acknowledged.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::api::{BOTH, records_of, target_of};
use super::connection::Peer;
use super::dto::{ApproveRequest, KillRequest, OrderAnswer, ReasonRequest, ReleaseRequest, RollbackRequest};
use super::error::ApiError;
use super::{HttpState, body};
use crate::domain::event::Record;
use crate::domain::names::{PersonName, TargetId};
use crate::domain::plan::Destination;
use crate::domain::role::Role;
use crate::engine::commands::{Command, Received};

type Caller = ConnectInfo<Peer>;
type Body = Result<Bytes, BytesRejection>;
type Answer = Result<(StatusCode, Json<OrderAnswer>), ApiError>;

const REASON_CHARS_MAX: usize = 500;
const VERSION_CHARS_MAX: usize = 250;
const KEY_CHARS_MAX: usize = 200;
/// Kind of the record that says that a run waits for a person.
const STUCK: &str = "stuck";
const ACKNOWLEDGED: &str = "acknowledged";
const KEY_HEADER: &str = "idempotency-key";

/// Who asks, and for what. Whoever is nobody here hears nothing about the body.
fn asked<T: DeserializeOwned>(
    state: &HttpState,
    from: SocketAddr,
    headers: &HeaderMap,
    body: Body,
    role: Role,
) -> Result<(PersonName, Bytes, T), ApiError> {
    let by = state.0.gate.allowed(headers, from.ip(), role)?;
    let body = body?;
    let request = parse(&body)?;
    Ok((by, body, request))
}

pub(super) async fn release(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (by, body, request) = asked::<ReleaseRequest>(&state, from, &headers, body, Role::Release)?;
    let version = one_line("version", &request.version, VERSION_CHARS_MAX)?;
    if version.is_empty() {
        return Err(ApiError::bad_request("`version` is empty: say which version was released"));
    }
    let key = key(&headers, &by, "release", &body)?;
    // A release with its time is a fact: told twice, it is one release.
    let key = key.or_else(|| request.at.map(|_| digest(&[by.as_str(), "release"], &body)));
    let command = Command::Release {
        target: TargetId { service: request.service, target: request.target },
        version,
        at: request.at.unwrap_or_else(|| state.now()),
        by: by.to_string(),
    };
    submit(&state, command, key).await
}

pub(super) async fn rollback(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (by, body, request) = asked::<RollbackRequest>(&state, from, &headers, body, Role::Operate)?;
    let key = key(&headers, &by, "rollback", &body)?;
    if Destination::of(request.revision, request.image.clone()).is_none() {
        return Err(ApiError::bad_request(BOTH));
    }
    let command = Command::Rollback {
        target: TargetId { service: request.service, target: request.target },
        revision: request.revision,
        image: request.image,
        reason: one_line("reason", &request.reason, REASON_CHARS_MAX)?,
        by: by.to_string(),
    };
    submit(&state, command, key).await
}

pub(super) async fn kill(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (by, body, request) = asked::<KillRequest>(&state, from, &headers, body, Role::Operate)?;
    let key = key(&headers, &by, "kill", &body)?;
    let reason = one_line("reason", &request.reason, REASON_CHARS_MAX)?;
    submit(&state, Command::Kill { on: request.on, reason, by: by.to_string() }, key).await
}

pub(super) async fn about_run(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((run, order)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let person = state.0.gate.person(&headers, from.ip())?;
    let by = person.name.clone();
    let body = body?;
    let command = command_about(run.clone(), &order, by.to_string(), &body)?;
    if let Some(role) = role_for(&command) {
        person.may(role)?;
    }
    // What is not there or not in the right phase is said before anything is looked up.
    let records = records_of(&state, &run).await?;
    let key = match key(&headers, &by, &format!("{run}/{order}"), &body)? {
        Some(key) => key,
        None => natural_key(&command, &run, &order, &records),
    };
    submit(&state, command, Some(key)).await
}

pub(super) async fn acknowledge(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((service, target)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let by = state.0.gate.person(&headers, from.ip())?.name;
    let target = target_of(&service, &target)?;
    // One page is acknowledged once; the next one is another.
    let page = state.0.viewer.look(|s| s.targets.get(&target.to_string())?.page.clone());
    let since = page.map(|page| page.since.to_string()).unwrap_or_default();
    let key = format!("{target}/acknowledge/{since}");
    submit(&state, Command::AcknowledgePage { target, by: by.to_string() }, Some(key)).await
}

/// What a person needs to order this of a run; none for what anybody known may say.
fn role_for(command: &Command) -> Option<Role> {
    match command {
        Command::Approve { break_glass: Some(_), .. } => Some(Role::BreakGlass),
        Command::Approve { break_glass: None, .. } | Command::Deny { .. } => Some(Role::Approve),
        Command::Resume { .. }
        | Command::Skip { .. }
        | Command::Abort { .. }
        | Command::Rollback { .. }
        | Command::Kill { .. } => Some(Role::Operate),
        Command::Release { .. } => Some(Role::Release),
        Command::Acknowledge { .. } | Command::AcknowledgePage { .. } => None,
    }
}

fn approve(run: String, by: String, request: ApproveRequest) -> Result<Command, ApiError> {
    let reason = request.break_glass.map(|reason| one_line("break_glass", &reason, REASON_CHARS_MAX));
    let break_glass = reason.transpose()?;
    if break_glass.as_ref().is_some_and(String::is_empty) {
        let message = "`break_glass` is empty: say why this approval alone must be enough";
        return Err(ApiError::bad_request(message));
    }
    Ok(Command::Approve { run, digest: request.digest, by, break_glass })
}

fn command_about(run: String, order: &str, by: String, body: &[u8]) -> Result<Command, ApiError> {
    let reason = |required: bool| {
        let request: ReasonRequest = if body.is_empty() { ReasonRequest::default() } else { parse(body)? };
        let reason = one_line("reason", &request.reason, REASON_CHARS_MAX)?;
        if required && reason.is_empty() {
            return Err(ApiError::bad_request("`reason` is missing: a denial is final, say why"));
        }
        Ok(reason)
    };
    match order {
        "approve" => approve(run, by, parse(body)?),
        "acknowledge" => Ok(Command::Acknowledge { run, by }),
        "deny" => Ok(Command::Deny { run, reason: reason(true)?, by }),
        "resume" => Ok(Command::Resume { run, by }),
        "skip" => Ok(Command::Skip { run, by }),
        "abort" => Ok(Command::Abort { run, reason: reason(false)?, by }),
        _ => Err(ApiError::not_found(
            "a run can be approved, denied, resumed, skipped, aborted or acknowledged",
        )),
    }
}

/// Without a key from the caller, an order is the same as another when it is about the same moment of the run: the
/// plan that was approved, or the time that it got stuck. A repeated `skip` must never skip a second step.
pub(super) fn natural_key(command: &Command, run: &str, order: &str, records: &[Record]) -> String {
    let moment = match command {
        Command::Approve { digest, by, break_glass: None, .. } => {
            format!("{digest}/{by}", digest = digest.as_str())
        }
        Command::Approve { digest, by, break_glass: Some(_), .. } => {
            format!("{digest}/{by}/break-glass", digest = digest.as_str())
        }
        Command::Acknowledge { .. } => {
            let other = records.iter().rev().find(|record| record.kind != ACKNOWLEDGED);
            other.map_or_else(String::new, |record| record.seq.to_string())
        }
        Command::Resume { .. } | Command::Skip { .. } => {
            let stuck = records.iter().rev().find(|record| record.kind == STUCK);
            stuck.map_or_else(String::new, |record| record.seq.to_string())
        }
        Command::Deny { .. }
        | Command::Abort { .. }
        | Command::Rollback { .. }
        | Command::AcknowledgePage { .. }
        | Command::Release { .. }
        | Command::Kill { .. } => String::new(),
    };
    format!("{run}/{order}/{moment}")
}

/// The caller's own key. It is worth nothing with another person, order or body, so that no order is taken for another.
fn key(headers: &HeaderMap, by: &PersonName, order: &str, body: &[u8]) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or("");
    if text.is_empty() || text.len() > KEY_CHARS_MAX {
        let message =
            format!("`Idempotency-Key` must be 1 to {KEY_CHARS_MAX} ASCII characters, such as a UUID");
        return Err(ApiError::bad_request(message));
    }
    Ok(Some(digest(&[by.as_str(), order, text], body)))
}

fn digest(parts: &[&str], body: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for part in parts.iter().map(|part| part.as_bytes()).chain([body]) {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that no other order has: what is not marked as a repetition is none.
fn unique(state: &HttpState) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("at/{}/{}", state.now().as_nanosecond(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    body::parse(body).map_err(|error| {
        let why: String = error.to_string().chars().take(300).collect();
        ApiError::bad_request(format!("the body is not as it must be: {why}"))
    })
}

/// People's texts go into messages and terminals: no line breaks, no control characters, no novels.
fn one_line(name: &str, text: &str, chars_max: usize) -> Result<String, ApiError> {
    if text.chars().count() > chars_max {
        return Err(ApiError::bad_request(format!("`{name}` is longer than {chars_max} characters")));
    }
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    Ok(text.chars().map(spaced).collect::<String>().trim().to_string())
}

async fn submit(state: &HttpState, command: Command, key: Option<String>) -> Answer {
    let key = key.unwrap_or_else(|| unique(state));
    let run = command.run().map(str::to_string);
    let logged = format!("{command:?}");
    let order = match state.0.desk.submit(command, &key).await? {
        Received::New(order) => Some(order),
        Received::Duplicate => None,
    };
    tracing::info!(order, command = logged, "an order was accepted");
    let next = run.as_ref().map_or("rollguard status".to_string(), |run| format!("rollguard show {run}"));
    let answer = OrderAnswer { accepted: true, duplicate: order.is_none(), order, run, next };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
