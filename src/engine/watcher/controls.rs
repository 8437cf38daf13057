//! Targets that nobody released beside those under watch: what became of them is told to every watch.
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Watcher;
use crate::domain::controls::ControlNews;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::signal::Sample;
use crate::domain::watch::WatchSpec;
use crate::ports::AskTarget;

/// So many unreleased targets are looked at; more would cost queries and tell nothing new.
const CONTROLS_MAX: usize = 50;

impl Watcher {
    /// What changed among the unreleased ones goes into the watches of other services, and into their recordings.
    pub(super) fn judge_controls(&mut self) {
        let now = self.now();
        for news in self.controls.tick(now) {
            tracing::info!(control = %news.target, worse_since = ?news.worse_since, news.detail, "an unreleased service changed");
            for guarded in self.targets.values_mut().filter(|g| g.id.service != news.target.service) {
                if let Some(active) = &mut guarded.watch {
                    active.take(sample(&news, active.watch.spec(), now));
                }
            }
        }
    }

    /// A watch begins: its target is no control any more, and it is told what is worse already.
    pub(super) fn leave_controls(&mut self, target: &TargetId) {
        let now = self.now();
        self.controls.forget(target);
        let worse: Vec<ControlNews> =
            self.controls.worse().filter(|news| news.target.service != target.service).collect();
        let Some(active) = self.targets.get_mut(target).and_then(|g| g.watch.as_mut()) else { return };
        for news in &worse {
            let sample = sample(news, active.watch.spec(), now);
            active.take(sample);
        }
    }

    /// Which unreleased targets are worth asking about.
    pub(super) fn asked_controls(&self) -> Vec<AskTarget> {
        let watched: BTreeSet<&ServiceName> =
            self.targets.values().filter(|g| g.watch.is_some()).map(|g| &g.id.service).collect();
        let idle = self.targets.values().filter(|g| g.watch.is_none() && !watched.contains(&g.id.service));
        idle.filter_map(|g| g.ask()).take(CONTROLS_MAX).collect()
    }
}

fn sample(news: &ControlNews, spec: &WatchSpec, now: Timestamp) -> Sample {
    let target = &spec.release.target;
    Sample {
        at: now,
        service: target.service.clone(),
        target: Some(target.target.clone()),
        release: None,
        pod: None,
        reading: news.reading(),
    }
}
