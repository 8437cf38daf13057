//! The HTTP side of the daemon: webhook, API, health and metrics, with tokens and limits in front of them.
mod answer;
mod api;
pub mod auth;
mod body;
mod chart;
mod connection;
mod doctor;
pub mod dto;
mod error;
mod health;
pub mod metrics;
mod orders;
mod reload;
mod report;
mod server;
pub mod slack;
pub mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;

use crate::domain::event::{Record, TargetEvent};
use crate::domain::names::TargetId;
use crate::domain::plan::{Destination, Plan, Refusal};
use crate::domain::policy::Decided;
use crate::domain::release::Version;
use crate::domain::replay::Trace;
use crate::domain::survey::Survey;
use crate::engine::commands::Desk;
use crate::engine::current::Current;
use crate::engine::reload::Reloads;
use crate::engine::snapshot::Viewer;
use auth::{Gate, People};
pub use server::serve;
use webhook::AlertRoute;

/// Questions that need more than the engine's picture of itself.
#[async_trait]
pub trait Inquiries: Send + Sync {
    /// The plan that a rollback would carry out now, to wherever a person wants to go.
    ///
    /// # Errors
    /// A target that is unknown, cannot be read, or cannot be rolled back.
    async fn plan(&self, target: &TargetId, to: Destination) -> Result<Plan, InquiryError>;
    /// What has happened to a target, oldest first, and what it is now.
    ///
    /// # Errors
    /// A target that is unknown, or a journal that cannot be read. A target that cannot be read is no error.
    async fn story(&self, target: &TargetId) -> Result<Story, InquiryError>;
    /// All records of a run, oldest first; `None` if there never was such a run.
    ///
    /// # Errors
    /// A journal that cannot be read.
    async fn history(&self, run: &str) -> Result<Option<Vec<Record>>, InquiryError>;
    /// What has happened to a target, oldest first, also if it is configured no more. Nothing but the journal is asked.
    ///
    /// # Errors
    /// A journal that cannot be read.
    async fn past(&self, target: &TargetId) -> Result<Vec<(Timestamp, TargetEvent)>, InquiryError> {
        Ok(self.story(target).await?.events)
    }
    /// What was measured under the latest watch of this version, or of any; `None` where nothing is left of it.
    ///
    /// # Errors
    /// A journal that cannot be read.
    async fn course(
        &self,
        _target: &TargetId,
        _version: Option<&Version>,
    ) -> Result<Option<Course>, InquiryError> {
        Ok(None)
    }
}

/// A target's past: from the journal, and from the target itself if it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub events: Vec<(Timestamp, TargetEvent)>,
    /// Or why not.
    pub survey: Result<Survey, String>,
}

/// What a version did while it was watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    pub version: String,
    pub trace: Trace,
    /// The strongest decision about it, and when it was made.
    pub decided: Option<(Timestamp, Decided)>,
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InquiryError {
    #[error("{target} is not configured: `rollguard status` lists the targets")]
    NoSuchTarget { target: TargetId },
    #[error("no version of {target} is known to be good: name one with --to-revision")]
    NoKnownGood { target: TargetId },
    #[error("{refusal}; {}", refusal.advice())]
    Refused { refusal: Refusal },
    #[error("it cannot be read now: {why}")]
    Unreadable { why: String },
}

/// The time, from the engine's clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the HTTP side is made of.
pub struct HttpParts {
    pub desk: Desk,
    pub viewer: Viewer,
    pub inquiries: Arc<dyn Inquiries>,
    pub people: People,
    /// What Alertmanager shows. Without it the webhook is as open as reading is.
    pub webhook_token: Option<SecretString>,
    pub routes: Vec<AlertRoute>,
    /// Reading needs no token: for listeners that only this machine reaches.
    pub open_reads: bool,
    pub reloads: Reloads,
    pub metrics: PrometheusHandle,
    pub now: Now,
}

/// Shared by all requests.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

struct Shared {
    desk: Desk,
    viewer: Viewer,
    inquiries: Arc<dyn Inquiries>,
    gate: Gate,
    taken: slack::Taken,
    routes: Current<[AlertRoute]>,
    reloads: Reloads,
    metrics: PrometheusHandle,
    now: Now,
}

impl HttpState {
    pub fn new(parts: HttpParts) -> Self {
        let gate = Gate::new(parts.people, parts.webhook_token.as_ref(), parts.open_reads, parts.now.clone());
        Self(Arc::new(Shared {
            desk: parts.desk,
            viewer: parts.viewer,
            inquiries: parts.inquiries,
            gate,
            taken: slack::Taken::default(),
            routes: Arc::<[_]>::from(parts.routes).into(),
            reloads: parts.reloads,
            metrics: parts.metrics,
            now: parts.now,
        }))
    }

    /// A new configuration: these may call, and these alerts are about a service.
    pub fn admit(&self, people: People, webhook_token: Option<&SecretString>, routes: Vec<AlertRoute>) {
        self.0.gate.admit(people, webhook_token);
        self.0.routes.set(routes.into());
    }

    fn now(&self) -> Timestamp {
        (self.0.now)()
    }
}
