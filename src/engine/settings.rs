//! What the engine knows of each service: its policy, rules and checks, as the configuration gave them.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::guardrails::Rails;
use crate::domain::guardrails::minimum::MinVersion;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::policy::Policy;
use crate::domain::runbook::{Judging, Rule};
use crate::domain::verification::CheckSpec;

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub name: ServiceName,
    pub policy: Policy,
    pub targets: Vec<TargetName>,
    pub rules: Vec<Rule>,
    pub judging: Judging,
    pub watch: Duration,
    pub page_after: Duration,
    pub rails: Rails,
    /// What automation may not go back behind.
    pub minimums: BTreeMap<TargetName, MinVersion>,
    pub approval_expires: Duration,
    pub rollout_deadline: Duration,
    /// Targets that were released together are rolled back together, or not at all.
    pub together: bool,
    pub verify_deadline: Duration,
    pub checks: Vec<CheckSpec>,
    pub status_page: Option<String>,
}

/// All services, by name.
#[derive(Clone, Debug)]
pub struct Fleet {
    services: BTreeMap<ServiceName, Arc<ServiceSettings>>,
    /// Rollbacks that are carried out at once by themselves.
    pub at_once: usize,
    /// The hash of the configuration that said so; none if there was no configuration.
    pub configuration: Option<String>,
}

impl Fleet {
    pub fn new(services: Vec<ServiceSettings>, at_once: usize) -> Self {
        let services = services.into_iter().map(|s| (s.name.clone(), Arc::new(s))).collect();
        Self { services, at_once, configuration: None }
    }

    #[must_use]
    pub fn configured_by(self, hash: String) -> Self {
        Self { configuration: Some(hash), ..self }
    }

    pub fn service(&self, name: &ServiceName) -> Option<Arc<ServiceSettings>> {
        self.services.get(name).cloned()
    }

    pub fn targets(&self) -> impl Iterator<Item = (TargetId, Arc<ServiceSettings>)> + '_ {
        self.services.values().flat_map(|settings| {
            settings.targets.iter().map(move |target| {
                (TargetId { service: settings.name.clone(), target: target.clone() }, settings.clone())
            })
        })
    }
}
