//! Turns what the watches see into feed events: each target's view once, and again only when it is another one.
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use jiff::Timestamp;

use super::KubernetesTarget;
use super::beside::Beside;
use super::index::{Changed, Index, Kind, Object};
use super::trim::Name;
use crate::domain::names::TargetId;
use crate::domain::workload::{WorkloadKind, WorkloadView};
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
    Applied(Box<Object>),
    Removed(Name),
    /// Something else is known of these pods.
    Touched(Vec<Name>),
    Failed(String),
}

/// A namespace.
#[derive(Debug, Default)]
struct Place {
    parts: BTreeMap<WorkloadKind, Part>,
    listed: BTreeSet<Kind>,
}

/// The workloads of one kind in a namespace: a StatefulSet may have the name of a Deployment.
#[derive(Debug)]
struct Part {
    index: Index,
    targets: HashMap<Name, Vec<usize>>,
}

impl Place {
    fn needed(&self) -> BTreeSet<Kind> {
        self.parts.keys().flat_map(|kind| Kind::needed(*kind)).collect()
    }

    /// Before everything has been listed once, a view would lack its history or its pods.
    fn is_complete(&self) -> bool {
        self.listed == self.needed()
    }

    /// Answers the targets whose view may be another one now.
    fn take(&mut self, kind: Kind, what: What) -> Vec<usize> {
        let was_complete = self.is_complete();
        let mut changed = Vec::new();
        match what {
            What::Applied(object) => {
                let part = self.parts.get_mut(&object.part_of());
                changed.extend(part.map(|part| part.change(|index, changed| index.apply(*object, changed))));
            }
            What::Removed(name) => {
                let of_kind = self.parts.iter_mut().filter(|(of, _)| Kind::needed(**of).contains(&kind));
                changed.extend(of_kind.map(|(_, part)| part.change(|index, c| index.remove(kind, &name, c))));
            }
            What::Listed(objects) => {
                let mut by_part: BTreeMap<WorkloadKind, Vec<Object>> = BTreeMap::new();
                objects.into_iter().for_each(|o| by_part.entry(o.part_of()).or_default().push(o));
                for (of, part) in self.parts.iter_mut().filter(|(of, _)| Kind::needed(**of).contains(&kind)) {
                    let objects = by_part.remove(of).unwrap_or_default();
                    changed.push(part.change(|index, changed| index.replace(kind, objects, changed)));
                }
                self.listed.insert(kind);
            }
            What::Touched(pods) => changed.extend(self.parts.values().map(|part| part.with_pods(&pods))),
            What::Failed(_) => {}
        }
        match (was_complete, self.is_complete()) {
            (false, true) => {
                self.parts.values().flat_map(|p| p.targets.values().flatten()).copied().collect()
            }
            (true, true) => changed.into_iter().flatten().collect(),
            (_, false) => Vec::new(),
        }
    }
}

impl Part {
    fn change(&mut self, change: impl FnOnce(&mut Index, &mut Changed)) -> Vec<usize> {
        let mut changed = Changed::new();
        change(&mut self.index, &mut changed);
        self.targets_of(&changed)
    }

    fn with_pods(&self, pods: &[Name]) -> Vec<usize> {
        self.targets_of(&pods.iter().filter_map(|pod| self.index.workload_of(pod)).collect())
    }

    fn targets_of(&self, workloads: &Changed) -> Vec<usize> {
        workloads.iter().filter_map(|name| self.targets.get(name)).flatten().copied().collect()
    }
}

#[derive(Debug)]
struct Watched {
    target: TargetId,
    place: usize,
    kind: WorkloadKind,
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
    /// In the order in which sources number them.
    places: Vec<(String, Place)>,
    watched: Vec<Watched>,
    broken: BTreeMap<Source, String>,
    /// Everything was read, and nothing is broken.
    up: bool,
    dirty: BTreeSet<usize>,
    came_up: bool,
    queue: VecDeque<Item>,
    beside: Beside,
}

