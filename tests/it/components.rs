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
