//! Notices releases by the entry points' version ids: one small request each, and a listing only while something changes.
use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Frontends, Place, Trouble};
use crate::domain::plan::frontend::{Era, history};
use crate::domain::workload::{RolloutState, WorkloadView};
use crate::ports::{FeedEvent, ReleaseFeed};

/// What did not change for so long was not changed by the deploy that is under way.
const LONG_AGO: SignedDuration = SignedDuration::from_mins(10);

struct FrontendFeed {
    events: mpsc::Receiver<FeedEvent>,
    /// They end with the feed.
    _watchers: JoinSet<()>,
}

#[async_trait]
impl ReleaseFeed for FrontendFeed {
    async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

impl Frontends {
    /// Begins to look at all of them.
    pub fn feed(&self) -> Box<dyn ReleaseFeed> {
        let (sender, events) = mpsc::channel(16);
        let mut watchers = JoinSet::new();
        for place in self.places.values() {
            watchers.spawn(watch(place.clone(), sender.clone()));
        }
        Box::new(FrontendFeed { events, _watchers: watchers })
    }
}

async fn watch(place: Arc<Place>, events: mpsc::Sender<FeedEvent>) {
    let mut watcher = Watcher { place, ids: None, told: None, deploying: None };
    let mut failing = false;
    loop {
        match watcher.look().await {
            Ok(None) => failing = false,
            Ok(Some(view)) => {
                failing = false;
                if events.send(FeedEvent::Changed(Box::new(view))).await.is_err() {
                    return;
                }
            }
            Err(trouble) => {
                let (what, why) = (watcher.place.is.site.place(), trouble.reason());
                if !failing {
                    tracing::warn!(what, why, "a frontend cannot be looked at: its releases are not noticed");
                }
                failing = true;
            }
        }
        tokio::time::sleep(watcher.place.is.poll).await;
    }
}

type Ids = Vec<Option<String>>;

struct Watcher {
    place: Arc<Place>,
    /// As they were at the last look.
    ids: Option<Ids>,
    told: Option<Ids>,
    /// The version that is being deployed, with all that lay below the prefix at the last look.
    deploying: Option<(Era, Option<String>)>,
}

impl Watcher {
    async fn look(&mut self) -> Result<Option<WorkloadView>, Trouble> {
        let ids = self.place.entry_ids().await?;
        // Several entry points change one after the other: what is between two versions is none.
        let settled = self.ids.as_ref().is_none_or(|last| *last == ids);
        self.ids = Some(ids.clone());
        if settled && self.told.as_ref() != Some(&ids) {
            let view = self.changed().await?;
            self.told = Some(ids);
            return Ok(Some(view));
        }
        match self.deploying.take() {
            Some((era, before)) if settled => self.follow(era, before).await,
            deploying => {
                self.deploying = deploying;
                Ok(None)
            }
        }
    }

    async fn changed(&mut self) -> Result<WorkloadView, Trouble> {
        let eras = self.place.eras().await?;
        let Some(era) = eras.last().cloned() else { return Err(Trouble::Missing) };
        let old = self.place.clock.now().duration_since(era.since) > LONG_AGO;
        let rollout = if old { RolloutState::Ended { at: era.since } } else { RolloutState::Rolling };
        self.deploying = (!old).then(|| (era.clone(), None));
        Ok(self.view(&eras, &era, rollout))
    }

    /// A deploy is over when nothing below the prefix changed between two looks.
    async fn follow(&mut self, era: Era, before: Option<String>) -> Result<Option<WorkloadView>, Trouble> {
        let now = self.place.digest().await;
        let over = now.as_ref().is_ok_and(|now| before.as_ref() == Some(now));
        self.deploying = (!over).then(|| (era.clone(), now.as_ref().ok().cloned()));
        now?;
        if !over {
            return Ok(None);
        }
        let at = self.place.clock.now();
        Ok(Some(self.view(&self.place.eras().await?, &era, RolloutState::Ended { at })))
    }

    fn view(&self, eras: &[Era], era: &Era, rollout: RolloutState) -> WorkloadView {
        WorkloadView {
            target: self.place.is.target.clone(),
            version: era.version.clone(),
            current_since: era.since,
            rollout,
            history: history(eras),
            pods: vec![],
            progress_deadline_secs: None,
        }
    }
}
