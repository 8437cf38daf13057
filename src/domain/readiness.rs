//! Could this target be rolled back right now, to what, and if not why: asked all the time, not only when it is needed.
mod obstacle;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::clock_time;
use super::guardrails::{Bar, Killed, Rails};
use super::memory::TargetMemory;
use super::names::TargetId;
use super::plan::kubernetes::Workload;
use super::plan::{Goal, Refusal, draft};
use super::release::{ReleaseKind, Version};
use super::surroundings::{Presence, Surroundings};
use super::survey::{KubernetesSurvey, Revision, Survey};
use super::workload::UpdateStrategy;
pub use obstacle::{Code, Obstacle};

/// What was found when a target was last looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    pub at: Timestamp,
    /// Label of the version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where a rollback would go: to the known good version, or by hand to the one before it if that runs already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Destination>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good: Option<KnownGood>,
    /// As long as there is one, the target cannot be rolled back.
    pub obstacles: Vec<Obstacle>,
    pub warnings: Vec<Obstacle>,
    /// What could not be looked at; it speaks neither for nor against.
    pub unchecked: Vec<String>,
}

impl Readiness {
    pub fn ready(&self) -> bool {
        self.obstacles.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub label: String,
    /// Of a workload's history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownGood {
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// All that the answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub target: &'a TargetId,
    pub memory: &'a TargetMemory,
    pub survey: Result<&'a Survey, &'a Unsurveyed>,
    pub around: &'a Surroundings,
    pub rails: &'a Rails,
    /// A rollback of this service that is under way.
    pub open_run: Option<&'a str>,
    pub killed: Option<&'a Killed>,
    pub now: Timestamp,
}

/// Why there is no survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsurveyed {
    Missing { what: String },
    Unreadable { why: String },
}

/// Answers by the code that a rollback would use ([`draft`]), so that the two never disagree.
pub fn readiness(question: &Question<'_>) -> Readiness {
    let Question { memory, around, .. } = *question;
    let known_good = |good: &Version| KnownGood { label: good.label.clone(), since: memory.known_good_since };
    let mut answer = Readiness {
        at: question.now,
        from: memory.current.as_ref().map(|current| current.label.clone()),
        to: None,
        known_good: memory.known_good.as_ref().map(known_good),
        obstacles: not_seen(memory).into_iter().collect(),
        warnings: only_by_hand(memory).into_iter().collect(),
        unchecked: around.unchecked.clone(),
    };
    match question.survey {
        Ok(survey) => answer.take_survey(question, survey),
        Err(unsurveyed) => answer.obstacles.push(not_surveyed(unsurveyed)),
    }
    answer.obstacles.extend(guard_rails(question));
    answer.take_surroundings(around);
    answer
}

/// Versions that must still be there to be pulled, the one that a rollback goes to first.
pub fn needed(memory: &TargetMemory, survey: &Survey) -> Vec<Version> {
    let to = match goal(memory, survey) {
        Some(Goal::Version(version)) => Some(version),
        Some(Goal::Revision(number)) => revision(survey, number).map(|r| r.version.clone()),
        // Nobody asks for an image here.
        Some(Goal::Image(_)) | None => None,
    };
    // What runs is what the next release is taken back to.
    let next = memory.known_good.clone().filter(|good| to.as_ref() != Some(good));
    to.into_iter().chain(next).collect()
}

/// Where a rollback goes. What is known good and runs already can only be left by hand, for the revision before it.
fn goal(memory: &TargetMemory, survey: &Survey) -> Option<Goal> {
    let good = memory.known_good.as_ref()?;
    if good.fingerprint != survey.version().fingerprint {
        return Some(Goal::Version(good.clone()));
    }
    earlier(memory, survey.workload()?).map(|earlier| Goal::Revision(earlier.revision))
}

