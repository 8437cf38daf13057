//! From a changed workload to an open watch.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::guarded::{ActiveWatch, Opening};
use super::history::{as_samples, learned};
use super::minutes::history_begins;
use super::owners::is_due;
use super::{Found, Watcher};
use crate::domain::event::{TargetEvent, WatchEnd};
use crate::domain::names::{RuleName, TargetId};
use crate::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use crate::domain::runbook::Judging;
use crate::domain::signal::{Reading, Sample};
use crate::domain::survey::Survey;
use crate::domain::watch::{Baseline, WatchSpec};
use crate::domain::workload::{Notice, RolloutState, WorkloadView, notice};
use crate::engine::driver::Input;
use crate::ports::{AskTarget, History, JournalError, SurveyError};
use crate::telemetry::{Metric, label};

/// History and survey must be there by then, or the watch opens without them.
pub(super) const LOOK_UP_MAX: Duration = Duration::from_secs(10);

impl Watcher {
    pub(super) async fn on_view(&mut self, view: WorkloadView) -> Result<(), JournalError> {
        let target = view.target.clone();
        let now = self.now();
        let our_run = self.restoring(&target, &view.version.fingerprint);
        let Some(guarded) = self.targets.get_mut(&target) else { return Ok(()) };
        self.rounds.hasten(&target, now);
        guarded.view = Some(view.clone());
        guarded.minutes.keep_only(|name| view.pods.iter().any(|pod| pod.name == name));
        let notice = notice(&guarded.memory, &view, our_run.as_deref(), now, guarded.settings.watch);
        match notice {
            Notice::Nothing => self.follow(&target, &view, now).await?,
            Notice::KnownGood { version, why } => {
                tracing::info!(%target, version = version.label, why, "known good");
                self.commit(&target, vec![TargetEvent::KnownGood { version, why }]).await?;
            }
            Notice::Release { release, .. } => self.begin_opening(&target, &release, false),
        }
        self.heed_pods(&target);
        self.show(&target);
        Ok(())
    }

    /// The open run that restores exactly this version of this target.
    fn restoring(&self, target: &TargetId, version: &Fingerprint) -> Option<String> {
        let restores = |t: &(TargetId, Fingerprint)| t.0 == *target && t.1 == *version;
        self.runs.iter().find(|(_, run)| run.targets.iter().any(restores)).map(|(id, _)| id.clone())
    }

    /// The watched version is still the wanted one: its pods and its rollout go into the watch.
    async fn follow(
        &mut self,
        target: &TargetId,
        view: &WorkloadView,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let Some(guarded) = self.targets.get_mut(target) else { return Ok(()) };
        let labels: BTreeMap<String, Option<String>> =
            view.pods.iter().map(|p| (p.name.clone(), guarded.label_of(p))).collect();
        let Some(active) = &mut guarded.watch else { return Ok(()) };
        let label = |pod: &crate::domain::workload::PodView| labels.get(&pod.name).cloned().flatten();
        for sample in active.samples_of(view, now, label) {
            active.take(sample);
        }
        let ended = match view.rollout {
            RolloutState::Ended { at } if active.watch.rollout_ended().is_none() => Some(at),
            RolloutState::Ended { .. } | RolloutState::Rolling | RolloutState::GaveUp { .. } => None,
        };
        if let Some(ended_at) = ended {
            let spec = active.watch.spec().clone();
            active.take(release_sample(&spec, now, Some(ended_at)));
            let event = TargetEvent::RolloutEnded { watch: spec.id, ended_at };
            self.commit(target, vec![event]).await?;
            self.survey_again(target);
            self.keep_what_began(target);
        }
        self.consider(target).await
    }

    /// Looks up what the watch needs, in the background: history for the baseline, and a survey for the way back.
    pub(super) fn begin_opening(&mut self, target: &TargetId, release: &Release, announced: bool) {
        let version = release.to.fingerprint.clone();
        let Some(guarded) = self.targets.get_mut(target) else { return };
        if guarded.opening.as_ref().is_some_and(|o| o.version == version) {
            return;
        }
        let announced = announced.then(|| release.clone());
        guarded.opening = Some(Box::new(Opening { version: version.clone(), announced }));
        tracing::info!(%target, version = release.to.label, kind = ?release.kind, "a release is noticed");
        let ask = guarded.ask().unwrap_or(AskTarget { target: target.clone(), pods: vec![] });
        let (sources, port) = (self.parts.sensing.sources.clone(), self.parts.tools.target.clone());
        self.leave_controls(target);
        let (found, target, to) = (self.found.clone(), target.clone(), release.at);
        tokio::spawn(async move {
            let asked = sources.iter().map(|source| source.history(&ask, history_begins(to), to));
            let histories = tokio::time::timeout(LOOK_UP_MAX, futures::future::join_all(asked));
            let survey = tokio::time::timeout(LOOK_UP_MAX, port.survey(&target));
            let (histories, survey) = tokio::join!(histories, survey);
            let histories = histories.unwrap_or_default();
            let survey = survey.unwrap_or_else(|_| Err(late(&target)));
            // The watcher ends only with the process.
            drop(found.send(Found::Opening { target, version, histories, survey }).await);
        });
    }

