//! Kubernetes objects for tests, as an API server sends them; times are minutes since the epoch.
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::index::{Changed, Index, Object};
use super::trim::{TrimmedPod, TrimmedRevision, TrimmedWorkload};
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::workload::{WorkloadKind, WorkloadView};

pub(super) fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

pub(super) fn target(name: &str) -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse(name).unwrap() }
}

fn template(image: &str, hash: Option<&str>) -> Value {
    let mut labels = json!({"app": "web"});
    if let Some(hash) = hash {
        labels["pod-template-hash"] = json!(hash);
    }
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

pub(super) fn deployment(name: &str, image: &str) -> DynamicObject {
    deployment_at(name, image, 60)
}

/// Rolled out completely, at this minute.
pub(super) fn deployment_at(name: &str, image: &str, ended: i64) -> DynamicObject {
    object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1,
                     "creationTimestamp": minute(0), "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 1, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
                 "selector": {"matchLabels": {"app": "web"}}, "template": template(image, None)},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
                   "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                                   "message": "", "lastUpdateTime": minute(ended)}]}}))
}

pub(super) fn replica_set(
    owner: &str,
    name: &str,
    image: &str,
    revision: &str,
    created: i64,
) -> DynamicObject {
    object(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
                     "creationTimestamp": minute(created),
                     "annotations": {"deployment.kubernetes.io/revision": revision},
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": owner,
                                          "uid": format!("uid-{owner}"), "controller": true}]},
        "spec": {"replicas": 1, "template": template(image, Some(name))}}))
}

/// One that was the current one before, and is again.
pub(super) fn reused_set(
    owner: &str,
    name: &str,
    image: &str,
    revision: &str,
    created: i64,
) -> DynamicObject {
    let mut set = replica_set(owner, name, image, revision, created);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert("deployment.kubernetes.io/revision-history".into(), "1".into());
    set
}

pub(super) fn pod(set: &str, name: &str, status: &Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "creationTimestamp": minute(0),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                                 "uid": format!("uid-{set}"), "controller": true}]},
        "spec": {"containers": [{"name": "c", "image": "shop"}]}, "status": status}),
    )
    .unwrap()
}

/// Rolled out completely, with this update revision.
pub(super) fn stateful_set(name: &str, image: &str, revision: &str) -> DynamicObject {
    object(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1,
                     "creationTimestamp": minute(0)},
        "spec": {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
                 "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                 "selector": {"matchLabels": {"app": "web"}}, "template": template(image, None)},
        "status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
                   "currentRevision": revision, "updateRevision": revision}}))
}

pub(super) fn controller_revision(
    kind: &str,
    owner: &str,
    name: &str,
    image: &str,
    revision: u64,
    created: i64,
) -> DynamicObject {
    let mut kept = template(image, None);
    kept["$patch"] = json!("replace");
    object(json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
                     "creationTimestamp": minute(created),
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner,
                                          "uid": format!("uid-{owner}"), "controller": true}]},
        "data": {"spec": {"template": kept}}, "revision": revision}))
}

fn labelled_pod(kind: &str, owner: &str, hash: &str, name: &str, status: &Value) -> Pod {
    let mut pod = pod(owner, name, status);
    pod.metadata.labels = Some([("controller-revision-hash".to_string(), hash.to_string())].into());
    pod.metadata.owner_references.iter_mut().flatten().for_each(|o| o.kind = kind.into());
    pod
}

/// The label holds the whole name of the ControllerRevision.
pub(super) fn stateful_pod(owner: &str, revision: &str, name: &str, status: &Value) -> Pod {
    labelled_pod("StatefulSet", owner, revision, name, status)
}

/// The label holds the end of the ControllerRevision's name.
pub(super) fn daemon_pod(owner: &str, hash: &str, name: &str, status: &Value) -> Pod {
    labelled_pod("DaemonSet", owner, hash, name, status)
}

pub(super) fn ready(since: i64) -> Value {
    json!({"podIP": "10.0.0.1", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": minute(since)}]})
}

pub(super) fn waiting(reason: &str, restarts: u32) -> Value {
    json!({"podIP": "10.0.0.1", "containerStatuses": [
        {"name": "c", "ready": false, "restartCount": restarts, "image": "", "imageID": "",
         "state": {"waiting": {"reason": reason}}}]})
}

/// An index that is fed whole objects.
pub(super) struct World {
    pub(super) index: Index,
    pub(super) target: TargetId,
}

impl World {
    pub(super) fn new(names: &[&str]) -> Self {
        Self { index: Index::new(names.iter().map(|n| (*n).into())), target: target("backend") }
    }

    fn apply(&mut self, object: Object) -> Vec<String> {
        let mut changed = Changed::new();
        self.index.apply(object, &mut changed);
        changed.iter().map(|name| name.to_string()).collect()
    }

    pub(super) fn deployment(&mut self, object: DynamicObject) -> Vec<String> {
        self.apply(Object::Workload(TrimmedWorkload::of(WorkloadKind::Deployment, &object).unwrap()))
    }
    pub(super) fn stateful_set(&mut self, object: DynamicObject) -> Vec<String> {
        self.apply(Object::Workload(TrimmedWorkload::of(WorkloadKind::StatefulSet, &object).unwrap()))
    }
    pub(super) fn replica_set(&mut self, object: DynamicObject) -> Vec<String> {
        self.apply(Object::Revision(TrimmedRevision::of(&object).unwrap()))
    }
    pub(super) fn pod(&mut self, object: &Pod) -> Vec<String> {
        self.apply(Object::Pod(TrimmedPod::of(object).unwrap()))
    }
    pub(super) fn view(&mut self, name: &str, now: i64) -> WorkloadView {
        self.index.view(name, &self.target, minute(now)).unwrap()
    }
}
