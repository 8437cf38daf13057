//! The parts of the house that roll back, by kind of target: a call goes to the one that knows how.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::select_all;
use jiff::Timestamp;

use crate::domain::keepsake::Keepsake;
use crate::domain::names::{TargetId, TargetKind};
use crate::domain::outcome::{Finding, Outcome};
use crate::domain::plan::Step;
use crate::domain::release::Version;
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;
use crate::ports::{FeedEvent, ReleaseFeed, SurveyError, Target};

/// What rolls back targets of one kind, and notices their releases.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) kind: TargetKind,
    pub(super) target: Arc<dyn Target>,
    pub(super) feed: Arc<dyn Fn() -> Box<dyn ReleaseFeed> + Send + Sync>,
}

/// All targets, whatever they are.
pub(super) struct Rooms {
    kinds: BTreeMap<TargetId, TargetKind>,
    rooms: BTreeMap<TargetKind, Arc<dyn Target>>,
}

impl Rooms {
    pub(super) fn new(
        kinds: BTreeMap<TargetId, TargetKind>,
        workloads: Arc<dyn Target>,
        others: &[Room],
    ) -> Self {
        let others = others.iter().map(|room| (room.kind, room.target.clone()));
        Self { kinds, rooms: others.chain([(TargetKind::Kubernetes, workloads)]).collect() }
    }

    fn of(&self, target: &TargetId) -> Result<&Arc<dyn Target>, SurveyError> {
        let room = self.kinds.get(target).and_then(|kind| self.rooms.get(kind));
        room.ok_or_else(|| SurveyError::Unknown { target: target.clone() })
    }

    /// By the step and not by its target: a plan for a database may restart a workload.
    fn doing(&self, step: &Step) -> Result<&Arc<dyn Target>, String> {
        let kind = step.action.kind();
        self.rooms.get(&kind).ok_or_else(|| format!("no target of kind {kind} is configured any more"))
    }
}

#[async_trait]
impl Target for Rooms {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        self.of(target)?.survey(target).await
    }

    async fn surroundings(
        &self,
        target: &TargetId,
        survey: Option<&Survey>,
        needed: &[Version],
    ) -> Surroundings {
        match self.of(target) {
            Ok(room) => room.surroundings(target, survey, needed).await,
            Err(_) => Surroundings::default(),
        }
    }

    async fn keepsake(&self, target: &TargetId) -> Result<Keepsake, SurveyError> {
        self.of(target)?.keepsake(target).await
    }

    async fn announced(&self, target: &TargetId, version: &str, at: Timestamp) -> bool {
        match self.of(target) {
            Ok(room) => room.announced(target, version, at).await,
            Err(_) => false,
        }
    }

    async fn observe(&self, step: &Step) -> Finding {
        match self.doing(step) {
            Ok(room) => room.observe(step).await,
            Err(why) => Finding::Unseen { why },
        }
    }

    async fn apply(&self, step: &Step) -> Outcome {
        match self.doing(step) {
            Ok(room) => room.apply(step).await,
            Err(why) => Outcome::Refused { why },
        }
    }
}

/// Several feeds as one.
pub(super) struct Feeds(pub(super) Vec<Box<dyn ReleaseFeed>>);

#[async_trait]
impl ReleaseFeed for Feeds {
    /// Can be cancelled, since each of them can.
    async fn next(&mut self) -> Option<FeedEvent> {
        while !self.0.is_empty() {
            let (event, index, _) = select_all(self.0.iter_mut().map(|feed| feed.next())).await;
            match event {
                Some(event) => return Some(event),
                None => drop(self.0.swap_remove(index)),
            }
        }
        None
    }
}

/// In place of a cluster's feed where no workload is guarded: there is no connection to wait for.
#[derive(Default)]
pub(super) struct NoCluster {
    told: bool,
}

#[async_trait]
impl ReleaseFeed for NoCluster {
    async fn next(&mut self) -> Option<FeedEvent> {
        (!std::mem::replace(&mut self.told, true)).then_some(FeedEvent::Restored)
    }
}
