//! Alertmanager's webhook, payload version 4: each alert is durable before the answer says so.
use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::HttpState;
use super::body::{self, Object};
use super::connection::Peer;
use super::dto::AlertsAnswer;
use super::error::ApiError;
use crate::domain::names::ServiceName;
use crate::domain::signal::AlertStatus;
use crate::engine::commands::AlertIn;
use crate::telemetry::{Metric, label};

/// Which alerts are about a service: all these labels are equal, and the severity is one of these (any, if empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRoute {
    pub service: ServiceName,
    pub match_labels: BTreeMap<String, String>,
    pub severities: Vec<String>,
}

impl AlertRoute {
    fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        let severity = labels.get("severity");
        let severe = self.severities.is_empty() || severity.is_some_and(|s| self.severities.contains(s));
        severe && self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// What a body says, before it is matched to services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notification {
    pub alerts: Vec<Alert>,
    /// Alerts that Alertmanager left out because of `max_alerts`.
    pub truncated: u64,
    /// What is wrong with alerts that cannot be used: `alerts[3].labels is not a map of texts`.
    pub faults: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub name: String,
    pub status: AlertStatus,
    pub labels: BTreeMap<String, String>,
    /// `None` if missing, or Go's zero time.
    pub starts_at: Option<Timestamp>,
    pub fingerprint: String,
}

/// Why a body is not used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("this is not JSON as Alertmanager's webhook sends it: {why}")]
    Shape { why: String },
    #[error(
        "the payload's version is {found}, and only \"4\" is understood: remove `payload` from the webhook's configuration"
    )]
    Version { found: String },
}

