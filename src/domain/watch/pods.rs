//! What the orchestrator says of the pods: crash loops, restarts, probes that fail, images that cannot be had.
mod endpoints;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Arm;
use super::rollout::Rollout;
use crate::domain::detect::crash::Restarts;
use crate::domain::detect::mixture::Span;
use crate::domain::evidence::{Cause, Evidence, Strength, clock_time, count_of};
use crate::domain::runbook::Judging;
use crate::domain::signal::PodReading;

/// The share of a watch's false-alarm budget that restarts and kills for memory have, half each.
const ALPHA_RESTARTS: f64 = 3e-4;
/// A crash loop alternates with running: it counts for so long after it was last seen.
const CRASH_LOOP_SECS: f64 = 120.0;
const PODS_MAX: usize = 5_000;
const CANNOT_START: [&str; 9] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

#[derive(Clone, Debug)]
struct Pod {
    arm: Arm,
    reading: PodReading,
    first_seen: Timestamp,
    /// Restarts that are not this watch's: what a pod from before had when the watch opened.
    restarts_before: u32,
    unready_since: Option<Timestamp>,
    cannot_start_since: Option<Timestamp>,
    crash_loop_began: Option<Timestamp>,
    crash_looped_at: Option<Timestamp>,
    oom_kills: u32,
    was_ready: bool,
    unreached_since: Option<Timestamp>,
}

