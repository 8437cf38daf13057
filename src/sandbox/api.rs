//! The HTTP face of the sandbox's Kubernetes API: reads, watches, and writes to Deployments.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::follow::{Follow, Start};
use super::object::{Key, Kind};
use super::patch::Edit;
use super::refusal::Refusal;
use super::selector::Filter;
use super::store::{Commit, Store};

/// What a real API server uses when a watch names no time of its own, at least.
const WATCH_TIMEOUT_SECS: u64 = 1800;

/// Lines waiting for a slow client; beyond them the watch waits, and may fall out of the history.
const WATCH_BUFFER: usize = 256;

#[derive(Clone)]
struct Api {
    store: Arc<Store>,
    stop: CancellationToken,
    version: &'static str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    watch: String,
    resource_version: String,
    resource_version_match: String,
    label_selector: String,
    field_selector: String,
    allow_watch_bookmarks: String,
    send_initial_events: String,
    timeout_seconds: Option<u64>,
    dry_run: String,
}

impl Parameters {
    fn version(&self) -> Result<u64, Refusal> {
        match self.resource_version.as_str() {
            "" => Ok(0),
            text => {
                text.parse().map_err(|_| Refusal::BadRequest(format!("invalid resource version {text:?}")))
            }
        }
    }

    fn commit(&self) -> Result<Commit, Refusal> {
        match self.dry_run.as_str() {
            "" => Ok(Commit::Durable),
            "All" => Ok(Commit::DryRun),
            other => Err(Refusal::BadRequest(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }
}

fn is_set(parameter: &str) -> bool {
    matches!(parameter, "true" | "1")
}

pub(super) fn router(store: &Arc<Store>, stop: &CancellationToken) -> Router {
    let resources = |version: &'static str| {
        let api = Api { store: Arc::clone(store), stop: stop.clone(), version };
        Router::new()
            .route("/", get(move || async move { Json(resource_list(version)) }))
            .route("/{resource}", get(list_everywhere))
            .route("/namespaces/{namespace}/{resource}", get(list_in_namespace))
            .route("/namespaces/{namespace}/{resource}/{name}", get(read).patch(patch).put(replace))
            .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
            .with_state(api)
    };
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/version", get(|| async { Json(server_version()) }))
        .route(
            "/api",
            get(|| async {
                Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
            }),
        )
        .route("/apis", get(|| async { Json(group_list()) }))
        .nest("/api/v1", resources("v1"))
        .nest("/apis/apps/v1", resources("apps/v1"))
        .fallback(|| async { Refusal::NoSuchPath })
}

async fn list_everywhere(
    State(api): State<Api>,
    Path(resource): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    api.list(&resource, None, &parameters, &headers)
}

async fn list_in_namespace(
    State(api): State<Api>,
    Path((namespace, resource)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    api.list(&resource, Some(namespace), &parameters, &headers)
}

async fn read(
    State(api): State<Api>,
    Path((namespace, resource, name)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    whole_objects_only(&headers)?;
    let key = Key::new(api.kind(&resource)?, &namespace, &name);
    Ok(Json(&*api.store.get(&key)?).into_response())
}

async fn patch(
    State(api): State<Api>,
    Path((namespace, resource, name)): Path<(String, String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let content_type = header_text(&headers, header::CONTENT_TYPE);
    let key = Key::new(api.kind(&resource)?, &namespace, &name);
    api.edit(&key, &Edit::parse_patch(content_type, &body)?, &parameters)
}

async fn replace(
    State(api): State<Api>,
    Path((namespace, resource, name)): Path<(String, String, String)>,
    Query(parameters): Query<Parameters>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let key = Key::new(api.kind(&resource)?, &namespace, &name);
    api.edit(&key, &Edit::parse_replacement(&body)?, &parameters)
}

impl Api {
    fn kind(&self, resource: &str) -> Result<Kind, Refusal> {
        Kind::parse(self.version, resource).ok_or(Refusal::NoSuchPath)
    }

    fn list(
        &self,
        resource: &str,
        namespace: Option<String>,
        parameters: &Parameters,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        whole_objects_only(headers)?;
        let filter = Filter::parse(
            self.kind(resource)?,
            namespace,
            &parameters.label_selector,
            &parameters.field_selector,
        )?;
        if is_set(&parameters.watch) {
            return self.watch(filter, parameters);
        }
        let listing = self.store.list(filter.kind, filter.namespace.as_deref());
        let asked = parameters.version()?;
        if parameters.resource_version_match == "Exact" && asked != listing.version {
            let oldest = listing.version;
            return Err(Refusal::Expired { asked, oldest });
        }
        let items: Vec<&Value> =
            listing.objects.iter().map(|object| &**object).filter(|object| filter.matches(object)).collect();
        Ok(Json(json!({
            "kind": format!("{}List", filter.kind.name()),
            "apiVersion": filter.kind.api_version(),
            "metadata": {"resourceVersion": listing.version.to_string()},
            "items": items,
        }))
        .into_response())
    }

    fn watch(&self, filter: Filter, parameters: &Parameters) -> Result<Response, Refusal> {
        if !parameters.send_initial_events.is_empty() {
            // As a server without the WatchList feature answers; clients then list first.
            return Err(Refusal::BadRequest(
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
                    .into(),
            ));
        }
        let start = match parameters.version()? {
            0 => Start::Everything,
            version => Start::After(version),
        };
        let timeout = Duration::from_secs(parameters.timeout_seconds.unwrap_or(WATCH_TIMEOUT_SECS));
        let (lines, waiting) = mpsc::channel(WATCH_BUFFER);
        let follow = Follow {
            store: Arc::clone(&self.store),
            filter,
            bookmarks: is_set(&parameters.allow_watch_bookmarks),
            lines,
        };
        tokio::spawn(follow.run(start, timeout, self.stop.clone()));
        let body = futures::stream::unfold(waiting, |mut waiting| async {
            let line = waiting.recv().await?;
            Some((Ok::<_, Infallible>(line), waiting))
        });
        Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
    }

    fn edit(&self, key: &Key, edit: &Edit, parameters: &Parameters) -> Result<Response, Refusal> {
        if key.kind != Kind::Deployment {
            return Err(Refusal::MethodNotAllowed);
        }
        let edited = self.store.update(key, parameters.commit()?, |object| edit.apply(key, object))?;
        Ok(Json(&*edited).into_response())
    }
}

/// Tables and partial metadata are asked for in `Accept`; answering them with whole objects would confuse the client.
fn whole_objects_only(headers: &HeaderMap) -> Result<(), Refusal> {
    let accept = header_text(headers, header::ACCEPT);
    if accept.contains(";as=") {
        return Err(Refusal::NotAcceptable);
    }
    Ok(())
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn server_version() -> Value {
    json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0+rollguard-sandbox", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "sandbox"})
}

fn group_list() -> Value {
    let version = json!({"groupVersion": "apps/v1", "version": "v1"});
    json!({"kind": "APIGroupList", "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [version], "preferredVersion": version}]})
}

fn resource_list(version: &str) -> Value {
    let resources: Vec<Value> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.api_version() == version)
        .map(|kind| {
            let verbs: &[&str] = match kind {
                Kind::Deployment => &["get", "list", "watch", "patch", "update"],
                Kind::ReplicaSet | Kind::Pod | Kind::Event => &["get", "list", "watch"],
            };
            json!({"name": kind.plural(), "singularName": kind.name().to_lowercase(), "kind": kind.name(),
                "namespaced": true, "verbs": verbs})
        })
        .collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}
