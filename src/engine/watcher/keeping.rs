//! What versions run with is looked at while they are well: after their rollout, when their watch ends, and where it was never done.
use super::noticing::{LOOK_UP_MAX, late};
use super::{Found, Watcher};
use crate::domain::difference::changed;
use crate::domain::event::{TargetEvent, WatchEnd};
use crate::domain::keepsake::Keepsake;
use crate::domain::names::TargetId;
use crate::domain::plan::{Change, Plan};
use crate::domain::release::{ReleaseKind, Version};
use crate::domain::surroundings::Surroundings;
use crate::ports::{JournalError, SurveyError};

/// Whether what is found replaces what is remembered of the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    First,
    Latest,
}

impl Watcher {
    /// What a version began with. A version that our rollback restored was well with what it had before; that stays.
    pub(super) fn keep_what_began(&self, target: &TargetId) {
        let watch = self.targets.get(target).and_then(|g| g.memory.watch.as_ref());
        match watch.map(|watch| &watch.spec.release.kind) {
            Some(ReleaseKind::New | ReleaseKind::Undo) => self.look_what_runs(target, Keep::First),
            Some(ReleaseKind::OurRollback { .. } | ReleaseKind::KnownBad) | None => {}
        }
    }

    /// What a version had when its watch ended well. What replaced it may have brought its own configuration with it.
    pub(super) fn keep_what_is_good(&self, target: &TargetId, end: WatchEnd) {
        match end {
            WatchEnd::Healthy | WatchEnd::Inconclusive => self.look_what_runs(target, Keep::Latest),
            WatchEnd::Degraded
            | WatchEnd::Blind
            | WatchEnd::RolledBack
            | WatchEnd::Superseded
            | WatchEnd::Gone => {}
        }
    }

    /// What the known good version has, where nothing is kept of it, or less than can be read by now.
    pub(super) fn keep_what_is_missing(&self, target: &TargetId, around: &Surroundings) {
        let Some(guarded) = self.targets.get(target) else { return };
        let Some(good) = &guarded.memory.known_good else { return };
        let runs = guarded.memory.current.as_ref() == Some(good);
        let quiet = guarded.watch.is_none() && guarded.opening.is_none();
        let restored = self.runs.values().any(|run| run.targets.iter().any(|(t, _)| t == target));
        // What is bad is no measure of anything.
        let ended = guarded.memory.last_watch.as_ref().map(|last| last.end);
        let well = matches!(ended, None | Some(WatchEnd::Healthy | WatchEnd::Inconclusive));
        let kept = guarded.memory.kept(&good.fingerprint);
        if runs
            && well
            && quiet
            && !restored
            && kept.is_none_or(|kept| !around.readable.is_subset(&kept.read))
        {
            self.look_what_runs(target, Keep::First);
        }
    }

    fn look_what_runs(&self, target: &TargetId, keep: Keep) {
        let (port, found, target) = (self.parts.tools.target.clone(), self.found.clone(), target.clone());
        tokio::spawn(async move {
            let keepsake = tokio::time::timeout(LOOK_UP_MAX, port.keepsake(&target)).await;
            let keepsake = keepsake.unwrap_or_else(|_| Err(late(&target)));
            drop(found.send(Found::Kept { target, keep, keepsake }).await);
        });
    }

    pub(super) async fn on_kept(
        &mut self,
        target: &TargetId,
        keep: Keep,
        keepsake: Result<Keepsake, SurveyError>,
    ) -> Result<(), JournalError> {
        let keepsake = match keepsake {
            Ok(keepsake) => keepsake,
            Err(error) => {
                tracing::debug!(%target, %error, "what it runs with could not be read");
                return Ok(());
            }
        };
        let Some(memory) = self.targets.get(target).map(|g| &g.memory) else { return Ok(()) };
        let current = memory.current.as_ref().is_some_and(|v| v.fingerprint == keepsake.version);
        let known = memory.kept(&keepsake.version).is_some_and(|kept| keepsake.read.is_subset(&kept.read));
        if !current || (known && keep == Keep::First) {
            return Ok(());
        }
        let objects = keepsake.objects.len();
        tracing::info!(%target, version = %keepsake.version, objects, "what it runs with is kept");
        self.commit(target, vec![TargetEvent::Kept(Box::new(keepsake))]).await
    }

    /// What is remembered of the versions that a plan goes to.
    pub(super) fn kept_for(&self, plan: &Plan) -> Vec<Keepsake> {
        let kept = plan.changes.iter().filter_map(|change| {
            self.targets.get(&change.target)?.memory.kept(&change.to.fingerprint).cloned()
        });
        kept.collect()
    }

    /// What the release changed, as the last look at each target shows it.
    pub(super) fn changed_by(&self, plan: &Plan) -> Vec<String> {
        let several = plan.changes.len() > 1;
        let of_target = |change: &Change| {
            let guarded = self.targets.get(&change.target)?;
            let survey = guarded.survey.as_ref()?.as_ref().ok()?;
            let kept = |version: &Version| guarded.memory.kept(&version.fingerprint);
            let lines = changed(survey, &change.to, kept(&change.to), kept(&change.from));
            let prefix = if several { format!("{}: ", change.target.target) } else { String::new() };
            Some(lines.into_iter().map(move |line| format!("{prefix}{line}")))
        };
        plan.changes.iter().filter_map(of_target).flatten().collect()
    }
}
