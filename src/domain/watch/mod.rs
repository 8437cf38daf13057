//! A watch: samples in, assessments out. The same code judges while serving, in the demo and over recordings.
mod alerts;
mod attribution;
mod checks;
mod errors;
mod kinds;
mod latency;
mod pods;
mod rollout;
mod seen;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::detect::errors::Counts;
use super::detect::mixture::Span;
use super::evidence::{BLIND, Cause, Evidence, Strength, clock_time};
use super::histogram::Histogram;
use super::names::{RuleName, TargetName};
use super::release::{Release, ReleaseKind, Version};
use super::runbook::{Checked, Judging, Rule, RuleKind};
use super::signal::{Reading, Sample};
use super::verdict::{Proof, Unproven, Verdict, judge};
use alerts::Alerts;
use checks::CheckRule;
use errors::ErrorRule;
use latency::LatencyRule;
use pods::Pods;
use rollout::Rollout;
use seen::Seen;
use values::ValueRule;

/// What a target did before the release, as numbers, frozen when the watch opens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub bad: f64,
    pub total: f64,
    /// Variance of the counts over what independent requests would give, in [1, 4].
    pub dispersion: f64,
    /// How long the history is that this was learned from.
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Response times of that history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Histogram>,
    /// The mean of a plain value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// The same clock time on earlier days, one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
}

/// What a rule measured at the same clock time of an earlier day, for as long as a watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    #[serde(default)]
    pub counts: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Histogram>,
}

impl Baseline {
    pub fn counts(&self) -> Counts {
        Counts { bad: self.bad, total: self.total }
    }
    pub fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.total / self.seconds)
    }
}

/// How far the clocks of a cluster may differ.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(2);

/// Everything that is fixed when a watch opens; it is journaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchSpec {
    pub id: String,
    pub release: Release,
    pub known_good: Option<Version>,
    pub opened_at: Timestamp,
    pub ends_at: Timestamp,
    pub rules: Vec<Rule>,
    pub judging: Judging,
    #[serde(default)]
    pub baseline: BTreeMap<RuleName, Baseline>,
}

impl WatchSpec {
    /// A stable id: the same release noticed twice is the same watch.
    pub fn id_of(release: &Release) -> String {
        format!("{}.{}.{}", release.target, release.to.fingerprint.short(), release.at.as_second())
    }
    pub fn length(&self) -> Duration {
        self.ends_at.duration_since(self.opened_at).unsigned_abs()
    }
    /// Whether pods of the released version are all younger than the release. A version that comes back may find some of
    /// its own still running: what they counted before is no evidence, and proves nothing about the rollback.
    fn starts_pods(&self) -> bool {
        let again = self.release.from.as_ref().is_some_and(|v| v.fingerprint == self.release.to.fingerprint);
        self.release.kind == ReleaseKind::New && !again
    }
    /// Whether somebody goes back: the trouble that this release ends goes on until it is rolled out.
    fn restores(&self) -> bool {
        match self.release.kind {
            ReleaseKind::OurRollback { .. } | ReleaseKind::Undo => true,
            ReleaseKind::New | ReleaseKind::KnownBad => false,
        }
    }
    /// Whether this rule looks at a certificate, which no release changes.
    pub fn is_about_certificate(&self, rule: &str) -> bool {
        let certificate =
            |kind: &RuleKind| matches!(kind, RuleKind::Check { about: Checked::Certificate, .. });
        self.rules.iter().any(|r| r.name.as_str() == rule && certificate(&r.kind))
    }
    fn batches(&self) -> u32 {
        (self.length().as_secs_f64() / self.judging.batch_secs).ceil().clamp(1.0, 1e6) as u32
    }
}

/// Which side of the comparison a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    New,
    /// The known good version.
    Old,
    /// Neither, such as a bad version between the two.
    Other,
}

/// What is thought at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    pub at: Timestamp,
    pub verdict: Verdict,
    pub evidence: Vec<Evidence>,
    pub ended: bool,
}

/// Recent figures of the new version, for verification and for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests of the last minute.
    pub recent: BTreeMap<RuleName, Counts>,
    /// How long that is: less than a minute while the watch is young.
    pub recent_secs: f64,
    pub p95_ms: Option<f64>,
    pub pods: usize,
    pub pods_ready: usize,
    pub restarts: u32,
    /// Pods that the Service in front sends requests to, where that is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<usize>,
}

/// Looks that are further apart than this many batches leave a gap in which nobody watched.
const GAP_BATCHES: f64 = 4.0;

