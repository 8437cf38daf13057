//! Stands in for a node and its kubelet: pods that the scheduler gives it get the status, and the traffic, that their image's tag asks for.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::container_logs::{self, Containers, Writes};
use super::pod_status::{self, Behaviour};
use super::workload::{Workload, serve};

const NODE: &str = "fake-0";

/// A pod by its namespace and name.
type PodKey = (String, String);

#[derive(Default)]
struct Pods {
    /// The UIDs of pods that were taken on.
    seen: Mutex<HashMap<PodKey, String>>,
    workloads: Mutex<HashMap<PodKey, Workload>>,
    logs: Containers,
}

/// Lives in a thread with a runtime of its own, so that tests, each with its own runtime, can share it.
pub(crate) struct Kubelet {
    pods: Arc<Pods>,
    discovery: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Kubelet {
    /// Registers the node and takes its pods on until it is dropped. `connect` makes an administrator's client.
    pub(crate) async fn start<F>(connect: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Client>,
    {
        let pods = Arc::new(Pods::default());
        let (started, discovery) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let taken_on = pods.clone();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let client = connect().await;
                let port = container_logs::serve(taken_on.logs.clone()).await;
                register_node(&client, port).await;
                let router =
                    Router::new().route("/targets/{namespace}", get(targets)).with_state(taken_on.clone());
                let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
                started.send(served.address()).unwrap();
                tokio::select! {
                    () = watch(client, taken_on) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { pods, discovery: discovery.await.expect("the kubelet's thread died"), _stop: stop }
    }

    /// The pods that serve now, by name, with what they serve. Every clone that is kept keeps its port.
    pub(crate) fn workloads(&self, namespace: &str) -> Vec<(String, Workload)> {
        let workloads = self.pods.workloads.lock().unwrap();
        workloads
            .iter()
            .filter(|((of, _), _)| of == namespace)
            .map(|((_, name), workload)| (name.clone(), workload.clone()))
            .collect()
    }

    /// A Prometheus HTTP service discovery of the pods that serve, with their `namespace` and `pod` as labels.
    pub(crate) fn discovery_url(&self, namespace: &str) -> String {
        format!("http://{}/targets/{namespace}", self.discovery)
    }
}

async fn targets(State(pods): State<Arc<Pods>>, Path(namespace): Path<String>) -> Json<Value> {
    let workloads = pods.workloads.lock().unwrap();
    let groups = workloads.iter().filter(|((of, _), _)| *of == namespace).map(|((_, name), workload)| {
        let labels = json!({ "namespace": namespace, "pod": name });
        json!({ "targets": [workload.address().to_string()], "labels": labels })
    });
    Json(groups.collect())
}

async fn register_node(client: &Client, port: u16) {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({ "metadata": { "name": NODE, "labels": { "kubernetes.io/hostname": NODE } } });
    let node: Node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let room = json!({ "cpu": "1000", "memory": "1Ti", "pods": "1000" });
    let ready = json!({ "status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
    }});
    let params = PatchParams::default();
    let ready = Patch::Strategic(&ready);
    nodes.patch_status(NODE, &params, &ready).await.unwrap();
    // Admission taints a new node as not ready, which only the node lifecycle controller, not run here, would take back.
    let untainted = Patch::Merge(json!({ "spec": { "taints": null } }));
    nodes.patch(NODE, &params, &untainted).await.unwrap();
}

async fn watch(client: Client, pods: Arc<Pods>) {
    let ours = watcher::Config::default().fields(&format!("spec.nodeName={NODE}"));
    let mut seen = watcher(Api::<Pod>::all(client.clone()), ours).default_backoff().applied_objects().boxed();
    while let Some(pod) = seen.next().await {
        let Ok(pod) = pod else { continue };
        let key = (pod.namespace().unwrap(), pod.name_any());
        if pod.metadata.deletion_timestamp.is_some() {
            pods.workloads.lock().unwrap().remove(&key);
            pods.logs.lock().unwrap().remove(&key);
            pods.seen.lock().unwrap().remove(&key);
            tokio::spawn(remove(client.clone(), pod));
        } else if pods.seen.lock().unwrap().insert(key, pod.uid().unwrap()) != pod.uid() {
            tokio::spawn(run(client.clone(), pods.clone(), pod));
        }
    }
}

/// Ends a pod as a kubelet does once its containers have stopped.
async fn remove(client: Client, pod: Pod) {
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap());
    let only_this = Preconditions { uid: pod.uid(), resource_version: None };
    let now = DeleteParams::default().grace_period(0).preconditions(only_this);
    // Not found and conflict both mean that this pod is gone.
    drop(api.delete(&pod.name_any(), &now).await);
}

/// A pod's life, as far as its containers can tell.
async fn run(client: Client, pods: Arc<Pods>, pod: Pod) {
    let behaviour = Behaviour::of(pod_status::tag(&pod));
    let key = (pod.namespace().unwrap(), pod.name_any());
    let ip = next_ip();
    tokio::time::sleep(pod_status::start_after(&pod)).await;
    if let (Some(traffic), Some(port)) = (behaviour.traffic(), pod_status::port(&pod)) {
        let tag = pod_status::tag(&pod);
        let workload = Workload::start(SocketAddr::from((ip, port)), tag, traffic).await;
        workload.set_healthy(matches!(behaviour, Behaviour::Ready(_)));
        let seen = pods.seen.lock().unwrap();
        if seen.get(&key) == pod.uid().as_ref() {
            pods.workloads.lock().unwrap().insert(key.clone(), workload);
            let (errors_per_minute, odd) = pod_status::log_errors(pod_status::tag(&pod));
            let writes = Writes { since: jiff::Timestamp::now(), errors_per_minute, odd };
            pods.logs.lock().unwrap().insert(key.clone(), writes);
        }
    }
    if matches!(behaviour, Behaviour::Unready(_)) {
        report_failing_probe(&client, &pod).await;
    }
    let api: Api<Pod> = Api::namespaced(client, &key.0);
    let mut restarts = u32::from(behaviour.restarts());
    loop {
        let status = Patch::Strategic(pod_status::status(&pod, behaviour, ip, restarts));
        let written = api.patch_status(&key.1, &PatchParams::default(), &status).await;
        let gone = pods.seen.lock().unwrap().get(&key) != pod.uid().as_ref();
        if written.is_err() || gone || !behaviour.restarts() {
            return;
        }
        // A real back-off doubles from 10 s; tests are in more of a hurry.
        tokio::time::sleep(Duration::from_secs(u64::from(restarts).min(10))).await;
        restarts += 1;
    }
}

async fn report_failing_probe(client: &Client, pod: &Pod) {
    let namespace = pod.namespace().unwrap();
    let now = jiff::Timestamp::now();
    let event = json!({
        "metadata": { "generateName": format!("{}.", pod.name_any()) },
        "involvedObject": { "kind": "Pod", "namespace": namespace, "name": pod.name_any(), "uid": pod.uid() },
        "type": "Warning",
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "source": { "component": "kubelet", "host": NODE },
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    let event: Event = serde_json::from_value(event).unwrap();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    // The namespace may be on its way out already.
    drop(events.create(&PostParams::default(), &event).await);
}

/// Every pod has its own loopback address, so that pods of one Deployment can listen on the same port.
fn next_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    // Test processes that run at the same time have different second octets.
    let process = 64 + u8::try_from(std::process::id() % 128).unwrap();
    let [_, _, third, fourth] = (n + 1).to_be_bytes();
    Ipv4Addr::new(127, process, third, fourth)
}
