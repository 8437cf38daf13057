//! The ReplicaSet that stands for a Deployment's template: its name, its copied annotations and its revision number.

use serde_json::{Value, json};

use super::object::{self, Kind};
use super::random::name_safe;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The annotations that a Deployment and its ReplicaSets do not share.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

pub(super) fn number(replica_set: &Value) -> i64 {
    object::annotation(replica_set, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

/// Whether a ReplicaSet runs this template, its own hash label aside.
pub(super) fn runs_template(replica_set: &Value, template: &Value) -> bool {
    without_hash(&replica_set["spec"]["template"]) == without_hash(template)
}

/// A new ReplicaSet for the Deployment's template, with `replicas` pods wanted.
pub(super) fn replica_set(deployment: &Value, revision: i64, replicas: i64, max_replicas: i64) -> Value {
    let spec = &deployment["spec"];
    let hash = template_hash(&spec["template"]);
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][TEMPLATE_HASH] = hash.clone().into();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][TEMPLATE_HASH] = hash.clone().into();
    let mut replica_set = json!({
        "metadata": {
            "name": format!("{}-{hash}", object::text(deployment, "/metadata/name")),
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {},
            "ownerReferences": object::controller_reference(Kind::Deployment, deployment),
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": object::number(deployment, "/spec/minReadySeconds"),
            "selector": selector,
            "template": template,
        },
        "status": {"replicas": 0},
    });
    make_current(&mut replica_set, deployment, revision);
    mark_scale(&mut replica_set, object::number(deployment, "/spec/replicas"), max_replicas);
    replica_set
}

/// Gives a ReplicaSet that stands for the current template its number and the Deployment's annotations. One that
/// comes back is renumbered, and keeps its old number in its history.
pub(super) fn make_current(replica_set: &mut Value, deployment: &Value, revision: i64) {
    replica_set["spec"]["minReadySeconds"] = json!(object::number(deployment, "/spec/minReadySeconds"));
    let copied = deployment["metadata"]["annotations"].as_object();
    for (key, value) in copied.into_iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotate(replica_set, key, value.clone());
        }
    }
    if number(replica_set) >= revision {
        return;
    }
    if let Some(old) = object::annotation(replica_set, REVISION).map(str::to_owned) {
        let history = match object::annotation(replica_set, REVISION_HISTORY) {
            None | Some("") => old,
            Some(history) => format!("{history},{old}"),
        };
        annotate(replica_set, REVISION_HISTORY, history);
    }
    annotate(replica_set, REVISION, revision.to_string());
}

/// Notes on a ReplicaSet what it was scaled for, as the real controller does.
pub(super) fn mark_scale(replica_set: &mut Value, desired: i64, max_replicas: i64) {
    annotate(replica_set, DESIRED_REPLICAS, desired.to_string());
    annotate(replica_set, MAX_REPLICAS, max_replicas.to_string());
}

/// Sets one annotation. Objects in the store have a map of annotations or none: writes from outside are checked.
pub(super) fn annotate(object: &mut Value, key: &str, value: impl Into<Value>) {
    object["metadata"]["annotations"][key] = value.into();
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

/// FNV-1a over the template's JSON, in the letters that Kubernetes uses.
fn template_hash(template: &Value) -> String {
    let hash = without_hash(template)
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    name_safe(u64::from(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "d1", "annotations": {
                "kubernetes.io/change-cause": "first", REVISION: "1",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"replicas": 3, "minReadySeconds": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "web:v1"}]}}},
        })
    }

    #[test]
    fn a_new_replica_set_carries_hash_owner_and_copied_annotations() {
        let made = replica_set(&deployment(), 1, 2, 4);
        let hash = object::text(&made, "/metadata/labels/pod-template-hash");
        assert_eq!(made["metadata"]["name"], format!("web-{hash}"));
        assert_eq!(made["spec"]["selector"]["matchLabels"], json!({"app": "web", "pod-template-hash": hash}));
        assert_eq!(made["spec"]["template"]["metadata"]["labels"][TEMPLATE_HASH], hash);
        assert!(object::is_controlled_by(&made, "d1"));
        assert_eq!(
            made["metadata"]["annotations"],
            json!({"kubernetes.io/change-cause": "first", REVISION: "1", DESIRED_REPLICAS: "3", MAX_REPLICAS: "4"})
        );
        assert!(runs_template(&made, &deployment()["spec"]["template"]));
    }

    #[test]
    fn another_template_gets_another_hash() {
        let mut other = deployment();
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:v2");
        let (one, two) = (replica_set(&deployment(), 1, 1, 4), replica_set(&other, 2, 1, 4));
        assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
        assert!(!runs_template(&one, &other["spec"]["template"]));
    }

    #[test]
    fn one_that_comes_back_is_renumbered_and_remembers() {
        let mut reused = replica_set(&deployment(), 1, 3, 4);
        make_current(&mut reused, &deployment(), 3);
        make_current(&mut reused, &deployment(), 3);
        make_current(&mut reused, &deployment(), 5);
        assert_eq!(number(&reused), 5);
        assert_eq!(object::annotation(&reused, REVISION_HISTORY), Some("1,3"));
    }
}
