//! Turns what the watches see into feed events: each target's view once, and again only when it is another one.
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use jiff::Timestamp;

use super::KubernetesTarget;
use super::index::{Changed, Index, Kind, Object};
use super::trim::Name;
use crate::domain::names::TargetId;
use crate::domain::workload::WorkloadView;
use crate::ports::FeedEvent;

/// One watch: a kind of object in one of the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) place: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct News {
    pub(super) source: Source,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Everything there is; what is missing here is gone.
    Listed(Vec<Object>),
    Applied(Object),
    Removed(Name),
    Failed(String),
}

#[derive(Debug)]
struct Place {
    namespace: String,
    index: Index,
    listed: BTreeSet<Kind>,
    targets: HashMap<Name, Vec<usize>>,
}

impl Place {
    /// Before everything has been listed once, a view would lack its history or its pods.
    fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }
}

#[derive(Debug)]
struct Watched {
    target: TargetId,
    place: usize,
    name: Name,
    told: Told,
}

#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    Gone,
    View(u64),
}

#[derive(Debug, PartialEq)]
enum Item {
    Target(usize),
    Interrupted(String),
    Restored,
}

#[derive(Debug)]
pub(super) struct Announcer {
    places: Vec<Place>,
    watched: Vec<Watched>,
    broken: BTreeMap<Source, String>,
    /// Everything was read, and nothing is broken.
    up: bool,
    dirty: BTreeSet<usize>,
    came_up: bool,
    queue: VecDeque<Item>,
}

impl Announcer {
    pub(super) fn new(targets: Vec<KubernetesTarget>) -> Self {
        let mut by_namespace: BTreeMap<String, HashMap<Name, Vec<usize>>> = BTreeMap::new();
        for (i, target) in targets.iter().enumerate() {
            let names = by_namespace.entry(target.namespace.clone()).or_default();
            names.entry(target.deployment.as_str().into()).or_default().push(i);
        }
        let order: Vec<String> = by_namespace.keys().cloned().collect();
        let watched = targets.into_iter().map(|t| Watched {
            place: order.binary_search(&t.namespace).unwrap_or_default(),
            name: t.deployment.as_str().into(),
            target: t.target,
            told: Told::Nothing,
        });
        let watched = watched.collect();
        let places = by_namespace.into_iter().map(|(namespace, targets)| {
            let index = Index::new(targets.keys().cloned());
            Place { namespace, index, listed: BTreeSet::new(), targets }
        });
        Self {
            places: places.collect(),
            watched,
            broken: BTreeMap::new(),
            up: false,
            dirty: BTreeSet::new(),
            came_up: false,
            queue: VecDeque::new(),
        }
    }

