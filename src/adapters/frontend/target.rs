//! Frontends as targets: surveyed, observed and put back.
use async_trait::async_trait;

use super::Frontends;
use crate::domain::keepsake::Keepsake;
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::frontend::FrontendAction;
use crate::domain::plan::{Action, Step};
use crate::domain::survey::Survey;
use crate::ports::{SurveyError, Target};

/// Never met: steps are handed to the room that drafted them.
const NOT_OURS: &str = "this step is no step of a frontend";

fn ours(step: &Step) -> Option<&FrontendAction> {
    match &step.action {
        Action::Frontend(action) => Some(action),
        Action::HoldOwner(_)
        | Action::RestoreTemplate(_)
        | Action::AwaitRollout(_)
        | Action::Restart(_)
        | Action::Database(_)
        | Action::Infrastructure(_) => None,
    }
}

#[async_trait]
impl Target for Frontends {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let place = self.place(target)?;
        let found = place.survey(target).await;
        found.map(|found| Survey::Frontend(Box::new(found))).map_err(|trouble| place.unreadable(trouble))
    }

    async fn keepsake(&self, target: &TargetId) -> Result<Keepsake, SurveyError> {
        let place = self.place(target)?;
        place.keep().await.map_err(|trouble| place.unreadable(trouble))
    }

    async fn observe(&self, step: &Step) -> Finding {
        let Some(action) = ours(step) else { return Finding::Conflict { why: NOT_OURS.into() } };
        let place = match self.place(&step.target) {
            Ok(place) => place,
            Err(error) => return Finding::Conflict { why: error.to_string() },
        };
        let finding = match action {
            FrontendAction::Restore(restore) => place.observe_restore(restore).await,
            FrontendAction::Invalidate(invalidate) => place.observe_invalidate(invalidate).await,
            FrontendAction::AwaitInvalidation(wait) => place.observe_await(wait).await,
        };
        finding.unwrap_or_else(|trouble| Finding::Unseen { why: trouble.reason() })
    }

    async fn apply(&self, step: &Step) -> Outcome {
        let Some(action) = ours(step) else { return Outcome::Refused { why: NOT_OURS.into() } };
        let place = match self.place(&step.target) {
            Ok(place) => place,
            Err(error) => return Outcome::Refused { why: error.to_string() },
        };
        match action {
            FrontendAction::Restore(restore) => place.restore(restore).await,
            FrontendAction::Invalidate(invalidate) => place.invalidate(invalidate).await,
            FrontendAction::AwaitInvalidation(_) => Outcome::Done { detail: "nothing to do".into() },
        }
    }
}
