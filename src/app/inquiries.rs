//! Answers the API's questions that need the target itself or the journal.
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::event::{Record, StreamId, from_record};
use crate::domain::names::TargetId;
use crate::domain::plan::compatibility::Running;
use crate::domain::plan::{Destination, Plan, draft};
use crate::engine::current::Current;
use crate::engine::settings::Fleet;
use crate::engine::snapshot::Viewer;
use crate::http::{Inquiries, InquiryError, Story};
use crate::ports::{Journal, SurveyError, Target};

pub(super) struct Answers {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) target: Current<dyn Target>,
    pub(super) viewer: Viewer,
    pub(super) fleet: Current<Fleet>,
}

impl Answers {
    fn running(&self, target: &TargetId) -> Running {
        self.viewer.look(|s| {
            let of_service = s.targets.values().filter(|t| t.target.service == target.service);
            of_service
                .filter_map(|t| Some((t.target.target.clone(), t.current.as_ref()?.label.clone())))
                .collect()
        })
    }
}

#[async_trait]
impl Inquiries for Answers {
    async fn plan(&self, target: &TargetId, to: Destination) -> Result<Plan, InquiryError> {
        let missing = || InquiryError::NoSuchTarget { target: target.clone() };
        let settings = self.fleet.get().service(&target.service).ok_or_else(missing)?;
        let status = self.viewer.look(|s| s.targets.get(&target.to_string()).cloned()).ok_or_else(missing)?;
        let goal = to.goal(status.known_good.as_ref());
        let goal = goal.ok_or_else(|| InquiryError::NoKnownGood { target: target.clone() })?;
        let survey = self.target.survey(target).await.map_err(|error| match error {
            SurveyError::Unknown { target } => InquiryError::NoSuchTarget { target },
            SurveyError::Missing { .. } | SurveyError::Unreadable { .. } => {
                InquiryError::Unreadable { why: error.to_string() }
            }
        })?;
        let rollout_secs = settings.rollout_deadline.as_secs();
        let plan = draft(&survey, &goal, "preview", rollout_secs);
        let fits = |plan: Plan| settings.misfit(&self.running(target), &plan).map_or(Ok(plan), Err);
        plan.and_then(fits).map_err(|refusal| InquiryError::Refused { refusal })
    }

    async fn story(&self, target: &TargetId) -> Result<Story, InquiryError> {
        if self.fleet.get().service(&target.service).is_none_or(|s| !s.targets.contains(&target.target)) {
            return Err(InquiryError::NoSuchTarget { target: target.clone() });
        }
        let read = self.journal.read(&StreamId::target(target)).await;
        let records = read.map_err(|e| InquiryError::Unreadable { why: e.to_string() })?;
        // What a newer version wrote is no reason to hide the rest.
        let event = |record: &Record| Some((record.at, from_record(record).ok()?));
        let events = records.iter().filter_map(event).collect();
        let survey = self.target.survey(target).await.map_err(|error| error.to_string());
        Ok(Story { events, survey })
    }

    async fn history(&self, run: &str) -> Result<Option<Vec<Record>>, InquiryError> {
        let unreadable = |e: crate::ports::JournalError| InquiryError::Unreadable { why: e.to_string() };
        let records = self.journal.read(&StreamId::run(run)).await.map_err(unreadable)?;
        Ok((!records.is_empty()).then_some(records))
    }
}
