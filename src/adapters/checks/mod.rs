//! Verification checks that ask something outside: health endpoints, version endpoints, Alertmanager.
mod alerts;
mod body;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, StatusCode};

pub use alerts::AlertmanagerAccess;

use crate::adapters::endpoint::Endpoint;
use crate::adapters::outbound::{describe, read_body};
use crate::domain::verification::{CheckKind, CheckResult, CheckSpec, Expect};
use crate::ports::{CheckContext, Checks};

const TIMEOUT: Duration = Duration::from_secs(5);
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Asks over HTTP.
#[derive(Debug)]
pub struct OutsideChecks {
    client: Client,
    alertmanager: Option<AlertmanagerAccess>,
}

impl OutsideChecks {
    /// `client` must not follow redirects: a login page is not a healthy service.
    pub fn new(client: Client, alertmanager: Option<AlertmanagerAccess>) -> Self {
        Self { client, alertmanager }
    }

    /// GET; every failure is a sentence about the endpoint, which is what is being checked.
    async fn get(&self, url: &str) -> Result<reqwest::Response, String> {
        let endpoint = Endpoint::parse(url).map_err(|e| e.to_string())?;
        let sent = self.client.get(endpoint.url()).timeout(TIMEOUT).send().await;
        sent.map_err(|error| describe(&error))
    }

    async fn http(&self, url: &str, status: u16, expect: &[Expect]) -> Result<String, String> {
        let response = self.get(url).await?;
        let found = response.status();
        if found.as_u16() != status {
            return Err(wrong_status(found, status));
        }
        if expect.is_empty() {
            return Ok(format!("HTTP {status}"));
        }
        let text = read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())?;
        let met: Vec<String> = expect.iter().map(|e| body::met(&text, e)).collect::<Result<_, _>>()?;
        Ok(format!("{status}, {}", met.join(", ")))
    }

    async fn version(&self, url: &str, pointer: Option<&str>, label: &str) -> Result<String, String> {
        let response = self.get(url).await?;
        if response.status() != StatusCode::OK {
            return Err(wrong_status(response.status(), 200));
        }
        let text = read_body(response, BODY_MAX_BYTES).await.map_err(|e| e.to_string())?;
        body::has_version(&text, pointer, label)
    }
}

fn wrong_status(found: StatusCode, wanted: u16) -> String {
    let hint = if found.is_redirection() { " (redirects are not followed)" } else { "" };
    format!("HTTP {} instead of {wanted}{hint}", found.as_u16())
}

fn result(found: Result<String, String>) -> CheckResult {
    match found {
        Ok(detail) => CheckResult::passed(detail),
        Err(detail) => CheckResult::failed(detail),
    }
}

#[async_trait]
impl Checks for OutsideChecks {
    async fn check(&self, check: &CheckSpec, about: &CheckContext) -> CheckResult {
        match &check.kind {
            CheckKind::Http { url, status, expect } => result(self.http(url, *status, expect).await),
            CheckKind::Version { url, pointer } => {
                result(self.version(url, pointer.as_deref(), &about.version).await)
            }
            CheckKind::NoActiveAlerts => match &self.alertmanager {
                Some(access) => alerts::none_active(&self.client, access, &about.target.service).await,
                None => CheckResult::no_data("no Alertmanager is configured to ask"),
            },
            CheckKind::PodsReady
            | CheckKind::ErrorRate { .. }
            | CheckKind::LatencyP95 { .. }
            | CheckKind::Throughput { .. } => CheckResult::no_data("measured by the engine"),
        }
    }
}
