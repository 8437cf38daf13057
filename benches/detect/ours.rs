//! The product itself over the simulated traffic: the same samples and ticks that serving and backtests give the watch.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::domain::baseline::{learn, learn_times};
use rollguard::domain::controls::Controls;
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::evidence::Strength;
use rollguard::domain::histogram::{Buckets, Histogram, HistogramError, Native, Zero};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use rollguard::domain::runbook::{Judging, Rule, RuleKind, standard_rules};
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::watch::{Baseline, Watch, WatchSpec};

use super::cells::{Cell, Signal, WATCH_SECS};
use super::times::{Grid, Kind, SCHEMA};
use super::world::{Arm, Pod, Totals, World};

/// Any moment will do; this one has no fraction.
const EPOCH_SECS: i64 = 1_800_000_000;
const SETTLED_MINUTES: u32 = 20;
const HISTORY_SECS: u32 = 3600;

#[derive(Debug, thiserror::Error)]
pub(crate) enum OursError {
    #[error("a name of the simulation is not valid")]
    Name(#[from] rollguard::domain::names::NameError),
    #[error("the simulated response times are no histogram")]
    Times(#[from] HistogramError),
}

pub(crate) fn at(secs: u32) -> Timestamp {
    Timestamp::from_second(EPOCH_SECS + i64::from(secs)).unwrap_or_default()
}

/// When the product came to what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decided {
    pub rollback: Option<u32>,
    /// First page-level or urgent finding.
    pub page: Option<u32>,
    /// What it said at the rollback, or last.
    pub reason: String,
}

pub(crate) struct Ours {
    watch: Watch,
    /// The last sample of each pod, changed in place.
    samples: Vec<Sample>,
    known: Vec<bool>,
    gone: Vec<bool>,
    there: Vec<bool>,
    /// The unreleased service's judge, and its target and rules.
    controls: Controls,
    control: (TargetId, Vec<Rule>),
    rollout_told: bool,
    pub decided: Decided,
}

impl Ours {
    pub(crate) fn new(cell: &Cell, world: &World, seed: u64) -> Result<Self, OursError> {
        let spec = spec(cell, world, seed)?;
        let other = TargetId { service: ServiceName::parse("search")?, target: TargetName::parse("web")? };
        let control = (other, spec.rules.clone());
        let rule = spec.rules.first().map(|rule| rule.name.clone());
        let rule = rule.map_or_else(|| RuleName::parse("error-rate"), Ok)?;
        let service = spec.release.target.service.clone();
        let samples = world.pods.iter().enumerate();
        let samples = samples.map(|(nth, pod)| first_sample(cell, &service, &rule, nth, pod)).collect();
        let mut ours = Self {
            watch: Watch::new(spec),
            samples,
            known: vec![false; world.pods.len()],
            gone: vec![false; world.pods.len()],
            there: vec![false; world.pods.len()],
            controls: Controls::default(),
            control,
            rollout_told: false,
            decided: Decided::default(),
        };
        ours.settle_controls(world, seed)?;
        Ok(ours)
    }

    /// What is usual for the unreleased service is known before the release: it is asked once a minute at rest.
    fn settle_controls(&mut self, world: &World, seed: u64) -> Result<(), OursError> {
        let Some(place) = world.pods.iter().position(|pod| pod.arm == Arm::Control) else { return Ok(()) };
        let mut sample = Sample { pod: Some("settled".into()), ..self.samples[place].clone() };
        let mut sum = Totals { times: vec![0; world.control.times.len()], ..Totals::default() };
        let minutes = world.history(SETTLED_MINUTES, 60, seed.wrapping_add(1));
        for (nth, minute) in std::iter::once(sum.clone()).chain(minutes).enumerate() {
            sum.requests += minute.requests;
            sum.failed += minute.failed;
            sum.times.iter_mut().zip(&minute.times).for_each(|(sum, n)| *sum += n);
            count(&world.grid, &sum, &mut sample.reading)?;
            let minutes_ago = u64::from(SETTLED_MINUTES + 1) - nth as u64;
            sample.at = at(0) - Duration::from_secs(60 * minutes_ago);
            self.controls.take(&self.control.0, &self.control.1, &sample);
            self.controls.tick(sample.at);
        }
        Ok(())
    }