    pub(super) async fn on_found(&mut self, found: Found) -> Result<(), JournalError> {
        match found {
            Found::Opening { target, version, histories, survey } => {
                self.keep_survey(&target, survey);
                self.heed_owner(&target).await?;
                self.open_watch(&target, &version, histories).await?;
                self.publish_book();
                self.show(&target);
                Ok(())
            }
            Found::Survey { target, survey } => {
                self.keep_survey(&target, survey);
                self.heed_owner(&target).await
            }
            Found::Looked { target, survey, around } => {
                self.on_looked(&target, &survey, &around);
                Ok(())
            }
            Found::Kept { target, keep, keepsake } => self.on_kept(&target, keep, keepsake).await,
            Found::Ordered { row, command, survey } => self.open_ordered(row, command, survey).await,
            Found::Announced { row, target, at, taken } => self.on_announced(row, &target, at, taken).await,
        }
    }

    fn keep_survey(&mut self, target: &TargetId, survey: Result<Survey, SurveyError>) {
        let now = self.now();
        if let Some(guarded) = self.targets.get_mut(target) {
            if let Err(error) = &survey {
                tracing::warn!(%target, %error, "the target could not be surveyed");
            }
            (guarded.survey, guarded.surveyed_at) = (Some(survey), Some(now));
        }
    }

    /// Opens the watch, unless the world has moved on while its history was looked up.
    async fn open_watch(
        &mut self,
        target: &TargetId,
        version: &Fingerprint,
        histories: Vec<History>,
    ) -> Result<(), JournalError> {
        let now = self.now();
        let our_run = self.restoring(target, version);
        let Some(guarded) = self.targets.get_mut(target) else { return Ok(()) };
        let Some(opening) = guarded.opening.take_if(|o| o.version == *version) else { return Ok(()) };
        let Some(view) = guarded.view.clone() else { return Ok(()) };
        let current = guarded.memory.current.as_ref();
        if opening.announced.is_none() && current.is_some_and(|v| v.fingerprint == view.version.fingerprint) {
            // Taken back while it was looked up: the watch that is open goes on.
            return Ok(());
        }
        // What is remembered may have changed too: the older watch ends first, and may leave its version known good.
        let ending = guarded.watch.as_ref().map(|active| {
            let end = if our_run.is_some() { WatchEnd::RolledBack } else { WatchEnd::Superseded };
            (end, format!("{} came after {}", view.version.label, active.watch.spec().release.to.label))
        });
        // While a watch is open nothing is learned: a release that follows it is compared with the same past.
        let past =
            guarded.watch.as_ref().map(|active| active.watch.spec().baseline.clone()).unwrap_or_default();
        if let Some((end, reason)) = ending {
            self.close_watch(target, end, reason).await?;
        }
        let Some(guarded) = self.targets.get_mut(target) else { return Ok(()) };
        let notice = notice(&guarded.memory, &view, our_run.as_deref(), now, guarded.settings.watch);
        let (release, known_good) = match (notice, opening.announced) {
            (Notice::Release { release, known_good }, _) => (*release, known_good),
            (Notice::Nothing, Some(announced)) => (announced, guarded.memory.known_good.clone()),
            (Notice::Nothing | Notice::KnownGood { .. }, _) => return Ok(()),
        };
        let spec = self.spec(target, release, known_good, &view, (past, histories), now);
        let Some(spec) = spec else { return Ok(()) };
        self.supersede_runs(target, &spec).await;
        self.begin_watch(target, spec).await?;
        self.follow(target, &view, now).await
    }

    fn spec(
        &mut self,
        target: &TargetId,
        release: Release,
        known_good: Option<Version>,
        view: &WorkloadView,
        (past, histories): (BTreeMap<RuleName, Baseline>, Vec<History>),
        now: Timestamp,
    ) -> Option<WatchSpec> {
        let guarded = self.targets.get_mut(target)?;
        let settings = &guarded.settings;
        let ours = matches!(release.kind, ReleaseKind::OurRollback { .. });
        // The watch after a rollback lasts as long as its run, which ends it.
        let length = if ours {
            settings.watch + settings.rollout_deadline + settings.verify_deadline
        } else {
            settings.watch
        };
        let opened_at = if release.kind == ReleaseKind::New {
            release.at.max(now - settings.watch / 2).min(now)
        } else {
            now
        };
        guarded.minutes.pause();
        guarded.history = std::iter::once(guarded.minutes.history()).chain(histories).collect();
        let baseline = if past.is_empty() { learned(&guarded.history) } else { past };
        Some(WatchSpec {
            id: WatchSpec::id_of(&release),
            ends_at: (opened_at + length).max(now),
            known_good,
            opened_at,
            release,
            rules: settings.rules_of(&target.target).to_vec(),
            judging: judging(&settings.judging, view),
            baseline,
        })
    }

