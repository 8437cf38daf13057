//! Applies a plan file once, and proves with another plan what became of it.
use async_trait::async_trait;
use jiff::Timestamp;

use super::Infrastructure;
use super::notes::Applied;
use super::site::Site;
use super::tool::ToolError;
use super::workbench::Workbench;
use crate::domain::names::TargetId;
use crate::domain::outcome::{Call, Finding, Outcome};
use crate::domain::plan::infrastructure::{
    ApplyPlan, InfrastructureAction, InfrastructureSurvey, MadePlan, summary,
};
use crate::domain::plan::{Action, Step};
use crate::domain::release::Version;
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;
use crate::ports::{SurveyError, Target, calls};

const AGAIN: &str = "abort this run and order the rollback once more: a new plan is made, and asked for";

#[async_trait]
impl Target for Infrastructure {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let site = self.site(target).ok_or_else(|| SurveyError::Unknown { target: target.clone() })?;
        let unreadable = |why| SurveyError::Unreadable { what: target.to_string(), why };
        let deployed = site.deployed().map_err(unreadable)?;
        Self::prepare(&site);
        Ok(Survey::Infrastructure(Box::new(InfrastructureSurvey {
            target: target.clone(),
            version: deployed.version,
            path: site.config.path.display().to_string(),
            terms: site.config.terms.clone(),
            prepared: site.prepared(),
            apply_secs: (site.config.apply_timeout + site.config.lock_timeout).as_secs(),
            plan_secs: (site.config.plan_timeout + site.config.lock_timeout).as_secs(),
        })))
    }

    /// Whoever asks what else bears on the way back says where it goes: a plan for it is made meanwhile.
    async fn surroundings(
        &self,
        target: &TargetId,
        survey: Option<&Survey>,
        needed: &[Version],
    ) -> Surroundings {
        let (Some(site), Some(survey)) = (self.site(target), survey) else { return Surroundings::default() };
        let to = needed.first().filter(|to| to.fingerprint != survey.version().fingerprint);
        site.want(to.cloned());
        Self::prepare(&site);
        Surroundings::default()
    }

    async fn announced(&self, target: &TargetId, version: &str, at: Timestamp) -> bool {
        let Some(site) = self.site(target) else { return false };
        let taken = site.announce(version, at).await;
        if let Err(why) = &taken {
            tracing::error!(%target, version, why, "the announced release is not taken");
        }
        site.memo().complaint = taken.err();
        true
    }

    async fn observe(&self, step: &Step) -> Finding {
        let (site, action) = match self.doing(step) {
            Ok(found) => found,
            Err(why) => return Finding::Unseen { why },
        };
        let _one = site.work.lock().await;
        match action {
            InfrastructureAction::Apply(apply) => site.applied(apply).await,
            InfrastructureAction::ProveEmpty { to } => match site.left(to).await {
                Ok(None) => Finding::Satisfied { detail: format!("another plan of {} is empty", to.label) },
                Ok(Some(left)) => {
                    Finding::Conflict { why: format!("another plan is not empty ({left}): {AGAIN}") }
                }
                Err(why) => Finding::Unseen { why },
            },
        }
    }

    async fn apply(&self, step: &Step) -> Outcome {
        let (site, action) = match self.doing(step) {
            Ok(found) => found,
            Err(why) => return Outcome::Refused { why },
        };
        let _one = site.work.lock().await;
        match action {
            InfrastructureAction::Apply(apply) => site.apply(&apply.made).await,
            InfrastructureAction::ProveEmpty { .. } => {
                Outcome::Refused { why: "there is nothing to be done about it".into() }
            }
        }
    }
}

impl Infrastructure {
    fn doing<'a>(&self, step: &'a Step) -> Result<(std::sync::Arc<Site>, &'a InfrastructureAction), String> {
        let site =
            self.site(&step.target).ok_or_else(|| format!("{} is not configured any more", step.target))?;
        match &step.action {
            Action::Infrastructure(action) => Ok((site, action)),
            Action::HoldOwner(_)
            | Action::RestoreTemplate(_)
            | Action::AwaitRollout(_)
            | Action::Restart(_)
            | Action::Frontend(_)
            | Action::Database(_) => Err("this is no step for infrastructure".into()),
        }
    }
}

impl Site {
    async fn applied(&self, apply: &ApplyPlan) -> Finding {
        let made = &apply.made;
        match self.notes.applied(&made.sha256) {
            Err(why) => Finding::Unseen { why },
            Ok(Some(Applied::Done)) => Finding::Satisfied { detail: done(made) },
            Ok(Some(Applied::Stale)) => Finding::Conflict { why: format!("{}: {AGAIN}", ToolError::Stale) },
            Ok(Some(Applied::Begun)) => self.half_way(made, "it was interrupted").await,
            Ok(Some(Applied::Failed { why })) => self.half_way(made, &why).await,
            Ok(None) => self.still_fits(made).await,
        }
    }