/// A field that may be of a wrong type without spoiling the rest.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field<T> {
    Is(T),
    Other(IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum VersionField {
    Text(String),
    Number(f64),
    Other(IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    version: Option<VersionField>,
    status: Option<Field<AlertStatus>>,
    truncated_alerts: Option<Field<u64>>,
    alerts: Option<Field<Vec<Field<Object<WireAlert>>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    status: Option<Field<AlertStatus>>,
    labels: Option<Field<BTreeMap<String, String>>>,
    starts_at: Option<Field<String>>,
    fingerprint: Option<Field<String>>,
}

/// Reads a body. Unknown fields are skipped and missing ones tolerated; one bad alert does not spoil the others.
///
/// # Errors
/// A body that is not JSON, is nested too deeply, or is not version 4.
pub fn parse(body: &[u8]) -> Result<Notification, WebhookError> {
    let body: Body = body::parse(body)
        .map_err(|e| WebhookError::Shape { why: e.to_string().chars().take(300).collect() })?;
    check_version(body.version.as_ref())?;
    let truncated = match body.truncated_alerts {
        Some(Field::Is(n)) => n,
        Some(Field::Other(_)) | None => 0,
    };
    let mut notification = Notification { truncated, ..Notification::default() };
    let group = match body.status {
        Some(Field::Is(status)) => Some(status),
        Some(Field::Other(_)) | None => None,
    };
    match body.alerts {
        Some(Field::Is(alerts)) => {
            alerts.into_iter().enumerate().for_each(|(i, alert)| match read_alert(alert, group) {
                Ok(alert) => notification.alerts.push(alert),
                Err(fault) => notification.faults.push(format!("alerts[{i}]{fault}")),
            })
        }
        Some(Field::Other(_)) => notification.faults.push("alerts is not a list".to_string()),
        None => notification.faults.push("alerts is missing".to_string()),
    }
    Ok(notification)
}

fn check_version(version: Option<&VersionField>) -> Result<(), WebhookError> {
    let found = match version {
        Some(VersionField::Text(text)) if text == "4" => return Ok(()),
        Some(VersionField::Text(text)) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Some(VersionField::Number(number)) => format!("the number {number}"),
        Some(VersionField::Other(_)) => "neither text nor number".to_string(),
        None => "missing".to_string(),
    };
    Err(WebhookError::Version { found })
}

fn read_alert(alert: Field<Object<WireAlert>>, group: Option<AlertStatus>) -> Result<Alert, &'static str> {
    let Field::Is(Object(alert)) = alert else { return Err(" is not an object") };
    let labels = match alert.labels {
        Some(Field::Is(labels)) => labels,
        Some(Field::Other(_)) => return Err(".labels is not a map of texts"),
        None => BTreeMap::new(),
    };
    let status = match (alert.status, group) {
        (Some(Field::Is(status)), _) | (None, Some(status)) => status,
        (Some(Field::Other(_)), _) => return Err(".status is neither \"firing\" nor \"resolved\""),
        (None, None) => return Err(".status is missing, and so is the group's"),
    };
    let starts_at = match alert.starts_at {
        Some(Field::Is(text)) => {
            text.parse::<Timestamp>().map_err(|_| ".startsAt is not an RFC 3339 time")?
        }
        Some(Field::Other(_)) => return Err(".startsAt is not an RFC 3339 time"),
        None => Timestamp::MIN,
    };
    let fingerprint = match alert.fingerprint {
        Some(Field::Is(text)) if !text.is_empty() && text.len() <= 64 => text,
        Some(Field::Is(_) | Field::Other(_)) | None => fingerprint_of(&labels),
    };
    let name = labels.get("alertname").cloned().unwrap_or_else(|| "(no alertname)".to_string());
    let starts_at = (starts_at > Timestamp::UNIX_EPOCH).then_some(starts_at);
    Ok(Alert { name, status, labels, starts_at, fingerprint })
}

/// The same labels are the same alert, as Alertmanager has it.
fn fingerprint_of(labels: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn receive(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AlertsAnswer>, ApiError> {
    state.0.gate.webhook(&headers, from.ip())?;
    let notification = parse(&body?).map_err(|error| {
        count("rejected", 1);
        tracing::warn!(%from, %error, "a webhook body was refused");
        ApiError::bad_request(error.to_string())
    })?;
    if notification.truncated > 0 {
        count("truncated", notification.truncated);
        tracing::warn!(
            alerts = notification.truncated,
            "Alertmanager left alerts out: set `max_alerts: 0` on the webhook"
        );
    }
    let (alerts, mut answer) = matched(&notification.alerts, &state.0.routes.get(), state.now());
    let handed_in = alerts.len();
    answer.accepted = state.0.desk.alerts(alerts).await.map_err(|error| {
        tracing::error!(%error, "alerts could not be kept, Alertmanager will send them again");
        ApiError::unavailable(format!("the alerts could not be kept, send them again: {error}"))
    })?;
    answer.duplicates = handed_in.saturating_sub(answer.accepted);
    count_all(&answer);
    refuse_faults(&notification.faults, &answer)?;
    Ok(Json(answer))
}

/// One alert for each service that it is about.
fn matched(alerts: &[Alert], routes: &[AlertRoute], now: Timestamp) -> (Vec<AlertIn>, AlertsAnswer) {
    let mut answer = AlertsAnswer::default();
    let mut matched = Vec::new();
    for alert in alerts {
        if alert.labels.get("rollguard").is_some_and(|value| value == "self") {
            answer.own += 1;
            continue;
        }
        let before = matched.len();
        matched.extend(routes.iter().filter(|route| route.takes(&alert.labels)).map(|route| AlertIn {
            service: route.service.clone(),
            alert: alert.name.clone(),
            status: alert.status,
            labels: alert.labels.clone(),
            starts_at: alert.starts_at.unwrap_or(now),
            fingerprint: alert.fingerprint.clone(),
        }));
        answer.unmatched += usize::from(matched.len() == before);
    }
    (matched, answer)
}

/// The good alerts are kept by now. The bad ones will not get better by being sent again, so this is a 400.
fn refuse_faults(faults: &[String], kept: &AlertsAnswer) -> Result<(), ApiError> {
    let Some(first) = faults.first() else { return Ok(()) };
    count("rejected", u64::try_from(faults.len()).unwrap_or(u64::MAX));
    let more = if faults.len() > 1 { format!(" (and {} more)", faults.len() - 1) } else { String::new() };
    tracing::warn!(fault = first, faults = faults.len(), "alerts in a webhook body could not be read");
    let AlertsAnswer { accepted, duplicates, .. } = kept;
    Err(ApiError::bad_request(format!(
        "{first}{more}; the other alerts were kept: {accepted} new, {duplicates} known"
    )))
}

fn count_all(answer: &AlertsAnswer) {
    for (result, n) in [
        ("accepted", answer.accepted),
        ("duplicate", answer.duplicates),
        ("unmatched", answer.unmatched),
        ("own", answer.own),
    ] {
        count(result, u64::try_from(n).unwrap_or(u64::MAX));
    }
}

fn count(result: &'static str, n: u64) {
    Metric::AlertsReceivedTotal.add(n, vec![label("result", result)]);
}
