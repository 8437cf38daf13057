//! Verification checks that ask something outside: health endpoints, version endpoints, Alertmanager.
mod alerts;
mod redis;
mod sql;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;

pub use alerts::AlertmanagerAccess;

use crate::adapters::postgres::Access;
use crate::adapters::probe;
use crate::config::Secrets;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::plan::database::SchemaQuery;
use crate::domain::verification::{CheckKind, CheckResult, CheckSpec};
use crate::ports::{CheckContext, Checks};

const TIMEOUT: Duration = Duration::from_secs(5);
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// Asks over HTTP.
#[derive(Debug)]
pub struct OutsideChecks {
    client: Client,
    alertmanager: Option<AlertmanagerAccess>,
    secrets: CheckSecrets,
    databases: BTreeMap<TargetId, Access>,
}

/// What the journeys among the checks of each service may use, by the check's name. The journal names them only.
pub type CheckSecrets = BTreeMap<ServiceName, BTreeMap<String, Secrets>>;

impl OutsideChecks {
    /// `client` must not follow redirects: a login page is not a healthy service.
    pub fn new(client: Client, alertmanager: Option<AlertmanagerAccess>) -> Self {
        Self { client, alertmanager, secrets: CheckSecrets::new(), databases: BTreeMap::new() }
    }

    #[must_use]
    pub fn with_secrets(self, secrets: CheckSecrets) -> Self {
        Self { secrets, ..self }
    }

    #[must_use]
    pub fn with_databases(self, databases: BTreeMap<TargetId, Access>) -> Self {
        Self { databases, ..self }
    }

    async fn ask_database(&self, target: &TargetId, query: &SchemaQuery) -> CheckResult {
        match self.databases.get(target) {
            Some(access) => result(sql::ask(access, query).await),
            None => CheckResult::no_data(format!("{target} is no database that is configured")),
        }
    }

    fn secrets(&self, service: &ServiceName, check: &str) -> Secrets {
        self.secrets.get(service).and_then(|checks| checks.get(check)).cloned().unwrap_or_default()
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
            CheckKind::Outside(probe) => {
                let secrets = self.secrets(&about.target.service, &check.name);
                result(probe::ask(&self.client, probe, &secrets).await)
            }
            CheckKind::Version { url, pointer } => {
                let (pointer, label) = (pointer.as_deref(), about.version.as_str());
                result(probe::names_version(&self.client, url, pointer, label, TIMEOUT).await)
            }
            CheckKind::NoActiveAlerts => match &self.alertmanager {
                Some(access) => alerts::none_active(&self.client, access, &about.target.service).await,
                None => CheckResult::no_data("no Alertmanager is configured to ask"),
            },
            CheckKind::Sql { target, query } => {
                let target = TargetId { service: about.target.service.clone(), target: target.clone() };
                self.ask_database(&target, query).await
            }
            CheckKind::Redis(server) => {
                let secrets = self.secrets(&about.target.service, &check.name);
                result(redis::ping(server, &secrets).await)
            }
            CheckKind::PodsReady
            | CheckKind::EndpointsReady { .. }
            | CheckKind::FrontendServed
            | CheckKind::ErrorRate { .. }
            | CheckKind::LatencyP95 { .. }
            | CheckKind::Throughput { .. } => CheckResult::no_data("measured by the engine"),
        }
    }
}
