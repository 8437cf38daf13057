//! One target as the watcher guards it: what is remembered, what is seen, and the watch if one is open.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::minutes::Minutes;
use super::readiness::Looked;
use crate::domain::checked::LastChecks;
use crate::domain::code::Code;
use crate::domain::memory::TargetMemory;
use crate::domain::names::{RuleName, TargetId};
use crate::domain::plan::{Goal, draft};
use crate::domain::policy::Decision;
use crate::domain::release::{Fingerprint, Release, ReleaseKind};
use crate::domain::signal::{PodReading, Reading, Sample};
use crate::domain::survey::Survey;
use crate::domain::trial::Trial;
use crate::domain::watch::{Assessment, Baseline, Watch, WatchSpec};
use crate::domain::workload::{PodView, RolloutState, WorkloadView};
use crate::engine::commands::AlertIn;
use crate::engine::settings::ServiceSettings;
use crate::engine::snapshot::{TargetStatus, WatchStatus, WayBack};
use crate::ports::{AskPod, AskTarget, History, SurveyError};

pub(super) struct Guarded {
    pub(super) id: TargetId,
    pub(super) settings: Arc<ServiceSettings>,
    pub(super) memory: TargetMemory,
    pub(super) view: Option<WorkloadView>,
    /// Boxed: most targets have none, and it is by far the largest part.
    pub(super) watch: Option<Box<ActiveWatch>>,
    pub(super) opening: Option<Box<Opening>>,
    pub(super) survey: Option<Result<Survey, SurveyError>>,
    pub(super) surveyed_at: Option<Timestamp>,
    pub(super) looked: Looked,
    pub(super) minutes: Minutes,
    pub(super) checks: LastChecks,
    /// What the next watch is compared with; it goes into its recording.
    pub(super) history: Vec<History>,
    /// Alerts that came while the watch was being opened.
    pub(super) early: Vec<(AlertIn, Timestamp)>,
}

/// A watch whose history is being looked up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opening {
    pub(super) version: Fingerprint,
    /// Set when a deploy tool announced a release of what runs already.
    pub(super) announced: Option<Release>,
}

/// A watch with what the watcher needs beside it.
pub(super) struct ActiveWatch {
    pub(super) watch: Watch,
    pub(super) last: Option<Assessment>,
    pub(super) trial: Trial,
    pub(super) relapse_told: bool,
    /// Samples since the batch began, for the recording: one per stream.
    pub(super) batch: BTreeMap<String, Sample>,
    pub(super) recorded_at: Timestamp,
    pods: BTreeMap<String, PodReading>,
    gave_up: bool,
}

impl ActiveWatch {
    pub(super) fn new(spec: WatchSpec) -> Self {
        Self {
            recorded_at: spec.opened_at,
            watch: Watch::new(spec),
            last: None,
            trial: Trial::default(),
            relapse_told: false,
            batch: BTreeMap::new(),
            pods: BTreeMap::new(),
            gave_up: false,
        }
    }

    pub(super) fn take(&mut self, sample: Sample) {
        self.keep_shown(&sample);
        self.watch.take(&sample);
        self.batch.insert(stream_of(&sample), sample);
    }

    /// What a view showed, so that the next one is told by its differences; after a restart too, when it is replayed.
    fn keep_shown(&mut self, sample: &Sample) {
        if let (Reading::Pod(reading), Some(pod)) = (&sample.reading, &sample.pod) {
            self.pods.insert(pod.clone(), reading.clone());
            self.pods.retain(|_, reading| !reading.gone);
        }
        if let Reading::Check { rule, ok, .. } = &sample.reading
            && rule.as_str() == "rollout"
        {
            self.gave_up = !ok;
        }
    }

    /// Judges now, and keeps what has to be kept between two looks.
    pub(super) fn look(&mut self, now: Timestamp) -> Assessment {
        let assessment = self.watch.tick(now);
        self.trial.note(&assessment);
        self.last = Some(assessment.clone());
        assessment
    }

    /// What a view says, as samples of the streams that changed.
    pub(super) fn samples_of(
        &self,
        view: &WorkloadView,
        now: Timestamp,
        label: impl Fn(&PodView) -> Option<String>,
    ) -> Vec<Sample> {
        let target = &self.watch.spec().release.target;
        let sample = |release: Option<String>, pod: Option<String>, reading| Sample {
            at: now,
            service: target.service.clone(),
            target: Some(target.target.clone()),
            release,
            pod,
            reading,
        };
        let mut samples = Vec::new();
        for pod in &view.pods {
            let Some(release) = label(pod) else { continue };
            if self.pods.get(&pod.name) != Some(&pod.reading) {
                samples.push(sample(
                    Some(release),
                    Some(pod.name.clone()),
                    Reading::Pod(pod.reading.clone()),
                ));
            }
        }
        let there: std::collections::BTreeSet<&str> = view.pods.iter().map(|p| p.name.as_str()).collect();
        for (name, reading) in self.pods.iter().filter(|(name, _)| !there.contains(name.as_str())) {
            let gone = PodReading { gone: true, ..reading.clone() };
            samples.push(sample(None, Some(name.clone()), Reading::Pod(gone)));
        }
        let gave_up = matches!(view.rollout, RolloutState::GaveUp { .. });
        if gave_up != self.gave_up
            && let Ok(rule) = RuleName::parse("rollout")
        {
            let detail = match &view.rollout {
                RolloutState::GaveUp { detail } => detail.clone(),
                RolloutState::Rolling | RolloutState::Ended { .. } => String::new(),
            };
            samples.push(sample(None, None, Reading::Check { rule, ok: !gave_up, detail }));
        }
        samples
    }
}

