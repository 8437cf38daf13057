//! Who else decides over a workload's template, read from the cluster with its survey, and held when the plan says so.
mod argo;
mod flux;
mod writer;

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{ListParams, Patch};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::trim::controller;
use super::{call, failure};
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::owner::{
    ARGOCD_NAMESPACE, Clues, Controller, GitOps, Guess, HoldOwner, Origin, Owner, OwnerState, assess_hold,
    recognise,
};

pub(super) use writer::{changed_by, writer};

/// Shorter than a survey may take, so that an owner that cannot be read is told as such.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Argo Rollouts of one namespace that are looked through.
const ROLLOUTS_MAX: u32 = 500;

/// What the configuration says about owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerOptions {
    /// Where Argo CD keeps its own Applications.
    pub argocd_namespace: String,
    /// Targets whose owner may be suspended for a rollback.
    pub may_hold: BTreeSet<TargetId>,
}

impl Default for OwnerOptions {
    fn default() -> Self {
        Self { argocd_namespace: ARGOCD_NAMESPACE.to_string(), may_hold: BTreeSet::new() }
    }
}

/// A workload as its owner knows it.
#[derive(Clone, Copy)]
struct Workload<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

#[derive(Clone)]
pub(super) struct Owners {
    client: Client,
    options: OwnerOptions,
}

/// Why an owner's object was not had.
enum Trouble {
    Missing,
    Failed(kube::Error),
    Late,
}

impl Trouble {
    fn state(&self) -> OwnerState {
        match self {
            Trouble::Missing => OwnerState::Missing,
            Trouble::Failed(error) => OwnerState::Unreadable { why: failure::reason(error) },
            Trouble::Late => {
                OwnerState::Unreadable { why: format!("no answer within {} s", TIMEOUT.as_secs()) }
            }
        }
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if failure::code(&error) == Some(404) => Err(Trouble::Missing),
        Ok(Err(error)) => Err(Trouble::Failed(error)),
        Err(_) => Err(Trouble::Late),
    }
}

impl Owners {
    pub(super) fn new(client: Client, options: OwnerOptions) -> Self {
        Self { client, options }
    }

    /// Never fails: what cannot be read is part of the answer.
    pub(super) async fn origin(&self, target: &TargetId, object: &DynamicObject, kind: &str) -> Origin {
        Origin { owner: self.owner(target, object, kind).await, writer: writer(&object.metadata) }
    }

