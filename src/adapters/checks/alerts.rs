//! "No alerts firing", asked of Alertmanager: silenced and inhibited alerts are unknown, not fine.
use std::collections::BTreeMap;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{BODY_MAX_BYTES, TIMEOUT};
use crate::adapters::endpoint::Endpoint;
use crate::adapters::outbound::{describe, read_body};
use crate::domain::evidence::count_of;
use crate::domain::message::is_own_alert;
use crate::domain::names::ServiceName;
use crate::domain::verification::CheckResult;

/// Names listed in one sentence.
const NAMED: usize = 3;

/// Which Alertmanager to ask, and by which labels it knows each service.
#[derive(Debug)]
pub struct AlertmanagerAccess {
    /// With the base path, if Alertmanager runs under one.
    pub url: Endpoint,
    pub token: Option<SecretString>,
    pub match_labels: BTreeMap<ServiceName, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Status {
    state: String,
}

impl Alert {
    fn name(&self) -> &str {
        self.labels.get("alertname").map_or("an alert without a name", String::as_str)
    }
    /// An `unprocessed` one has not been held against silences yet: it fires.
    fn fires(&self) -> bool {
        self.status.state != "suppressed"
    }
}

pub(super) async fn none_active(
    client: &Client,
    access: &AlertmanagerAccess,
    service: &ServiceName,
) -> CheckResult {
    let Some(labels) = access.match_labels.get(service).filter(|labels| !labels.is_empty()) else {
        return CheckResult::no_data(format!("no alert labels are configured for {service}"));
    };
    match read(client, access, labels).await {
        Ok(alerts) => judge(&alerts),
        Err(why) => CheckResult::no_data(format!("Alertmanager could not be asked: {why}")),
    }
}

async fn read(
    client: &Client,
    access: &AlertmanagerAccess,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<Alert>, String> {
    let states = ["active", "silenced", "inhibited", "unprocessed"].map(|state| (state, "true".to_string()));
    let filters = labels.iter().map(|(name, value)| ("filter", matcher(name, value)));
    let url = access.url.below(&["api", "v2", "alerts"]).with_query(states.into_iter().chain(filters));
    let mut request = client.get(url.url()).timeout(TIMEOUT);
    if let Some(token) = &access.token {
        request = request.bearer_auth(token.expose_secret());
    }
    let response = request.send().await.map_err(|e| describe(&e))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    let body = read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&body).map_err(|_| "the answer is not its list of alerts".to_string())
}

/// `name="value"`, quoted as Alertmanager's matchers are.
fn matcher(name: &str, value: &str) -> String {
    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{quoted}\"")
}

fn judge(alerts: &[Alert]) -> CheckResult {
    let (firing, silenced): (Vec<&Alert>, Vec<&Alert>) =
        alerts.iter().filter(|alert| !is_own_alert(&alert.labels)).partition(|alert| alert.fires());
    if !firing.is_empty() {
        return CheckResult::failed(format!("{} active: {}", firing.len(), names(&firing)));
    }
    if !silenced.is_empty() {
        let alerts = count_of(silenced.len(), "silenced or inhibited alert");
        return CheckResult::no_data(format!("{alerts}: {}", names(&silenced)));
    }
    CheckResult::passed("no alert is active")
}

fn names(alerts: &[&Alert]) -> String {
    let mut names: Vec<&str> = alerts.iter().map(|alert| alert.name()).collect();
    names.sort_unstable();
    names.dedup();
    let rest = names.len().saturating_sub(NAMED);
    let listed = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if rest == 0 { listed } else { format!("{listed} and {rest} more") }
}
