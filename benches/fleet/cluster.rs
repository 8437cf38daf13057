//! An API server of a fleet that nothing happens to, unless it is told: lists in pages, watches, one patch that puts a workload back.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

use crate::objects::{Running, Shape, Workload, named};

/// Changes that a slow watch may fall behind.
const BACKLOG: usize = 4096;

#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

struct Inner {
    shape: Shape,
    born: Timestamp,
    changes: broadcast::Sender<Change>,
    state: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    running: BTreeMap<usize, Running>,
    resource_version: u64,
    calls: BTreeMap<String, u64>,
    patched: BTreeMap<usize, Instant>,
}

#[derive(Clone)]
struct Change {
    kind: &'static str,
    namespace: String,
    line: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    watch: String,
    limit: Option<usize>,
    r#continue: Option<usize>,
    label_selector: String,
    timeout_seconds: Option<u64>,
    allow_watch_bookmarks: String,
}

impl Cluster {
    pub(crate) async fn start(shape: Shape) -> std::io::Result<(Self, SocketAddr)> {
        let born = Timestamp::now() - SignedDuration::from_hours(48);
        let state = Mutex::new(Books { resource_version: 1000, ..Books::default() });
        let inner = Inner { shape, born, changes: broadcast::Sender::new(BACKLOG), state };
        let cluster = Self(Arc::new(inner));
        let namespaced = get(list).post(review);
        let router = Router::new()
            .route("/api/v1/namespaces/{namespace}/{resource}", namespaced.clone())
            .route("/apis/{group}/{version}/namespaces/{namespace}/{resource}", get(list_of_group))
            .route(
                "/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}",
                get(read).patch(put_back),
            )
            .route(
                "/apis/{group}/{version}/{resource}",
                get(|| async { StatusCode::NOT_FOUND }).post(review_rights),
            )
            .with_state(cluster.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok((cluster, address))
    }

    /// Calls since the last time, by verb and resource.
    pub(crate) fn take_calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.books().calls)
    }

    /// Watches that were begun since the calls were taken.
    pub(crate) fn watches(&self) -> u64 {
        self.books().calls.iter().filter(|(call, _)| call.starts_with("watch")).map(|(_, n)| n).sum()
    }

    pub(crate) fn patched(&self, workload: usize) -> Option<Instant> {
        self.books().patched.get(&workload).copied()
    }

    /// A new version, of which one pod works beside the old ones.
    pub(crate) fn release(&self, workload: usize) {
        let now = self.turn(workload, Running::Fresh);
        if let Some(set) = now.sets().pop() {
            self.tell("replicasets", "ADDED", &now, &set);
        }
        self.tell("deployments", "MODIFIED", &now, &now.deployment());
        if let Some(pod) = now.new_pod() {
            self.tell("pods", "ADDED", &now, &pod);
        }
    }

    /// The released version's pod is in a crash loop from now on. Answers when that was told.
    pub(crate) fn crash(&self, workload: usize) -> Instant {
        let now = self.turn(workload, Running::Crashing);
        let pod = now.new_pod();
        let told = Instant::now();
        if let Some(pod) = pod {
            self.tell("pods", "MODIFIED", &now, &pod);
        }
        told
    }

    fn turn(&self, workload: usize, running: Running) -> Workload {
        let mut books = self.books();
        books.resource_version += 1;
        books.running.insert(workload, running);
        drop(books);
        self.workload(workload)
    }

    fn workload(&self, number: usize) -> Workload {
        let books = self.books();
        let (shape, born) = (self.0.shape, self.0.born);
        let running = books.running.get(&number).copied().unwrap_or_default();
        Workload {
            number,
            shape,
            running,
            resource_version: books.resource_version,
            born,
            now: Timestamp::now(),
        }
    }

    fn tell(&self, kind: &'static str, event: &str, workload: &Workload, object: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": object}));
        let namespace = self.0.shape.namespace(workload.number);
        // Nobody may be watching this yet.
        drop(self.0.changes.send(Change { kind, namespace, line }));
    }

    fn count(&self, verb: &str, resource: &str) {
        *self.books().calls.entry(format!("{verb} {resource}")).or_default() += 1;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self, resource: &str, workload: usize) -> Vec<Value> {
        let workload = self.workload(workload);
        match resource {
            "deployments" => vec![workload.deployment()],
            "replicasets" => workload.sets(),
            "pods" => workload.pods(),
            _ => vec![],
        }
    }

    fn list(&self, namespace: &str, resource: &str, parameters: &Parameters) -> Response {
        if parameters.watch == "true" || parameters.watch == "1" {
            self.count("watch", resource);
            return self.watch(namespace, resource, parameters);
        }
        self.count("list", resource);
        let selected = named(&parameters.label_selector);
        let workloads: Vec<usize> = match selected {
            Some(one) => vec![one],
            None => self.0.shape.in_namespace(namespace).collect(),
        };
        // A page ends with a workload: the server may cut where it likes.
        let (from, limit) = (parameters.r#continue.unwrap_or(0), parameters.limit.unwrap_or(usize::MAX));
        let mut items = Vec::new();
        let mut next = None;
        for (index, workload) in workloads.iter().enumerate().skip(from) {
            if items.len() >= limit {
                next = Some(index.to_string());
                break;
            }
            items.extend(self.objects(resource, *workload));
        }
        let version = self.books().resource_version.to_string();
        let metadata = json!({"resourceVersion": version, "continue": next.unwrap_or_default()});
        Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
            .into_response()
    }

    fn watch(&self, namespace: &str, resource: &str, parameters: &Parameters) -> Response {
        let mut changes = self.0.changes.subscribe();
        let (namespace, resource) = (namespace.to_string(), resource.to_string());
        let ends =
            tokio::time::Instant::now() + Duration::from_secs(parameters.timeout_seconds.unwrap_or(300));
        let bookmarks = parameters.allow_watch_bookmarks == "true";
        let version = self.books().resource_version.to_string();
        let (sender, lines) = mpsc::channel::<String>(64);
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = tokio::time::sleep_until(ends) => break,
                };
                let Ok(change) = change else { break };
                if change.kind == resource
                    && change.namespace == namespace
                    && sender.send(change.line).await.is_err()
                {
                    return;
                }
            }
            if bookmarks {
                let object =
                    json!({"kind": "Bookmark", "apiVersion": "v1", "metadata": {"resourceVersion": version}});
                drop(sender.send(format!("{}\n", json!({"type": "BOOKMARK", "object": object}))).await);
            }
        });
        let body = futures::stream::unfold(lines, |mut lines| async {
            let line = lines.recv().await?;
            Some((Ok::<_, Infallible>(line), lines))
        });
        Body::from_stream(body).into_response()
    }
}