/// What makes two samples readings of the same stream.
fn stream_of(sample: &Sample) -> String {
    let pod = sample.pod.as_deref().unwrap_or("");
    let what = match &sample.reading {
        Reading::Release { rollout_ended, .. } => format!("release/{}", rollout_ended.is_some()),
        Reading::Counts { rule, .. } => format!("counts/{rule}"),
        Reading::Histogram { rule, .. } => format!("histogram/{rule}"),
        Reading::Value { rule, .. } => format!("value/{rule}"),
        // Every change of a pod's state is kept: a crash between two batches must not be lost.
        Reading::Pod(_) => format!("pod/{}", sample.at),
        Reading::Check { rule, .. } => format!("check/{rule}/{}", sample.at),
        Reading::Remark { rule, detail } => format!("remark/{rule}/{detail}"),
        Reading::Alert { alert, labels, .. } => format!("alert/{alert}/{labels:?}"),
        Reading::Control { other, .. } => format!("control/{other}/{}", sample.at),
        Reading::NoData { rule, .. } => format!("nodata/{rule}"),
    };
    format!("{what}/{pod}")
}

impl Guarded {
    pub(super) fn new(id: TargetId, settings: Arc<ServiceSettings>) -> Self {
        Self {
            id,
            settings,
            memory: TargetMemory::default(),
            view: None,
            watch: None,
            opening: None,
            survey: None,
            surveyed_at: None,
            looked: Looked::default(),
            minutes: Minutes::default(),
            checks: LastChecks::default(),
            history: Vec::new(),
            early: Vec::new(),
        }
    }

    /// The label under which a pod's samples are known; none while it is not known what it runs.
    pub(super) fn label_of(&self, pod: &PodView) -> Option<String> {
        let print = pod.fingerprint.as_ref()?;
        let spec = self.memory.watch.as_ref().map(|w| &w.spec);
        let released = spec.map(|s| &s.release.to);
        let known = [released, self.memory.known_good.as_ref(), self.memory.current.as_ref()];
        let label = known.into_iter().flatten().find(|v| v.fingerprint == *print).map(|v| v.label.clone());
        // Another version beside the two: under a name that is surely neither of theirs.
        label.or_else(|| Some(format!("other-{}", print.short())))
    }

    pub(super) fn ask(&self) -> Option<AskTarget> {
        let view = self.view.as_ref()?;
        let pod = |pod: &PodView| {
            let release = Some(self.label_of(pod)?);
            let running = !pod.reading.gone && pod.fingerprint.is_some();
            running.then(|| AskPod { name: pod.name.clone(), release, metrics_url: pod.metrics_url.clone() })
        };
        let pods: Vec<AskPod> = view.pods.iter().filter_map(pod).collect();
        Some(AskTarget { target: self.id.clone(), pods })
    }

    pub(super) fn status(&self) -> TargetStatus {
        TargetStatus {
            target: self.id.clone(),
            mode: self.settings.policy.mode_of(&self.id.target),
            current: self.memory.current.clone(),
            known_good: self.memory.known_good.clone(),
            watch: self.watch.as_ref().map(|active| Box::new(self.watch_status(active))),
            last_watch: self.memory.last_watch.clone(),
            held: super::owners::status(&self.memory),
            way_back: self.watch.as_ref().map(|_| self.way_back()),
            readiness: self.looked.readiness.clone(),
            page: self.memory.page.clone(),
        }
    }

    fn watch_status(&self, active: &ActiveWatch) -> WatchStatus {
        let spec = active.watch.spec();
        let busiest = spec.baseline.values().max_by(|a, b| a.total.total_cmp(&b.total));
        let p95_ms = spec.baseline.values().find_map(|b| b.p95_ms);
        WatchStatus {
            id: spec.id.clone(),
            release: spec.release.clone(),
            opened_at: spec.opened_at,
            ends_at: spec.ends_at,
            decision: self.memory.watch.as_ref().map_or(Decision::Hold, |w| w.reached),
            verdict: active.last.as_ref().map(|a| a.verdict.clone()),
            evidence: active.last.as_ref().map_or(Vec::new(), |last| active.watch.shown(last)),
            figures: active.watch.figures(),
            baseline: busiest.map(|b| Baseline { p95_ms: b.p95_ms.or(p95_ms), times: None, ..b.clone() }),
        }
    }

    /// Whether this release could be taken back now: shown before it is needed.
    fn way_back(&self) -> WayBack {
        let barred = |why: String| WayBack::Barred { why };
        let released = self.memory.watch.as_ref().map(|w| &w.spec.release);
        if let Some(kind) = released.map(|r| &r.kind).filter(|k| **k != ReleaseKind::New) {
            return match kind {
                ReleaseKind::OurRollback { run } => barred(format!("restored by run {run}")),
                ReleaseKind::Undo => barred("somebody's own undo is never undone".into()),
                ReleaseKind::KnownBad => barred("rolled back before, and deployed again".into()),
                ReleaseKind::New => barred(String::new()),
            };
        }
        let Some(good) = &self.memory.known_good else {
            return barred("no version is known to be good".into());
        };
        match &self.survey {
            None => barred("not surveyed yet".into()),
            Some(Err(error)) => barred(error.to_string()),
            Some(Ok(survey)) => match draft(survey, &Goal::Version(good.clone()), "preview", 0) {
                Ok(_) => WayBack::Open { to: good.label.clone() },
                Err(refusal) => barred(format!("{refusal}; {} [{}]", refusal.advice(), Code::from(&refusal))),
            },
        }
    }
}
