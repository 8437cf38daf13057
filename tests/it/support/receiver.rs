//! A webhook that keeps what it is sent, and can be told to be down for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;

use super::until;
use super::workload::{Served, serve};

/// One accepted request.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The exact body, for signatures.
    pub(crate) raw: String,
}

impl Delivery {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap()
    }
}

#[derive(Default)]
struct Inbox {
    accepted: Vec<Delivery>,
    refused: usize,
    failures_left: usize,
}

/// Takes any request on any path.
pub(crate) struct Receiver {
    inbox: Arc<Mutex<Inbox>>,
    served: Served,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let router = Router::new().fallback(take).with_state(inbox.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { inbox, served }
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.served.address())
    }

    /// Answers 503 to the next `count` requests.
    pub(crate) fn fail_next(&self, count: usize) {
        self.inbox.lock().unwrap().failures_left = count;
    }

    /// How many requests were answered with 503.
    pub(crate) fn refused(&self) -> usize {
        self.inbox.lock().unwrap().refused
    }

    /// Everything accepted so far, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.lock().unwrap().accepted.clone()
    }

    /// Waits for the first delivery that `wanted` accepts, also one from before; `what` names it in the panic.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Delivery) -> bool,
    ) -> Delivery {
        until(what, limit, async || self.deliveries().into_iter().find(&wanted)).await
    }
}

async fn take(
    State(inbox): State<Arc<Mutex<Inbox>>>,
    uri: Uri,
    headers: HeaderMap,
    raw: String,
) -> StatusCode {
    let mut inbox = inbox.lock().unwrap();
    if inbox.failures_left > 0 {
        inbox.failures_left -= 1;
        inbox.refused += 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let path = uri.path().to_owned();
    inbox.accepted.push(Delivery { path, headers, raw });
    StatusCode::OK
}