    /// The scrape of this moment, and what is thought of it.
    pub(crate) fn look(&mut self, world: &World) -> Result<(), OursError> {
        let now = world.now_secs;
        if self.decided.rollback.is_some() {
            return Ok(());
        }
        self.tell_rollout(world, now);
        self.tell_pods(world, now);
        self.scrape(world)?;
        self.tell_controls(world);
        self.judge(now);
        Ok(())
    }

    /// Kubernetes tells of a pod when it comes and when it goes.
    fn tell_pods(&mut self, world: &World, now: u32) {
        for (nth, pod) in world.pods.iter().enumerate() {
            let gone = now > pod.until_secs;
            let news = if gone { !self.gone[nth] } else { !self.known[nth] && now >= pod.from_secs };
            let due = news && pod.arm != Arm::Control;
            if due {
                let reading = Reading::Pod(pod_reading(pod, gone));
                self.watch.take(&Sample { at: at(now), reading, ..self.samples[nth].clone() });
                (self.known[nth], self.gone[nth]) = (true, gone);
            }
        }
    }

    /// Reads the counters of all pods that are there, without telling the watch yet.
    pub(crate) fn scrape(&mut self, world: &World) -> Result<(), OursError> {
        for (pod, sample) in world.pods.iter().zip(&mut self.samples) {
            sample.at = at(world.now_secs);
            count(&world.grid, &pod.totals, &mut sample.reading)?;
        }
        let ours = |pod: &Pod| pod.arm != Arm::Control;
        let there =
            |pod: &Pod| ours(pod) && pod.from_secs <= world.now_secs && world.now_secs <= pod.until_secs;
        self.there = world.pods.iter().map(there).collect();
        Ok(())
    }

