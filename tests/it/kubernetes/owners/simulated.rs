//! Objects of Argo CD and Flux on the real API server, and a Flux that applies its manifest every 5 s.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::super::world::Place;
use crate::components::deployment;
use crate::support::cluster::Cluster;

const CRDS: &str = include_str!("../../../fixtures/owners/crds.yaml");
/// How often Argo CD heals, which is sooner than any Flux.
const EVERY: Duration = Duration::from_secs(5);

/// Installs the CRDs of all owners, once.
pub(super) async fn install(cluster: &Cluster) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(|| install_crds(cluster, CRDS)).await;
}

pub(super) async fn install_crds(cluster: &Cluster, yaml: &str) {
    let items: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let names: Vec<String> =
        items.iter().map(|crd| format!("crd/{}", crd["metadata"]["name"].as_str().unwrap())).collect();
    cluster.apply("default", &json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
    let wait = format!("wait --for=condition=established --timeout=30s {}", names.join(" "));
    cluster.kubectl("default", &wait).await;
}

/// Writes the labels and annotations of an owner on the Deployment.
pub(super) async fn mark(place: &Place, labels: Value, annotations: Value) {
    let api: Api<Deployment> = Api::namespaced(place.cluster.client().await, &place.namespace);
    let patch = json!({ "metadata": { "labels": labels, "annotations": annotations } });
    api.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// The annotation of an Application in the place's own namespace.
pub(super) fn tracked(place: &Place, application: &str) -> Value {
    let namespace = &place.namespace;
    json!({ "argocd.argoproj.io/tracking-id": format!("{namespace}_{application}:apps/Deployment:{namespace}/web") })
}

pub(super) async fn application(place: &Place, name: &str, policy: &Value) {
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": name },
        "spec": { "project": "default", "syncPolicy": policy },
    });
    place.cluster.apply(&place.namespace, &object).await;
}

pub(super) async fn kustomization(place: &Place) {
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": { "name": "apps" },
        "spec": { "interval": "10m", "path": "./apps", "prune": true },
    });
    place.cluster.apply(&place.namespace, &object).await;
}

pub(super) fn kustomized(place: &Place) -> Value {
    json!({
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": place.namespace,
    })
}

/// What an owner does when it is suspended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manners {
    Obeys,
    Ignores,
}

/// A Flux of one Kustomization, which goes on until it is dropped.
pub(super) struct Flux {
    source: Source,
    reconciling: JoinHandle<()>,
}

#[derive(Clone)]
struct Source {
    client: Client,
    namespace: String,
    labels: Value,
    manners: Manners,
    committed: Arc<Mutex<String>>,
}

impl Flux {
    /// Takes the Deployment over and applies it from then on.
    pub(super) async fn start(place: &Place, manners: Manners) -> Self {
        kustomization(place).await;
        let source = Source {
            client: place.cluster.client().await,
            namespace: place.namespace.clone(),
            labels: kustomized(place),
            manners,
            committed: Arc::new(Mutex::new("v1".to_string())),
        };
        source.apply().await;
        let again = source.clone();
        let reconciling = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                again.reconcile().await;
            }
        });
        Self { source, reconciling }
    }

    /// A new revision of the source, which is applied at once.
    pub(super) async fn commit(&self, tag: &str) {
        *self.source.committed.lock().unwrap() = tag.to_string();
        self.source.apply().await;
    }

    pub(super) async fn is_suspended(&self) -> Option<bool> {
        self.source.is_suspended().await
    }

    /// What `flux resume` does.
    pub(super) async fn resume(&self) {
        let patch = json!({ "spec": { "suspend": false } });
        let api = self.source.kustomizations();
        api.patch("apps", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

impl Drop for Flux {
    fn drop(&mut self) {
        self.reconciling.abort();
    }
}

impl Source {
    fn kustomizations(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk(&kind))
    }

    async fn is_suspended(&self) -> Option<bool> {
        let object = self.kustomizations().get("apps").await.unwrap();
        object.data.pointer("/spec/suspend").and_then(Value::as_bool)
    }

    async fn reconcile(&self) {
        if self.manners == Manners::Ignores || self.is_suspended().await != Some(true) {
            self.apply().await;
        }
    }

    async fn apply(&self) {
        let mut object = deployment(&self.committed.lock().unwrap().clone());
        object["metadata"]["labels"] = self.labels.clone();
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams::apply("kustomize-controller").force();
        api.patch("web", &params, &Patch::Apply(object)).await.unwrap();
    }
}
