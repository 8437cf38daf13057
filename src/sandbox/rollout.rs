//! The sandbox's Deployment controller: rolling updates with the rules of the real one.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{self, Key, Kind};
use super::progress;
use super::refusal::Refusal;
use super::revision;
use super::store::{Commit, Store};

const DEFAULT_HISTORY_LIMIT: i64 = 10;

/// How many pods a rolling update may have too many, and too few.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strategy {
    pub(super) desired: i64,
    pub(super) max_surge: i64,
    pub(super) max_unavailable: i64,
}

/// What a ReplicaSet wants and what it has.
#[derive(Clone, Debug, PartialEq)]
struct Scale {
    key: Key,
    wanted: i64,
    available: i64,
}

/// Takes every Deployment one step further.
pub(super) fn sync(store: &Store, now: Timestamp) {
    for deployment in store.list(Kind::Deployment, None).objects {
        if let Err(refusal) = sync_deployment(store, &deployment, now) {
            tracing::warn!(%refusal, "the sandbox's Deployment controller will try again");
        }
    }
}

fn sync_deployment(store: &Store, deployment: &Value, now: Timestamp) -> Result<(), Refusal> {
    let strategy = Strategy::of(deployment);
    if object::flag(deployment, "/spec/paused") {
        return progress::record(store, deployment, strategy, None, now);
    }
    let current = ensure_current(store, deployment, strategy, now)?;
    let all = store.controlled(Kind::ReplicaSet, deployment);
    let (new, old): (Vec<_>, Vec<_>) =
        all.iter().map(|replica_set| Scale::of(replica_set)).partition(|scale| scale.key == current.key);
    for new in &new {
        for (key, replicas) in next_scales(strategy, new, &old) {
            scale(store, &key, strategy, replicas)?;
        }
    }
    clean_up(store, deployment, &current.key, &all)?;
    progress::record(store, deployment, strategy, Some(&current), now)
}

/// The ReplicaSet that stands for the current template.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) key: Key,
    pub(super) created_now: bool,
}

/// Finds or makes the current ReplicaSet, and gives it and the Deployment the newest revision number.
fn ensure_current(
    store: &Store,
    deployment: &Value,
    strategy: Strategy,
    now: Timestamp,
) -> Result<Current, Refusal> {
    let template = &deployment["spec"]["template"];
    let (same, others): (Vec<_>, Vec<_>) = store
        .controlled(Kind::ReplicaSet, deployment)
        .into_iter()
        .partition(|replica_set| revision::runs_template(replica_set, template));
    let numbers = others.iter().map(|other| revision::number(other));
    let newest = numbers.max().unwrap_or_default() + 1;
    let stored = match same.first() {
        Some(found) => store.update(&Key::of(Kind::ReplicaSet, found), Commit::Durable, |found| {
            revision::make_current(found, deployment, newest);
            Ok(())
        })?,
        None => {
            let total = others.iter().map(|other| wanted(other)).sum();
            let made =
                revision::replica_set(deployment, newest, strategy.room(0, total), strategy.max_total());
            store.create(Kind::ReplicaSet, made, now)?
        }
    };
    number_deployment(store, deployment, revision::number(&stored))?;
    Ok(Current { key: Key::of(Kind::ReplicaSet, &stored), created_now: same.is_empty() })
}

fn number_deployment(store: &Store, deployment: &Value, number: i64) -> Result<(), Refusal> {
    let key = Key::of(Kind::Deployment, deployment);
    store.update(&key, Commit::Durable, |deployment| {
        revision::annotate(deployment, revision::REVISION, number.to_string());
        Ok(())
    })?;
    Ok(())
}

fn scale(store: &Store, key: &Key, strategy: Strategy, replicas: i64) -> Result<(), Refusal> {
    store.update(key, Commit::Durable, |replica_set| {
        replica_set["spec"]["replicas"] = json!(replicas);
        revision::mark_scale(replica_set, strategy.desired, strategy.max_total());
        Ok(())
    })?;
    Ok(())
}

