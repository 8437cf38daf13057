//! What is announced of what the watches see, and what is not.
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
