//! From whole Kubernetes objects to the few fields that are in use: templates are hashed and dropped here.
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::DynamicObject;
use serde_json::Value;

use super::rollout::Standing;
use crate::domain::release::{Fingerprint, RESTARTED_AT, Version};
use crate::domain::signal::PodReading;
use crate::domain::workload::WorkloadKind;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Of pods: the ControllerRevision that they were made from, or the hash that its name ends with.
pub(super) const REVISION_HASH: &str = "controller-revision-hash";

/// A name within its namespace, shared by everything that refers to it.
pub(super) type Name = Arc<str>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrimmedWorkload {
    pub(super) name: Name,
    pub(super) uid: Name,
    pub(super) version: Version,
    pub(super) paused: bool,
    pub(super) restarted_at: Option<String>,
    pub(super) standing: Standing,
}

/// A ReplicaSet or ControllerRevision: one entry of its workload's history.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrimmedRevision {
    pub(super) name: Name,
    pub(super) uid: Name,
    pub(super) owner: Owned,
    pub(super) version: Version,
    /// `None` if it cannot be parsed: such a ReplicaSet is not part of the history.
    pub(super) revision: Option<u64>,
    /// It is known to have been the current one earlier already, so its age says nothing about the latest time.
    pub(super) reused: bool,
    pub(super) created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrimmedPod {
    pub(super) name: Name,
    pub(super) kind: WorkloadKind,
    /// The ReplicaSet or ControllerRevision that it was made from.
    pub(super) revision: Name,
    /// Pods of a Deployment name their ReplicaSet only.
    pub(super) workload: Option<Name>,
    pub(super) created_at: Timestamp,
    pub(super) reading: PodReading,
    pub(super) metrics_url: Option<String>,
}

/// The controller of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) kind: WorkloadKind,
    pub(super) name: Name,
    pub(super) uid: Name,
}

impl Owned {
    /// `None` unless one of the workloads that we know controls it.
    fn by(meta: &ObjectMeta) -> Option<Self> {
        let owner = controller(meta)?;
        let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
        let kind = kinds.into_iter().find(|kind| owner.kind == kind.title())?;
        Some(Self { kind, name: owner.name.as_str().into(), uid: owner.uid.as_str().into() })
    }
}

/// The owner that controls the object, as `metav1.GetControllerOf`.
pub(super) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// The raw pod template of a workload or ReplicaSet.
pub(super) fn template(object: &DynamicObject) -> &Value {
    object.data.pointer("/spec/template").unwrap_or(&Value::Null)
}

/// The pod template that a ReplicaSet or ControllerRevision keeps. The latter holds the merge patch that brings it back.
pub(super) fn kept_template(object: &DynamicObject) -> Value {
    let Some(kept) = object.data.pointer("/data/spec/template") else { return template(object).clone() };
    let mut template = kept.clone();
    if let Value::Object(fields) = &mut template {
        fields.remove("$patch");
    }
    template
}

pub(super) fn version(template: &Value) -> Version {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    let image = |c: &Value| c.get("image").and_then(Value::as_str).map(str::to_string);
    let images = containers.into_iter().flatten().filter_map(image).collect();
    Version::of_workload(Fingerprint::of_template(template), images)
}

/// Missing counts as 0, unparsable as none, as with kubectl.
pub(super) fn revision(object: &DynamicObject) -> Option<u64> {
    if let Some(number) = object.data.get("revision") {
        return number.as_u64();
    }
    annotation(&object.metadata, REVISION).map_or(Some(0), |text| text.parse().ok())
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn created_at(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}

impl TrimmedWorkload {
    pub(super) fn of(kind: WorkloadKind, object: &DynamicObject) -> Option<Self> {
        let meta = &object.metadata;
        let template = template(object);
        let restarted_at = template.pointer("/metadata/annotations").and_then(|all| all.get(RESTARTED_AT));
        Some(Self {
            name: meta.name.as_deref()?.into(),
            uid: meta.uid.as_deref()?.into(),
            version: version(template),
            paused: object.data.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false),
            restarted_at: restarted_at.and_then(Value::as_str).map(str::to_string),
            standing: Standing::of(kind, meta.generation, &object.data),
        })
    }

    pub(super) fn kind(&self) -> WorkloadKind {
        self.standing.progress.kind
    }
}

impl TrimmedRevision {
    /// `None` unless a workload controls it.
    pub(super) fn of(object: &DynamicObject) -> Option<Self> {
        let meta = &object.metadata;
        Some(Self {
            name: meta.name.as_deref()?.into(),
            uid: meta.uid.as_deref()?.into(),
            owner: Owned::by(meta)?,
            version: version(&kept_template(object)),
            revision: revision(object),
            reused: annotation(meta, REVISION_HISTORY).is_some_and(|text| !text.is_empty()),
            created_at: created_at(meta)?,
        })
    }
}

