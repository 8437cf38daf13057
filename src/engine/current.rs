//! A part that a new configuration may replace while others hold it.
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::keepsake::Keepsake;
use crate::domain::names::TargetId;
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::Step;
use crate::domain::release::Version;
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;
use crate::domain::verification::{CheckResult, CheckSpec};
use crate::ports::{CheckContext, Checks, Notifier, SurveyError, Target};

/// All clones hold the same part. What has begun with the old one is finished with the old one.
pub struct Current<T: ?Sized>(Arc<RwLock<Arc<T>>>);

/// The channels that messages go to.
pub type Notifiers = Current<[Arc<dyn Notifier>]>;

impl<T: ?Sized> Current<T> {
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, part: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = part;
    }
}

impl<T: ?Sized> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> From<Arc<T>> for Current<T> {
    fn from(part: Arc<T>) -> Self {
        Self(Arc::new(RwLock::new(part)))
    }
}

#[async_trait]
impl Target for Current<dyn Target> {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        self.get().survey(target).await
    }
    async fn surroundings(
        &self,
        target: &TargetId,
        survey: Option<&Survey>,
        needed: &[Version],
    ) -> Surroundings {
        self.get().surroundings(target, survey, needed).await
    }
    async fn keepsake(&self, target: &TargetId) -> Result<Keepsake, SurveyError> {
        self.get().keepsake(target).await
    }
    async fn announced(&self, target: &TargetId, version: &str, at: Timestamp) -> bool {
        self.get().announced(target, version, at).await
    }
    async fn observe(&self, step: &Step) -> Finding {
        self.get().observe(step).await
    }
    async fn apply(&self, step: &Step) -> Outcome {
        self.get().apply(step).await
    }
}

#[async_trait]
impl Checks for Current<dyn Checks> {
    async fn check(&self, check: &CheckSpec, about: &CheckContext) -> CheckResult {
        self.get().check(check, about).await
    }
}
