//! Everything that is known of one namespace's workloads of one kind, found by name and by owner without a scan; says which of them changed.
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::trim::{Name, TrimmedPod, TrimmedRevision, TrimmedWorkload};
use super::view::{self, Memo};
use crate::domain::names::TargetId;
use crate::domain::workload::{WorkloadKind, WorkloadView};

/// A kind of object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Workload(WorkloadKind),
    ReplicaSet,
    ControllerRevision,
    Pod,
}

impl Kind {
    /// What must be watched for workloads of a kind.
    pub(super) fn needed(by: WorkloadKind) -> [Kind; 3] {
        let history = match by {
            WorkloadKind::Deployment => Kind::ReplicaSet,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => Kind::ControllerRevision,
        };
        [Kind::Workload(by), history, Kind::Pod]
    }

    /// As RBAC rules name it.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Workload(WorkloadKind::Deployment) => "deployments",
            Kind::Workload(WorkloadKind::StatefulSet) => "statefulsets",
            Kind::Workload(WorkloadKind::DaemonSet) => "daemonsets",
            Kind::ReplicaSet => "replicasets",
            Kind::ControllerRevision => "controllerrevisions",
            Kind::Pod => "pods",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Workload(TrimmedWorkload),
    Revision(TrimmedRevision),
    Pod(TrimmedPod),
}

impl Object {
    fn name(&self) -> &Name {
        match self {
            Object::Workload(w) => &w.name,
            Object::Revision(r) => &r.name,
            Object::Pod(p) => &p.name,
        }
    }

    /// The kind of workload that it is part of.
    pub(super) fn part_of(&self) -> WorkloadKind {
        match self {
            Object::Workload(w) => w.kind(),
            Object::Revision(r) => r.owner.kind,
            Object::Pod(p) => p.kind,
        }
    }
}

/// A ReplicaSet or ControllerRevision with its pods. Pods may be seen before it, so it may still be missing itself.
#[derive(Debug)]
pub(super) struct Set {
    workload: Name,
    pub(super) object: Option<TrimmedRevision>,
    pub(super) pods: Pods,
}

/// By name. A tree's smallest node would be four times as large as the two or three pods that most sets have.
#[derive(Debug, Default)]
pub(super) struct Pods(Vec<TrimmedPod>);

impl Pods {
    pub(super) fn iter(&self) -> impl Iterator<Item = &TrimmedPod> {
        self.0.iter()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|pod| (*pod.name).cmp(name))
    }

    /// Whether it was another one before.
    fn put(&mut self, pod: TrimmedPod) -> bool {
        match self.place(&pod.name) {
            Ok(at) => self.0.get_mut(at).is_some_and(|known| {
                let differs = *known != pod;
                *known = pod;
                differs
            }),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, pod);
                true
            }
        }
    }

    fn remove(&mut self, name: &str) -> bool {
        self.place(name).map(|at| self.0.remove(at)).is_ok()
    }
}

/// Names of workloads whose view may be another one now.
pub(super) type Changed = BTreeSet<Name>;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Workloads that are targets; others are not kept.
    wanted: HashSet<Name>,
    workloads: HashMap<Name, TrimmedWorkload>,
    /// Boxed, since a table has room to spare.
    sets: HashMap<Name, Box<Set>>,
    sets_of: HashMap<Name, BTreeSet<Name>>,
    set_of_pod: HashMap<Name, Name>,
    memos: HashMap<Name, Memo>,
}