/// The state of one watch. Bounded: per pod a few numbers, per rule a fixed number of floats.
#[derive(Clone, Debug)]
pub struct Watch {
    spec: WatchSpec,
    rollout: Rollout,
    batch_began: Timestamp,
    /// From here on nobody was blindfolded by us: silence before it is no news.
    resumed_at: Timestamp,
    ticked_at: Option<Timestamp>,
    watched_secs: f64,
    errors: Vec<ErrorRule>,
    latency: Vec<LatencyRule>,
    values: Vec<ValueRule>,
    checks: Vec<CheckRule>,
    pods: Pods,
    alerts: Alerts,
}

impl Watch {
    pub fn new(spec: WatchSpec) -> Self {
        let of_kind =
            |wanted: fn(&RuleKind) -> bool| spec.rules.iter().filter(|r| wanted(&r.kind)).collect::<Vec<_>>();
        let errors = of_kind(|k| matches!(k, RuleKind::Errors { .. }));
        let latency = of_kind(|k| matches!(k, RuleKind::Latency { .. }));
        let values = of_kind(|k| matches!(k, RuleKind::Value { .. }));
        let checks = of_kind(|k| matches!(k, RuleKind::Check { .. }));
        let before = |rule: &Rule| spec.baseline.get(&rule.name);
        // The cluster's clock may be ahead of ours.
        let released_at = spec.release.at.min(spec.opened_at);
        Self {
            rollout: Rollout::new(released_at, spec.judging.late_onset),
            batch_began: spec.opened_at,
            resumed_at: spec.opened_at,
            ticked_at: None,
            watched_secs: 0.0,
            errors: errors.iter().map(|r| ErrorRule::new(r, errors.len(), &spec, before(r))).collect(),
            latency: latency.iter().map(|r| LatencyRule::new(r, latency.len(), &spec, before(r))).collect(),
            values: values.iter().map(|r| ValueRule::new(r, &spec, before(r))).collect(),
            checks: checks.iter().map(|r| CheckRule::new(r, &spec)).collect(),
            pods: Pods::new(spec.judging.clone(), spec.starts_pods(), spec.batches()),
            alerts: Alerts::default(),
            spec,
        }
    }

    pub fn spec(&self) -> &WatchSpec {
        &self.spec
    }
    pub fn rollout_ended(&self) -> Option<Timestamp> {
        self.rollout.ended()
    }

    /// How long it was looked at, without the times at which nobody did.
    pub fn watched_secs(&self) -> f64 {
        self.watched_secs
    }

    /// Takes one sample of this watch's service. Samples of other targets are ignored, and so are those that are no numbers: they
    /// are no data, however often they come.
    pub fn take(&mut self, sample: &Sample) {
        if !sample.reading.is_readable() {
            return;
        }
        if sample.target.as_ref().is_some_and(|t: &TargetName| *t != self.spec.release.target.target) {
            return;
        }
        let arm = self.arm_of(sample.release.as_deref());
        let pod = sample.pod.as_deref().unwrap_or("");
        self.follow_rollout(sample, arm, pod);
        match &sample.reading {
            Reading::Release { rollout_ended, .. } => {
                if let Some(at) = rollout_ended {
                    self.rollout.end(*at);
                }
            }
            Reading::Counts { rule, bad, total } => {
                self.take_counts(sample.at, arm, pod, rule, Counts { bad: *bad, total: *total });
            }
            Reading::Histogram { rule, times } => {
                let fresh = arm == Arm::New && began_inside(&self.spec, &self.pods, pod);
                let life = (self.pods.ready_since(pod), fresh);
                let rules = self.latency.iter_mut().filter(|r| r.name == *rule);
                rules.for_each(|r| r.take(sample.at, arm, pod, times, life));
            }
            Reading::NoData { rule, reason } => self.seen_of(rule).for_each(|seen| seen.miss(reason)),
            Reading::Pod(reading) => self.pods.take(sample.at, arm, pod, reading),
            Reading::Check { rule, ok, detail } if rule.as_str() == "rollout" => {
                self.pods.rollout(sample.at, *ok, detail);
            }
            Reading::Alert { alert, status, labels } => self.alerts.take(sample.at, alert, *status, labels),
            Reading::Control { other, worse_since, crashes, detail } => {
                self.rollout.take_other(other, *worse_since, *crashes, detail);
            }
            Reading::Check { rule, ok, detail } => {
                let rules = self.checks.iter_mut().filter(|r| r.name == *rule);
                rules.for_each(|r| r.take(sample.at, *ok, detail));
            }
            Reading::Remark { rule, detail } => {
                let rules = self.values.iter_mut().filter(|r| r.name == *rule);
                rules.for_each(|r| r.kinds.take(arm, detail));
            }
            Reading::Value { rule, value } => {
                let rules = self.values.iter_mut().filter(|r| r.name == *rule);
                rules.for_each(|r| r.take(sample.at, arm, pod, *value));
            }
        }
    }

