//! What the policy of a service says about the case at hand, and how people are asked about it.
use crate::domain::approval::Asking;
use crate::domain::names::TargetName;
use crate::domain::plan::Plan;
use crate::domain::policy::Ruling;
use crate::domain::policy::matter::Seen;
use crate::domain::policy::table::Case;
use crate::domain::watch::Assessment;
use crate::engine::settings::ServiceSettings;

/// The answer of the policy for all targets that the plan changes.
pub(super) fn ruling(
    settings: &ServiceSettings,
    assessment: &Assessment,
    own: &TargetName,
    plan: Option<&Plan>,
) -> Ruling {
    let changed = plan.iter().flat_map(|plan| &plan.changes).map(|change| change.target.target.clone());
    let targets: Vec<TargetName> = std::iter::once(own.clone()).chain(changed).collect();
    settings.policy.rule(Case {
        verdict: &assessment.verdict,
        seen: &Seen::tripping(&assessment.evidence, &settings.rules),
        at: assessment.at,
        targets: &targets,
    })
}

/// How the service asks. `alone`: it may be rolled back without an answer, if the policy says so.
pub(super) fn asking(settings: &ServiceSettings, alone: bool) -> Asking {
    Asking {
        expires_secs: settings.approval_expires.as_secs(),
        approvals: settings.policy.approvals.clone(),
        unanswered: settings.policy.unanswered.clone(),
        alone,
        freezes: settings.rails.freezes.clone(),
        by_requester: false,
    }
}
