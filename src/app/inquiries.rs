//! Answers the API's questions that need the target itself or the journal.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::event::{Record, StreamId, TargetEvent, from_record};
use crate::domain::names::TargetId;
use crate::domain::plan::compatibility::Running;
use crate::domain::plan::{Destination, Plan, draft};
use crate::domain::policy::Decided;
use crate::domain::release::Version;
use crate::domain::replay::Trace;
use crate::domain::report::watch_of;
use crate::engine::current::Current;
use crate::engine::settings::Fleet;
use crate::engine::snapshot::Viewer;
use crate::http::{Course, Inquiries, InquiryError, Story};
use crate::ports::{Journal, Recorder, SurveyError, Target};

pub(super) struct Answers {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) recorder: Arc<dyn Recorder>,
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
        let events = self.past(target).await?;
        let survey = self.target.survey(target).await.map_err(|error| error.to_string());
        Ok(Story { events, survey })
    }

    async fn past(&self, target: &TargetId) -> Result<Vec<(Timestamp, TargetEvent)>, InquiryError> {
        let read = self.journal.read(&StreamId::target(target)).await;
        let records = read.map_err(|e| InquiryError::Unreadable { why: e.to_string() })?;
        // What a newer version wrote is no reason to hide the rest.
        let event = |record: &Record| Some((record.at, from_record(record).ok()?));
        Ok(records.iter().filter_map(event).collect())
    }

    async fn course(
        &self,
        target: &TargetId,
        version: Option<&Version>,
    ) -> Result<Option<Course>, InquiryError> {
        let events = self.past(target).await?;
        let Some((_, spec)) = watch_of(&events, version) else { return Ok(None) };
        let samples = self.recorder.replay(&spec.id).await;
        let mut trace = Trace::of(spec, &samples);
        let mut decided: Option<(Timestamp, Decided)> = None;
        for (at, event) in &events {
            if let TargetEvent::RolloutEnded { watch, ended_at } = event
                && *watch == spec.id
            {
                trace.rollout_ended = Some(*ended_at);
            }
            if let TargetEvent::Decided { watch, decided: made, .. } = event
                && *watch == spec.id
                && decided.as_ref().is_none_or(|(_, d)| d.reached() < made.reached())
            {
                decided = Some((*at, made.clone()));
            }
        }
        Ok(Some(Course { version: spec.release.to.label.clone(), trace, decided }))
    }

    async fn history(&self, run: &str) -> Result<Option<Vec<Record>>, InquiryError> {
        let unreadable = |e: crate::ports::JournalError| InquiryError::Unreadable { why: e.to_string() };
        let records = self.journal.read(&StreamId::run(run)).await.map_err(unreadable)?;
        Ok((!records.is_empty()).then_some(records))
    }
}
