//! Finds the releases of a Deployment in what kube-state-metrics has told of the sizes of its ReplicaSets.
use std::collections::BTreeMap;

use super::super::Place;
use super::super::answer::{self, Data, Unanswered};
use super::super::query::PART;

const WANTED: &str = "wanted";
const READY: &str = "ready";
const CREATED: &str = "created";

/// kube-state-metrics is scraped so much later than a ReplicaSet is made, at most.
const SEEN_AFTER_SECS: i64 = 300;

/// A version took over. Versions are named by the hash that the names of ReplicaSets end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rollout {
    pub(super) hash: String,
    /// `None` for the first version of a Deployment.
    pub(super) previous: Option<String>,
    /// Seconds since the epoch.
    pub(super) at: i64,
    pub(super) ended: Option<i64>,
}

/// Asks for the sizes of all ReplicaSets of a Deployment.
pub(super) fn query(place: &Place) -> String {
    let Place { namespace, workload } = place;
    let owned = format!(
        r#"kube_replicaset_owner{{namespace="{namespace}",owner_kind="Deployment",owner_name="{workload}"}}"#
    );
    let part = |metric: &str, part: &str| {
        let series = format!(r#"{metric}{{namespace="{namespace}"}} and on (namespace,replicaset) {owned}"#);
        format!(r#"label_replace(max by (replicaset) ({series}), "{PART}", "{part}", "", "")"#)
    };
    let parts = [
        part("kube_replicaset_spec_replicas", WANTED),
        part("kube_replicaset_status_ready_replicas", READY),
        part("kube_replicaset_created", CREATED),
    ];
    parts.join(" or ")
}

/// What is known of one ReplicaSet at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    wanted: Option<f64>,
    ready: Option<f64>,
    created: Option<f64>,
}

/// Folds the sizes moment by moment: a range of any length is read piece by piece.
#[derive(Debug)]
pub(super) struct Finder {
    prefix: String,
    sizes: BTreeMap<String, Size>,
    current: Option<String>,
    found: Vec<Rollout>,
}

impl Finder {
    pub(super) fn new(place: &Place) -> Self {
        let prefix = format!("{}-", place.workload);
        Self { prefix, sizes: BTreeMap::new(), current: None, found: Vec::new() }
    }

    /// Whether kube-state-metrics knows the Deployment at all.
    pub(super) fn knows_any(&self) -> bool {
        !self.sizes.is_empty()
    }

    pub(super) fn found(self) -> Vec<Rollout> {
        self.found
    }

    /// Takes the next answer to [`query`].
    pub(super) fn take(&mut self, body: &[u8]) -> Result<(), Unanswered> {
        let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
        let mut moments: BTreeMap<i64, BTreeMap<String, Size>> = BTreeMap::new();
        for mut one in series {
            let (name, part) = (one.metric.remove("replicaset"), one.metric.remove(PART));
            let Some(hash) = name.as_deref().and_then(|name| name.strip_prefix(&self.prefix)) else {
                continue;
            };
            for point in one.values.iter().filter(|point| point.value().is_finite()) {
                let size = moments.entry(point.0.round() as i64).or_default();
                let size = size.entry(hash.to_string()).or_default();
                match part.as_deref() {
                    Some(WANTED) => size.wanted = Some(point.value()),
                    Some(READY) => size.ready = Some(point.value()),
                    Some(CREATED) => size.created = Some(point.value()),
                    Some(_) | None => return Err(Unanswered::NotNumbers),
                }
            }
        }
        moments.into_iter().for_each(|(at, now)| self.step(at, &now));
        Ok(())
    }

    /// A ReplicaSet that is not seen at this moment is as it was: kube-state-metrics may have been away.
    fn step(&mut self, at: i64, now: &BTreeMap<String, Size>) {
        let first = self.sizes.is_empty();
        let before = self.sizes.clone();
        for (hash, size) in now {
            let known = self.sizes.entry(hash.clone()).or_default();
            known.wanted = size.wanted.or(known.wanted);
            known.ready = size.ready.or(known.ready);
            known.created = size.created.or(known.created);
        }
        let taken_over = if first { None } else { self.grown(&before) };
        if let Some(hash) = taken_over {
            let at = self.began(&hash, at);
            self.found.push(Rollout { previous: self.current.replace(hash.clone()), hash, at, ended: None });
        } else if self.current.is_none() {
            self.current = self.newest();
        }
        if self.is_complete()
            && let Some(rollout) = self.found.last_mut()
        {
            rollout.ended = rollout.ended.or(Some(at));
        }
    }

    /// The ReplicaSet that grows from nothing, or while the current one shrinks: a rollout, and no scaling of what runs.
    fn grown(&self, before: &BTreeMap<String, Size>) -> Option<String> {
        let was = |hash: &str| before.get(hash).and_then(|size| size.wanted).unwrap_or(0.0);
        let is = |hash: &str| self.wanted(hash);
        let shrinks = self.current.as_deref().is_some_and(|current| is(current) < was(current));
        let others = self.sizes.keys().filter(|hash| self.current.as_ref() != Some(*hash));
        let grown = others.filter(|hash| is(hash) > was(hash) && (was(hash) == 0.0 || shrinks));
        grown.max_by(|a, b| self.created(a).total_cmp(&self.created(b))).cloned()
    }

    /// When the ReplicaSet was made, if that was just before it was seen.
    fn began(&self, hash: &str, seen: i64) -> i64 {
        let created = self.created(hash).round() as i64;
        let last = self.found.last().map_or(i64::MIN, |rollout| rollout.at);
        let fresh = (seen - SEEN_AFTER_SECS..=seen).contains(&created) && created > last;
        if fresh { created } else { seen }
    }

    /// What ran at the first look: the newest of those that were to have pods.
    fn newest(&self) -> Option<String> {
        let running = self.sizes.keys().filter(|hash| self.wanted(hash) > 0.0);
        running.max_by(|a, b| self.created(a).total_cmp(&self.created(b))).cloned()
    }

    /// All pods are of the current version, and ready where that is told.
    fn is_complete(&self) -> bool {
        let Some(current) = &self.current else { return false };
        self.sizes.iter().all(|(hash, size)| {
            let (wanted, ready) = (size.wanted.unwrap_or(0.0), size.ready);
            if hash == current {
                wanted > 0.0 && ready.is_none_or(|ready| ready >= wanted)
            } else {
                wanted == 0.0 && ready.is_none_or(|ready| ready == 0.0)
            }
        })
    }

    fn wanted(&self, hash: &str) -> f64 {
        self.sizes.get(hash).and_then(|size| size.wanted).unwrap_or(0.0)
    }

    fn created(&self, hash: &str) -> f64 {
        self.sizes.get(hash).and_then(|size| size.created).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder() -> Finder {
        Finder::new(&Place { namespace: "shop".into(), workload: "web".into() })
    }

    /// `a 3/2 @900`: three wanted, two ready, made at 900.
    fn size(text: &str) -> (String, Size) {
        let mut words = text.split([' ', '/', '@']).filter(|word| !word.is_empty());
        let hash = words.next().unwrap().to_string();
        let mut number = || words.next().map(|word| word.parse().unwrap());
        (hash, Size { wanted: number(), ready: number(), created: number() })
    }

    fn found(steps: &[(i64, &[&str])]) -> Vec<(String, Option<String>, i64, Option<i64>)> {
        let mut finder = finder();
        for (at, sizes) in steps {
            finder.step(*at, &sizes.iter().map(|text| size(text)).collect());
        }
        finder.found().into_iter().map(|r| (r.hash, r.previous, r.at, r.ended)).collect()
    }

    fn rollout(
        hash: &str,
        previous: &str,
        at: i64,
        ended: Option<i64>,
    ) -> (String, Option<String>, i64, Option<i64>) {
        (hash.into(), Some(previous.into()), at, ended)
    }

    #[test]
    fn a_rolling_update_begins_with_its_replica_set_and_ends_with_the_last_old_pod() {
        let steps: [(i64, &[&str]); 5] = [
            (1000, &["a 3/3 @10", "old 0/0 @5"]),
            (1015, &["a 3/3 @10", "old 0/0 @5", "b 1/0 @1007"]),
            (1030, &["a 2/3 @10", "old 0/0 @5", "b 2/1 @1007"]),
            (1045, &["a 0/1 @10", "old 0/0 @5", "b 3/3 @1007"]),
            (1060, &["a 0/0 @10", "old 0/0 @5", "b 3/3 @1007"]),
        ];
        assert_eq!(found(&steps), [rollout("b", "a", 1007, Some(1060))]);
    }

    #[test]
    fn scaling_and_gaps_are_no_releases() {
        let steps: [(i64, &[&str]); 5] = [
            (1000, &["a 3/3 @10", "old 0/0 @5"]),
            (1015, &["a 9/3 @10", "old 0/0 @5"]),
            (1030, &[]),
            (1045, &["a 0/0 @10", "old 0/0 @5"]),
            (1060, &["a 3/3 @10", "old 0/0 @5"]),
        ];
        assert_eq!(found(&steps), []);
        assert_eq!(found(&[(1000, &["old 0/0 @5"]), (1015, &["old 0/0 @5"])]), []);
    }

    #[test]
    fn an_undo_is_a_release_of_the_version_before_even_half_way() {
        let steps: [(i64, &[&str]); 4] = [
            (1000, &["a 3/3 @10"]),
            (1015, &["a 3/3 @10", "b 1/0 @1007"]),
            (1030, &["a 2/2 @10", "b 2/0 @1007"]),
            (1045, &["a 3/3 @10", "b 0/0 @1007"]),
        ];
        assert_eq!(found(&steps), [rollout("b", "a", 1007, None), rollout("a", "b", 1045, Some(1045))]);
        let later: [(i64, &[&str]); 3] = [
            (1000, &["a 0/0 @10", "b 3/3 @20"]),
            (1015, &["a 1/0 @10", "b 3/3 @20"]),
            (1030, &["a 3/3 @10", "b 0/0 @20"]),
        ];
        assert_eq!(found(&later), [rollout("a", "b", 1015, Some(1030))], "it was made long before");
    }

    #[test]
    fn the_first_look_shows_what_runs_and_releases_nothing() {
        let rolling: [(i64, &[&str]); 2] =
            [(1000, &["a 2/2 @10", "b 1/1 @900"]), (1015, &["a 0/0 @10", "b 3/3 @900"])];
        assert_eq!(found(&rolling), []);
        let mut finder = finder();
        assert!(!finder.knows_any());
        finder.step(1000, &[size("a 1/1 @10")].into());
        assert!(finder.knows_any());
    }

    #[test]
    fn the_query_asks_for_what_the_deployment_owns() {
        let text = query(&Place { namespace: "shop".into(), workload: "web".into() });
        assert!(text.starts_with(concat!(
            r#"label_replace(max by (replicaset) (kube_replicaset_spec_replicas{namespace="shop"} and on (namespace,replicaset) "#,
            r#"kube_replicaset_owner{namespace="shop",owner_kind="Deployment",owner_name="web"}), "rg", "wanted", "", "") or "#
        )), "{text}");
    }
}
