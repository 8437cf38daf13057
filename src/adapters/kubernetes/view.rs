//! Builds a target's view from its workload, ReplicaSets or ControllerRevisions, and pods: which version is wanted, since when, and how far it is.
use std::collections::HashMap;

use jiff::Timestamp;

use super::index::Set;
use super::rollout::{Progressing, Standing};
use super::trim::{Name, TrimmedRevision, TrimmedWorkload};
use crate::domain::names::TargetId;
use crate::domain::plan::kubernetes::Stage;
use crate::domain::release::{Fingerprint, Generation, Version};
use crate::domain::workload::{PodView, RolloutState, WorkloadView};

/// What the cluster does not tell again: when we saw a version come, and when its rollout ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Memo {
    uid: Name,
    fingerprint: Fingerprint,
    since: Timestamp,
    ended_at: Option<Timestamp>,
}

/// The view, and what to remember for the next one.
pub(super) fn build(
    target: &TargetId,
    workload: &TrimmedWorkload,
    sets: &[&Set],
    before: Option<&Memo>,
    now: Timestamp,
) -> (WorkloadView, Memo) {
    let own = own_sets(workload, sets);
    let wanted = wanted(workload, &own);
    let mut memo = remember(workload, wanted, &own, before, now);
    let since = created_for(wanted, &own).unwrap_or(memo.since);
    let mut history = history(wanted, &own, since);
    label_apart(history.iter_mut().map(|g| (g.created_at, &mut g.version)).collect());
    let rollout = rollout(&workload.standing, since, &mut memo.ended_at, now);
    let view = WorkloadView {
        target: target.clone(),
        version: history.last().map_or_else(|| wanted.clone(), |g| g.version.clone()),
        current_since: since,
        rollout,
        history,
        pods: pods(workload, sets),
        progress_deadline_secs: workload.standing.deadline_secs,
    };
    (view, memo)
}

/// The history's revisions in the order of their revisions.
fn own_sets<'a>(workload: &TrimmedWorkload, sets: &[&'a Set]) -> Vec<&'a TrimmedRevision> {
    let objects = sets.iter().filter_map(|set| set.object.as_ref());
    let mut own: Vec<_> = objects.filter(|r| r.owner.uid == workload.uid && r.revision.is_some()).collect();
    own.sort_by(|a, b| (a.revision, a.created_at, &a.name).cmp(&(b.revision, b.created_at, &b.name)));
    own
}

