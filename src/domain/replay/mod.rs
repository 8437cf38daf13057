//! A replay: recorded samples in, one judgement per release out, by the code that judges while serving.
//!
//! Lines come in the order of time, and are folded as they come; nothing grows with their number:
//! - A batch is all lines of a service within one second, as a daemon looks once per second. It closes at the first later
//!   line, or at the end, and carries the time of its newest line.
//! - A line that is older than the newest of its service is taken as it comes, like a measurement that is late: counters
//!   that shrank a little are left out, so nothing counts twice. Lines more than an hour late are left out and counted.
//! - A line that comes twice changes nothing: counters are cumulative, states are states.
//! - A release of what runs already brings at most the end of its rollout. A release without a target is one of the whole
//!   service. One without a version is left out and counted.
//! - A newer release of a target ends the watch of the older one, and is compared with the same past.
//! - What a recording cannot tell is taken to be well: the way back is open, and no other rollback is under way.
mod judged;
mod lane;
mod service;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::controls::{ControlNews, Controls};
use super::guardrails::Rails;
use super::guardrails::{Bar, TOGETHER, together};
use super::names::{ServiceName, TargetId, TargetName};
use super::policy::{Mode, Policy};
use super::runbook::{Judging, Rule, standard_rules};
use super::signal::{Reading, Sample};
pub use judged::{Findings, Judged};
use service::Service;
pub use trace::{Arms, Point, Trace, Track};

/// How one service is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub policy: Policy,
    pub rules: Vec<Rule>,
    pub judging: Judging,
    pub watch: Duration,
    pub page_after: Duration,
    pub rails: Rails,
}

impl Settings {
    /// The runbook's rules, and everything else as where the configuration is silent; policy `auto`.
    pub fn standard() -> Self {
        let watch = Duration::from_secs(30 * 60);
        Self {
            policy: Mode::Auto.into(),
            rules: standard_rules(),
            judging: Judging::standard(watch),
            watch,
            page_after: Duration::from_secs(2 * 60),
            rails: Rails::default(),
        }
    }
}

/// The settings of every service.
#[derive(Clone, Debug)]
pub struct Policies {
    named: BTreeMap<ServiceName, Arc<Settings>>,
    others: Arc<Settings>,
}

impl Policies {
    /// Services that are not named are judged by the standard settings.
    pub fn new(named: impl IntoIterator<Item = (ServiceName, Settings)>) -> Self {
        let named = named.into_iter().map(|(name, settings)| (name, Arc::new(settings))).collect();
        Self { named, others: Arc::new(Settings::standard()) }
    }

    pub fn of(&self, service: &ServiceName) -> &Arc<Settings> {
        self.named.get(service).unwrap_or(&self.others)
    }
}

/// What else a replay does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Guard rails across services count.
    pub fleet: bool,
    /// What is measured is kept for charts.
    pub traced: bool,
}

/// Lines that were not judged, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// More than an hour older than the newest line of their service.
    pub out_of_order: u64,
    /// Releases that name no version.
    pub nameless: u64,
    /// Beyond the limits on services, targets and open watches.
    pub no_room: u64,
}

/// Services beyond this are not judged.
const SERVICES_MAX: usize = 10_000;
/// Watches open at once, of all services.
const WATCHES_MAX: usize = 5_000;
/// A service that was silent for so long after the end of a watch is at its end.
const SILENT_MAX: SignedDuration = SignedDuration::from_hours(2);

/// Folds samples, and tells of each release when its watch is over.
#[derive(Debug)]
pub struct Replay {
    policies: Policies,
    services: Vec<Service>,
    index: HashMap<ServiceName, usize>,
    /// The service of the last line: the next one is often of the same.
    last: usize,
    fleet: Fleet,
    left_out: LeftOut,
    swept_at: Option<Timestamp>,
}

impl Replay {
    pub fn new(policies: Policies, options: Options) -> Self {
        let fleet = Fleet { guarded: options.fleet, traced: options.traced, ..Fleet::default() };
        Self {
            policies,
            services: Vec::new(),
            index: HashMap::new(),
            last: 0,
            fleet,
            left_out: LeftOut::default(),
            swept_at: None,
        }
    }