    fn take_counts(&mut self, at: Timestamp, arm: Arm, pod: &str, rule: &RuleName, counts: Counts) {
        // Only a stream's first reading asks for this.
        let fresh = || arm == Arm::New && began_inside(&self.spec, &self.pods, pod);
        let restored = self.spec.restores() && pod.is_empty();
        for rule in self.errors.iter_mut().filter(|r| r.name == *rule) {
            match self.rollout.counts_from(at, restored, rule.lag) {
                Some(from) if from <= at => rule.take(at, arm, pod, counts, fresh),
                Some(_) | None => rule.pass_over(at, pod, counts),
            }
        }
    }

    /// As long as nobody says that it ended, a rollout lasts while old pods report or new ones appear.
    fn follow_rollout(&mut self, sample: &Sample, arm: Arm, pod: &str) {
        let measured = matches!(sample.reading, Reading::Counts { .. } | Reading::Histogram { .. });
        if arm == Arm::Old && measured && self.rollout.ended().is_none() {
            self.rollout.goes_on(sample.at);
        }
        let appears = arm == Arm::New
            && matches!(&sample.reading, Reading::Pod(reading) if !reading.gone && !self.pods.knows(pod, reading));
        if appears {
            self.rollout.goes_on(sample.at);
        }
    }

    fn seen_of<'a>(&'a mut self, rule: &'a RuleName) -> impl Iterator<Item = &'a mut Seen> {
        let errors = self.errors.iter_mut().map(|r| (&r.name, &mut r.seen));
        let latency = self.latency.iter_mut().map(|r| (&r.name, &mut r.seen));
        let values = self.values.iter_mut().map(|r| (&r.name, &mut r.seen));
        let checks = self.checks.iter_mut().map(|r| (&r.name, &mut r.seen));
        let all = errors.chain(latency).chain(values).chain(checks);
        all.filter(move |(name, _)| *name == rule).map(|(_, seen)| seen)
    }

    fn arm_of(&self, label: Option<&str>) -> Arm {
        let is = |version: &Version| label.is_none_or(|label| label == version.label);
        if is(&self.spec.release.to) {
            Arm::New
        } else if self.spec.known_good.as_ref().is_some_and(is) {
            Arm::Old
        } else {
            Arm::Other
        }
    }

    /// Closes the batch if it is long enough, and says what is thought now.
    pub fn tick(&mut self, now: Timestamp) -> Assessment {
        self.count_time(now);
        let seconds = now.duration_since(self.batch_began).as_secs_f64();
        // A scrape comes a little early or late; a batch that is short by a tenth is whole.
        if seconds >= self.spec.judging.batch_secs * 0.9 {
            self.close(seconds);
            self.batch_began = now;
        }
        self.rollout.now = now;
        self.assess(now)
    }

    fn close(&mut self, secs: f64) {
        let since = self.batch_began;
        let warm_up = self.spec.judging.warm_up();
        let span = |later| Span { since, secs, in_rollout: self.rollout.covers_with(since, later) };
        self.errors.iter_mut().for_each(|rule| rule.close(span(rule.lag)));
        self.latency.iter_mut().for_each(|rule| rule.close(span(warm_up)));
        self.pods.close(span(SignedDuration::ZERO));
    }

    fn count_time(&mut self, now: Timestamp) {
        let gap = self.ticked_at.map(|last| now.duration_since(last).as_secs_f64());
        match gap.filter(|gap| (0.0..=GAP_BATCHES * self.spec.judging.batch_secs).contains(gap)) {
            Some(secs) => self.watched_secs += secs,
            // Nobody looked before this moment: the process was not there.
            None => self.resumed_at = now,
        }
        self.ticked_at = Some(now);
    }

    fn assess(&self, now: Timestamp) -> Assessment {
        let rollout = &self.rollout;
        // Of equals the last one leads: what is about the release goes before a certificate.
        let (certificates, checks): (Vec<&CheckRule>, Vec<&CheckRule>) =
            self.checks.iter().partition(|rule| rule.about == Checked::Certificate);
        let mut evidence: Vec<Evidence> =
            certificates.iter().filter_map(|rule| rule.assess(rollout)).collect();
        evidence.extend(self.errors.iter().filter_map(|rule| rule.assess(rollout)));
        evidence.extend(self.latency.iter().filter_map(|rule| rule.assess(rollout)));
        evidence.extend(self.values.iter().filter_map(|rule| rule.assess(rollout)));
        evidence.extend(checks.iter().filter_map(|rule| rule.assess(rollout)));
        evidence.extend(self.pods.assess(rollout));
        evidence.extend(self.alerts.assess(&evidence, self.spec.judging.corroborate_alerts));
        evidence.extend(self.blind(now));
        evidence.retain(|e| e.strength > Strength::Quiet);
        let proof = self.proof();
        // After a rollback it is watched for as long as was promised.
        let early = self.spec.judging.end_when_healthy && !self.spec.restores();
        let early = early && matches!(proof, Proof::Healthy { .. });
        let ended = now >= self.spec.ends_at || (early && evidence.is_empty());
        let verdict = judge(&evidence, &proof, ended);
        Assessment { at: now, verdict, evidence, ended }
    }