    /// The namespaces, in the order in which sources number them.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.namespace.as_str())
    }

    pub(super) fn take(&mut self, News { source, what }: News) {
        let Some(place) = self.places.get_mut(source.place) else { return };
        let mut changed = Changed::new();
        match what {
            What::Applied(object) => place.index.apply(object, &mut changed),
            What::Removed(name) => place.index.remove(source.kind, &name, &mut changed),
            What::Listed(objects) => {
                let was_complete = place.is_complete();
                place.index.replace(source.kind, objects, &mut changed);
                place.listed.insert(source.kind);
                if place.is_complete() && !was_complete {
                    changed.extend(place.targets.keys().cloned());
                }
            }
            What::Failed(why) => return self.interrupted(source, why),
        }
        if place.is_complete() {
            let changed = changed.iter().filter_map(|name| place.targets.get(name));
            self.dirty.extend(changed.flatten());
        }
        if self.broken.remove(&source).is_some() || !self.up {
            self.come_up();
        }
    }

    fn interrupted(&mut self, source: Source, why: String) {
        if self.broken.is_empty() {
            self.queue.push_back(Item::Interrupted(why.clone()));
        }
        self.broken.insert(source, why);
        (self.up, self.came_up) = (false, false);
    }

    fn come_up(&mut self) {
        if !self.up && self.broken.is_empty() && self.places.iter().all(Place::is_complete) {
            (self.up, self.came_up) = (true, true);
            self.watched.iter_mut().for_each(|watched| watched.told = Told::Nothing);
            self.dirty.extend(0..self.watched.len());
        }
    }

    /// Whether there is something to announce once the burst is over.
    pub(super) fn is_due(&self) -> bool {
        self.came_up || !self.dirty.is_empty()
    }

    /// The burst is over.
    pub(super) fn settle(&mut self) {
        self.queue.extend(std::mem::take(&mut self.dirty).into_iter().map(Item::Target));
        if std::mem::take(&mut self.came_up) {
            self.queue.push_back(Item::Restored);
        }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> Option<FeedEvent> {
        loop {
            match self.queue.pop_front()? {
                Item::Interrupted(why) => return Some(FeedEvent::Interrupted { why }),
                Item::Restored => return Some(FeedEvent::Restored),
                Item::Target(i) => {
                    if let Some(event) = self.look(i, now) {
                        return Some(event);
                    }
                }
            }
        }
    }

    fn look(&mut self, i: usize, now: Timestamp) -> Option<FeedEvent> {
        let watched = self.watched.get_mut(i)?;
        let index = &mut self.places.get_mut(watched.place)?.index;
        let view = index.view(&watched.name, &watched.target, now);
        // An edit that releases nothing (paused, its history's limit) may still take the way back away.
        let generation = index.generation(&watched.name);
        let tell = view.as_ref().map_or(Told::Gone, |view| Told::View(digest(view, generation)));
        if watched.told == tell {
            return None;
        }
        watched.told = tell;
        Some(match view {
            Some(view) => FeedEvent::Changed(Box::new(view)),
            None => FeedEvent::Gone(watched.target.clone()),
        })
    }
}