    /// Takes the next line; answers the releases whose watch it ended, mostly none.
    pub fn take(&mut self, sample: &Sample) -> Vec<Judged> {
        let mut out = Vec::new();
        self.sweep(sample.at, &mut out);
        let Some(service) = self.service(&sample.service) else {
            self.left_out.no_room += 1;
            return out;
        };
        if self.fleet.guarded {
            self.overhear(sample, service);
        }
        let Some(service) = self.services.get_mut(service) else { return out };
        let before = service.open();
        service.take(sample, &mut self.fleet, &mut self.left_out, &mut out);
        self.fleet.changed(before, service.open());
        out
    }

    /// Services that nobody released stand beside those under watch: what becomes of them is told to every watch.
    fn overhear(&mut self, sample: &Sample, index: usize) {
        for news in self.fleet.controls.tick(sample.at) {
            let others = self.services.iter_mut().filter(|s| s.open() > 0 && s.name != news.target.service);
            others.for_each(|service| service.hear(sample.at, &news));
        }
        let Some(service) = self.services.get(index) else { return };
        let Some(target) = control_of(sample) else { return };
        if service.open() > 0 || matches!(sample.reading, Reading::Release { .. }) {
            self.fleet.controls.forget(&target);
        } else {
            self.fleet.controls.take(&target, service.rules(), sample);
        }
    }

    /// The end of the recording: what is open is judged as far as it goes.
    pub fn finish(&mut self) -> Vec<Judged> {
        let mut out = Vec::new();
        self.finish_where(|_| true, &mut out);
        out
    }

    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// The services that were met, by name.
    pub fn services(&self) -> BTreeSet<&ServiceName> {
        self.index.keys().collect()
    }

    fn service(&mut self, name: &ServiceName) -> Option<usize> {
        if self.services.get(self.last).is_some_and(|service| service.name == *name) {
            return Some(self.last);
        }
        let index = match self.index.get(name) {
            Some(index) => *index,
            None if self.services.len() >= SERVICES_MAX => return None,
            None => {
                let settings = self.policies.of(name).clone();
                self.services.push(Service::new(name.clone(), settings));
                self.index.insert(name.clone(), self.services.len() - 1);
                self.services.len() - 1
            }
        };
        self.last = index;
        Some(index)
    }

    /// Services that fell silent must not keep their watches open until the end.
    fn sweep(&mut self, now: Timestamp, out: &mut Vec<Judged>) {
        let swept_at = *self.swept_at.get_or_insert(now);
        if now.duration_since(swept_at) >= SILENT_MAX {
            self.swept_at = Some(now);
            let silent = |at: Timestamp| now.duration_since(at) >= SILENT_MAX;
            self.finish_where(|service| service.newest().is_some_and(silent), out);
        }
    }

    fn finish_where(&mut self, ended: impl Fn(&Service) -> bool, out: &mut Vec<Judged>) {
        for service in self.services.iter_mut().filter(|service| ended(service)) {
            let before = service.open();
            service.finish(&mut self.fleet, out);
            self.fleet.changed(before, service.open());
        }
    }
}

/// What services share: room, and the guard rail against tripping together.
#[derive(Debug, Default)]
struct Fleet {
    guarded: bool,
    traced: bool,
    watches: usize,
    /// Services with an open watch.
    watched: usize,
    tripped: BTreeMap<ServiceName, Timestamp>,
    controls: Controls,
}

/// Whom an unreleased service's line is about; without a target, the service.
fn control_of(sample: &Sample) -> Option<TargetId> {
    let service = sample.service.clone();
    let whole = || TargetName::parse(service.as_str()).ok();
    let target = sample.target.clone().or_else(whole)?;
    Some(TargetId { service, target })
}

impl Fleet {
    /// What is worse now, of other services than `service`.
    fn worse_beside(&self, service: &ServiceName) -> impl Iterator<Item = ControlNews> {
        self.controls.worse().filter(move |news| news.target.service != *service)
    }

    fn has_room(&self) -> bool {
        self.watches < WATCHES_MAX
    }

    fn changed(&mut self, before: usize, after: usize) {
        self.watches = self.watches - before + after;
        self.watched = self.watched - usize::from(before > 0) + usize::from(after > 0);
    }

    /// A service is past its limits for certain: whether others are too.
    fn trip(&mut self, service: &ServiceName, at: Timestamp) -> Option<Bar> {
        if !self.guarded {
            return None;
        }
        self.tripped.retain(|_, tripped| at.duration_since(*tripped) <= TOGETHER);
        self.tripped.insert(service.clone(), at);
        together(self.tripped.iter().map(|(name, at)| (name, *at)), self.watched, at)
    }
}