/// The newest revision that does not run and was not rolled back.
fn earlier<'a>(memory: &TargetMemory, found: &'a KubernetesSurvey) -> Option<&'a Revision> {
    let usable = |r: &&Revision| {
        let print = &r.version.fingerprint;
        *print != found.version.fingerprint && !memory.known_bad.contains(print)
    };
    found.history.iter().rev().find(usable)
}

fn revision(survey: &Survey, number: u64) -> Option<&Revision> {
    survey.workload()?.history.iter().find(|r| r.revision == number)
}

fn destination(survey: &Survey, goal: &Goal) -> Option<Destination> {
    match (survey.workload(), goal) {
        (Some(found), goal) => {
            let to = revision_of(found, goal)?;
            Some(Destination { label: to.version.label.clone(), revision: Some(to.revision) })
        }
        (None, Goal::Version(version)) => Some(Destination { label: version.label.clone(), revision: None }),
        (None, Goal::Revision(_) | Goal::Image(_)) => None,
    }
}

fn revision_of<'a>(found: &'a KubernetesSurvey, goal: &Goal) -> Option<&'a Revision> {
    match goal {
        Goal::Version(version) => found.find(&version.fingerprint),
        Goal::Revision(number) => found.history.iter().find(|r| r.revision == *number),
        // Nobody asks for an image here.
        Goal::Image(_) => None,
    }
}

fn argument(found: &KubernetesSurvey) -> String {
    Workload { kind: found.kind, namespace: found.namespace.clone(), name: found.name.clone() }.argument()
}

impl Readiness {
    fn take_survey(&mut self, question: &Question<'_>, survey: &Survey) {
        let memory = question.memory;
        self.from = Some(survey.version().label.clone());
        let Some(goal) = goal(memory, survey) else {
            self.obstacles.push(nowhere_to_go(question.target, memory, survey));
            return;
        };
        self.to = destination(survey, &goal);
        self.obstacles.extend(refusals(survey, &goal).iter().map(Obstacle::of_refusal));
        let short = survey.workload().and_then(|found| history_short(found, revision_of(found, &goal)?));
        self.warnings.extend(short);
    }

    fn take_surroundings(&mut self, around: &Surroundings) {
        if !around.denied.is_empty() {
            let what = format!("rollguard may not {}", around.denied.join(", "));
            let advice =
                "grant it with the Role in deploy/kubernetes/watched-namespace, which names the targets";
            self.obstacles.push(Obstacle::new(Code::MissingPermission, what, advice));
        }
        if !around.unseen.is_empty() {
            let what = format!(
                "rollguard may not {}, so it does not see all that is configured",
                around.unseen.join(", ")
            );
            let advice =
                "grant it with the Roles in deploy/kubernetes/watched-namespace/optional, or leave it out";
            self.warnings.push(Obstacle::new(Code::NotAllSeen, what, advice));
        }
        for image in &around.images {
            match &image.presence {
                Presence::There => {}
                Presence::Gone => self.obstacles.push(image_gone(&image.name)),
                Presence::Unknown { why } => self.unchecked.push(format!("image {}: {why}", image.name)),
            }
        }
        for quota in &around.full_quotas {
            match around.rollout.map(|rollout| (rollout.surge, rollout.unavailable)) {
                // No pod is added before another one has gone.
                Some((0, _)) => {}
                Some((_, 0)) => self.obstacles.push(quota_full(quota)),
                Some(_) | None => self.warnings.push(quota_tight(quota)),
            }
        }
        self.warnings.extend(around.rollout.filter(|rollout| !rollout.gives_up).map(|_| never_gives_up()));
        self.warnings.extend(around.spent_budgets.iter().map(|budget| spent(budget)));
        self.warnings.extend(around.autoscalers_at_max.iter().map(|autoscaler| at_max(autoscaler)));
    }
}

