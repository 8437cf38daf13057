//! What an adapter found out about a target right now: all that drafting a plan needs.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::TargetId;
use super::owner::{Origin, Owner};
use super::plan::database::DatabaseSurvey;
use super::plan::frontend::FrontendSurvey;
use super::plan::infrastructure::InfrastructureSurvey;
use super::release::{Fingerprint, Version};
use super::surroundings::Rollout;
use super::workload::{UpdateStrategy, WorkloadKind};

/// A survey of one target of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Survey {
    Kubernetes(Box<KubernetesSurvey>),
    Frontend(Box<FrontendSurvey>),
    Database(Box<DatabaseSurvey>),
    Infrastructure(Box<InfrastructureSurvey>),
}

impl Survey {
    pub fn target(&self) -> &TargetId {
        match self {
            Survey::Kubernetes(found) => &found.target,
            Survey::Frontend(found) => found.target(),
            Survey::Database(found) => found.target(),
            Survey::Infrastructure(found) => found.target(),
        }
    }

    /// What runs now.
    pub fn version(&self) -> &Version {
        match self {
            Survey::Kubernetes(found) => &found.version,
            Survey::Frontend(found) => found.version(),
            Survey::Database(found) => found.version(),
            Survey::Infrastructure(found) => found.version(),
        }
    }

    pub fn workload(&self) -> Option<&KubernetesSurvey> {
        match self {
            Survey::Kubernetes(found) => Some(found),
            Survey::Frontend(_) | Survey::Database(_) | Survey::Infrastructure(_) => None,
        }
    }

    /// Who keeps it as it is; only workloads have such owners.
    pub fn owner(&self) -> Option<&Owner> {
        self.workload()?.origin.owner.as_ref()
    }
}

/// A workload with its history, as the API server gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KubernetesSurvey {
    pub target: TargetId,
    #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
    pub kind: WorkloadKind,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub paused: bool,
    #[serde(default)]
    pub update: UpdateStrategy,
    pub replicas: u32,
    /// Number of the current revision, 0 while it has none yet.
    pub revision: u64,
    /// The raw pod template, for the patch's `test`.
    pub template: Value,
    pub version: Version,
    pub annotations: BTreeMap<String, String>,
    pub origin: Origin,
    /// ReplicaSets or ControllerRevisions that this workload controls, by ascending revision; the current one is among them.
    pub history: Vec<Revision>,
    pub revision_history_limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// One ReplicaSet or ControllerRevision of a workload's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub name: String,
    pub uid: String,
    pub revision: u64,
    pub version: Version,
    /// The pod template without the `pod-template-hash` label.
    pub template: Value,
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

impl KubernetesSurvey {
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&Revision> {
        self.history.iter().rev().find(|r| r.version.fingerprint == *fingerprint)
    }
}