impl TrimmedPod {
    /// `None` unless a ReplicaSet, StatefulSet or DaemonSet controls it.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let (kind, revision, workload) = origin(meta)?;
        Some(Self {
            name: meta.name.as_deref()?.into(),
            kind,
            revision,
            workload,
            created_at: created_at(meta)?,
            reading: reading(pod),
            metrics_url: metrics_url(pod),
        })
    }
}

fn origin(meta: &ObjectMeta) -> Option<(WorkloadKind, Name, Option<Name>)> {
    if let Some(set) = controller(meta).filter(|o| o.kind == "ReplicaSet") {
        return Some((WorkloadKind::Deployment, set.name.as_str().into(), None));
    }
    let owner = Owned::by(meta)?;
    let hash = meta.labels.as_ref()?.get(REVISION_HASH)?;
    let revision = match owner.kind {
        WorkloadKind::Deployment => return None,
        WorkloadKind::StatefulSet => hash.as_str().into(),
        WorkloadKind::DaemonSet => format!("{}-{hash}", owner.name).into(),
    };
    Some((owner.kind, revision, Some(owner.name)))
}

fn reading(pod: &Pod) -> PodReading {
    let status = pod.status.as_ref();
    let ready = status.and_then(|s| condition(s, "Ready")).filter(|c| c.status == "True");
    let restarts = status.map_or(0, |s| containers(s).map(|c| c.restart_count.max(0).unsigned_abs()).sum());
    let over = status.and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed");
    PodReading {
        ready: ready.is_some(),
        created_at: created_at(&pod.metadata),
        ready_since: ready.and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0),
        restarts,
        reason: status.and_then(why),
        probe: None,
        endpoint: None,
        gone: over || pod.metadata.deletion_timestamp.is_some(),
    }
}

pub(super) fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
}

pub(super) fn condition<'a>(
    status: &'a PodStatus,
    wanted: &str,
) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == wanted)
}

/// What keeps the pod from serving, most telling first.
fn why(status: &PodStatus) -> Option<String> {
    let waiting = containers(status).find_map(|c| {
        let reason = c.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        (!matches!(reason, "" | "ContainerCreating" | "PodInitializing")).then(|| reason.to_string())
    });
    let out_of_memory = || {
        let hit = containers(status)
            .any(|c| was_out_of_memory(c.state.as_ref()) || was_out_of_memory(c.last_state.as_ref()));
        hit.then(|| "OOMKilled".to_string())
    };
    let unschedulable = || {
        let scheduled = condition(status, "PodScheduled").filter(|c| c.status == "False")?;
        scheduled.reason.clone().filter(|reason| !reason.is_empty())
    };
    let evicted = || status.reason.clone().filter(|reason| !reason.is_empty());
    waiting.or_else(out_of_memory).or_else(unschedulable).or_else(evicted)
}

/// Exit code 137 alone proves nothing: a container that ignores its liveness probe's SIGTERM ends so too, as `Error`.
fn was_out_of_memory(state: Option<&ContainerState>) -> bool {
    let ended = state.and_then(|s| s.terminated.as_ref());
    ended.is_some_and(|t| match t.reason.as_deref() {
        Some("OOMKilled") => true,
        None | Some("") => t.exit_code == 137,
        Some(_) => false,
    })
}

fn metrics_url(pod: &Pod) -> Option<String> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    let port = annotation(&pod.metadata, "prometheus.io/port").and_then(|text| text.parse().ok());
    let port: u16 = port.or_else(|| container_port(pod))?;
    let path = annotation(&pod.metadata, "prometheus.io/path").unwrap_or("/metrics");
    let slash = if path.starts_with('/') { "" } else { "/" };
    // The socket address puts IPv6 into brackets.
    Some(format!("http://{}{slash}{path}", std::net::SocketAddr::new(ip, port)))
}

