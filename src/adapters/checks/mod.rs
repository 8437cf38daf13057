//! Verification checks that ask something outside: health endpoints, version endpoints, Alertmanager.
mod alerts;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;

pub use alerts::AlertmanagerAccess;

use crate::adapters::probe;
use crate::domain::verification::{CheckKind, CheckResult, CheckSpec};
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
            CheckKind::Http { url, status, expect } => {
                result(probe::answers(&self.client, url, (*status, expect), TIMEOUT).await)
            }
            CheckKind::Version { url, pointer } => {
                let (pointer, label) = (pointer.as_deref(), about.version.as_str());
                result(probe::names_version(&self.client, url, pointer, label, TIMEOUT).await)
            }
            CheckKind::NoActiveAlerts => match &self.alertmanager {
                Some(access) => alerts::none_active(&self.client, access, &about.target.service).await,
                None => CheckResult::no_data("no Alertmanager is configured to ask"),
            },
            CheckKind::PodsReady
            | CheckKind::EndpointsReady
            | CheckKind::ErrorRate { .. }
            | CheckKind::LatencyP95 { .. }
            | CheckKind::Throughput { .. } => CheckResult::no_data("measured by the engine"),
        }
    }
}