    /// The evidence of an assessment with the rules beside it that have nothing to say: for people.
    pub fn shown(&self, assessment: &Assessment) -> Vec<Evidence> {
        let speaks = |rule: &ErrorRule| assessment.evidence.iter().any(|e| e.rule == rule.name.as_str());
        let silent = self.errors.iter().filter(|rule| !speaks(rule));
        silent.map(|rule| rule.shown(&self.rollout)).chain(assessment.evidence.iter().cloned()).collect()
    }

    fn blind(&self, now: Timestamp) -> Option<Evidence> {
        let limit = SignedDuration::from_secs_f64(self.spec.judging.blind_after_secs);
        // A service without traffic has no response times; everything else must always answer.
        let errors = self.errors.iter().map(|r| (&r.name, &r.seen, r.lag));
        let values = self.values.iter().map(|r| (&r.name, &r.seen, r.lag));
        let checks = self.checks.iter().map(|r| (&r.name, &r.seen, SignedDuration::ZERO));
        let blind = errors.chain(values).chain(checks).filter_map(|(rule, seen, lag)| {
            let since = seen.at.unwrap_or(self.spec.opened_at).max(self.resumed_at);
            (now.duration_since(since) >= limit + lag).then_some((since, rule, seen))
        });
        let (since, rule, seen) = blind.min_by_key(|(since, ..)| *since)?;
        let why = seen.missed_because.as_deref().map_or(String::new(), |why| format!(" ({why})"));
        let sentence = format!(
            "{rule} has had no data since {}{why}: the release is not being judged on it",
            clock_time(since)
        );
        Some(Evidence::fact(BLIND, Strength::Urgent, Cause::Unknown, Some(since), sentence))
    }

    fn proof(&self) -> Proof {
        let requests = self.errors.iter().map(|rule| rule.healthy.counts().total).fold(0.0, f64::max);
        if self.errors.is_empty() {
            return Proof::Open(Unproven::NoErrorRule);
        }
        if let Some(rule) = self.errors.iter().find(|rule| !rule.healthy.proven()) {
            return Proof::Open(Unproven::TooLittle {
                rule: rule.name.clone(),
                counts: rule.healthy.counts(),
            });
        }
        if let Some(rule) = self.latency.iter().find(|rule| rule.proven_healthy() == Some(false)) {
            return Proof::Open(Unproven::MaybeSlower { rule: rule.name.clone() });
        }
        if self.pods.troubled() {
            return Proof::Open(Unproven::Troubled);
        }
        if self.watched_secs < self.spec.judging.settle_secs {
            return Proof::Open(Unproven::Settling { requests });
        }
        Proof::Healthy { requests }
    }

    /// Whether new pods crashed or failed their probes: such a version never becomes the known good one by waiting.
    pub fn troubled(&self) -> bool {
        self.pods.troubled()
    }

    pub fn figures(&self) -> Figures {
        let (pods, pods_ready, restarts) = self.pods.figures();
        Figures {
            recent: self.errors.iter().map(|rule| (rule.name.clone(), rule.recent())).collect(),
            recent_secs: self.errors.iter().map(ErrorRule::recent_batches).max().unwrap_or(0) as f64
                * self.spec.judging.batch_secs,
            p95_ms: self.latency.iter().find_map(LatencyRule::p95_ms),
            pods,
            pods_ready,
            restarts,
            endpoints: self.pods.endpoints(),
        }
    }
}

/// Whether the pod's counters began at zero inside this watch. Where nothing is known of the pod, those of a version that is
/// new did.
fn began_inside(spec: &WatchSpec, pods: &Pods, pod: &str) -> bool {
    match pods.created_at(pod) {
        Some(created_at) => created_at >= spec.release.at.min(spec.opened_at) - CLOCK_SLACK,
        None => spec.starts_pods() || pods.came_after(pod, spec.opened_at),
    }
}

#[cfg(test)]
mod tests;