/// Deletes the oldest empty ReplicaSets beyond the history that is to be kept.
fn clean_up(store: &Store, deployment: &Value, current: &Key, all: &[Arc<Value>]) -> Result<(), Refusal> {
    let limit = deployment["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(DEFAULT_HISTORY_LIMIT);
    let mut old: Vec<_> =
        all.iter().filter(|replica_set| Key::of(Kind::ReplicaSet, replica_set) != *current).collect();
    let surplus = (old.len() as i64 - limit).max(0) as usize;
    old.sort_by_key(|replica_set| revision::number(replica_set));
    for replica_set in old.into_iter().take(surplus) {
        if wanted(replica_set) == 0 && object::number(replica_set, "/status/replicas") == 0 {
            store.delete(&Key::of(Kind::ReplicaSet, replica_set))?;
        }
    }
    Ok(())
}

fn wanted(replica_set: &Value) -> i64 {
    object::number(replica_set, "/spec/replicas")
}

impl Scale {
    fn of(replica_set: &Value) -> Self {
        Self {
            key: Key::of(Kind::ReplicaSet, replica_set),
            wanted: wanted(replica_set),
            available: object::number(replica_set, "/status/availableReplicas"),
        }
    }
}

impl Strategy {
    pub(super) fn of(deployment: &Value) -> Self {
        let desired = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
        let limits = &deployment["spec"]["strategy"]["rollingUpdate"];
        let max_surge = count_or_percent(&limits["maxSurge"], desired, f64::ceil);
        let max_unavailable = count_or_percent(&limits["maxUnavailable"], desired, f64::floor);
        Self {
            desired,
            max_surge,
            // With neither a surge nor a gap a rollout could not move.
            max_unavailable: if max_surge == 0 { max_unavailable.max(1) } else { max_unavailable },
        }
    }

    pub(super) fn min_available(self) -> i64 {
        (self.desired - self.max_unavailable).max(0)
    }

    fn max_total(self) -> i64 {
        self.desired + self.max_surge
    }

    /// How many pods the new ReplicaSet may want, when all ReplicaSets together want `total`.
    fn room(self, new_wanted: i64, total: i64) -> i64 {
        let free = (self.max_total() - total).max(0);
        (new_wanted + free).min(self.desired)
    }
}

fn count_or_percent(value: &Value, desired: i64, round: impl Fn(f64) -> f64) -> i64 {
    let percent = value.as_str().unwrap_or("25%").trim_end_matches('%');
    value.as_i64().unwrap_or_else(|| {
        let share = percent.parse::<f64>().unwrap_or(25.0) / 100.0;
        round(share * desired as f64) as i64
    })
}

/// What to scale now: the new ReplicaSet first, else the old ones, unhealthy pods before healthy ones.
fn next_scales(strategy: Strategy, new: &Scale, old: &[Scale]) -> Vec<(Key, i64)> {
    let total = new.wanted + old.iter().map(|scale| scale.wanted).sum::<i64>();
    let target =
        if new.wanted > strategy.desired { strategy.desired } else { strategy.room(new.wanted, total) };
    if target != new.wanted {
        return vec![(new.key.clone(), target)];
    }
    let new_unavailable = new.wanted - new.available.min(new.wanted);
    let spare = total - strategy.min_available() - new_unavailable;
    let mut scaled = old.to_vec();
    let cleaned = remove_unavailable(&mut scaled, spare);
    let available = new.available + scaled.iter().map(|scale| scale.available).sum::<i64>();
    let removable = (available - strategy.min_available()).min(spare - cleaned);
    remove_available(&mut scaled, removable);
    old.iter()
        .zip(scaled)
        .filter(|(before, after)| before.wanted != after.wanted)
        .map(|(_, after)| (after.key, after.wanted))
        .collect()
}

fn remove_unavailable(scales: &mut [Scale], limit: i64) -> i64 {
    let mut left = limit.max(0);
    for scale in scales {
        let removed = (scale.wanted - scale.available).clamp(0, left);
        scale.wanted -= removed;
        left -= removed;
    }
    limit.max(0) - left
}

fn remove_available(scales: &mut [Scale], limit: i64) {
    let mut left = limit.max(0);
    for scale in scales {
        let removed = scale.wanted.clamp(0, left);
        scale.wanted -= removed;
        left -= removed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURGE_1: Strategy = Strategy { desired: 3, max_surge: 1, max_unavailable: 0 };

    fn scale(name: &str, wanted: i64, available: i64) -> Scale {
        Scale { key: Key::new(Kind::ReplicaSet, "shop", name), wanted, available }
    }

    fn scales(strategy: Strategy, new: (i64, i64), old: (i64, i64)) -> Vec<(String, i64)> {
        next_scales(strategy, &scale("new", new.0, new.1), &[scale("old", old.0, old.1)])
            .into_iter()
            .map(|(key, replicas)| (key.name, replicas))
            .collect()
    }

    fn to(name: &str, replicas: i64) -> Vec<(String, i64)> {
        vec![(name.to_owned(), replicas)]
    }

    #[test]
    fn an_old_pod_goes_only_when_a_new_one_is_available() {
        assert_eq!(scales(SURGE_1, (0, 0), (3, 3)), to("new", 1));
        assert_eq!(scales(SURGE_1, (1, 0), (3, 3)), []);
        assert_eq!(scales(SURGE_1, (1, 1), (3, 3)), to("old", 2));
        assert_eq!(scales(SURGE_1, (1, 1), (2, 2)), to("new", 2));
        assert_eq!(scales(SURGE_1, (3, 3), (1, 1)), to("old", 0));
        assert_eq!(scales(SURGE_1, (3, 3), (0, 0)), []);
    }

    #[test]
    fn an_undo_removes_the_unhealthy_pods_of_the_bad_version_first() {
        assert_eq!(scales(SURGE_1, (3, 3), (1, 0)), to("old", 0));
        assert_eq!(scales(SURGE_1, (2, 2), (2, 1)), to("old", 1));
    }

    #[test]
    fn unavailable_pods_may_go_before_when_the_strategy_says_so() {
        let strategy = Strategy { max_surge: 0, max_unavailable: 1, ..SURGE_1 };
        assert_eq!(scales(strategy, (0, 0), (3, 3)), to("old", 2));
        assert_eq!(scales(strategy, (0, 0), (2, 2)), to("new", 1));
    }

    #[test]
    fn a_scaled_down_deployment_shrinks_its_new_replica_set() {
        let fewer = Strategy { desired: 1, ..SURGE_1 };
        assert_eq!(scales(fewer, (3, 3), (0, 0)), to("new", 1));
    }

    #[test]
    fn percentages_round_up_for_the_surge_and_down_for_the_gap() {
        let with = |limits: Value| {
            Strategy::of(&json!({"spec": {"replicas": 3, "strategy": {"rollingUpdate": limits}}}))
        };
        let percent = with(json!({"maxSurge": "34%", "maxUnavailable": "34%"}));
        assert_eq!((percent.max_surge, percent.max_unavailable), (2, 1));
        let default = with(Value::Null);
        assert_eq!((default.max_surge, default.max_unavailable), (1, 0));
        let stuck = with(json!({"maxSurge": 0, "maxUnavailable": 0}));
        assert_eq!((stuck.max_surge, stuck.max_unavailable), (0, 1));
    }
}
