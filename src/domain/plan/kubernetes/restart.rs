//! `kubectl rollout restart` as steps of a plan: the pods are made anew, and the version stays what it is.
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Action, RESTORE_SECS, Refusal, Step, Workload, WorkloadFacts, awaiting, changeable, same_object,
};
use crate::domain::outcome::Finding;
use crate::domain::release::RESTARTED_AT;
use crate::domain::survey::KubernetesSurvey;

/// Make all pods anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    pub workload: Workload,
    /// The workload itself, so that a namesake made meanwhile is not touched.
    pub uid: String,
    /// Fixed when the plan is drafted, so that what is sent twice is the same restart.
    pub at: Timestamp,
}

impl Restart {
    /// RFC 3339 with whole seconds, as kubectl writes it.
    pub fn stamp(&self) -> String {
        self.at.to_string()
    }

    /// The RFC 7386 patch to send. An API server refuses one that names another UID.
    pub fn patch(&self) -> Value {
        let annotations = json!({ RESTARTED_AT: self.stamp() });
        json!({"metadata": {"uid": self.uid}, "spec": {"template": {"metadata": {"annotations": annotations}}}})
    }
}

/// The steps that restart a workload: stamp its template, await the rollout.
///
/// # Errors
/// A paused or owned workload, or one whose pods change only when they are deleted.
pub fn restart(survey: &KubernetesSurvey, now: Timestamp, rollout_secs: u64) -> Result<Vec<Step>, Refusal> {
    changeable(survey)?;
    let workload = Workload::of(survey);
    let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let stamped = Restart { workload: workload.clone(), uid: survey.uid.clone(), at };
    let step = Step {
        target: survey.target.clone(),
        title: format!("restart the pods of {} {}", survey.kind.noun(), survey.name),
        deadline_secs: RESTORE_SECS,
        action: Action::Restart(stamped),
    };
    Ok(vec![step, awaiting(survey, workload, &survey.version, rollout_secs)])
}

/// Whether the template bears this restart's time. Another's clock may be wrong, so another time is no proof.
pub fn assess_restart(step: &Restart, facts: Option<&WorkloadFacts>) -> Finding {
    let facts = match same_object(&step.workload, &step.uid, facts) {
        Ok(facts) => facts,
        Err(why) => return Finding::Conflict { why },
    };
    let last = facts.restarted_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(last) = last.filter(|last| *last == step.at) {
        return Finding::Satisfied { detail: format!("restarted at {last}") };
    }
    if facts.paused {
        let what = step.workload.argument();
        return Finding::Conflict { why: format!("{what} was paused since the plan was made") };
    }
    let detail =
        last.map_or_else(|| "never restarted".to_string(), |last| format!("last restarted at {last}"));
    Finding::not_yet(detail)
}