/// Each refusal is lifted in turn, so that all of them are told and not only the first.
fn refusals(survey: &Survey, goal: &Goal) -> Vec<Refusal> {
    let mut survey = survey.clone();
    let mut refusals = Vec::new();
    while let Err(refusal) = draft(&survey, goal, "preview", 0) {
        let lifted = lift(&mut survey, &refusal);
        refusals.push(refusal);
        if !lifted {
            break;
        }
    }
    refusals
}

/// Whether there may be another one behind it.
fn lift(survey: &mut Survey, refusal: &Refusal) -> bool {
    let found = match survey {
        Survey::Kubernetes(found) => found,
        Survey::Frontend(_) | Survey::Database(_) | Survey::Infrastructure(_) => return false,
    };
    match refusal {
        Refusal::Paused { .. } => std::mem::take(&mut found.paused),
        Refusal::Owned { .. } => found.origin.owner.take().is_some(),
        Refusal::OnDelete { .. } => {
            found.update = UpdateStrategy::default();
            true
        }
        Refusal::TargetMissing { .. }
        | Refusal::RevisionGone { .. }
        | Refusal::AlreadyThere { .. }
        | Refusal::NoSuchContainer { .. }
        | Refusal::Frontend(_)
        | Refusal::Database(_)
        | Refusal::Infrastructure(_) => false,
    }
}

fn not_seen(memory: &TargetMemory) -> Option<Obstacle> {
    let what = "the watches on the cluster have not shown it yet, so that no release would be noticed";
    let advice = "look with `rollguard status` whether the feed of releases is up";
    memory.current.is_none().then(|| Obstacle::new(Code::NotSeen, what, advice))
}

fn not_surveyed(unsurveyed: &Unsurveyed) -> Obstacle {
    match unsurveyed {
        Unsurveyed::Missing { what } => {
            Obstacle::of_refusal(&Refusal::TargetMissing { what: what.to_string() })
        }
        Unsurveyed::Unreadable { why } => {
            let advice = "see whether the API server answers and rollguard may read there; it is asked again";
            Obstacle::new(Code::Unreadable, why.clone(), advice)
        }
    }
}

/// Nothing is known good, or what is runs already and nothing came before it.
fn nowhere_to_go(target: &TargetId, memory: &TargetMemory, survey: &Survey) -> Obstacle {
    let earlier = survey.workload().and_then(|found| earlier(memory, found));
    let Some(good) = &memory.known_good else {
        let until = memory.watch.as_ref().map(|open| {
            let (label, ends_at) = (&open.spec.release.to.label, clock_time(open.spec.ends_at));
            format!("; {label} will be if its watch ends well, at {ends_at} UTC")
        });
        let what = format!("no version is known to be good yet{}", until.unwrap_or_default());
        let advice = match earlier {
            Some(r) => format!(
                "wait, or name a revision: `rollguard rollback {target} --to-revision {}` goes to {}",
                r.revision, r.version.label
            ),
            None => "wait for the end of its watch".to_string(),
        };
        return Obstacle::new(Code::NoKnownGood, what, advice);
    };
    let advice = format!("nothing now: the next release can be taken back to {}", good.label);
    let Some(found) = survey.workload() else {
        let why = format!("{} is known good and runs already", good.label);
        return Obstacle::new(Code::NoEarlierRevision, why, advice);
    };
    let what = argument(found);
    if found.revision_history_limit == Some(0) {
        let kept = format!("revisionHistoryLimit is 0, so {what} keeps nothing to go back to");
        let patch = r#"'{"spec":{"revisionHistoryLimit":10}}'"#;
        return Obstacle::new(
            Code::NoHistory,
            kept,
            format!("set it to 10: `kubectl patch {what} -p {patch}`"),
        );
    }
    let why = match found.history.len() {
        0 | 1 => format!("{what} has no earlier revision"),
        _ => format!("the earlier revisions of {what} were rolled back as bad"),
    };
    Obstacle::new(Code::NoEarlierRevision, why, advice)
}

