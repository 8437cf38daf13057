//! The Deployment of the demo service, and what a deploy changes in it.

use serde_json::{Value, json};

use super::kubelet::version_of;
use super::object::text;
use super::{Deploy, SandboxOptions};

const IMAGE: &str = "/spec/template/spec/containers/0/image";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const PORT: u16 = 8080;

pub(super) fn deployment(options: &SandboxOptions) -> Value {
    let name = &options.deployment;
    let labels = json!({"app": name});
    let probe = json!({"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1});
    json!({
        "metadata": {"name": name, "namespace": options.namespace, "labels": labels, "annotations": {
            CHANGE_CAUSE: format!("deploy {}", options.first_version)}},
        "spec": {
            "replicas": options.replicas,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": options.progress_deadline.as_secs(),
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": name,
                    "image": format!("registry.local/{name}:{}", options.first_version),
                    "ports": [{"name": "http", "containerPort": PORT}],
                    "readinessProbe": probe,
                    "livenessProbe": {"tcpSocket": {"port": "http"}},
                }]},
            },
        },
        "status": {},
    })
}

pub(super) fn version(deployment: &Value) -> &str {
    version_of(text(deployment, IMAGE))
}

pub(super) fn set_version(deployment: &mut Value, deploy: &Deploy) {
    if let Some(image) = deployment.pointer_mut(IMAGE) {
        let repository = image
            .as_str()
            .and_then(|image| image.rsplit_once(':'))
            .map_or_else(String::new, |(repository, _)| repository.to_owned());
        *image = format!("{repository}:{}", deploy.version).into();
    }
    deployment["spec"]["minReadySeconds"] = json!(deploy.pace.as_secs());
    if let Some(annotations) = deployment["metadata"]["annotations"].as_object_mut() {
        annotations.remove(CHANGE_CAUSE);
    }
    if let Some(cause) = &deploy.change_cause {
        super::revision::annotate(deployment, CHANGE_CAUSE, cause.clone());
    }
}
