//! A rollback leaves a workload as the real `kubectl rollout undo` or `kubectl set image` leaves its twin.

use serde_json::{Map, Value};

use super::world::{Place, World, slowly};
use crate::components::workload;
use crate::support::cluster::Cluster;

const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Releases of the same workload in two namespaces: one is guarded, the other one is for kubectl.
struct Twins {
    ours: World,
    theirs: Place,
}

/// What `apply` is given for a version: annotations come, change and go from version to version.
fn version(kind: &str, number: usize) -> Value {
    let mut object = workload(kind, &format!("v{number}"));
    let mut annotations = Map::new();
    annotations.insert(CHANGE_CAUSE.into(), format!("deploy of v{number}").into());
    annotations.insert("shop.example.com/note".into(), format!("as of v{number}").into());
    annotations.insert(format!("shop.example.com/only-v{number}"), "yes".into());
    object["metadata"]["annotations"] = annotations.into();
    object
}

impl Twins {
    async fn released(purpose: &str, versions: usize) -> Self {
        Self::of("deployment", purpose, versions).await
    }

    async fn of(kind: &'static str, purpose: &str, versions: usize) -> Self {
        let first = |object: &mut Value| *object = version(kind, 1);
        let twin = format!("{purpose}-twin");
        let (ours, theirs) = tokio::join!(
            async { Place::of(kind, purpose, first).await.guarded().await },
            Place::of(kind, &twin, first),
        );
        let twins = Self { ours, theirs };
        for number in 2..=versions {
            twins.release(number).await;
        }
        twins
    }

    async fn release(&self, number: usize) {
        for place in [&*self.ours, &self.theirs] {
            place.cluster.apply(&place.namespace, &version(place.kind, number)).await;
            place.rolled_out().await;
        }
        self.ours.daemon.await_watch(&format!("v{number}")).await;
    }

    async fn are_equal(&self) {
        self.ours.rolled_out().await;
        self.theirs.rolled_out().await;
        let (ours, theirs) = (Left::of(&self.ours).await, Left::of(&self.theirs).await);
        assert_eq!(ours.workload, theirs.workload);
        assert_eq!(ours.history, theirs.history);
        assert!(ours.cause.starts_with("rollguard: rolled back from v"), "{}", ours.cause);
    }
}

/// What an undo leaves behind, without what is different in any two namespaces.
struct Left {
    workload: Value,
    history: Value,
    cause: String,
}

impl Left {
    async fn of(place: &Place) -> Self {
        let line = format!("get {} web -o json", place.kind);
        let mut workload = read(place.cluster, &place.namespace, &line).await;
        let cause = without_cause(&mut workload);
        let kept = if place.kind == "deployment" { "replicasets" } else { "controllerrevisions" };
        let sets = read(place.cluster, &place.namespace, &format!("get {kept} -o json")).await;
        let sets = sets["items"].as_array().unwrap().iter().map(|set| {
            let mut set = set.clone();
            without_cause(&mut set);
            let parts = [
                "/metadata/name",
                "/metadata/annotations",
                "/metadata/labels",
                "/spec",
                "/data",
                "/revision",
            ];
            picked(&set, &parts)
        });
        let parts = ["/metadata/generation", "/metadata/annotations", "/metadata/labels", "/spec"];
        Self { workload: picked(&workload, &parts), history: sets.collect(), cause }
    }
}

async fn read(cluster: &Cluster, namespace: &str, line: &str) -> Value {
    // kubectl's own annotation names the namespace.
    let text = cluster.kubectl(namespace, line).await.replace(namespace, "NAMESPACE");
    serde_json::from_str(&text).unwrap()
}

fn without_cause(object: &mut Value) -> String {
    let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove(CHANGE_CAUSE).unwrap().as_str().unwrap().to_owned()
}

fn picked(object: &Value, pointers: &[&str]) -> Value {
    pointers.iter().map(|pointer| object.pointer(pointer).cloned().unwrap_or_default()).collect()
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_rollback_leaves_what_kubectl_leaves() {
    let twins = Twins::released("undo", 2).await;
    twins.ours.daemon.cli_ok("rollback shop/backend --yes --wait --reason drill").await;
    twins.theirs.kubectl("rollout undo deployment/web").await;
    assert_eq!(twins.ours.tag().await, "v1");
    twins.are_equal().await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_rollback_to_a_revision_leaves_what_kubectl_leaves() {
    let twins = Twins::released("to-revision", 3).await;
    twins.ours.daemon.cli_ok("rollback shop/backend --to-revision 2 --yes --wait").await;
    twins.theirs.kubectl("rollout undo deployment/web --to-revision=2").await;
    assert_eq!(twins.ours.tag().await, "v2");
    twins.are_equal().await;
    let [run] = twins.ours.daemon.runs().await.try_into().unwrap();
    assert_eq!((run.verified, run.phase.as_str()), (Some(true), "watching"));
    twins.ours.told("action", "ordered by ann").await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_revision_that_is_not_there_is_refused_with_what_to_do() {
    let world = Place::with("no-revision", slowly).await.guarded().await;
    let output = world.daemon.cli("rollback shop/backend --to-revision 7 --yes").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("revision 7 is no longer in the history"), "{errors}");
    assert!(errors.contains("kubectl set image"), "{errors}");
    assert!(world.daemon.runs().await.is_empty());
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn stateful_sets_and_daemon_sets_are_left_as_kubectl_leaves_them() {
    let undone = async |kind: &'static str| {
        let twins = Twins::of(kind, &format!("undo-{kind}"), 2).await;
        twins.ours.daemon.cli_ok("rollback shop/backend --yes --wait --reason drill").await;
        twins.theirs.kubectl(&format!("rollout undo {kind}/web")).await;
        assert_eq!(twins.ours.tag().await, "v1");
        twins.are_equal().await;
    };
    tokio::join!(undone("statefulset"), undone("daemonset"));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_image_is_set_as_kubectl_sets_it() {
    let set = async |kind: &'static str| {
        let twins = Twins::of(kind, &format!("image-{kind}"), 2).await;
        let unknown = twins.ours.daemon.cli("rollback shop/backend --to-image proxy=app:v9 --yes").await;
        let errors = String::from_utf8_lossy(&unknown.stderr);
        assert_eq!(unknown.status.code(), Some(3), "{errors}");
        assert!(errors.contains("no container named proxy") && errors.contains("app"), "{errors}");
        twins.ours.daemon.cli_ok("rollback shop/backend --to-image app:v9 --yes --wait").await;
        twins.theirs.kubectl(&format!("set image {kind}/web app=app:v9")).await;
        assert_eq!(twins.ours.tag().await, "v9");
        twins.are_equal().await;
    };
    tokio::join!(set("deployment"), set("statefulset"));
}
