//! Infrastructure as its adapter shows it: a plan file that is applied once, with notes that outlive the process.
use rollguard::domain::names::TargetId;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::infrastructure::reading::read;
use rollguard::domain::plan::infrastructure::ruling::PlanTerms;
use rollguard::domain::plan::infrastructure::state::StateId;
use rollguard::domain::plan::infrastructure::{
    InfrastructureAction, InfrastructureSurvey, MadePlan, Prepared,
};
use rollguard::domain::release::{Fingerprint, Version};
use rollguard::domain::survey::Survey;
use serde_json::json;

/// The commit `c2` is applied, `c1` was before, and there is a plan for it.
#[derive(Clone, Debug)]
pub(crate) struct Infrastructure {
    runs: Version,
    serial: u64,
    /// A plan was begun.
    begun: bool,
    pub(crate) effects: Vec<String>,
}

pub(crate) fn commit(name: &str) -> Version {
    Version { fingerprint: Fingerprint::named(name), label: name.into(), images: vec![] }
}

impl Infrastructure {
    pub(crate) fn at_c2() -> Self {
        Self { runs: commit("c2"), serial: 7, begun: false, effects: vec![] }
    }

    pub(crate) fn survey(&self, target: &TargetId) -> Survey {
        let change =
            json!({"address": "t.a", "mode": "managed", "type": "t", "change": {"actions": ["delete"]}});
        let document = json!({"format_version": "1.2", "resource_changes": [change]});
        let made = MadePlan {
            to: commit("c1"),
            sha256: "0123456789abcdef".into(),
            base: StateId { lineage: "a".into(), serial: self.serial },
            tool: "OpenTofu v1.12.6".into(),
            reading: read(document).unwrap(),
        };
        Survey::Infrastructure(Box::new(InfrastructureSurvey {
            target: target.clone(),
            version: self.runs.clone(),
            path: "env/prod".into(),
            terms: PlanTerms { stateful: vec![], never: vec![], changes_max: 100, deletes_max: 10 },
            prepared: Prepared::Ready(Box::new(made)),
            apply_secs: 600,
            plan_secs: 600,
        }))
    }

    pub(crate) fn observe(&self, action: &InfrastructureAction) -> Finding {
        let detail = || "it is so".to_string();
        match action {
            InfrastructureAction::Apply(apply) if self.runs == apply.made.to => {
                Finding::Satisfied { detail: detail() }
            }
            InfrastructureAction::Apply(apply) if self.begun || self.serial != apply.made.base.serial => {
                Finding::Conflict { why: "the state moved".into() }
            }
            InfrastructureAction::Apply(_) => Finding::not_yet("the plan is not applied yet"),
            InfrastructureAction::ProveEmpty { to } if self.runs == *to => {
                Finding::Satisfied { detail: detail() }
            }
            InfrastructureAction::ProveEmpty { .. } => Finding::Conflict { why: "something is left".into() },
        }
    }

    pub(crate) fn apply(&mut self, action: &InfrastructureAction) -> Outcome {
        let InfrastructureAction::Apply(apply) = action else {
            return Outcome::Refused { why: "there is nothing to be done about it".into() };
        };
        if self.begun || self.serial != apply.made.base.serial {
            return Outcome::Refused { why: "it is applied once".into() };
        }
        (self.begun, self.serial, self.runs) = (true, self.serial + 1, apply.made.to.clone());
        self.effects.push(self.runs.label.clone());
        Outcome::Done { detail: "applied".into() }
    }
}
