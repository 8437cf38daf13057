//! One target in a replay: what is remembered of it, and the watch if one is open.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::judged::{Ending, Finished, Judged, Reached};
use super::trace::Trace;
use super::{Fleet, Settings};
use crate::domain::event::{TargetEvent, WatchEnd};
use crate::domain::memory::TargetMemory;
use crate::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use crate::domain::past::Past;
use crate::domain::policy::Decision;
use crate::domain::policy::matter::Seen;
use crate::domain::policy::table::Case;
use crate::domain::release::{Fingerprint, ReleaseKind, Version};
use crate::domain::signal::Sample;
use crate::domain::trial::{Terms, Trial, end_of};
use crate::domain::watch::{Assessment, Baseline, Watch, WatchSpec};
use crate::domain::workload::{Notice, RolloutState, WorkloadView, notice};

/// The last batch of a watch may lie so many batches before its end: a daemon would still have been looking.
const TAIL_BATCHES: f64 = 4.0;

#[derive(Debug)]
pub(super) struct Lane {
    /// `None` for releases of the whole service: then every line of the service counts.
    pub(super) target: Option<TargetName>,
    id: TargetId,
    memory: TargetMemory,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    watch: Watch,
    trial: Trial,
    reached: Option<Reached>,
    last: Option<Assessment>,
    trace: Option<Box<Trace>>,
}

impl Open {
    fn decision(&self) -> Decision {
        self.reached.as_ref().map_or(Decision::Hold, |reached| reached.decided.reached())
    }
    /// Nothing stronger can come.
    fn is_settled(&self) -> bool {
        self.decision() == Decision::Rollback
    }
    fn ends_at(&self) -> Timestamp {
        self.watch.spec().ends_at
    }
}

/// A line that says what was released.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReleaseLine<'a> {
    pub(super) sample: &'a Sample,
    pub(super) label: &'a str,
    pub(super) previous: Option<&'a str>,
}

