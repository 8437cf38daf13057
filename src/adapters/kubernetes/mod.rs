//! Kubernetes: watches workloads with their histories and pods, surveys them, and puts pod templates back.
mod access;
mod announce;
mod around;
mod beside;
mod call;
mod commons;
mod events;
mod facts;
mod failure;
mod feed;
mod index;
mod keepsake;
mod keyed_hash;
mod lease;
pub mod logs;
mod obstacles;
mod owners;
mod pace;
mod quota;
mod references;
mod refusals;
mod rights;
mod rollout;
mod server_time;
mod survey;
mod target;
mod trim;
mod view;

#[cfg(test)]
mod fixtures;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Client;
use kube::core::ApiResource;

use logs::{LogRule, LogsSource};

use crate::domain::names::TargetId;
use crate::domain::plan::kubernetes::Workload;
use crate::domain::workload::WorkloadKind;
use crate::ports::Clock;

pub use access::AccessError;
pub use beside::{Beside, Extras};
pub use events::KubernetesEvents;
pub use feed::KubernetesFeed;
pub use keepsake::Keeping;
pub use keyed_hash::{KeyError, KeyedHash};
pub use lease::KubernetesLease;
pub use owners::OwnerOptions;
pub use target::KubernetesTargets;

/// How the API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterAccess {
    /// `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod that we run in.
    Inferred,
    /// A kubeconfig file, or the one that kubectl would take; its current context unless one is named.
    Kubeconfig { path: Option<PathBuf>, context: Option<String> },
    /// An API server that asks for no credentials, such as `kubectl proxy` or the sandbox.
    Url(String),
    /// Nothing is guarded in any cluster, so nothing is sent to one.
    Absent,
}

/// A workload that is a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesTarget {
    pub target: TargetId,
    pub workload: Workload,
}

fn resource(kind: WorkloadKind) -> ApiResource {
    match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    }
}

/// One cluster with the targets in it.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    targets: Vec<KubernetesTarget>,
    owners: OwnerOptions,
    clock: Arc<dyn Clock>,
    beside: Beside,
    keeping: Option<Keeping>,
}

impl Kubernetes {
    /// Reads the credentials; nothing is sent to the cluster yet.
    ///
    /// # Errors
    /// When there are no credentials, or they cannot be used.
    pub async fn open(
        access: &ClusterAccess,
        targets: Vec<KubernetesTarget>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AccessError> {
        let client = access::client(access).await?;
        let (owners, beside) = (OwnerOptions::default(), Beside::default());
        Ok(Self { client, targets, owners, clock, beside, keeping: None })
    }

    /// Watches more than workloads, where that is allowed.
    #[must_use]
    pub fn with(self, extras: Extras) -> Self {
        Self { beside: Beside::new(extras), ..self }
    }

    /// What this one's feed sees beside the workloads.
    pub fn beside(&self) -> Beside {
        self.beside.clone()
    }

    /// With what the feed of another one sees, which goes on.
    #[must_use]
    pub fn with_beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    #[must_use]
    pub fn with_owners(self, owners: OwnerOptions) -> Self {
        Self { owners, ..self }
    }

    /// Reads what workloads refer to, where that is allowed.
    #[must_use]
    pub fn with_keeping(self, keeping: Option<Keeping>) -> Self {
        Self { keeping, ..self }
    }

    /// Whether there is a workload to watch.
    pub fn has_targets(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Starts the watches; they end when the feed is dropped. Call it within a tokio runtime.
    pub fn feed(&self) -> KubernetesFeed {
        KubernetesFeed::start(&self.client, self.targets.clone(), &self.beside, Arc::clone(&self.clock))
    }

    /// Reads the pods' logs for these rules; needs `get` on `pods/log`.
    pub fn logs(&self, rules: Vec<LogRule>) -> LogsSource {
        let namespaces =
            self.targets.iter().map(|t| (t.target.clone(), t.workload.namespace.clone())).collect();
        LogsSource::new(self.client.clone(), namespaces, rules)
    }

    pub fn targets(&self) -> KubernetesTargets {
        KubernetesTargets::new(
            self.client.clone(),
            self.by_id(),
            self.beside.clone(),
            Arc::clone(&self.clock),
            self.owners.clone(),
        )
        .with_keeping(self.keeping.clone())
    }

    /// The Lease of this name, in our own namespace unless another is named.
    pub fn lease(&self, namespace: Option<&str>, name: &str) -> KubernetesLease {
        let namespace = namespace.unwrap_or_else(|| self.client.default_namespace());
        KubernetesLease::new(&self.client, namespace, name)
    }

    /// A channel that tells each workload's story in Events.
    pub fn events(&self) -> KubernetesEvents {
        KubernetesEvents::new(self.client.clone(), self.by_id())
    }

    fn by_id(&self) -> BTreeMap<TargetId, KubernetesTarget> {
        self.targets.iter().map(|t| (t.target.clone(), t.clone())).collect()
    }
}
