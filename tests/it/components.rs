//! Shows that the parts the other tests stand on work: the control plane with its stand-in kubelet, Prometheus and Alertmanager.

mod daemon;
mod kubernetes;
mod metrics;

/// A Deployment `web` of three pods that listen on port 8080, run `app:TAG`, and never let go of a ready pod for a new one.
pub(crate) fn deployment(tag: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 3,
            "progressDeadlineSeconds": 5,
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{
                    "name": "app",
                    "image": format!("app:{tag}"),
                    "ports": [{ "containerPort": 8080 }],
                }]},
            },
        },
    })
}

/// The same as a StatefulSet, which replaces its pods one by one from the last to the first.
pub(crate) fn stateful_set(tag: &str) -> serde_json::Value {
    let mut object = deployment(tag);
    object["kind"] = "StatefulSet".into();
    let spec = object["spec"].as_object_mut().unwrap();
    spec.retain(|key, _| !["progressDeadlineSeconds", "strategy"].contains(&key.as_str()));
    spec.insert("serviceName".into(), "web".into());
    object
}

/// The same as a DaemonSet; there is one node, so it has one pod.
pub(crate) fn daemon_set(tag: &str) -> serde_json::Value {
    let mut object = stateful_set(tag);
    object["kind"] = "DaemonSet".into();
    let spec = object["spec"].as_object_mut().unwrap();
    spec.retain(|key, _| !["replicas", "serviceName"].contains(&key.as_str()));
    object
}

/// One of the three, as `kubectl` names their kinds.
pub(crate) fn workload(kind: &str, tag: &str) -> serde_json::Value {
    match kind {
        "deployment" => deployment(tag),
        "statefulset" => stateful_set(tag),
        "daemonset" => daemon_set(tag),
        other => panic!("{other}"),
    }
}