impl Lane {
    pub(super) fn new(service: &ServiceName, target: Option<TargetName>) -> Option<Self> {
        // A release of the whole service needs a name inside, and is shown without one.
        let inner = target.clone().or_else(|| TargetName::parse(service.as_str()).ok())?;
        let id = TargetId { service: service.clone(), target: inner };
        Some(Self { target, id, memory: TargetMemory::default(), open: None })
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a line if a watch is open that it may be about.
    pub(super) fn take(&mut self, sample: &Sample) -> bool {
        let mine = self.is_of(sample.target.as_ref());
        let Some(open) = self.open.as_mut().filter(|_| mine) else { return false };
        // What is older than the watch is its history, which is frozen.
        if sample.at < open.watch.spec().opened_at || (open.is_settled() && open.trace.is_none()) {
            return true;
        }
        if self.target.is_none() && sample.target.is_some() {
            let sample = Sample { target: None, ..sample.clone() };
            open.take(&sample);
        } else {
            open.take(sample);
        }
        true
    }

    /// Looks at the batch that closed, and decides.
    pub(super) fn look(&mut self, at: Timestamp, settings: &Settings, fleet: &mut Fleet) -> Option<Judged> {
        let open = self.open.as_mut()?;
        if let Some(trace) = &mut open.trace {
            trace.close(at);
        }
        if !open.is_settled() {
            let assessment = open.watch.tick(at);
            open.trial.note(&assessment);
            self.decide(assessment, settings, fleet);
        }
        // A watch may end before its time, once health is proven.
        let ended = |open: &Open| open.last.as_ref().is_some_and(|last| last.ended);
        let over = self.open.as_ref().is_some_and(|open| at >= open.ends_at() || ended(open));
        if over { self.complete(at) } else { None }
    }

    /// Time has come to `at` without a batch: a watch that ends before is over.
    pub(super) fn pass(&mut self, at: Timestamp, settings: &Settings, fleet: &mut Fleet) -> Option<Judged> {
        let ends_at = self.open.as_ref()?.ends_at();
        if ends_at < at { self.look(ends_at, settings, fleet) } else { None }
    }

    /// The recording holds nothing after `last`.
    pub(super) fn cut(&mut self, last: Timestamp, settings: &Settings, fleet: &mut Fleet) -> Option<Judged> {
        let spec = self.open.as_ref()?.watch.spec();
        let left = spec.ends_at.duration_since(last).as_secs_f64();
        if left <= spec.judging.batch_secs * TAIL_BATCHES {
            return self.look(spec.ends_at, settings, fleet);
        }
        self.close(WatchEnd::Gone, Ending::CutShort, last)
    }

    fn decide(&mut self, assessment: Assessment, settings: &Settings, fleet: &mut Fleet) {
        let Some(open) = &mut self.open else { return };
        let mut bars = Vec::new();
        if assessment.verdict.trips() {
            let last = self.memory.last_rollback().map(|(_, at)| at);
            let all = self.memory.rollbacks.iter().map(|(_, at)| *at);
            bars.extend(settings.rails.resting(last, assessment.at));
            bars.extend(settings.rails.often_today(all, assessment.at));
            open.trial.hold_back(fleet.trip(&self.id.service, assessment.at));
        }
        let kind = &open.watch.spec().release.kind;
        let frozen = settings.rails.frozen(assessment.at);
        let ruling = settings.policy.rule(Case {
            verdict: &assessment.verdict,
            seen: &Seen::tripping(&assessment.evidence, &settings.rules),
            at: assessment.at,
            targets: std::slice::from_ref(&self.id.target),
        });
        let page_after = settings.page_after;
        let terms = Terms { ruling: &ruling, page_after, kind, frozen: frozen.as_ref() };
        let decided = open.trial.decide(&assessment, terms, bars);
        if decided.reached() > open.decision() {
            if decided.reached() == Decision::Rollback {
                let bad = open.watch.spec().release.to.clone();
                let event = TargetEvent::RolledBack { run: "backtest".into(), bad };
                self.memory = std::mem::take(&mut self.memory).fold(&event, assessment.at);
            }
            let cause = open.trial.cause(&assessment.verdict);
            let on = Assessment { evidence: open.watch.shown(&assessment), ..assessment.clone() };
            open.reached = Some(Reached { decided, on, cause });
        }
        open.last = Some(assessment);
    }

    /// A release line: the first of its release opens a watch, which ends the one before. Answers whether it did.
    pub(super) fn release(
        &mut self,
        line: ReleaseLine<'_>,
        settings: &Settings,
        past: &mut Past,
        traced: bool,
    ) -> (Option<Judged>, bool) {
        let current = self.memory.current.as_ref();
        if current.is_some_and(|version| version.label == line.label) {
            // The end of its rollout, or the same line once more.
            self.take(line.sample);
            return (None, false);
        }
        // While a watch is open nothing is learned: a release that follows it is compared with the same past.
        let same_past = self.open.as_ref().map(|open| open.watch.spec().baseline.clone());
        let superseded = self.supersede(line);
        self.know(line, past);
        if let Some(spec) = self.spec(line, settings, past, same_past) {
            self.memory = std::mem::take(&mut self.memory)
                .fold(&TargetEvent::WatchOpened(Box::new(spec.clone())), line.sample.at);
            past.interrupt(self.target.as_ref());
            let trace = traced.then(|| Box::new(Trace::new(&spec)));
            let watch = Watch::new(spec);
            self.open = Some(Open { watch, trial: Trial::default(), reached: None, last: None, trace });
            self.take(line.sample);
        }
        (superseded, self.is_open())
    }

    fn supersede(&mut self, line: ReleaseLine<'_>) -> Option<Judged> {
        let open = self.open.as_ref()?;
        let restored = self.memory.known_good.as_ref().is_some_and(|good| good.label == line.label);
        let end = if restored && open.is_settled() { WatchEnd::RolledBack } else { WatchEnd::Superseded };
        self.close(end, Ending::Superseded { by: line.label.to_string() }, line.sample.at)
    }

    /// What a watch that has just begun should know: how checks stood before it, and what is worse elsewhere.
    pub(super) fn tell<'a>(&mut self, before: impl IntoIterator<Item = &'a Sample>) {
        let target = self.id.target.clone();
        let Some(open) = &mut self.open else { return };
        for sample in before {
            open.watch.take(&Sample { target: Some(target.clone()), ..sample.clone() });
        }
    }