impl Announcer {
    pub(super) fn new(targets: Vec<KubernetesTarget>) -> Self {
        let mut named: BTreeMap<String, BTreeMap<WorkloadKind, HashMap<Name, Vec<usize>>>> = BTreeMap::new();
        for (i, KubernetesTarget { workload, .. }) in targets.iter().enumerate() {
            let names =
                named.entry(workload.namespace.clone()).or_default().entry(workload.kind).or_default();
            names.entry(workload.name.as_str().into()).or_default().push(i);
        }
        let order: Vec<String> = named.keys().cloned().collect();
        let watched = targets.into_iter().map(|t| Watched {
            place: order.binary_search(&t.workload.namespace).unwrap_or_default(),
            kind: t.workload.kind,
            name: t.workload.name.as_str().into(),
            target: t.target,
            told: Told::Nothing,
        });
        let watched = watched.collect();
        let part =
            |targets: HashMap<Name, Vec<usize>>| Part { index: Index::new(targets.keys().cloned()), targets };
        let place = |kinds: BTreeMap<WorkloadKind, HashMap<Name, Vec<usize>>>| Place {
            parts: kinds.into_iter().map(|(kind, targets)| (kind, part(targets))).collect(),
            listed: BTreeSet::new(),
        };
        Self {
            places: named.into_iter().map(|(namespace, kinds)| (namespace, place(kinds))).collect(),
            watched,
            broken: BTreeMap::new(),
            up: false,
            dirty: BTreeSet::new(),
            came_up: false,
            queue: VecDeque::new(),
            beside: Beside::default(),
        }
    }

    /// Views then say also what is known beside.
    pub(super) fn with(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    /// The namespaces, in the order in which sources number them.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|(namespace, _)| namespace.as_str())
    }

    /// Everything that must be watched, with its namespace.
    pub(super) fn sources(&self) -> impl Iterator<Item = (Source, &str)> {
        self.places.iter().enumerate().flat_map(|(place, (namespace, found))| {
            found.needed().into_iter().map(move |kind| (Source { place, kind }, namespace.as_str()))
        })
    }