    pub(crate) fn judge(&mut self, now: u32) {
        for (sample, _) in self.samples.iter().zip(&self.there).filter(|(_, there)| **there) {
            self.watch.take(sample);
        }
        let verdict = self.watch.tick(at(now)).verdict;
        if verdict.strength >= Strength::Page {
            self.decided.page.get_or_insert(now);
        }
        if verdict.strength == Strength::Rollback {
            self.decided.rollback = Some(now);
        }
        self.decided.reason = verdict.reason;
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    fn tell_rollout(&mut self, world: &World, now: u32) {
        let Some(ended) = world.rollout_ended_secs.filter(|ended| *ended <= now && !self.rollout_told) else {
            return;
        };
        self.rollout_told = true;
        let reading = Reading::Release { previous: Some("v1".into()), rollout_ended: Some(at(ended)) };
        self.tell(now, reading);
    }

    /// What the unreleased service's own judge finds, as serving tells it.
    fn tell_controls(&mut self, world: &World) {
        for (pod, sample) in world.pods.iter().zip(&self.samples) {
            if pod.arm == Arm::Control {
                self.controls.take(&self.control.0, &self.control.1, sample);
            }
        }
        for news in self.controls.tick(at(world.now_secs)) {
            self.tell(world.now_secs, news.reading());
        }
    }

    fn tell(&mut self, now: u32, reading: Reading) {
        let Some(any) = self.samples.first() else { return };
        let service = any.service.clone();
        let (at, release) = (at(now), Some("v2".into()));
        self.watch.take(&Sample { at, service, target: None, release, pod: None, reading });
    }
}

fn pod_reading(pod: &Pod, gone: bool) -> PodReading {
    let began = match pod.arm {
        Arm::New => at(pod.from_secs),
        Arm::Old | Arm::Control => at(0) - Duration::from_secs(24 * 3600),
    };
    PodReading {
        ready: !gone,
        created_at: Some(began),
        ready_since: Some(began),
        gone,
        ..PodReading::default()
    }
}

fn first_sample(cell: &Cell, service: &ServiceName, rule: &RuleName, nth: usize, pod: &Pod) -> Sample {
    let release = match pod.arm {
        Arm::New => "v2",
        Arm::Old | Arm::Control => "v1",
    };
    let reading = match cell.signal {
        Signal::Errors(_) => Reading::Counts { rule: rule.clone(), bad: 0.0, total: 0.0 },
        Signal::Latency { kind: Kind::Native, .. } => {
            let times = Histogram::Native(Native::default());
            Reading::Histogram { rule: rule.clone(), times }
        }
        Signal::Latency { kind: Kind::Classic, .. } => {
            Reading::Histogram { rule: rule.clone(), times: Histogram::default() }
        }
    };
    Sample {
        at: at(0),
        service: service.clone(),
        target: None,
        release: Some(release.into()),
        pod: Some(format!("backend-{release}-{nth}")),
        reading,
    }
}

fn count(grid: &Grid, totals: &Totals, reading: &mut Reading) -> Result<(), OursError> {
    match reading {
        Reading::Counts { bad, total, .. } => {
            (*bad, *total) = (totals.failed as f64, totals.requests as f64);
        }
        Reading::Histogram { times, .. } => fill(grid, &totals.times, times)?,
        Reading::Release { .. }
        | Reading::Value { .. }
        | Reading::Pod(_)
        | Reading::Check { .. }
        | Reading::Alert { .. }
        | Reading::Control { .. }
        | Reading::Remark { .. }
        | Reading::NoData { .. } => {}
    }
    Ok(())
}

fn fill(grid: &Grid, counts: &[u64], times: &mut Histogram) -> Result<(), OursError> {
    match times {
        Histogram::Native(native) => {
            let filled = counts.iter().enumerate().filter(|(_, n)| **n > 0);
            let bucket = |(position, n): (usize, &u64)| (Grid::native_index(position), *n as f64);
            *native = Native::new(SCHEMA, Zero::default(), filled.map(bucket).collect())?;
        }
        Histogram::Classic(buckets) => {
            let mut sum = 0;
            let mut below = |n: &u64| {
                sum += n;
                sum as f64
            };
            let bounds = grid.bounds.iter().copied().chain([f64::INFINITY]);
            *buckets = Buckets::new(bounds.zip(counts.iter().map(&mut below)).collect());
        }
    }
    Ok(())
}

fn spec(cell: &Cell, world: &World, seed: u64) -> Result<WatchSpec, OursError> {
    let rules: Vec<Rule> = standard_rules().into_iter().filter(|rule| is_about(cell.signal, rule)).collect();
    let learned = |rule: &Rule| Ok((rule.name.clone(), baseline(cell, world, seed)?));
    let baseline = rules.iter().map(learned).collect::<Result<_, OursError>>()?;
    let mut spec = watch_spec(rules, baseline, cell.batch_secs())?;
    spec.judging.late_onset = cell.late_onset;
    Ok(spec)
}

/// A watch of 30 minutes over a new version of `shop/backend`, with the product's defaults.
pub(crate) fn watch_spec(
    rules: Vec<Rule>,
    baseline: BTreeMap<RuleName, Baseline>,
    batch_secs: f64,
) -> Result<WatchSpec, OursError> {
    let version =
        |label: &str| Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] };
    let target = TargetId { service: ServiceName::parse("shop")?, target: TargetName::parse("backend")? };
    let (from, to) = (Some(version("v1")), version("v2"));
    let length = Duration::from_secs(u64::from(WATCH_SECS));
    Ok(WatchSpec {
        id: "simulated".into(),
        known_good: from.clone(),
        release: Release { target, kind: ReleaseKind::New, from, to, at: at(0) },
        opened_at: at(0),
        ends_at: at(WATCH_SECS),
        rules,
        judging: Judging { batch_secs, ..Judging::standard(length) },
        baseline,
    })
}

fn is_about(signal: Signal, rule: &Rule) -> bool {
    matches!(
        (signal, &rule.kind),
        (Signal::Errors(_), RuleKind::Errors { .. }) | (Signal::Latency { .. }, RuleKind::Latency { .. })
    )
}

/// What an hour of the old pods' traffic teaches, in batches as the product asks for them.
fn baseline(cell: &Cell, world: &World, seed: u64) -> Result<Baseline, OursError> {
    let step_secs = cell.scrape_secs.max(5);
    let history = world.history(HISTORY_SECS / step_secs, step_secs, seed);
    let step = Duration::from_secs(u64::from(step_secs));
    match cell.signal {
        Signal::Errors(_) => {
            let counts = |t: &Totals| Counts { bad: t.failed as f64, total: t.requests as f64 };
            Ok(learn(&history.iter().map(counts).collect::<Vec<_>>(), step))
        }
        Signal::Latency { kind, .. } => {
            let times = |t: &Totals| {
                let mut histogram = match kind {
                    Kind::Native => Histogram::Native(Native::default()),
                    Kind::Classic => Histogram::default(),
                };
                fill(&world.grid, &t.times, &mut histogram)?;
                Ok(histogram)
            };
            let times = history.iter().map(times).collect::<Result<Vec<_>, OursError>>()?;
            Ok(learn_times(&times, step))
        }
    }
}
