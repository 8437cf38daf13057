//! The sandbox as the real kube client sees it; here, what its tests share.

mod api;
mod rollouts;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Event as KubeEvent, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config, Error, ResourceExt};
use rollguard::sandbox::{Deploy, Fault, Sandbox, SandboxOptions};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);
const REVISION: &str = "deployment.kubernetes.io/revision";

struct World {
    sandbox: Sandbox,
    client: Client,
}

impl World {
    async fn start() -> Self {
        Self::with(SandboxOptions::default()).await
    }

    async fn with(options: SandboxOptions) -> Self {
        let options = SandboxOptions {
            namespace: "shop".into(),
            deployment: "backend".into(),
            ready_after: Duration::from_millis(200),
            ..options
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let mut config = Config::new(sandbox.kube_url().parse().unwrap());
        config.default_namespace = "shop".into();
        let client = Client::try_from(config).unwrap();
        Self { sandbox, client }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::default_namespaced(self.client.clone())
    }

    fn replica_sets(&self) -> Api<ReplicaSet> {
        Api::default_namespaced(self.client.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    async fn deployment(&self) -> Deployment {
        self.deployments().get("backend").await.unwrap()
    }

    async fn rolled_out(&self) {
        eventually("the rollout is complete", || async { is_complete(&self.deployment().await) }).await;
    }

    /// The ReplicaSet that runs an image with this tag.
    async fn replica_set(&self, version: &str) -> ReplicaSet {
        let all = self.replica_sets().list(&ListParams::default()).await.unwrap();
        let tag = format!(":{version}");
        all.into_iter()
            .find(|replica_set| {
                let template = replica_set.spec.template.as_ref().unwrap();
                image(template.spec.as_ref().unwrap()).ends_with(&tag)
            })
            .unwrap()
    }

    /// What `kubectl rollout undo` sends, guarded by the revision that is to be left.
    async fn undo_to(&self, version: &str) -> Result<Deployment, Error> {
        let target = self.replica_set(version).await;
        let mut template = target.spec.template.unwrap();
        let labels = template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
        labels.remove("pod-template-hash");
        let revision = self.deployment().await.annotations()[REVISION].clone();
        self.patch(&json!([
            {"op": "test", "path": "/metadata/annotations/deployment.kubernetes.io~1revision", "value": revision},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]))
        .await
    }

    async fn patch(&self, operations: &serde_json::Value) -> Result<Deployment, Error> {
        let patch: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
        self.deployments().patch("backend", &PatchParams::default(), &Patch::Json::<()>(patch)).await
    }

    fn ready_versions(&self) -> BTreeMap<String, usize> {
        let mut versions = BTreeMap::new();
        for pod in self.sandbox.ready_pods() {
            *versions.entry(pod.version).or_default() += 1;
        }
        versions
    }

    /// The containers of the pods of this version, as their kubelet reports them.
    async fn containers(&self, version: &str) -> Vec<ContainerStatus> {
        let tag = format!(":{version}");
        let pods = self.pods().list(&ListParams::default()).await.unwrap();
        pods.into_iter()
            .filter(|pod| image(pod.spec.as_ref().unwrap()).ends_with(&tag))
            .filter_map(|pod| pod.status?.container_statuses?.into_iter().next())
            .collect()
    }

    /// The counter of a pod of this version, read from its own metrics as a scraper reads it.
    async fn requests(&self, version: &str, code: u16) -> f64 {
        let pods = self.pods().list(&ListParams::default()).await.unwrap();
        let tag = format!(":{version}");
        let pod = pods.iter().find(|pod| image(pod.spec.as_ref().unwrap()).ends_with(&tag)).unwrap();
        let status = pod.status.as_ref().unwrap();
        let address = status.pod_ip.as_ref().unwrap();
        let port = &pod.annotations()["prometheus.io/port"];
        let text = fetch(&format!("http://{address}:{port}/metrics")).await.1;
        let series = format!("http_requests_total{{code=\"{code}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
    }
}

fn image(pod: &k8s_openapi::api::core::v1::PodSpec) -> &str {
    pod.containers[0].image.as_deref().unwrap()
}

/// The decision table of `kubectl rollout status`.
fn is_complete(deployment: &Deployment) -> bool {
    let (spec, status) = (&deployment.spec, deployment.status.as_ref().unwrap());
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == spec.replicas
        && status.replicas == status.updated_replicas
        && status.available_replicas == status.updated_replicas
}

fn reason(deployment: &Deployment, kind: &str) -> String {
    let conditions = deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
    let condition = conditions.iter().find(|condition| condition.type_.as_deref() == Some(kind)).unwrap();
    condition.reason.clone().unwrap()
}

async fn fetch(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("in {PATIENCE:?} it never held that {what}"));
}

fn code(error: Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}
