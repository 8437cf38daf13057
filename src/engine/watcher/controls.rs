//! Targets that nobody released beside those under watch: what became of them is told to every watch.
use std::collections::BTreeSet;

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::controls::ControlNews;
use crate::domain::names::TargetId;
use crate::domain::signal::Sample;
use crate::domain::watch::WatchSpec;
use crate::ports::AskTarget;

/// So many unreleased targets are asked about; more would cost queries and tell nothing new.
const CONTROLS_MAX: usize = 50;

impl Watcher {
    /// What changed among the unreleased ones goes into the watches of other services, and at once into their recordings:
    /// it is told only once, and a new life must know it too.
    pub(super) async fn judge_controls(&mut self) {
        let now = self.now();
        let mut told = BTreeSet::new();
        for news in self.controls.tick(now) {
            tracing::info!(control = %news.target, worse_since = ?news.worse_since, news.detail, "an unreleased service changed");
            for guarded in self.targets.values_mut().filter(|g| g.id.service != news.target.service) {
                if let Some(active) = &mut guarded.watch {
                    active.take(sample(&news, active.watch.spec(), now));
                    told.insert(guarded.id.clone());
                }
            }
        }
        for target in told {
            self.write_batch(&target, now).await;
        }
    }

    /// Nobody has released this target, nor another one of its service, as far as we know.
    fn is_control(&self, guarded: &Guarded) -> bool {
        let service = &guarded.id.service;
        let id = |target| TargetId { service: service.clone(), target };
        guarded.settings.targets.iter().cloned().map(id).all(|id| {
            self.targets.get(&id).is_none_or(|other| other.watch.is_none() && other.opening.is_none())
        })
    }

    /// A measurement of a target that is not under watch.
    pub(super) fn heed(&mut self, sample: &Sample, target: &TargetId) {
        if let Some(guarded) = self.targets.get(target).filter(|g| self.is_control(g)) {
            self.controls.take(target, &guarded.settings.rules, sample);
        }
    }

    /// The pods of a target that is not under watch, as they were shown last.
    pub(super) fn heed_pods(&mut self, target: &TargetId) {
        let now = self.now();
        let guarded = self.targets.get(target).filter(|g| self.is_control(g));
        if let Some(view) = guarded.and_then(|g| g.view.as_ref()) {
            self.controls.take_view(view, now);
        }
    }

    /// A service is being released: none of its targets is a control any more.
    pub(super) fn leave_controls(&mut self, target: &TargetId) {
        let Some(guarded) = self.targets.get(target) else { return };
        for name in &guarded.settings.targets {
            self.controls.forget(&TargetId { service: target.service.clone(), target: name.clone() });
        }
    }

    /// A watch begins: it is told what is worse already.
    pub(super) fn tell_worse(&mut self, target: &TargetId) {
        let now = self.now();
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
        let idle = self.targets.values().filter(|g| self.is_control(g));
        idle.filter_map(Guarded::ask).take(CONTROLS_MAX).collect()
    }
}

fn sample(news: &ControlNews, spec: &WatchSpec, now: jiff::Timestamp) -> Sample {
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