fn guard_rails(question: &Question<'_>) -> Vec<Obstacle> {
    let last = question.memory.last_rollback().map(|(_, at)| at);
    let rests = question.rails.resting(last, question.now);
    let by_hand = format!("rollguard rollback {}", question.target);
    let open = question.open_run.map(|run| {
        let bar = Bar::RunOpen { run: run.to_string() };
        Obstacle::new(Code::RunOpen, bar.to_string(), format!("follow it with `rollguard show {run}`"))
    });
    let killed = question.killed.map(|killed| {
        let what = Bar::Killed(killed.clone()).to_string();
        Obstacle::new(Code::KillSwitch, what, "turn it off with `rollguard kill off` when it is time")
    });
    let rests = rests.map(|bar| Obstacle::cooling_down(&bar, &by_hand));
    rests.into_iter().chain(open).chain(killed).collect()
}

fn only_by_hand(memory: &TargetMemory) -> Option<Obstacle> {
    let release = &memory.watch.as_ref()?.spec.release;
    let label = &release.to.label;
    let what = match &release.kind {
        ReleaseKind::New => return None,
        ReleaseKind::OurRollback { run } => {
            format!("{label} was put back by run {run}, and a rollback is never rolled back")
        }
        ReleaseKind::Undo => format!("{label} is somebody's own undo, which is never undone"),
        ReleaseKind::KnownBad => format!("{label} was rolled back before and deployed again"),
    };
    let advice = "if it is bad, people are paged and decide";
    Some(Obstacle::new(Code::OnlyByHand, what, advice))
}

/// The next release makes the current ReplicaSet an old one, and the oldest beyond the limit go.
fn history_short(found: &KubernetesSurvey, to: &Revision) -> Option<Obstacle> {
    let limit = found.revision_history_limit?;
    let newer = found.history.iter().filter(|r| r.revision > to.revision).count();
    if newer < usize::try_from(limit).unwrap_or(usize::MAX) {
        return None;
    }
    let what = format!(
        "revisionHistoryLimit is {limit}: with the next release {} is gone from the history of {}",
        to.version.label,
        argument(found)
    );
    Some(Obstacle::new(Code::HistoryShort, what, "set it to 10, the default of Kubernetes"))
}

fn image_gone(image: &str) -> Obstacle {
    let what = format!("image {image} is gone from its registry, so pods that need it would not start");
    let advice = "push it again, and keep it with the registry's lifecycle policy";
    Obstacle::new(Code::ImageGone, what, advice)
}

/// Without a pod that may go first, a rollout that cannot add one stands still.
fn quota_full(quota: &str) -> Obstacle {
    let what = format!("there is no room for one more pod: {quota}");
    Obstacle::new(Code::QuotaFull, what, "raise the quota, or let pods go first with maxUnavailable: 1")
}

fn quota_tight(quota: &str) -> Obstacle {
    let what = format!("there is no room for one more pod: {quota}");
    Obstacle::new(Code::QuotaTight, what, "a rollback goes on with fewer pods; raise the quota to avoid that")
}

fn never_gives_up() -> Obstacle {
    let what = "progressDeadlineSeconds is not set, so Kubernetes never says that a rollout is stuck";
    Obstacle::new(Code::NoProgressDeadline, what, "set it to 600, the default of Kubernetes")
}

fn spent(budget: &str) -> Obstacle {
    let what = format!(
        "PodDisruptionBudget {budget} allows no disruption: a rollback goes on, but drains of nodes wait for it"
    );
    Obstacle::new(Code::DisruptionBudget, what, "drain no nodes while a rollback is under way")
}

fn at_max(autoscaler: &str) -> Obstacle {
    let what = format!("HorizontalPodAutoscaler {autoscaler} is at its maximum");
    let advice = "raise maxReplicas if the version to go back to needs more pods than this one";
    Obstacle::new(Code::AutoscalerAtMax, what, advice)
}