/// The workload's own template. A paused Deployment may be edited without anything being released yet.
fn wanted<'a>(workload: &'a TrimmedWorkload, own: &[&'a TrimmedRevision]) -> &'a Version {
    let exists = own.iter().any(|r| r.version.fingerprint == workload.version.fingerprint);
    match own.last() {
        Some(newest) if workload.paused && !exists => &newest.version,
        _ => &workload.version,
    }
}

fn remember(
    workload: &TrimmedWorkload,
    wanted: &Version,
    own: &[&TrimmedRevision],
    before: Option<&Memo>,
    now: Timestamp,
) -> Memo {
    if let Some(memo) = before
        && memo.fingerprint == wanted.fingerprint
        && memo.uid == workload.uid
    {
        return memo.clone();
    }
    // At the first sight the condition tells about the past, unless the controller has not seen this template yet.
    let settled = before.is_none()
        && workload.standing.progress.is_observed()
        && own.iter().any(|r| r.version.fingerprint == wanted.fingerprint);
    let condition = workload.standing.condition.as_ref().filter(|_| settled);
    let since = condition.and_then(|c| c.updated_at).map_or(now, |at| at.min(now));
    Memo { uid: workload.uid.clone(), fingerprint: wanted.fingerprint.clone(), since, ended_at: None }
}

/// When the wanted version's revision was made, if it was made for this release. Restarts make further revisions of the
/// same version; the first of them counts.
fn created_for(wanted: &Version, own: &[&TrimmedRevision]) -> Option<Timestamp> {
    let of_it = own.iter().rev().take_while(|r| r.version.fingerprint == wanted.fingerprint).count();
    let (earlier, run) = own.split_at(own.len() - of_it);
    let made = run.iter().map(|r| r.created_at).min()?;
    // A ControllerRevision that comes back does not say so; those that were made after it do.
    let came_back = run.iter().any(|r| r.reused) || earlier.iter().any(|r| r.created_at > made);
    (!came_back).then_some(made)
}

fn history(wanted: &Version, own: &[&TrimmedRevision], since: Timestamp) -> Vec<Generation> {
    let mut sets: Vec<(u64, &TrimmedRevision)> = own.iter().map(|r| (r.revision.unwrap_or(0), *r)).collect();
    // The controller gives the wanted version the highest number a moment after the template changed.
    let next = sets.last().map_or(1, |(revision, _)| revision.saturating_add(1));
    let known = sets.iter().rposition(|(_, r)| r.version.fingerprint == wanted.fingerprint);
    if let Some(place) = known.filter(|place| place + 1 < sets.len()) {
        let (_, set) = sets.remove(place);
        sets.push((next, set));
    }
    let mut history: Vec<Generation> = Vec::with_capacity(sets.len() + 1);
    for (revision, set) in sets {
        match history.last_mut() {
            Some(last) if last.version.fingerprint == set.version.fingerprint => {
                last.revision = revision;
                last.created_at = last.created_at.min(set.created_at);
            }
            _ => history.push(Generation {
                version: set.version.clone(),
                revision,
                created_at: set.created_at,
            }),
        }
    }
    if known.is_none() {
        history.push(Generation { version: wanted.clone(), revision: next, created_at: since });
    }
    history
}

/// Gives versions with the same image labels of their own. The eldest keeps the plain one, so that an undo, which
/// changes the order of revisions, renames nothing.
pub(super) fn label_apart(mut versions: Vec<(Timestamp, &mut Version)>) {
    versions.sort_by_key(|(created_at, _)| *created_at);
    let mut owners: HashMap<String, Version> = HashMap::new();
    for (_, version) in versions {
        match owners.get(&version.label) {
            Some(owner) => *version = version.clone().distinct_from(Some(owner)),
            None => {
                owners.insert(version.label.clone(), version.clone());
            }
        }
    }
}

/// An end is an end: what scales, restarts or fails afterwards is another matter.
fn rollout(
    standing: &Standing,
    since: Timestamp,
    ended_at: &mut Option<Timestamp>,
    now: Timestamp,
) -> RolloutState {
    if let Some(at) = *ended_at {
        return RolloutState::Ended { at };
    }
    // A condition from before this version is about another one.
    let told = |c: &Progressing| c.updated_at.filter(|at| *at >= since);
    match (standing.progress.stage(), &standing.condition) {
        (Stage::Complete, condition) => {
            let told = condition.as_ref().filter(|c| c.complete).and_then(told);
            let at = told.unwrap_or(now);
            *ended_at = Some(at);
            RolloutState::Ended { at }
        }
        (Stage::GaveUp, Some(condition)) if told(condition).is_some() => {
            RolloutState::GaveUp { detail: condition.message.clone() }
        }
        (Stage::GaveUp | Stage::Rolling(_) | Stage::Unobserved | Stage::OnDelete, _) => RolloutState::Rolling,
    }
}

fn pods(workload: &TrimmedWorkload, sets: &[&Set]) -> Vec<PodView> {
    let ours = sets.iter().filter(|set| set.object.as_ref().is_none_or(|r| r.owner.uid == workload.uid));
    let views = ours.flat_map(|set| {
        let fingerprint = set.object.as_ref().map(|r| r.version.fingerprint.clone());
        set.pods.iter().map(move |pod| PodView {
            name: pod.name.to_string(),
            fingerprint: fingerprint.clone(),
            created_at: pod.created_at,
            reading: pod.reading.clone(),
            metrics_url: pod.metrics_url.clone(),
        })
    });
    views.collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        World, controller_revision, deployment, deployment_at, minute, pod, ready, replica_set, reused_set,
        stateful_pod, stateful_set,
    };
    use super::*;
    use serde_json::json;

    /// v1 for long, v2 since minute 100.
    fn world() -> World {
        let mut world = World::new(&["web"]);
        world.replica_set(replica_set("web", "web-a", "shop:v1", "1", 0));
        world.replica_set(replica_set("web", "web-b", "shop:v2", "2", 100));
        world.deployment(deployment_at("web", "shop:v2", 101));
        world
    }

    fn labels(view: &WorkloadView) -> Vec<(&str, u64)> {
        view.history.iter().map(|g| (g.version.label.as_str(), g.revision)).collect()
    }

    #[test]
    fn a_version_is_current_since_its_replica_set_exists() {
        let view = world().view("web", 120);
        assert_eq!((view.version.label.as_str(), view.current_since), ("v2", minute(100)));
        assert_eq!(labels(&view), [("v1", 1), ("v2", 2)]);
        assert_eq!(view.rollout, RolloutState::Ended { at: minute(101) });
        assert_eq!(view.progress_deadline_secs, Some(600));
    }

    #[test]
    fn a_release_is_seen_before_its_replica_set() {
        let mut world = world();
        world.view("web", 120);
        let mut released = deployment_at("web", "shop:v3", 101);
        released.metadata.generation = Some(2);
        world.deployment(released);
        let view = world.view("web", 130);
        assert_eq!((view.version.label.as_str(), view.current_since), ("v3", minute(130)));
        assert_eq!(labels(&view), [("v1", 1), ("v2", 2), ("v3", 3)]);
        assert_eq!(view.rollout, RolloutState::Rolling);
        world.replica_set(replica_set("web", "web-c", "shop:v3", "3", 129));
        assert_eq!(world.view("web", 131).current_since, minute(129));
    }

    #[test]
    fn an_undo_is_current_since_it_was_seen_and_stays_so() {
        let mut world = world();
        world.view("web", 120);
        let mut undone = deployment_at("web", "shop:v1", 101);
        undone.metadata.generation = Some(2);
        world.deployment(undone);
        let view = world.view("web", 150);
        assert_eq!((view.version.label.as_str(), view.current_since), ("v1", minute(150)));
        assert_eq!(labels(&view), [("v2", 2), ("v1", 3)], "not renumbered yet");
        assert_eq!(view.rollout, RolloutState::Rolling);
        world.replica_set(reused_set("web", "web-a", "shop:v1", "3", 0));
        world.deployment(deployment_at("web", "shop:v1", 151));
        let view = world.view("web", 160);
        assert_eq!(view.current_since, minute(150));
        assert_eq!(labels(&view), [("v2", 2), ("v1", 3)]);
        assert_eq!(view.rollout, RolloutState::Ended { at: minute(151) });
    }

    #[test]
    fn a_reused_replica_set_at_the_first_sight_has_the_conditions_time() {
        let mut world = World::new(&["web"]);
        world.replica_set(replica_set("web", "web-b", "shop:v2", "2", 100));
        world.replica_set(reused_set("web", "web-a", "shop:v1", "3", 0));
        world.deployment(deployment_at("web", "shop:v1", 140));
        assert_eq!(world.view("web", 150).current_since, minute(140));
        let mut world = World::new(&["web"]);
        world.deployment(deployment_at("web", "shop:v1", 140));
        assert_eq!(world.view("web", 150).current_since, minute(150), "no ReplicaSet: just released");
    }

    #[test]
    fn a_restart_is_the_same_version_for_as_long() {
        let mut world = world();
        world.replica_set(replica_set("web", "web-c", "shop:v2", "3", 110));
        let view = world.view("web", 120);
        assert_eq!(labels(&view), [("v1", 1), ("v2", 3)]);
        assert_eq!((view.current_since, view.history[1].created_at), (minute(100), minute(100)));
    }

    #[test]
    fn the_end_of_a_rollout_is_kept() {
        let mut world = world();
        let ended = world.view("web", 120).rollout;
        let mut scaled = deployment_at("web", "shop:v2", 119);
        scaled.data["spec"]["replicas"] = json!(9);
        world.deployment(scaled);
        assert_eq!(world.view("web", 121).rollout, ended);
    }

    #[test]
    fn a_condition_about_another_version_does_not_count() {
        let mut world = world();
        world.replica_set(replica_set("web", "web-c", "shop:v3", "3", 130));
        let gave_up = |minute| {
            let mut stuck = deployment_at("web", "shop:v3", minute);
            stuck.data["status"]["conditions"][0]["status"] = json!("False");
            stuck.data["status"]["conditions"][0]["reason"] = json!("ProgressDeadlineExceeded");
            stuck.data["status"]["conditions"][0]["message"] = json!("web-c timed out");
            stuck
        };
        world.deployment(gave_up(120));
        assert_eq!(world.view("web", 131).rollout, RolloutState::Rolling);
        world.deployment(gave_up(140));
        let detail = "web-c timed out".to_string();
        assert_eq!(world.view("web", 141).rollout, RolloutState::GaveUp { detail });
    }

    #[test]
    fn an_edit_of_a_paused_deployment_is_no_release_yet() {
        let mut world = world();
        world.view("web", 120);
        let mut paused = deployment_at("web", "shop:v3", 101);
        paused.data["spec"]["paused"] = json!(true);
        world.deployment(paused);
        let view = world.view("web", 130);
        assert_eq!((view.version.label.as_str(), view.current_since), ("v2", minute(100)));
    }

    #[test]
    fn versions_with_one_image_have_labels_of_their_own_that_an_undo_keeps() {
        let templated = |name: &str, revision: &str, minute, env: &str| {
            let mut set = replica_set("web", name, "shop:v1", revision, minute);
            set.data["spec"]["template"]["spec"]["containers"][0]["env"] =
                json!([{"name": "A", "value": env}]);
            set
        };
        let mut world = World::new(&["web"]);
        world.replica_set(templated("web-a", "1", 0, "1"));
        world.replica_set(templated("web-b", "2", 10, "2"));
        let mut current = deployment("web", "shop:v1");
        current.data["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "A", "value": "2"}]);
        world.deployment(current);
        let view = world.view("web", 20);
        let second = view.version.label.clone();
        assert_eq!(view.history[0].version.label, "v1");
        assert!(second.starts_with("v1~"), "{second}");
        world.replica_set(templated("web-a", "3", 0, "1"));
        let view = world.view("web", 20);
        let label = |env: usize| view.history[env].version.label.as_str();
        assert_eq!((label(0), label(1)), ("v1", second.as_str()));
    }

    #[test]
    fn a_stateful_set_that_went_back_is_current_since_that_was_seen() {
        let mut world = World::new(&["db"]);
        let revision = |name: &str, image: &str, number, minute| {
            controller_revision("StatefulSet", "db", name, image, number, minute)
        };
        world.replica_set(revision("db-a", "shop:v1", 1, 0));
        world.replica_set(revision("db-b", "shop:v2", 2, 100));
        world.stateful_set(stateful_set("db", "shop:v2", "db-b"));
        world.pod(&stateful_pod("db", "db-b", "db-0", &ready(101)));
        let view = world.view("db", 120);
        assert_eq!((view.version.label.as_str(), view.current_since), ("v2", minute(100)));
        assert_eq!((labels(&view), view.progress_deadline_secs), (vec![("v1", 1), ("v2", 2)], None));
        assert_eq!(view.pods[0].fingerprint, Some(view.version.fingerprint.clone()));
        assert_eq!(view.rollout, RolloutState::Ended { at: minute(120) });
        world.replica_set(revision("db-a", "shop:v1", 3, 0));
        world.stateful_set(stateful_set("db", "shop:v1", "db-a"));
        let view = world.view("db", 150);
        assert_eq!((labels(&view), view.current_since), (vec![("v2", 2), ("v1", 3)], minute(150)));
    }

    #[test]
    fn pods_carry_the_version_of_their_replica_set() {
        let mut world = world();
        world.pod(&pod("web-a", "web-a-1", &ready(1)));
        world.pod(&pod("web-b", "web-b-1", &ready(101)));
        let view = world.view("web", 120);
        let prints: Vec<_> = view.pods.iter().map(|p| p.fingerprint.as_ref()).collect();
        let expected: Vec<_> = view.history.iter().map(|g| Some(&g.version.fingerprint)).collect();
        assert_eq!(prints, expected);
        assert_eq!(view.pods[1].reading.ready_since, Some(minute(101)));
    }
}