impl Index {
    pub(super) fn new(wanted: impl IntoIterator<Item = Name>) -> Self {
        Self { wanted: wanted.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn apply(&mut self, object: Object, changed: &mut Changed) {
        match object {
            Object::Workload(workload) => self.apply_workload(workload, changed),
            Object::Revision(set) => self.apply_set(set, changed),
            Object::Pod(pod) => self.apply_pod(pod, changed),
        }
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str, changed: &mut Changed) {
        match kind {
            Kind::Workload(_) => {
                self.memos.remove(name);
                changed.extend(self.workloads.remove(name).map(|d| d.name));
            }
            Kind::ReplicaSet | Kind::ControllerRevision => self.remove_set(name, changed),
            Kind::Pod => self.remove_pod(name, changed),
        }
    }

    /// Takes a complete list: what is not in it vanished while nobody looked.
    pub(super) fn replace(&mut self, kind: Kind, objects: Vec<Object>, changed: &mut Changed) {
        let listed: HashSet<&str> = objects.iter().map(|o| &**o.name()).collect();
        let vanished: Vec<Name> =
            self.names(kind).filter(|name| !listed.contains(&***name)).cloned().collect();
        vanished.iter().for_each(|name| self.remove(kind, name, changed));
        objects.into_iter().for_each(|object| self.apply(object, changed));
    }

    /// The workload as it is now; `None` if there is none of this name.
    pub(super) fn view(&mut self, name: &str, target: &TargetId, now: Timestamp) -> Option<WorkloadView> {
        let workload = self.workloads.get(name)?;
        let sets = self.sets_of.get(name).into_iter().flatten();
        let sets: Vec<&Set> = sets.filter_map(|set| self.sets.get(set).map(Box::as_ref)).collect();
        let before = self.memos.get(name);
        let (view, memo) = view::build(target, workload, &sets, before, now);
        self.memos.insert(workload.name.clone(), memo);
        Some(view)
    }

    /// The workload that a pod belongs to.
    pub(super) fn workload_of(&self, pod: &Name) -> Option<Name> {
        self.sets.get(self.set_of_pod.get(pod)?).map(|set| set.workload.clone())
    }

    /// Counts the edits of the workload's spec.
    pub(super) fn generation(&self, name: &str) -> Option<i64> {
        self.workloads.get(name).map(|workload| workload.standing.progress.generation)
    }

    fn names(&self, kind: Kind) -> Box<dyn Iterator<Item = &Name> + '_> {
        match kind {
            Kind::Workload(_) => Box::new(self.workloads.keys()),
            Kind::ReplicaSet | Kind::ControllerRevision => {
                Box::new(self.sets.iter().filter(|(_, s)| s.object.is_some()).map(|(name, _)| name))
            }
            Kind::Pod => Box::new(self.set_of_pod.keys()),
        }
    }

    fn apply_workload(&mut self, workload: TrimmedWorkload, changed: &mut Changed) {
        if !self.wanted.contains(&workload.name) || self.workloads.get(&workload.name) == Some(&workload) {
            return;
        }
        changed.insert(workload.name.clone());
        self.workloads.insert(workload.name.clone(), workload);
    }

    fn apply_set(&mut self, object: TrimmedRevision, changed: &mut Changed) {
        let (name, owner) = (object.name.clone(), object.owner.name.clone());
        if !self.wanted.contains(&owner) && !self.sets.contains_key(&name) {
            return;
        }
        self.link(&name, &owner, changed);
        if let Some(set) = self.sets.get_mut(&name)
            && set.object.as_ref() != Some(&object)
        {
            set.object = Some(object);
            changed.insert(owner);
        }
    }

    fn apply_pod(&mut self, pod: TrimmedPod, changed: &mut Changed) {
        let set_name = pod.revision.clone();
        if !self.sets.contains_key(&set_name) {
            let guess = pod.workload.clone().unwrap_or_else(|| presumed_workload(&set_name));
            if !self.wanted.contains(&guess) {
                return;
            }
            self.link(&set_name, &guess, changed);
        }
        self.set_of_pod.insert(pod.name.clone(), set_name.clone());
        if let Some(set) = self.sets.get_mut(&set_name)
            && set.pods.put(pod)
        {
            changed.insert(set.workload.clone());
        }
    }

    fn remove_set(&mut self, name: &str, changed: &mut Changed) {
        if let Some(set) = self.sets.get_mut(name)
            && set.object.take().is_some()
        {
            changed.insert(set.workload.clone());
        }
        self.forget_if_empty(name);
    }

    fn remove_pod(&mut self, name: &str, changed: &mut Changed) {
        let Some(set_name) = self.set_of_pod.remove(name) else { return };
        if let Some(set) = self.sets.get_mut(&set_name)
            && set.pods.remove(name)
        {
            changed.insert(set.workload.clone());
        }
        self.forget_if_empty(&set_name);
    }

    /// Makes sure that the set exists and belongs to the workload.
    fn link(&mut self, set: &Name, workload: &Name, changed: &mut Changed) {
        let new = || Box::new(Set { workload: workload.clone(), object: None, pods: Pods::default() });
        let entry = self.sets.entry(set.clone()).or_insert_with(new);
        if entry.workload != *workload {
            let former = std::mem::replace(&mut entry.workload, workload.clone());
            unlink(&mut self.sets_of, &former, set);
            changed.insert(former);
        }
        self.sets_of.entry(workload.clone()).or_default().insert(set.clone());
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.sets.get(name).is_some_and(|set| set.object.is_none() && set.pods.0.is_empty())
            && let Some(set) = self.sets.remove(name)
        {
            unlink(&mut self.sets_of, &set.workload, name);
        }
    }
}

fn unlink(sets_of: &mut HashMap<Name, BTreeSet<Name>>, workload: &Name, set: &str) {
    if let Some(sets) = sets_of.get_mut(workload) {
        sets.remove(set);
        if sets.is_empty() {
            sets_of.remove(workload);
        }
    }
}

/// The Deployment controller names its ReplicaSets `DEPLOYMENT-HASH`, and a hash has no dash.
fn presumed_workload(set: &Name) -> Name {
    set.rsplit_once('-').map_or_else(|| set.clone(), |(workload, _)| workload.into())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{World, deployment, minute, pod, ready, replica_set, waiting};
    use super::*;

    const DEPLOYMENT: Kind = Kind::Workload(WorkloadKind::Deployment);

    fn world() -> World {
        let mut world = World::new(&["web"]);
        world.deployment(deployment("web", "shop:v1"));
        world.replica_set(replica_set("web", "web-a", "shop:v1", "1", 0));
        world.pod(&pod("web-a", "web-a-1", &ready(1)));
        world
    }

    #[test]
    fn objects_of_others_are_not_kept() {
        let mut world = world();
        assert!(world.deployment(deployment("api", "shop:v1")).is_empty());
        assert!(world.replica_set(replica_set("api", "api-a", "shop:v1", "1", 0)).is_empty());
        assert!(world.pod(&pod("api-a", "api-a-1", &ready(1))).is_empty());
        assert_eq!(world.index.sets.len(), 1);
        assert_eq!(world.index.set_of_pod.len(), 1);
    }

    #[test]
    fn what_did_not_change_is_no_change() {
        let mut world = world();
        assert!(world.deployment(deployment("web", "shop:v1")).is_empty());
        assert!(world.pod(&pod("web-a", "web-a-1", &ready(1))).is_empty());
        assert_eq!(world.pod(&pod("web-a", "web-a-1", &waiting("CrashLoopBackOff", 2))), ["web"]);
    }

    #[test]
    fn a_pod_may_come_before_its_replica_set() {
        let mut world = world();
        assert_eq!(world.pod(&pod("web-b", "web-b-1", &ready(11))), ["web"]);
        let view = world.view("web", 11);
        let late = view.pods.iter().find(|p| p.name == "web-b-1").unwrap();
        assert_eq!(late.fingerprint, None);
        world.replica_set(replica_set("web", "web-b", "shop:v2", "2", 10));
        world.deployment(deployment("web", "shop:v2"));
        let view = world.view("web", 11);
        let late = view.pods.iter().find(|p| p.name == "web-b-1").unwrap();
        assert_eq!(late.fingerprint, Some(view.history[1].version.fingerprint.clone()));
    }

    #[test]
    fn a_replica_set_that_belongs_elsewhere_takes_its_pods_along() {
        let mut world = World::new(&["web", "web-x"]);
        world.deployment(deployment("web", "shop:v1"));
        world.deployment(deployment("web-x", "shop:v1"));
        assert_eq!(world.pod(&pod("web-x-b", "p", &ready(1))), ["web-x"]);
        let changed = world.replica_set(replica_set("web", "web-x-b", "shop:v1", "1", 0));
        assert_eq!(changed, ["web", "web-x"]);
        assert_eq!(world.view("web", 1).pods.len(), 1);
        assert_eq!(world.view("web-x", 1).pods.len(), 0);
    }

    #[test]
    fn a_list_after_a_gap_removes_what_vanished() {
        let mut world = world();
        world.pod(&pod("web-a", "web-a-2", &ready(1)));
        let mut changed = Changed::new();
        let left = TrimmedPod::of(&pod("web-a", "web-a-2", &ready(1))).unwrap();
        world.index.replace(Kind::Pod, vec![Object::Pod(left)], &mut changed);
        assert_eq!(changed.len(), 1);
        let names: Vec<_> = world.view("web", 2).pods.into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["web-a-2"]);
        world.index.replace(Kind::Pod, vec![], &mut Changed::new());
        world.index.replace(Kind::ReplicaSet, vec![], &mut Changed::new());
        assert!(world.index.sets.is_empty() && world.index.sets_of.is_empty());
        let mut changed = Changed::new();
        world.index.replace(DEPLOYMENT, vec![], &mut changed);
        assert_eq!(changed.len(), 1);
        assert_eq!(world.index.view("web", &world.target, minute(2)), None);
        assert!(world.index.memos.is_empty());
    }

    #[test]
    fn a_deployment_made_anew_does_not_inherit_the_old_replica_sets() {
        let mut world = world();
        world.index.remove(DEPLOYMENT, "web", &mut Changed::new());
        let mut again = deployment("web", "shop:v1");
        again.metadata.uid = Some("another".into());
        world.deployment(again);
        let view = world.view("web", 50);
        assert!(view.pods.is_empty());
        assert_eq!((view.history.len(), view.current_since), (1, minute(50)));
    }
}
