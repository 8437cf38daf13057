//! Where a template comes from, and so from where a version that was rolled back would come again.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{GitOps, Held, Owner, OwnerState};
use crate::domain::evidence::clock_time;

/// Who decides over a template, and who wrote it last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,
}

impl Origin {
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// The last one who changed the template, as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Name of the field manager, such as `kubectl-client-side-apply`.
    pub manager: String,
    /// Server-side apply: it holds on to what it wrote.
    pub applies: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Writer {
    /// `argocd-controller (Apply) changed the template at 10:20:31 UTC`.
    pub fn sentence(&self) -> String {
        let operation = if self.applies { "Apply" } else { "Update" };
        let at = self.at.map(|at| format!(" at {} UTC", clock_time(at))).unwrap_or_default();
        format!("{} ({operation}) changed the template{at}", self.manager)
    }

    fn is_kubectl_apply(&self) -> bool {
        self.manager == "kubectl-client-side-apply" || (self.manager == "kubectl" && self.applies)
    }
}

impl Origin {
    /// What deploys the `bad` version again, and what prevents it.
    pub fn comes_again(&self, bad: &str) -> String {
        match (&self.owner, &self.writer) {
            (Some(Owner::GitOps(GitOps { controller, .. })), _) => {
                let title = controller.title();
                format!("revert the commit in Git too: the next sync of {title} deploys {bad} again")
            }
            (Some(Owner::Helm { release, .. }), _) => format!(
                "correct the chart or its values too: the next `helm upgrade {release}` with {bad} deploys it again"
            ),
            (Some(Owner::ArgoRollout { namespace, name }), _) => {
                format!("correct Rollout {namespace}/{name} too, or it deploys {bad} again")
            }
            (None, Some(writer)) if writer.is_kubectl_apply() => format!(
                "correct the manifest too: it was applied with kubectl, and the next `kubectl apply` of it deploys {bad} again"
            ),
            (None, Some(writer)) if writer.manager != OURSELVES => format!(
                "correct it at its source too: {} wrote {bad}, and the next deploy, sync or `kubectl apply` of it deploys it again",
                writer.manager
            ),
            (None, Some(_) | None) => {
                format!(
                    "revert the commit too: the next deploy, sync or `kubectl apply` of {bad} deploys it again"
                )
            }
        }
    }

    /// What is worth knowing about an owner that does not stand in the way.
    pub fn mention(&self) -> Option<String> {
        let Some(Owner::GitOps(GitOps { controller, state, .. })) = &self.owner else { return None };
        let title = controller.title();
        match state {
            OwnerState::Manual => Some(format!("{title} owns it and does not sync by itself")),
            OwnerState::Suspended => Some(format!("{title} owns it and is suspended for it")),
            OwnerState::Automated(_)
            | OwnerState::ApplicationSetOwned { .. }
            | OwnerState::Missing
            | OwnerState::Unreadable { .. } => None,
        }
    }

    /// Who brought a version back that had been rolled back, and what is known of its owner.
    pub fn undone_by(&self, held: &[Held]) -> String {
        let who = self.writer.as_ref().map(Writer::sentence);
        let who = who.unwrap_or_else(|| "it is not recorded who changed the template".to_string());
        let Some(owner) = &self.owner else { return who };
        let title = owner.title();
        match held.iter().find(|held| held.hold.controller.title() == title) {
            Some(held) => format!(
                "{who}; {title} owns it, which run {} had suspended at {} UTC: look what resumed it, or applies it beside it",
                held.run,
                clock_time(held.since)
            ),
            None => format!("{who}; {title} owns it: {}", owner.advice()),
        }
    }
}

/// Our own name as a field manager.
pub const OURSELVES: &str = "rollguard";