/// Kept instead of the last view: thousands of views with their histories would take more room than the index.
fn digest(view: &WorkloadView, generation: Option<i64>) -> u64 {
    struct Hashing(DefaultHasher);
    impl Write for Hashing {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut hashing = Hashing(DefaultHasher::new());
    // Writing into a hasher cannot fail.
    write!(hashing, "{generation:?} {view:?}").ok();
    hashing.0.finish()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{deployment, minute, pod, ready, replica_set, target, waiting};
    use super::super::trim::{TrimmedDeployment, TrimmedPod, TrimmedReplicaSet};
    use super::*;

    fn announcer() -> Announcer {
        let on = |name: &str, namespace: &str| KubernetesTarget {
            target: target(name),
            namespace: namespace.into(),
            deployment: "web".into(),
        };
        Announcer::new(vec![on("front", "b"), on("back", "a")])
    }

    fn objects(kind: Kind) -> Vec<Object> {
        let object = match kind {
            Kind::Deployment => TrimmedDeployment::of(&deployment("web", "shop:v1")).map(Object::Deployment),
            Kind::ReplicaSet => {
                TrimmedReplicaSet::of(&replica_set("web", "web-a", "shop:v1", "1", 0)).map(Object::ReplicaSet)
            }
            Kind::Pod => TrimmedPod::of(&pod("web-a", "web-a-1", &ready(1))).map(Object::Pod),
        };
        vec![object.unwrap()]
    }

    fn take(announcer: &mut Announcer, place: usize, kind: Kind, what: What) {
        announcer.take(News { source: Source { place, kind }, what });
    }

    fn list(announcer: &mut Announcer, place: usize) {
        Kind::ALL.iter().for_each(|k| take(announcer, place, *k, What::Listed(objects(*k))));
    }

    /// Everything was listed and told.
    fn listed() -> Announcer {
        let mut announcer = announcer();
        list(&mut announcer, 0);
        list(&mut announcer, 1);
        told(&mut announcer);
        announcer
    }

    /// What is announced now, in short: `front`, `-front` (gone), `down`, `up`.
    fn told(announcer: &mut Announcer) -> Vec<String> {
        announcer.settle();
        let events = std::iter::from_fn(|| announcer.next(minute(60)));
        let short = |event| match event {
            FeedEvent::Changed(view) => view.target.target.to_string(),
            FeedEvent::Gone(target) => format!("-{}", target.target),
            FeedEvent::Interrupted { why } => format!("down: {why}"),
            FeedEvent::Restored => "up".into(),
        };
        events.map(short).collect()
    }

    #[test]
    fn nothing_is_said_before_everything_was_listed() {
        let mut a = announcer();
        assert_eq!(a.namespaces().collect::<Vec<_>>(), ["a", "b"]);
        take(&mut a, 1, Kind::Deployment, What::Listed(objects(Kind::Deployment)));
        take(&mut a, 1, Kind::ReplicaSet, What::Listed(objects(Kind::ReplicaSet)));
        assert!(!a.is_due() && told(&mut a).is_empty());
        take(&mut a, 1, Kind::Pod, What::Listed(objects(Kind::Pod)));
        assert!(a.is_due());
        assert_eq!(told(&mut a), ["front"], "its namespace is complete, the other's is not");
        list(&mut a, 0);
        assert_eq!(told(&mut a), ["front", "back", "up"]);
    }

    #[test]
    fn only_another_view_is_announced_and_bursts_are_one() {
        let mut a = listed();
        list(&mut a, 1);
        assert!(!a.is_due(), "the same list again");
        for restarts in 1..=100 {
            let pod = TrimmedPod::of(&pod("web-a", "web-a-1", &waiting("CrashLoopBackOff", restarts)));
            take(&mut a, 0, Kind::Pod, What::Applied(Object::Pod(pod.unwrap())));
        }
        assert_eq!(told(&mut a), ["back"]);
        let mut annotated = deployment("web", "shop:v1");
        annotated.data["status"]["readyReplicas"] = serde_json::json!(0);
        annotated.data["status"]["availableReplicas"] = serde_json::json!(0);
        let annotated = TrimmedDeployment::of(&annotated).unwrap();
        take(&mut a, 0, Kind::Deployment, What::Applied(Object::Deployment(annotated)));
        assert!(a.is_due());
        assert!(told(&mut a).is_empty(), "the rollout had ended, so the view is the same");
        let mut edited = deployment("web", "shop:v1");
        edited.metadata.generation = Some(2);
        edited.data["status"]["observedGeneration"] = serde_json::json!(2);
        let edited = TrimmedDeployment::of(&edited).unwrap();
        take(&mut a, 0, Kind::Deployment, What::Applied(Object::Deployment(edited)));
        assert_eq!(told(&mut a), ["back"], "somebody edited it");
    }

    #[test]
    fn an_interruption_is_told_once_and_everything_after_it_again() {
        let mut a = listed();
        take(&mut a, 0, Kind::Pod, What::Failed("pods: refused".into()));
        take(&mut a, 0, Kind::Pod, What::Failed("pods: refused".into()));
        take(&mut a, 1, Kind::Deployment, What::Failed("deployments: refused".into()));
        assert_eq!(told(&mut a), ["down: pods: refused"]);
        take(&mut a, 0, Kind::Pod, What::Listed(vec![]));
        assert_eq!(told(&mut a), ["back"], "its pods vanished in the gap; another watch is still broken");
        take(&mut a, 1, Kind::Deployment, What::Listed(vec![]));
        assert_eq!(told(&mut a), ["-front", "back", "up"]);
    }

    #[test]
    fn a_deployment_may_go_and_come() {
        let mut a = listed();
        take(&mut a, 0, Kind::Deployment, What::Removed("web".into()));
        assert_eq!(told(&mut a), ["-back"]);
        take(&mut a, 0, Kind::Pod, What::Removed("web-a-1".into()));
        assert!(told(&mut a).is_empty(), "gone already");
        take(&mut a, 0, Kind::Deployment, What::Listed(objects(Kind::Deployment)));
        assert_eq!(told(&mut a), ["back"]);
    }
}