    pub(super) fn take(&mut self, News { source, what }: News) {
        if let What::Failed(why) = what {
            return self.interrupted(source, why);
        }
        let Some((_, place)) = self.places.get_mut(source.place) else { return };
        // It comes from another watch, and says nothing about how this one does.
        let beside = matches!(what, What::Touched(_));
        self.dirty.extend(place.take(source.kind, what));
        if beside {
            return;
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
        if !self.up && self.broken.is_empty() && self.places.iter().all(|(_, place)| place.is_complete()) {
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
        let (namespace, place) = self.places.get_mut(watched.place)?;
        let index = &mut place.parts.get_mut(&watched.kind)?.index;
        let mut view = index.view(&watched.name, &watched.target, now);
        if let Some(view) = &mut view {
            self.beside.add_to(view, namespace);
        }
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
    use super::super::fixtures::{
        controller_revision, deployment, minute, pod, ready, replica_set, stateful_pod, stateful_set, target,
        waiting,
    };
    use super::super::trim::{TrimmedPod, TrimmedRevision, TrimmedWorkload};
    use super::*;
    use crate::domain::plan::kubernetes::Workload;

    const DEPLOYMENT: Kind = Kind::Workload(WorkloadKind::Deployment);
    const STATEFUL_SET: Kind = Kind::Workload(WorkloadKind::StatefulSet);

    fn announcer() -> Announcer {
        Announcer::new(vec![
            on(WorkloadKind::Deployment, "front", "b"),
            on(WorkloadKind::Deployment, "back", "a"),
        ])
    }

    fn on(kind: WorkloadKind, name: &str, namespace: &str) -> KubernetesTarget {
        let workload = Workload { kind, namespace: namespace.into(), name: "web".into() };
        KubernetesTarget { target: target(name), workload }
    }

    #[test]
    fn a_stateful_set_and_a_deployment_of_one_name_are_two() {
        let mut a = Announcer::new(vec![
            on(WorkloadKind::Deployment, "front", "a"),
            on(WorkloadKind::StatefulSet, "store", "a"),
        ]);
        let kinds: Vec<&str> = a.sources().map(|(source, _)| source.kind.plural()).collect();
        assert_eq!(kinds, ["deployments", "statefulsets", "replicasets", "controllerrevisions", "pods"]);
        list(&mut a, 0);
        let store = TrimmedWorkload::of(WorkloadKind::StatefulSet, &stateful_set("web", "shop:v1", "web-a"));
        take(&mut a, 0, STATEFUL_SET, What::Listed(vec![Object::Workload(store.unwrap())]));
        assert!(told(&mut a).is_empty());
        let kept = controller_revision("StatefulSet", "web", "web-a", "shop:v1", 1, 0);
        let kept = vec![Object::Revision(TrimmedRevision::of(&kept).unwrap())];
        take(&mut a, 0, Kind::ControllerRevision, What::Listed(kept));
        assert_eq!(told(&mut a), ["front", "store", "up"]);
        let pod = TrimmedPod::of(&stateful_pod("web", "web-a", "web-0", &ready(1))).unwrap();
        take(&mut a, 0, Kind::Pod, What::Applied(Box::new(Object::Pod(pod))));
        assert_eq!(told(&mut a), ["store"], "its ControllerRevision has the name of the other's ReplicaSet");
        take(&mut a, 0, Kind::Pod, What::Removed("web-0".into()));
        assert_eq!(told(&mut a), ["store"]);
    }

    fn objects(kind: Kind) -> Vec<Object> {
        let object = match kind {
            Kind::Workload(kind) => {
                TrimmedWorkload::of(kind, &deployment("web", "shop:v1")).map(Object::Workload)
            }
            Kind::ReplicaSet | Kind::ControllerRevision => {
                TrimmedRevision::of(&replica_set("web", "web-a", "shop:v1", "1", 0)).map(Object::Revision)
            }
            Kind::Pod => TrimmedPod::of(&pod("web-a", "web-a-1", &ready(1))).map(Object::Pod),
        };
        vec![object.unwrap()]
    }

    fn take(announcer: &mut Announcer, place: usize, kind: Kind, what: What) {
        announcer.take(News { source: Source { place, kind }, what });
    }

    fn list(announcer: &mut Announcer, place: usize) {
        let needed = Kind::needed(WorkloadKind::Deployment);
        needed.iter().for_each(|k| take(announcer, place, *k, What::Listed(objects(*k))));
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
        let sources: Vec<(usize, &str)> =
            a.sources().map(|(source, namespace)| (source.place, namespace)).collect();
        assert_eq!(sources, [(0, "a"), (0, "a"), (0, "a"), (1, "b"), (1, "b"), (1, "b")]);
        take(&mut a, 1, DEPLOYMENT, What::Listed(objects(DEPLOYMENT)));
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
            take(&mut a, 0, Kind::Pod, What::Applied(Box::new(Object::Pod(pod.unwrap()))));
        }
        assert_eq!(told(&mut a), ["back"]);
        let mut annotated = deployment("web", "shop:v1");
        annotated.data["status"]["readyReplicas"] = serde_json::json!(0);
        annotated.data["status"]["availableReplicas"] = serde_json::json!(0);
        let annotated = TrimmedWorkload::of(WorkloadKind::Deployment, &annotated).unwrap();
        take(&mut a, 0, DEPLOYMENT, What::Applied(Box::new(Object::Workload(annotated))));
        assert!(a.is_due());
        assert!(told(&mut a).is_empty(), "the rollout had ended, so the view is the same");
        let mut edited = deployment("web", "shop:v1");
        edited.metadata.generation = Some(2);
        edited.data["status"]["observedGeneration"] = serde_json::json!(2);
        let edited = TrimmedWorkload::of(WorkloadKind::Deployment, &edited).unwrap();
        take(&mut a, 0, DEPLOYMENT, What::Applied(Box::new(Object::Workload(edited))));
        assert_eq!(told(&mut a), ["back"], "somebody edited it");
    }

    #[test]
    fn an_interruption_is_told_once_and_everything_after_it_again() {
        let mut a = listed();
        take(&mut a, 0, Kind::Pod, What::Failed("pods: refused".into()));
        take(&mut a, 0, Kind::Pod, What::Failed("pods: refused".into()));
        take(&mut a, 1, DEPLOYMENT, What::Failed("deployments: refused".into()));
        assert_eq!(told(&mut a), ["down: pods: refused"]);
        take(&mut a, 0, Kind::Pod, What::Listed(vec![]));
        assert_eq!(told(&mut a), ["back"], "its pods vanished in the gap; another watch is still broken");
        take(&mut a, 1, DEPLOYMENT, What::Listed(vec![]));
        assert_eq!(told(&mut a), ["-front", "back", "up"]);
    }

    #[test]
    fn a_deployment_may_go_and_come() {
        let mut a = listed();
        take(&mut a, 0, DEPLOYMENT, What::Removed("web".into()));
        assert_eq!(told(&mut a), ["-back"]);
        take(&mut a, 0, Kind::Pod, What::Removed("web-a-1".into()));
        assert!(told(&mut a).is_empty(), "gone already");
        take(&mut a, 0, DEPLOYMENT, What::Listed(objects(DEPLOYMENT)));
        assert_eq!(told(&mut a), ["back"]);
    }
}