    async fn owner(&self, target: &TargetId, object: &DynamicObject, kind: &str) -> Option<Owner> {
        let meta = &object.metadata;
        let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
        let workload = Workload { kind, namespace, name };
        let empty = Default::default();
        let rollout = controller(meta).filter(|owner| owner.kind == argo::ROLLOUT);
        let clues = Clues {
            namespace,
            labels: meta.labels.as_ref().unwrap_or(&empty),
            annotations: meta.annotations.as_ref().unwrap_or(&empty),
            rollout: rollout.map(|owner| owner.name.as_str()),
            argocd_namespace: &self.options.argocd_namespace,
        };
        let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_u64);
        if replicas == Some(0)
            && let Some(name) = self.referring_rollout(workload).await
        {
            return Some(Owner::ArgoRollout { namespace: namespace.to_string(), name });
        }
        self.completed(recognise(clues), target, workload).await
    }

    async fn completed(&self, guess: Guess, target: &TargetId, workload: Workload<'_>) -> Option<Owner> {
        let may_hold = self.options.may_hold.contains(target);
        match guess {
            Guess::Nobody => None,
            Guess::Helm { namespace, release } => Some(Owner::Helm { namespace, release }),
            Guess::ArgoRollout { name } => {
                Some(Owner::ArgoRollout { namespace: workload.namespace.to_string(), name })
            }
            Guess::Excluded(controller) => {
                Some(Owner::GitOps(GitOps { controller, state: OwnerState::Suspended, may_hold }))
            }
            Guess::GitOps(controller) => {
                let state = self.state(&controller).await;
                Some(Owner::GitOps(GitOps { controller, state, may_hold }))
            }
            Guess::Perhaps(controller, otherwise) => match self.read(&controller).await {
                Ok((_, object)) if argo::holds(&object, workload) => {
                    let state = argo::state(&object);
                    Some(Owner::GitOps(GitOps { controller, state, may_hold }))
                }
                Ok(_) | Err(_) => Box::pin(self.completed(*otherwise, target, workload)).await,
            },
        }
    }

    async fn state(&self, controller: &Controller) -> OwnerState {
        match self.read(controller).await {
            Ok((_, object)) => state_of(controller, &object),
            Err(trouble) => trouble.state(),
        }
    }

    /// The controller's object in the first version of its API that the cluster has.
    async fn read(&self, controller: &Controller) -> Result<(Api<DynamicObject>, DynamicObject), Trouble> {
        let (namespace, name, versions) = match controller {
            Controller::ArgoCd { namespace, application } => (namespace, application, argo::APPLICATION),
            Controller::FluxKustomization { namespace, name } => (namespace, name, flux::KUSTOMIZATION),
            Controller::FluxHelmRelease { namespace, name } => (namespace, name, flux::HELM_RELEASE),
        };
        for (group, version, kind, plural) in versions {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
            match in_time(api.get(name)).await {
                Ok(object) => return Ok((api, object)),
                Err(Trouble::Missing) => {}
                Err(trouble @ (Trouble::Failed(_) | Trouble::Late)) => return Err(trouble),
            }
        }
        Err(Trouble::Missing)
    }

    /// The Argo Rollout that runs the pods of a Deployment which it scaled to zero.
    async fn referring_rollout(&self, workload: Workload<'_>) -> Option<String> {
        let kind = GroupVersionKind::gvk(argo::GROUP, argo::VERSION, argo::ROLLOUT);
        let resource = ApiResource::from_gvk_with_plural(&kind, "rollouts");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), workload.namespace, &resource);
        let rollouts = in_time(api.list(&ListParams::default().limit(ROLLOUTS_MAX))).await.ok()?;
        let mut referring = rollouts.items.into_iter().filter(|rollout| argo::refers(rollout, workload));
        referring.next().and_then(|rollout| rollout.metadata.name)
    }

    pub(super) async fn observe(&self, hold: &HoldOwner) -> Finding {
        assess_hold(hold, &self.state(&hold.controller).await)
    }

    /// Sends the patches one after the other until what the server stored is held.
    pub(super) async fn hold(&self, hold: &HoldOwner) -> Outcome {
        let title = hold.controller.title();
        let api = match self.read(&hold.controller).await {
            Ok((api, _)) => api,
            Err(Trouble::Missing) => return Outcome::Refused { why: format!("{title} does not exist") },
            Err(trouble @ (Trouble::Failed(_) | Trouble::Late)) => return outcome(&title, &trouble),
        };
        for patch in &hold.patches {
            let Ok(operations) = serde_json::from_value(patch.clone()) else {
                return Outcome::Refused { why: format!("the plan's patch for {title} is no JSON Patch") };
            };
            let name = name_of(&hold.controller);
            match in_time(call::patch(&self.client, &api, name, &Patch::<()>::Json(operations))).await {
                Ok(stored) => match state_of(&hold.controller, &stored) {
                    OwnerState::Manual | OwnerState::Suspended => {
                        return Outcome::Done { detail: format!("{title} was suspended") };
                    }
                    OwnerState::Automated(_)
                    | OwnerState::ApplicationSetOwned { .. }
                    | OwnerState::Missing
                    | OwnerState::Unreadable { .. } => {}
                },
                Err(trouble) => return outcome(&title, &trouble),
            }
        }
        Outcome::Refused { why: format!("the API server did not store the suspension of {title}") }
    }
}

fn outcome(title: &str, trouble: &Trouble) -> Outcome {
    match trouble {
        Trouble::Missing => Outcome::Refused { why: format!("{title} does not exist") },
        Trouble::Late => Outcome::Unknown { why: format!("no answer within {} s", TIMEOUT.as_secs()) },
        Trouble::Failed(error) => {
            let why = failure::reason(error);
            match failure::code(error) {
                Some(408 | 429) => Outcome::Unknown { why },
                Some(400..500) => Outcome::Refused { why: format!("{title} was not suspended: {why}") },
                Some(_) | None => Outcome::Unknown { why },
            }
        }
    }
}

fn name_of(controller: &Controller) -> &str {
    match controller {
        Controller::ArgoCd { application, .. } => application,
        Controller::FluxKustomization { name, .. } | Controller::FluxHelmRelease { name, .. } => name,
    }
}

fn state_of(controller: &Controller, object: &DynamicObject) -> OwnerState {
    match controller {
        Controller::ArgoCd { .. } => argo::state(object),
        Controller::FluxKustomization { .. } => flux::state(object, true),
        Controller::FluxHelmRelease { .. } => flux::state(object, flux::corrects_drift(object)),
    }
}
