//! What the engine knows of each service: its policy, rules and checks, as the configuration gave them.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::guardrails::Rails;
use crate::domain::guardrails::minimum::MinVersion;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::plan::compatibility::{Compatibility, Running, objection};
use crate::domain::plan::database::DatabaseRefusal;
use crate::domain::plan::{Plan, Refusal};
use crate::domain::policy::Policy;
use crate::domain::runbook::{Judging, Rule};
use crate::domain::verification::CheckSpec;

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub name: ServiceName,
    pub policy: Policy,
    pub targets: Vec<TargetName>,
    pub rules: Vec<Rule>,
    /// Of targets without pods, which have not all of them.
    pub rules_apart: BTreeMap<TargetName, Vec<Rule>>,
    /// Which versions of other targets run on which versions of a database.
    pub compatible: BTreeMap<TargetName, Vec<Compatibility>>,
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

impl ServiceSettings {
    /// Why this plan would leave versions side by side that are declared not to run together, for a moment or for good.
    pub fn misfit(&self, running: &Running, plan: &Plan) -> Option<Refusal> {
        let why = objection(&self.compatible, running, &plan.changes)?;
        Some(Refusal::Database(DatabaseRefusal::Incompatible { why }))
    }

    pub fn rules_of(&self, target: &TargetName) -> &[Rule] {
        self.rules_apart.get(target).unwrap_or(&self.rules)
    }
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