fn container_port(pod: &Pod) -> Option<u16> {
    let ports = || pod.spec.iter().flat_map(|s| &s.containers).flat_map(|c| c.ports.iter().flatten());
    let named = ports().find(|p| p.name.as_deref() == Some("metrics"));
    named.or_else(|| ports().next()).and_then(|p| u16::try_from(p.container_port).ok())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        controller_revision, daemon_pod, deployment, pod, replica_set, stateful_pod, stateful_set,
    };
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_and_its_replica_set_have_one_fingerprint() {
        let deployment =
            TrimmedWorkload::of(WorkloadKind::Deployment, &deployment("web", "shop:v2")).unwrap();
        let set = TrimmedRevision::of(&replica_set("web", "web-b", "shop:v2", "2", 10)).unwrap();
        assert_eq!(deployment.version, set.version);
        assert_eq!(deployment.version.label, "v2");
        assert_eq!((set.revision, set.reused), (Some(2), false));
    }

    #[test]
    fn a_stateful_set_its_revision_and_its_pod_belong_together() {
        let object = stateful_set("db", "shop:v2", "db-b");
        let set = TrimmedWorkload::of(WorkloadKind::StatefulSet, &object).unwrap();
        let revision =
            TrimmedRevision::of(&controller_revision("StatefulSet", "db", "db-b", "shop:v2", 7, 10));
        let revision = revision.unwrap();
        assert_eq!((set.version, Some(7)), (revision.version, revision.revision));
        let of = |pod: &Pod| TrimmedPod::of(pod).map(|p| (p.kind, p.revision, p.workload.unwrap()));
        let expected = (WorkloadKind::StatefulSet, "db-b".into(), "db".into());
        assert_eq!(of(&stateful_pod("db", "db-b", "db-0", &json!({}))), Some(expected));
        let expected = (WorkloadKind::DaemonSet, "agent-5f".into(), "agent".into());
        assert_eq!(of(&daemon_pod("agent", "5f", "agent-x", &json!({}))), Some(expected));
    }

    #[test]
    fn fields_that_no_client_knows_are_part_of_the_fingerprint() {
        let plain = deployment("web", "shop:v2");
        let mut future = plain.clone();
        future.data["spec"]["template"]["spec"]["fieldOfTheFuture"] = json!(true);
        assert_ne!(version(template(&plain)), version(template(&future)));
    }

    #[test]
    fn revisions_are_read_as_kubectl_reads_them() {
        let set = |revision: Option<&str>| {
            let mut set = replica_set("web", "web-a", "shop:v1", "1", 0);
            let annotations = revision.map(|r| [(REVISION.to_string(), r.to_string())].into());
            set.metadata.annotations = annotations;
            TrimmedRevision::of(&set).unwrap().revision
        };
        assert_eq!(set(None), Some(0));
        assert_eq!(set(Some("x")), None);
        assert_eq!(set(Some("7")), Some(7));
        let mut bare = replica_set("web", "web-a", "shop:v1", "1", 0);
        bare.metadata.owner_references = None;
        assert_eq!(TrimmedRevision::of(&bare), None);
    }

    #[test]
    fn the_reason_is_the_most_telling_one() {
        let reading = |status: Value| TrimmedPod::of(&pod("web-a", "p", &status)).unwrap().reading;
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "c", "ready": false, "restartCount": 3, "image": "", "imageID": "",
                "state": {"waiting": {"reason": reason}}, "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
                "initContainerStatuses": [{"name": "i", "ready": true, "restartCount": 2, "image": "", "imageID": ""}]})
        };
        let crash = reading(waiting("CrashLoopBackOff"));
        assert_eq!((crash.reason.as_deref(), crash.restarts), (Some("CrashLoopBackOff"), 5));
        assert_eq!(reading(waiting("ContainerCreating")).reason, None);
        let ended = |reason: Value, code: i32| {
            reading(json!({"containerStatuses": [{"name": "c", "ready": true, "restartCount": 1, "image": "", "imageID": "",
                "state": {"running": {}}, "lastState": {"terminated": {"exitCode": code, "reason": reason}}}]}))
            .reason
        };
        assert_eq!(ended(json!("OOMKilled"), 137).as_deref(), Some("OOMKilled"));
        assert_eq!(ended(json!(null), 137).as_deref(), Some("OOMKilled"));
        assert_eq!(ended(json!("Error"), 137), None, "killed by a probe, not for want of memory");
        let nowhere = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
        assert_eq!(reading(nowhere).reason.as_deref(), Some("Unschedulable"));
        let evicted = reading(json!({"phase": "Failed", "reason": "Evicted"}));
        assert_eq!((evicted.reason.as_deref(), evicted.gone), (Some("Evicted"), true));
    }

    #[test]
    fn readiness_has_its_time() {
        let ready = json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:00:00Z"}]});
        let reading = TrimmedPod::of(&pod("web-a", "p", &ready)).unwrap().reading;
        assert!(reading.ready && !reading.gone);
        assert_eq!(reading.ready_since, "2026-11-22T10:00:00Z".parse().ok());
    }

    #[test]
    fn metrics_are_where_the_annotations_or_the_ports_say() {
        let mut pod = pod("web-a", "p", &json!({"podIP": "10.0.0.7"}));
        let ports = |pod: &mut Pod, ports: Value| {
            pod.spec.as_mut().unwrap().containers[0].ports = serde_json::from_value(ports).unwrap();
        };
        assert_eq!(metrics_url(&pod), None);
        ports(&mut pod, json!([{"containerPort": 8080}]));
        assert_eq!(metrics_url(&pod).as_deref(), Some("http://10.0.0.7:8080/metrics"));
        ports(&mut pod, json!([{"containerPort": 8080}, {"containerPort": 9090, "name": "metrics"}]));
        assert_eq!(metrics_url(&pod).as_deref(), Some("http://10.0.0.7:9090/metrics"));
        let annotations = [("prometheus.io/port", "9102"), ("prometheus.io/path", "stats")];
        pod.metadata.annotations = Some(annotations.map(|(k, v)| (k.to_string(), v.to_string())).into());
        assert_eq!(metrics_url(&pod).as_deref(), Some("http://10.0.0.7:9102/stats"));
        pod.status.as_mut().unwrap().pod_ip = Some("fd00::7".into());
        assert_eq!(metrics_url(&pod).as_deref(), Some("http://[fd00::7]:9102/stats"));
    }
}
