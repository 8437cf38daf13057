//! One service in a replay: its clock, its past, and its targets.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::judged::Judged;
use super::lane::{Lane, ReleaseLine};
use super::{Fleet, LeftOut, Settings};
use crate::domain::checked::LastChecks;
use crate::domain::controls::ControlNews;
use crate::domain::names::{RuleName, ServiceName, TargetName};
use crate::domain::past::Past;
use crate::domain::runbook::Rule;
use crate::domain::signal::{Reading, Sample};

/// A daemon looks once per second: lines that are closer together are one batch.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// Lines that are older than the newest by more than this are left out: they were not late, the recording is not in order.
const LATE_MAX: SignedDuration = SignedDuration::from_hours(1);
/// Targets beyond this are not judged.
const TARGETS_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    settings: Arc<Settings>,
    clock: Option<Batch>,
    past: Past,
    /// How the checks of each target stood last.
    checks: BTreeMap<Option<TargetName>, LastChecks>,
    lanes: Vec<Lane>,
    open: usize,
}

/// The batch under way: its first and its newest line.
#[derive(Clone, Copy, Debug)]
struct Batch {
    began: Timestamp,
    at: Timestamp,
}

impl Service {
    pub(super) fn new(name: ServiceName, settings: Arc<Settings>) -> Self {
        let past = Past::new(&settings.rules, settings.judging.batch_secs);
        Self { name, settings, clock: None, past, checks: BTreeMap::new(), lanes: Vec::new(), open: 0 }
    }

    /// Watches that are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.clock.map(|batch| batch.at)
    }

    pub(super) fn take(
        &mut self,
        sample: &Sample,
        fleet: &mut Fleet,
        left_out: &mut LeftOut,
        out: &mut Vec<Judged>,
    ) {
        if !self.turn(sample.at, fleet, out) {
            left_out.out_of_order += 1;
            return;
        }
        if let Reading::Release { previous, .. } = &sample.reading {
            self.release(sample, previous.as_deref(), fleet, left_out, out);
            return;
        }
        if let Reading::Check { rule, .. } = &sample.reading {
            self.check(sample, rule);
        }
        let mut taken = false;
        if self.open > 0 {
            self.lanes.iter_mut().for_each(|lane| taken |= lane.take(sample));
        }
        if !taken {
            self.past.take(sample);
        }
    }

    /// What became of another service, for every open watch.
    pub(super) fn hear(&mut self, at: Timestamp, news: &ControlNews) {
        let sample = about(&self.name, at, news);
        self.lanes.iter_mut().for_each(|lane| lane.tell([&sample]));
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.settings.rules
    }

    fn check(&mut self, sample: &Sample, rule: &RuleName) {
        let known = self.settings.rules.iter().any(|r| r.name == *rule);
        if known && (self.checks.len() < TARGETS_MAX || self.checks.contains_key(&sample.target)) {
            self.checks.entry(sample.target.clone()).or_default().take(sample);
        }
    }

    /// Closes the batch if the line at `at` begins another. False if it is too old to be of any.
    fn turn(&mut self, at: Timestamp, fleet: &mut Fleet, out: &mut Vec<Judged>) -> bool {
        let Some(batch) = &mut self.clock else {
            self.clock = Some(Batch { began: at, at });
            return true;
        };
        if at == batch.at {
            return true;
        }
        if at.duration_since(batch.began) < LOOK_EVERY {
            batch.at = batch.at.max(at);
            return batch.at.duration_since(at) <= LATE_MAX;
        }
        let closed = std::mem::replace(batch, Batch { began: at, at }).at;
        self.past.close(closed);
        if self.open > 0 {
            let (settings, before) = (&self.settings, out.len());
            for lane in &mut self.lanes {
                out.extend(lane.look(closed, settings, fleet));
                out.extend(lane.pass(at, settings, fleet));
            }
            self.open -= out.len() - before;
        }
        true
    }

    fn release(
        &mut self,
        sample: &Sample,
        previous: Option<&str>,
        fleet: &mut Fleet,
        left_out: &mut LeftOut,
        out: &mut Vec<Judged>,
    ) {
        let Some(label) = sample.release.as_deref() else {
            left_out.nameless += 1;
            return;
        };
        let known = self.lanes.iter().position(|lane| lane.target == sample.target);
        let room = self.lanes.len() < TARGETS_MAX && fleet.has_room();
        let index = match known {
            Some(index) => index,
            None => match Lane::new(&self.name, sample.target.clone()).filter(|_| room) {
                Some(lane) => {
                    self.lanes.push(lane);
                    self.lanes.len() - 1
                }
                None => {
                    left_out.no_room += 1;
                    return;
                }
            },
        };
        let Some(lane) = self.lanes.get_mut(index) else { return };
        if !lane.is_open() && !fleet.has_room() {
            left_out.no_room += 1;
            return;
        }
        let line = ReleaseLine { sample, label, previous };
        let (superseded, opened) = lane.release(line, &self.settings, &mut self.past, fleet.traced);
        out.extend(superseded);
        if opened {
            let mine = self.checks.iter().filter(|(target, _)| lane.is_of(target.as_ref()));
            let checks: Vec<Sample> = mine.flat_map(|(_, checks)| checks.samples()).collect();
            let worse = fleet.worse_beside(&self.name);
            let worse: Vec<Sample> = worse.map(|news| about(&self.name, sample.at, &news)).collect();
            lane.tell(checks.iter().chain(&worse));
        }
        self.open = self.lanes.iter().filter(|lane| lane.is_open()).count();
    }

    /// The recording holds nothing more of this service.
    pub(super) fn finish(&mut self, fleet: &mut Fleet, out: &mut Vec<Judged>) {
        let Some(batch) = self.clock.filter(|_| self.open > 0) else { return };
        for lane in &mut self.lanes {
            out.extend(lane.look(batch.at, &self.settings, fleet));
            out.extend(lane.cut(batch.at, &self.settings, fleet));
        }
        self.open = 0;
    }
}

/// News of another service, as a watch of `service` takes it.
fn about(service: &ServiceName, at: Timestamp, news: &ControlNews) -> Sample {
    let service = service.clone();
    Sample { at, service, target: None, release: None, pod: None, reading: news.reading() }
}