impl Pod {
    fn restarts(&self) -> u32 {
        self.reading.restarts.saturating_sub(self.restarts_before)
    }
    fn for_secs(since: Option<Timestamp>, now: Timestamp) -> f64 {
        since.map_or(0.0, |since| now.duration_since(since).as_secs_f64())
    }
    fn crash_loops(&self, now: Timestamp) -> bool {
        self.crash_looped_at.is_some_and(|at| now.duration_since(at).as_secs_f64() <= CRASH_LOOP_SECS)
    }
    fn troubled_since(&self) -> Timestamp {
        self.unready_since.or(self.crash_loop_began).unwrap_or(self.first_seen)
    }
    fn has_reason(&self, wanted: &str) -> bool {
        self.reading.reason.as_deref() == Some(wanted)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Pods {
    judging: Judging,
    fresh: bool,
    pods: BTreeMap<String, Pod>,
    restarts: Restarts,
    /// Kills for memory have a stream of their own: leaks are slow, and few among many other restarts.
    oom_kills: Restarts,
    /// Of the batch under way.
    came: u32,
    killed: u32,
    restarted_ever: bool,
    stuck: Option<(Timestamp, String)>,
    /// The Service in front was seen to send requests to old pods.
    old_was_endpoint: bool,
}

impl Pods {
    /// `fresh`: pods of the released version did not exist before this watch.
    pub(super) fn new(judging: Judging, fresh: bool, batches: u32) -> Self {
        let restarts = Restarts::new(ALPHA_RESTARTS / 2.0, batches);
        Self {
            judging,
            fresh,
            pods: BTreeMap::new(),
            oom_kills: restarts.clone(),
            restarts,
            came: 0,
            killed: 0,
            restarted_ever: false,
            stuck: None,
            old_was_endpoint: false,
        }
    }

    pub(super) fn take(&mut self, at: Timestamp, arm: Arm, name: &str, reading: &PodReading) {
        if reading.gone {
            self.pods.remove(name);
            return;
        }
        // A StatefulSet's next pod has the name of the last one, whose end may not have been seen.
        if self.pods.contains_key(name) && !self.knows(name, reading) {
            self.pods.remove(name);
        }
        if self.pods.len() >= PODS_MAX && !self.pods.contains_key(name) {
            return;
        }
        let fresh = arm == Arm::New && self.fresh;
        let pod = self.pods.entry(name.to_string()).or_insert_with(|| Pod {
            arm,
            reading: PodReading { restarts: if fresh { 0 } else { reading.restarts }, ..reading.clone() },
            first_seen: at,
            restarts_before: if fresh { 0 } else { reading.restarts },
            unready_since: None,
            cannot_start_since: None,
            crash_loop_began: None,
            crash_looped_at: None,
            oom_kills: 0,
            was_ready: false,
            unreached_since: None,
        });
        let before = pod.restarts();
        pod.reading = reading.clone();
        let came = pod.restarts().saturating_sub(before);
        pod.was_ready |= reading.ready;
        pod.unready_since = (!reading.ready).then(|| pod.unready_since.unwrap_or(at));
        pod.unreached_since = pod.is_unreached().then(|| pod.unreached_since.unwrap_or(at));
        self.old_was_endpoint |= pod.arm == Arm::Old && reading.endpoint == Some(true);
        let cannot_start = reading.reason.as_deref().is_some_and(|r| CANNOT_START.contains(&r));
        pod.cannot_start_since = cannot_start.then(|| pod.cannot_start_since.unwrap_or(at));
        if pod.has_reason("CrashLoopBackOff") {
            pod.crash_loop_began = pod.crash_loop_began.filter(|_| pod.crash_loops(at)).or(Some(at));
            pod.crash_looped_at = Some(at);
        }
        let killed = if pod.has_reason("OOMKilled") { came } else { 0 };
        pod.oom_kills += killed;
        if pod.arm == Arm::New && came > 0 {
            self.came += came;
            self.killed += killed;
            self.restarted_ever = true;
        }
    }

    /// Whether it is this very pod that is known, and not a namesake.
    pub(super) fn knows(&self, name: &str, reading: &PodReading) -> bool {
        let made = |pod: &Pod| pod.reading.created_at.zip(reading.created_at);
        self.pods.get(name).is_some_and(|pod| made(pod).is_none_or(|(known, told)| known == told))
    }

    pub(super) fn ready_since(&self, name: &str) -> Option<Timestamp> {
        self.pods.get(name)?.reading.ready_since
    }

    pub(super) fn came_after(&self, name: &str, moment: Timestamp) -> bool {
        self.pods.get(name).is_some_and(|pod| pod.first_seen > moment)
    }

    pub(super) fn created_at(&self, name: &str) -> Option<Timestamp> {
        self.pods.get(name)?.reading.created_at
    }

    /// What the rollout controller says: `ok` is false when it gave up.
    pub(super) fn rollout(&mut self, at: Timestamp, ok: bool, detail: &str) {
        self.stuck = (!ok).then(|| self.stuck.take().unwrap_or((at, detail.to_string())));
    }

    pub(super) fn close(&mut self, span: Span) {
        let pods = self.of(Arm::New).count();
        let (came, killed) = (std::mem::take(&mut self.came), std::mem::take(&mut self.killed));
        if pods > 0 {
            self.restarts.update(span, f64::from(came), pods);
            self.oom_kills.update(span, f64::from(killed), pods);
        }
    }

    fn of(&self, arm: Arm) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(move |pod| pod.arm == arm)
    }

    /// New pods crashed, or are not ready now.
    pub(super) fn troubled(&self) -> bool {
        self.restarted_ever || self.stuck.is_some() || self.of(Arm::New).any(|pod| !pod.reading.ready)
    }

    pub(super) fn figures(&self) -> (usize, usize, u32) {
        let ready = self.of(Arm::New).filter(|p| p.reading.ready).count();
        (self.of(Arm::New).count(), ready, self.of(Arm::New).map(Pod::restarts).sum())
    }

    pub(super) fn assess(&self, rollout: &Rollout) -> Vec<Evidence> {
        let now = rollout.now;
        let limit = &self.judging;
        let facts = [
            self.fact(rollout, "crash-loop", "in a crash loop (CrashLoopBackOff)", |p| p.crash_loops(now)),
            self.fact(rollout, "cannot-start", "cannot start", |p| {
                Pod::for_secs(p.cannot_start_since, now) >= limit.start_failure_after_secs
            }),
            self.fact(rollout, "never-ready", "never became ready", |p| {
                let waited = now.duration_since(p.first_seen).as_secs_f64();
                !p.was_ready && waited >= limit.never_ready_after_secs && !p.has_reason("Unschedulable")
            }),
            self.fact(rollout, "unready", "lost readiness", |p| {
                p.was_ready && Pod::for_secs(p.unready_since, now) >= limit.unready_after_secs
            }),
            self.restarted(rollout, "restarts", &self.restarts, Pod::restarts),
            self.restarted(rollout, "oom-kills", &self.oom_kills, |p| p.oom_kills),
            self.unreached(rollout),
            self.gave_up(),
        ];
        facts.into_iter().flatten().collect()
    }

    /// A fact that counts on two or more new pods, or on half of those that exist.
    fn fact(
        &self,
        rollout: &Rollout,
        rule: &str,
        what: &str,
        holds: impl Fn(&Pod) -> bool,
    ) -> Option<Evidence> {
        let hit: Vec<&Pod> = self.of(Arm::New).filter(|p| holds(p)).collect();
        let since = hit.iter().map(|p| p.troubled_since()).min()?;
        let all = self.of(Arm::New).count();
        let old = self.of(Arm::Old).filter(|p| holds(p)).count();
        let many = hit.len() >= 2 || hit.len() * 2 >= all;
        let (strength, cause) = level(many, old);
        let reason = hit.iter().find_map(|p| p.reading.reason.as_deref());
        let reason = reason.filter(|r| !what.contains(r)).map_or(String::new(), |r| format!(" ({r})"));
        let probe = probe_of(hit.iter().copied());
        let restarts: u32 = hit.iter().map(|p| p.restarts()).sum();
        let restarts = if restarts > 0 {
            format!(", {} so far", count_of(restarts as usize, "restart"))
        } else {
            String::new()
        };
        let beside =
            if old > 0 { format!(", and so do {}", count_of(old, "old pod")) } else { String::new() };
        let sentence = format!(
            "{} of {} {what}{reason} since {}{restarts}{beside}{probe}",
            hit.len(),
            count_of(all, "new pod"),
            clock_time(since.min(rollout.now))
        );
        let evidence = Evidence::fact(rule, strength, cause, Some(since), sentence);
        Some(if rule == "crash-loop" {
            blame_crash(rollout, evidence)
        } else {
            self.blame(rollout, evidence)
        })
    }

    /// Trouble that began after the rollout may be anybody's: without old pods that stay well beside it, a person looks.
    fn blame(&self, rollout: &Rollout, mut evidence: Evidence) -> Evidence {
        let late = evidence.since.is_some_and(|since| !rollout.covers(since));
        let compared = self.of(Arm::Old).any(|p| p.reading.ready);
        if late && !compared && evidence.strength == Strength::Rollback {
            (evidence.strength, evidence.cause) = (Strength::Urgent, Cause::Unknown);
            evidence.sentence += "; it began after the rollout, and no old pods are left to compare";
        }
        evidence
    }

    fn restarted(
        &self,
        rollout: &Rollout,
        rule: &str,
        test: &Restarts,
        times: impl Fn(&Pod) -> u32,
    ) -> Option<Evidence> {
        let hit: Vec<&Pod> = self.of(Arm::New).filter(|p| times(p) > 0).collect();
        if hit.is_empty() || !test.alarmed() {
            return None;
        }
        let all = self.of(Arm::New).count();
        let old = self.of(Arm::Old).filter(|p| times(p) > 0).count();
        let (strength, cause) = level(hit.len() >= 2 || all < 3, old);
        let total: u32 = hit.iter().map(|p| times(p)).sum();
        let what = if rule == "oom-kills" { "were killed for memory" } else { "restarted" };
        let oom: u32 = hit.iter().map(|p| p.oom_kills).sum();
        let oom =
            if rule == "restarts" && oom > 0 { format!(", {oom} of them for memory") } else { String::new() };
        let sentence = format!(
            "{} of {} {what}, {total} times since the release{oom}, {} did",
            hit.len(),
            count_of(all, "new pod"),
            if old == 0 { "no old pod".to_string() } else { count_of(old, "old pod") }
        );
        let since = test.onset().map(|o| o.since);
        Some(blame_crash(rollout, Evidence::fact(rule, strength, cause, since, sentence)))
    }

    /// The rollout controller gave up. Pods that only wait for room are no fault of the version.
    fn gave_up(&self) -> Option<Evidence> {
        let (since, detail) = self.stuck.as_ref()?;
        let mut waiting = self.of(Arm::New).filter(|p| !p.reading.ready).peekable();
        let probe = probe_of(self.of(Arm::New).filter(|p| !p.reading.ready));
        let sentence = format!("the rollout gave up at {}: {detail}{probe}", clock_time(*since));
        let no_room = waiting.peek().is_none() || waiting.all(|p| p.has_reason("Unschedulable"));
        let (strength, cause) =
            if no_room { (Strength::Urgent, Cause::Unknown) } else { (Strength::Rollback, Cause::Release) };
        Some(Evidence::fact("rollout", strength, cause, Some(*since), sentence))
    }
}

/// What the probe of the first of them said, whose probe said anything.
fn probe_of<'a>(pods: impl Iterator<Item = &'a Pod>) -> String {
    pods.filter_map(|pod| pod.reading.probe.as_ref()).next().map_or(String::new(), |text| format!("; {text}"))
}

/// Many new pods and no old one: the release. Old ones too: shared. One pod of several: that pod.
fn level(many: bool, old: usize) -> (Strength, Cause) {
    match (many, old) {
        (_, 1..) => (Strength::Urgent, Cause::Shared),
        (true, 0) => (Strength::Rollback, Cause::Release),
        (false, 0) => (Strength::Urgent, Cause::SinglePod),
    }
}

/// Crashes are the version's own at any time, since leaks are slow; unless pods of services that nobody released crash too.
fn blame_crash(rollout: &Rollout, mut evidence: Evidence) -> Evidence {
    let other = evidence.since.and_then(|since| rollout.other_crashes_at(since));
    if let Some(other) = other.filter(|_| evidence.strength == Strength::Rollback) {
        (evidence.strength, evidence.cause) = (Strength::Urgent, Cause::Shared);
        evidence.sentence += &format!("; pods of {other}, which was not released, crash too");
    }
    evidence
}