    async fn begin_watch(&mut self, target: &TargetId, spec: WatchSpec) -> Result<(), JournalError> {
        Metric::ReleasesTotal.add(1, vec![label("service", &target.service)]);
        tracing::info!(%target, version = spec.release.to.label, watch = spec.id,
            known_good = spec.known_good.as_ref().map(|v| v.label.as_str()), "a watch is open");
        self.commit(target, vec![TargetEvent::WatchOpened(Box::new(spec.clone()))]).await?;
        let history =
            self.targets.get_mut(target).map(|g| std::mem::take(&mut g.history)).unwrap_or_default();
        self.parts.recorder.record(&spec.id, as_samples(&history, &spec)).await;
        let sample = release_sample(&spec, spec.opened_at, None);
        let mut active = ActiveWatch::new(spec);
        active.take(sample);
        let mut early = Vec::new();
        if let Some(guarded) = self.targets.get_mut(target) {
            guarded.checks.samples().into_iter().for_each(|sample| active.take(sample));
            guarded.watch = Some(Box::new(active));
            early = std::mem::take(&mut guarded.early);
        }
        self.leave_controls(target);
        // From now on it is known where a rollback would go.
        self.rounds.hasten(target, self.now());
        self.tell_worse(target);
        early.into_iter().for_each(|(alert, at)| self.take_alert(alert, at));
        Ok(())
    }

    /// A newer release ends the runs of the older one; a run's own result is no newer release.
    async fn supersede_runs(&mut self, target: &TargetId, spec: &WatchSpec) {
        let ours = match &spec.release.kind {
            ReleaseKind::OurRollback { run } => Some(run),
            ReleaseKind::New | ReleaseKind::Undo | ReleaseKind::KnownBad => None,
        };
        for (id, run) in &self.runs {
            if Some(id) != ours && run.targets.iter().any(|(t, _)| t == target) {
                let input = Input::Superseded { by: spec.release.to.label.clone() };
                // A driver that has just ended needs no telling.
                drop(run.inputs.send(input).await);
            }
        }
    }

    pub(super) async fn on_gone(&mut self, target: &TargetId) -> Result<(), JournalError> {
        tracing::warn!(%target, "the workload is gone");
        self.controls.forget(target);
        self.rounds.hasten(target, self.now());
        if let Some(guarded) = self.targets.get_mut(target) {
            guarded.view = None;
        }
        self.close_watch(target, WatchEnd::Gone, "the workload was deleted".into()).await
    }

    /// Surveys a target anew in the background.
    pub(super) fn survey_again(&mut self, target: &TargetId) {
        let now = self.now();
        let Some(guarded) = self.targets.get_mut(target) else { return };
        guarded.surveyed_at = Some(now);
        let (port, found, target) = (self.parts.tools.target.clone(), self.found.clone(), target.clone());
        tokio::spawn(async move {
            let survey = tokio::time::timeout(LOOK_UP_MAX, port.survey(&target)).await;
            let survey = survey.unwrap_or_else(|_| Err(late(&target)));
            drop(found.send(Found::Survey { target, survey }).await);
        });
    }

    /// Surveys under watch are never older than half a minute, so that deciding costs no network call.
    pub(super) fn renew_surveys(&mut self) {
        let now = self.now();
        let oldest = now - Duration::from_secs(30);
        let stale = |g: &&super::guarded::Guarded| {
            (g.watch.is_some() && g.surveyed_at.is_none_or(|at| at < oldest)) || is_due(g, now)
        };
        let targets: Vec<TargetId> = self.targets.values().filter(stale).map(|g| g.id.clone()).collect();
        targets.iter().for_each(|target| self.survey_again(target));
    }
}

pub(super) fn late(target: &TargetId) -> SurveyError {
    let why = format!("no answer within {} seconds", LOOK_UP_MAX.as_secs());
    SurveyError::Unreadable { what: target.to_string(), why }
}

/// A pod has at most half of its progress deadline to become ready.
fn judging(configured: &Judging, view: &WorkloadView) -> Judging {
    let half = view.progress_deadline_secs.map_or(f64::INFINITY, |secs| secs as f64 / 2.0);
    Judging { never_ready_after_secs: configured.never_ready_after_secs.min(half), ..configured.clone() }
}

pub(super) fn release_sample(spec: &WatchSpec, now: Timestamp, rollout_ended: Option<Timestamp>) -> Sample {
    let target = &spec.release.target;
    Sample {
        at: now,
        service: target.service.clone(),
        target: Some(target.target.clone()),
        release: Some(spec.release.to.label.clone()),
        pod: None,
        reading: Reading::Release {
            previous: spec.known_good.as_ref().map(|v| v.label.clone()),
            rollout_ended,
        },
    }
}
