//! Stands between a client and the API server, and does what networks and overloaded API servers do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::json;
use tokio::sync::broadcast;

use super::cluster::Cluster;
use super::workload::{Served, serve};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It is answered with this status and has no effect.
    Refuse(u16),
    /// It has its effect, but the client gets 504 instead of the answer.
    LoseAnswer,
}

/// A fault for the next `left` requests of `method` whose path and query contain `part`.
struct Planned {
    method: Method,
    part: String,
    fault: Fault,
    left: usize,
}

struct Shared {
    server: String,
    http: reqwest::Client,
    planned: Mutex<Vec<Planned>>,
    cuts: broadcast::Sender<()>,
}

/// A reverse proxy in front of a [`Cluster`]'s API server; without a planned fault it only passes on.
pub(crate) struct Faulty {
    shared: Arc<Shared>,
    served: Served,
}

impl Faulty {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let trusted = std::fs::read(cluster.ca()).unwrap();
        let trusted = reqwest::Certificate::from_pem_bundle(&trusted).unwrap();
        let http = reqwest::Client::builder().tls_certs_only(trusted);
        let shared = Arc::new(Shared {
            server: cluster.url(),
            http: http.build().unwrap(),
            planned: Mutex::default(),
            cuts: broadcast::Sender::new(1),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { shared, served }
    }

    /// A kubeconfig file for whoever has `token`, who then comes through here.
    pub(crate) fn kubeconfig_as(&self, cluster: &Cluster, token: &str) -> PathBuf {
        cluster.kubeconfig_through(&format!("http://{}", self.served.address()), token)
    }

    /// Plans a fault for the next `count` requests of `method` whose path and query contain `part`.
    pub(crate) fn plan(&self, fault: Fault, count: usize, method: Method, part: &str) {
        self.shared.planned.lock().unwrap().push(Planned {
            method,
            part: part.to_owned(),
            fault,
            left: count,
        });
    }

    /// How many planned faults have not happened yet.
    pub(crate) fn still_planned(&self) -> usize {
        let planned = self.shared.planned.lock().unwrap();
        planned.iter().map(|planned| planned.left).sum()
    }

    /// Ends every answer that is still being sent, which is what the open watches are.
    pub(crate) fn cut_watches(&self) {
        // An error means that there are none.
        drop(self.shared.cuts.send(()));
    }
}

impl Shared {
    fn fault(&self, method: &Method, uri: &Uri) -> Option<Fault> {
        let asked = uri.to_string();
        let mut planned = self.planned.lock().unwrap();
        let meant = planned
            .iter_mut()
            .find(|planned| planned.left > 0 && planned.method == method && asked.contains(&planned.part))?;
        meant.left -= 1;
        Some(meant.fault)
    }

    /// The API server's answer, piece by piece as it comes.
    async fn pass_on(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        for hop in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(hop);
        }
        let request = self.http.request(method, format!("{}{uri}", self.server)).headers(headers).body(body);
        let Ok(answer) = request.send().await else {
            return refusal(502);
        };
        let status = answer.status();
        let content_type = answer.headers().get(CONTENT_TYPE).cloned();
        let from = (answer, self.cuts.subscribe());
        let pieces = futures::stream::unfold(from, async |(mut answer, mut cut)| {
            let piece = tokio::select! {
                piece = answer.chunk() => piece.transpose()?,
                _ = cut.recv() => return None,
            };
            Some((piece, (answer, cut)))
        });
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = status;
        if let Some(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    match shared.fault(&method, &uri) {
        None => shared.pass_on(method, &uri, headers, body).await,
        Some(Fault::Refuse(code)) => refusal(code),
        Some(Fault::LoseAnswer) => {
            shared.pass_on(method, &uri, headers, body).await;
            refusal(504)
        }
    }
}

/// As the API server itself refuses, with the wait that it asks for when it is overloaded.
fn refusal(code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap();
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        504 => "Timeout",
        _ => "ServiceUnavailable",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "planned by the test", "reason": reason, "code": code,
    });
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if code == 429 {
        response = response.header(RETRY_AFTER, "1");
    }
    response.body(Body::from(body.to_string())).unwrap()
}
