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
        // Where nothing is watched, nothing is missing.
        let complete = named.is_empty().then_some(Item::Restored);
        Self {
            places: named.into_iter().map(|(namespace, kinds)| (namespace, place(kinds))).collect(),
            watched,
            broken: BTreeMap::new(),
            up: false,
            dirty: BTreeSet::new(),
            came_up: false,
            queue: complete.into_iter().collect(),
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
mod tests;