    pub(super) fn is_of(&self, target: Option<&TargetName>) -> bool {
        self.target.is_none() || target.is_none() || self.target.as_ref() == target
    }

    /// What a daemon would remember: a `previous` that was not released inside the recording was good. Where the line
    /// names none, it is the version that was heard of last.
    fn know(&mut self, line: ReleaseLine<'_>, past: &Past) {
        let heard = || past.last_version(self.target.as_ref(), |label| label != line.label);
        let named = line.previous.filter(|previous| *previous != line.label).map(str::to_string);
        let previous = match named {
            Some(named) => Some(named),
            None if self.memory.current.is_none() => heard(),
            None => None,
        };
        let Some(version) = previous.map(|label| version(&label)) else { return };
        if !self.memory.seen.contains(&version.fingerprint) {
            let event = TargetEvent::KnownGood { version, why: "it ran before the release".into() };
            self.memory = std::mem::take(&mut self.memory).fold(&event, line.sample.at);
        }
    }

    fn spec(
        &self,
        line: ReleaseLine<'_>,
        settings: &Settings,
        past: &Past,
        same_past: Option<BTreeMap<RuleName, Baseline>>,
    ) -> Option<WatchSpec> {
        let at = line.sample.at;
        let view = WorkloadView {
            target: self.id.clone(),
            version: version(line.label),
            current_since: at,
            rollout: RolloutState::Rolling,
            history: vec![],
            pods: vec![],
            progress_deadline_secs: None,
        };
        let Notice::Release { release, known_good } = notice(&self.memory, &view, None, at, settings.watch)
        else {
            return None;
        };
        let one_of = |label: &str| known_good.iter().chain(&release.from).any(|v| v.label == label);
        let target = self.target.as_ref();
        let baseline = match same_past.filter(|past| !past.is_empty()) {
            Some(same) => same,
            None if past.knows(target, one_of) => past.baselines(target, one_of),
            None => past.baselines(target, |label| label != line.label),
        };
        Some(WatchSpec {
            id: WatchSpec::id_of(&release),
            known_good: known_good
                .filter(|good| good.label != line.label || release.kind != ReleaseKind::New),
            opened_at: at,
            ends_at: later(at, settings.watch),
            rules: settings.rules.clone(),
            judging: settings.judging.clone(),
            release: *release,
            baseline,
        })
    }

    fn complete(&mut self, at: Timestamp) -> Option<Judged> {
        let open = self.open.as_ref()?;
        let end = open.last.as_ref().map_or(WatchEnd::Inconclusive, end_of);
        self.close(end, Ending::Complete, at)
    }

    fn close(&mut self, end: WatchEnd, ending: Ending, over_at: Timestamp) -> Option<Judged> {
        let open = self.open.take()?;
        let spec = open.watch.spec();
        let mut events =
            vec![TargetEvent::WatchClosed { watch: spec.id.clone(), end, reason: String::new() }];
        if let Some(why) = open.trial.leaves_known_good(&open.watch, end, open.decision()) {
            events.push(TargetEvent::KnownGood { version: spec.release.to.clone(), why });
        }
        let memory = std::mem::take(&mut self.memory);
        self.memory = events.iter().fold(memory, |memory, event| memory.fold(event, over_at));
        let target = self.target.clone();
        let shown = |last: Assessment| Assessment { evidence: open.watch.shown(&last), ..last };
        let (reached, last, trace) = (open.reached, open.last.map(shown), open.trace);
        Some(Finished { spec, target, reached, last, ending, over_at, trace }.judged())
    }
}

impl Open {
    fn take(&mut self, sample: &Sample) {
        if let Some(trace) = &mut self.trace {
            trace.take(sample);
        }
        if !self.is_settled() {
            self.watch.take(sample);
        }
    }
}

/// Recordings know versions by their labels only.
fn version(label: &str) -> Version {
    Version { fingerprint: Fingerprint::named(label), label: label.to_string(), images: vec![] }
}

fn later(at: Timestamp, length: Duration) -> Timestamp {
    at.saturating_add(length).unwrap_or(Timestamp::MAX)
}
