//! Recognises an owner by the labels, annotations and owner references that it leaves on what it applies.
use std::collections::BTreeMap;

use super::Controller;

const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
const ARGOCD_INSTANCE: &str = "argocd.argoproj.io/instance";
/// Argo CD's own default before 3.0, and what every Helm chart sets.
const APP_INSTANCE: &str = "app.kubernetes.io/instance";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM_CONTROLLER: &str = "helm.toolkit.fluxcd.io";
/// Set by a person on one object, it keeps Flux's Kustomizations from applying it.
pub(in crate::domain) const KUSTOMIZE_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";

/// What a workload says about who made it.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'a> {
    pub namespace: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub annotations: &'a BTreeMap<String, String>,
    /// The Argo Rollout that controls it.
    pub rollout: Option<&'a str>,
    /// The namespace of Argo CD's own Applications.
    pub argocd_namespace: &'a str,
}

/// Who it may be, to be completed by looking at the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guess {
    Nobody,
    GitOps(Controller),
    /// A GitOps controller that a person told to leave this one object alone.
    Excluded(Controller),
    /// Argo CD, if this Application exists and holds the workload; otherwise what else it would be.
    Perhaps(Controller, Box<Guess>),
    Helm {
        namespace: String,
        release: String,
    },
    ArgoRollout {
        name: String,
    },
}

/// The first that fits: what leaves no other explanation comes before what is only usual.
pub fn recognise(clues: Clues<'_>) -> Guess {
    if let Some(name) = clues.rollout {
        return Guess::ArgoRollout { name: name.to_string() };
    }
    if let Some(controller) = argocd(clues).or_else(|| flux(clues, HELM_CONTROLLER)) {
        return Guess::GitOps(controller);
    }
    if let Some(controller) = flux(clues, KUSTOMIZE) {
        let set = |map: &BTreeMap<String, String>| {
            map.get(KUSTOMIZE_RECONCILE).is_some_and(|value| value == "disabled")
        };
        let excluded = set(clues.labels) || set(clues.annotations);
        return if excluded { Guess::Excluded(controller) } else { Guess::GitOps(controller) };
    }
    let otherwise = helm(clues).unwrap_or(Guess::Nobody);
    match clues.labels.get(APP_INSTANCE) {
        Some(application) => Guess::Perhaps(application_of(clues, application), Box::new(otherwise)),
        None => otherwise,
    }
}

fn argocd(clues: Clues<'_>) -> Option<Controller> {
    // application:group/kind:namespace/name
    let tracked = clues.annotations.get(TRACKING_ID).and_then(|id| id.split(':').next());
    let name = tracked.or_else(|| clues.labels.get(ARGOCD_INSTANCE).map(String::as_str))?;
    Some(application_of(clues, name))
}

/// An Application outside of Argo CD's own namespace is called `namespace_name`.
fn application_of(clues: Clues<'_>, name: &str) -> Controller {
    let (namespace, application) = name.split_once('_').unwrap_or((clues.argocd_namespace, name));
    Controller::ArgoCd { namespace: namespace.to_string(), application: application.to_string() }
}

fn flux(clues: Clues<'_>, prefix: &str) -> Option<Controller> {
    let name = clues.labels.get(&format!("{prefix}/name"))?.clone();
    let namespace = clues.labels.get(&format!("{prefix}/namespace"));
    let namespace = namespace.map_or(clues.namespace, String::as_str).to_string();
    Some(if prefix == KUSTOMIZE {
        Controller::FluxKustomization { namespace, name }
    } else {
        Controller::FluxHelmRelease { namespace, name }
    })
}

fn helm(clues: Clues<'_>) -> Option<Guess> {
    let release = clues.annotations.get(HELM_RELEASE)?.clone();
    let namespace = clues.annotations.get(HELM_NAMESPACE).map_or(clues.namespace, String::as_str);
    Some(Guess::Helm { namespace: namespace.to_string(), release })
}