async fn list(
    State(cluster): State<Cluster>,
    Path((namespace, resource)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
) -> Response {
    cluster.list(&namespace, &resource, &parameters)
}

async fn list_of_group(
    State(cluster): State<Cluster>,
    Path((_, _, namespace, resource)): Path<(String, String, String, String)>,
    Query(parameters): Query<Parameters>,
) -> Response {
    cluster.list(&namespace, &resource, &parameters)
}

async fn read(
    State(cluster): State<Cluster>,
    Path((_, _, _, resource, name)): Path<(String, String, String, String, String)>,
) -> Response {
    cluster.count("get", &resource);
    let object = named(&name).and_then(|number| cluster.objects(&resource, number).pop());
    object.map_or(StatusCode::NOT_FOUND.into_response(), |object| Json(object).into_response())
}

/// The only patch there is restores the revision before: its arrival is noted, and the rollout is over at once.
async fn put_back(
    State(cluster): State<Cluster>,
    Path((_, _, _, resource, name)): Path<(String, String, String, String, String)>,
) -> Response {
    let arrived = Instant::now();
    cluster.count("patch", &resource);
    let Some(number) = named(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let new_pod = cluster.workload(number).new_pod();
    cluster.books().patched.entry(number).or_insert(arrived);
    let now = cluster.turn(number, Running::Usual);
    cluster.tell("deployments", "MODIFIED", &now, &now.deployment());
    if let Some(pod) = new_pod {
        cluster.tell("pods", "DELETED", &now, &pod);
    }
    Json(now.deployment()).into_response()
}

async fn review(State(cluster): State<Cluster>, Path((_, resource)): Path<(String, String)>) -> Response {
    cluster.count("create", &resource);
    StatusCode::NOT_FOUND.into_response()
}

async fn review_rights(
    State(cluster): State<Cluster>,
    Path((_, _, resource)): Path<(String, String, String)>,
) -> Response {
    cluster.count("create", &resource);
    let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let status = json!({"incomplete": false, "nonResourceRules": [], "resourceRules": [rule]});
    let review = json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {}, "status": status});
    (StatusCode::CREATED, Json(review)).into_response()
}
