//! Who else decides over a workload's template: GitOps controllers, Helm, Argo Rollouts; and what that means for a rollback.
mod hold;
mod origin;
mod recognise;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use hold::{Held, HoldOwner, assess_hold, hold};
pub use origin::{OURSELVES, Origin, Writer};
pub(super) use recognise::KUSTOMIZE_RECONCILE;
pub use recognise::{Clues, Guess, recognise};

/// Something that puts its own template back, or keeps its own record of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    GitOps(GitOps),
    /// No controller: nothing is undone, but Helm's record still names the bad release.
    Helm {
        namespace: String,
        release: String,
    },
    /// It has its own way back.
    ArgoRollout {
        namespace: String,
        name: String,
    },
}

/// A GitOps controller's object that applies a workload, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitOps {
    pub controller: Controller,
    pub state: OwnerState,
    /// The configuration allows to suspend it (`gitops: suspend`).
    pub may_hold: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    ArgoCd { namespace: String, application: String },
    FluxKustomization { namespace: String, name: String },
    FluxHelmRelease { namespace: String, name: String },
}

/// Whether an owner acts by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerState {
    /// Argo CD without automated sync: only a person syncs.
    Manual,
    /// Flux, suspended by somebody.
    Suspended,
    Automated(Automation),
    /// Automated, and an ApplicationSet would put that back at once.
    ApplicationSetOwned {
        set: String,
    },
    /// What the workload names is not there.
    Missing,
    Unreadable {
        why: String,
    },
}

/// What makes an owner act by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automation {
    pub uid: String,
    /// What a hold replaces: `spec.syncPolicy.automated` of Argo CD, `spec.suspend` of Flux (null where it is not written).
    pub setting: Value,
    /// It undoes changes without a new commit.
    pub reverts: bool,
}

/// Where Argo CD is installed unless somebody says otherwise.
pub const ARGOCD_NAMESPACE: &str = "argocd";

impl Controller {
    pub fn title(&self) -> String {
        match self {
            Controller::ArgoCd { .. } => format!("Argo CD application {}", self.argument()),
            Controller::FluxKustomization { namespace, name } => {
                format!("Flux Kustomization {namespace}/{name}")
            }
            Controller::FluxHelmRelease { namespace, name } => format!("Flux HelmRelease {namespace}/{name}"),
        }
    }

    /// As the controller's own command line takes it.
    fn argument(&self) -> String {
        match self {
            Controller::ArgoCd { namespace, application } if namespace == ARGOCD_NAMESPACE => {
                application.clone()
            }
            Controller::ArgoCd { namespace, application } => format!("{namespace}/{application}"),
            Controller::FluxKustomization { namespace, name } => {
                format!("kustomization {name} -n {namespace}")
            }
            Controller::FluxHelmRelease { namespace, name } => format!("helmrelease {name} -n {namespace}"),
        }
    }

    /// The command with which a person keeps it from acting.
    pub fn hold_command(&self) -> String {
        let argument = self.argument();
        match self {
            Controller::ArgoCd { .. } => format!("argocd app set {argument} --sync-policy none"),
            Controller::FluxKustomization { .. } | Controller::FluxHelmRelease { .. } => {
                format!("flux suspend {argument}")
            }
        }
    }

    /// The command that puts back what a hold replaced, exactly.
    pub fn resume_command(&self, previous: &Value) -> String {
        match self {
            Controller::ArgoCd { namespace, application } => format!(
                "kubectl patch applications.argoproj.io {application} -n {namespace} --type=json \
                 -p '[{{\"op\":\"add\",\"path\":\"/spec/syncPolicy/automated\",\"value\":{previous}}}]'"
            ),
            Controller::FluxKustomization { .. } | Controller::FluxHelmRelease { .. } => {
                format!("flux resume {}", self.argument())
            }
        }
    }
}

impl Owner {
    pub fn title(&self) -> String {
        match self {
            Owner::GitOps(gitops) => gitops.controller.title(),
            Owner::Helm { namespace, release } => format!("Helm release {namespace}/{release}"),
            Owner::ArgoRollout { namespace, name } => format!("Argo Rollout {namespace}/{name}"),
        }
    }

    /// Why it stands in the way of a rollback, after "belongs to".
    pub fn objection(&self) -> String {
        let title = self.title();
        match self {
            Owner::GitOps(GitOps { state, .. }) => match state {
                OwnerState::Automated(Automation { reverts: true, .. }) => {
                    format!("{title}, which would undo a rollback: it reverts what others change")
                }
                OwnerState::Automated(Automation { reverts: false, .. }) => {
                    format!("{title}, which would undo a rollback: it deploys the next commit by itself")
                }
                OwnerState::ApplicationSetOwned { set } => {
                    format!(
                        "{title}, which would undo a rollback, and ApplicationSet {set} keeps it automated"
                    )
                }
                OwnerState::Missing => format!("{title}, which may undo a rollback: it was not found"),
                OwnerState::Unreadable { why } => {
                    format!("{title}, which may undo a rollback: its state could not be read: {why}")
                }
                OwnerState::Manual | OwnerState::Suspended => {
                    format!("{title}, which does not act by itself")
                }
            },
            Owner::Helm { .. } => format!("{title}, which has no controller"),
            Owner::ArgoRollout { .. } => format!("{title}, which runs its pods and would undo a rollback"),
        }
    }

    /// What a person does instead.
    pub fn advice(&self) -> String {
        match self {
            Owner::GitOps(gitops) => gitops.advice(),
            Owner::Helm { .. } => format!("roll back with `{}`", self.helm_command().unwrap_or_default()),
            Owner::ArgoRollout { namespace, name } => format!(
                "go back with `kubectl argo rollouts undo {name} -n {namespace}`, or stop an update that is under way with \
                 `kubectl argo rollouts abort {name} -n {namespace}`"
            ),
        }
    }

    /// What makes Helm's record agree with a rollback.
    pub fn helm_command(&self) -> Option<String> {
        match self {
            Owner::Helm { namespace, release } => Some(format!("helm rollback {release} -n {namespace}")),
            Owner::GitOps(_) | Owner::ArgoRollout { .. } => None,
        }
    }
}

impl GitOps {
    fn advice(&self) -> String {
        let hold = self.controller.hold_command();
        let usual = format!("revert the commit in Git, or hold the owner with `{hold}` and then roll back");
        match (&self.state, &self.controller) {
            (OwnerState::ApplicationSetOwned { set }, _) => format!(
                "revert the commit in Git, or take the automated sync out of ApplicationSet {set} and then roll back"
            ),
            (OwnerState::Missing, Controller::ArgoCd { .. }) => {
                format!("{usual}; if Argo CD is in another namespace, set kubernetes.argocd_namespace")
            }
            (OwnerState::Unreadable { .. }, _) => {
                format!("{usual}; to let rollguard read it, grant what deploy/kubernetes/owners does")
            }
            (
                OwnerState::Manual | OwnerState::Suspended | OwnerState::Automated(_) | OwnerState::Missing,
                _,
            ) => usual,
        }
    }
}