    /// How far it came is not known: only another plan can say.
    async fn half_way(&self, made: &MadePlan, why: &str) -> Finding {
        match self.left(&made.to).await {
            Ok(None) => match self.is_done(made) {
                Ok(()) => Finding::Satisfied { detail: format!("{}, as another plan shows", done(made)) },
                Err(why) => Finding::Unseen { why },
            },
            Ok(Some(left)) => Finding::Conflict {
                why: format!("the plan was begun and not finished ({why}); left: {left}; {AGAIN}"),
            },
            Err(unseen) => Finding::Unseen {
                why: format!("the plan was begun ({why}), and what is left is not known: {unseen}"),
            },
        }
    }

    async fn still_fits(&self, made: &MadePlan) -> Finding {
        let Some(bench) = Workbench::find(self, &made.sha256) else {
            return Finding::Conflict {
                why: format!("the plan file is not on this machine any more: {AGAIN}"),
            };
        };
        match bench.tool().state().await {
            Ok(Some(state)) if state == made.base => Finding::not_yet("the plan is not applied yet"),
            Ok(state) => {
                let now = state.map_or("none".to_string(), |state| state.to_string());
                let why = format!("the plan is for state {}, and it is {now} by now: {AGAIN}", made.base);
                Finding::Conflict { why }
            }
            Err(error) => Finding::Unseen { why: error.to_string() },
        }
    }

    async fn apply(&self, made: &MadePlan) -> Outcome {
        let refused = |why: String| Outcome::Refused { why };
        match self.notes.applied(&made.sha256) {
            Ok(None) => {}
            Ok(Some(_)) => return refused("this plan file was applied before: it is applied once".into()),
            Err(why) => return refused(why),
        }
        let Some(bench) = Workbench::find(self, &made.sha256) else {
            return refused("the plan file is not on this machine any more".into());
        };
        if let Err(why) = self.notes.set_applied(&made.sha256, &Applied::Begun) {
            return refused(why);
        }
        let call = Call {
            method: "RUN".into(),
            path: format!("{} apply", self.config.tool.display()),
            request_id: made.sha256.clone(),
            status: None,
        };
        calls::made(call);
        let limits = (self.config.lock_timeout, self.config.apply_timeout);
        match bench.tool().apply(&bench.plan_file(), limits.0, limits.1).await {
            Ok(()) => match self.is_done(made) {
                Ok(()) => Outcome::Done { detail: done(made) },
                Err(why) => Outcome::Unknown { why },
            },
            Err(error) => self.not_done(made, &error),
        }
    }

    fn not_done(&self, made: &MadePlan, error: &ToolError) -> Outcome {
        if !matches!(error, ToolError::Locked { .. } | ToolError::NotThere { .. }) {
            self.forget_plan();
        }
        let noted = match error {
            ToolError::Locked { .. } | ToolError::NotThere { .. } => self.notes.not_applied(&made.sha256),
            ToolError::Stale => self.notes.set_applied(&made.sha256, &Applied::Stale),
            ToolError::Stopped { .. } | ToolError::Failed { .. } => {
                let failed = Applied::Failed { why: error.to_string() };
                self.notes.set_applied(&made.sha256, &failed)
            }
        };
        if let Err(why) = noted {
            return Outcome::Unknown { why: format!("{error}; {why}") };
        }
        let why = error.to_string();
        match error {
            ToolError::Locked { .. } | ToolError::NotThere { .. } | ToolError::Stale => {
                Outcome::Refused { why }
            }
            ToolError::Stopped { .. } | ToolError::Failed { .. } => Outcome::Unknown { why },
        }
    }

    fn is_done(&self, made: &MadePlan) -> Result<(), String> {
        self.notes.set_applied(&made.sha256, &Applied::Done)?;
        self.arrived(&made.to)
    }

    /// What another plan for the same commit would still change; `None` if nothing.
    async fn left(&self, to: &Version) -> Result<Option<String>, String> {
        let bench = Workbench::open(self, to, "proof").await?;
        let planned = bench.plan().await;
        bench.remove();
        let reading = planned?.reading;
        if !reading.is_empty() {
            return Ok(Some(summary::counts(&reading)));
        }
        self.tidy(to);
        Ok(None)
    }

    /// Plans for what is there now are of no use, and full of secrets.
    fn tidy(&self, to: &Version) {
        if self.deployed().is_ok_and(|deployed| deployed.version.fingerprint == to.fingerprint) {
            Workbench::remove_all(self);
        }
    }
}

fn done(made: &MadePlan) -> String {
    format!("the plan file {} is applied", summary::short(&made.sha256))
}
