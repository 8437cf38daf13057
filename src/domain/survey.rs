//! What an adapter found out about a target right now: all that drafting a plan needs.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::TargetId;
use super::release::{Fingerprint, Version};

/// A survey of one target of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Survey {
    Kubernetes(KubernetesSurvey),
}

/// A Deployment with its history, as the API server gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KubernetesSurvey {
    pub target: TargetId,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub paused: bool,
    pub replicas: u32,
    /// Value of `deployment.kubernetes.io/revision`.
    pub revision: u64,
    /// The raw pod template, for the patch's `test`.
    pub template: Value,
    pub version: Version,
    pub annotations: BTreeMap<String, String>,
    pub owner: Option<Owner>,
    /// ReplicaSets that this Deployment controls, by ascending revision; the current one is among them.
    pub history: Vec<Revision>,
    pub revision_history_limit: Option<u32>,
}

/// One ReplicaSet of a Deployment's history.
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

/// A GitOps controller that would undo what we do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    ArgoCd { application: String },
    FluxKustomization { namespace: String, name: String },
    FluxHelmRelease { namespace: String, name: String },
}

impl Owner {
    pub fn title(&self) -> String {
        match self {
            Owner::ArgoCd { application } => format!("Argo CD application {application}"),
            Owner::FluxKustomization { namespace, name } => format!("Flux Kustomization {namespace}/{name}"),
            Owner::FluxHelmRelease { namespace, name } => format!("Flux HelmRelease {namespace}/{name}"),
        }
    }

    /// What a person does instead.
    pub fn advice(&self) -> String {
        match self {
            Owner::ArgoCd { application } => format!(
                "revert the commit in Git, or hold the owner with `argocd app set {application} --sync-policy none` and then roll back"
            ),
            Owner::FluxKustomization { namespace, name } => format!(
                "revert the commit in Git, or hold the owner with `flux suspend kustomization {name} -n {namespace}` and then roll back"
            ),
            Owner::FluxHelmRelease { namespace, name } => format!(
                "revert the commit in Git, or hold the owner with `flux suspend helmrelease {name} -n {namespace}` and then roll back"
            ),
        }
    }

    /// Recognises an owner by the labels and annotations that it puts on what it applies. Plain Helm is none: it has
    /// no controller that would undo us. `app.kubernetes.io/instance` alone proves nothing, Helm charts set it too.
    pub fn of(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Option<Owner> {
        if let Some(id) = annotations.get("argocd.argoproj.io/tracking-id") {
            let application = id.split(':').next().unwrap_or(id).to_string();
            return Some(Owner::ArgoCd { application });
        }
        if let Some(application) = labels.get("argocd.argoproj.io/instance") {
            return Some(Owner::ArgoCd { application: application.clone() });
        }
        let flux = |prefix: &str| {
            let name = labels.get(&format!("{prefix}/name"))?.clone();
            let namespace = labels.get(&format!("{prefix}/namespace")).cloned().unwrap_or_default();
            Some((namespace, name))
        };
        if let Some((namespace, name)) = flux("kustomize.toolkit.fluxcd.io") {
            return Some(Owner::FluxKustomization { namespace, name });
        }
        let (namespace, name) = flux("helm.toolkit.fluxcd.io")?;
        Some(Owner::FluxHelmRelease { namespace, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_recognised_and_plain_helm_is_none() {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let argo = Owner::of(
            &map(&[]),
            &map(&[("argocd.argoproj.io/tracking-id", "shop:apps/Deployment:default/web")]),
        );
        assert_eq!(argo, Some(Owner::ArgoCd { application: "shop".into() }));
        let labels = map(&[
            ("kustomize.toolkit.fluxcd.io/name", "apps"),
            ("kustomize.toolkit.fluxcd.io/namespace", "flux"),
        ]);
        assert!(matches!(Owner::of(&labels, &map(&[])), Some(Owner::FluxKustomization { .. })));
        let helm = map(&[("app.kubernetes.io/managed-by", "Helm"), ("app.kubernetes.io/instance", "shop")]);
        assert_eq!(Owner::of(&helm, &map(&[("meta.helm.sh/release-name", "shop")])), None);
    }
}
