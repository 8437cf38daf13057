//! A small service with steady traffic, whose /metrics are counters as any instrumented web service has them.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a service has to do, and how well it does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) requests_per_sec: f64,
    /// The part of the requests that is answered with 500, 0 to 1.
    pub(crate) error_ratio: f64,
    /// How long every answer takes.
    pub(crate) latency_secs: f64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { requests_per_sec: 50.0, error_ratio: 0.0, latency_secs: 0.05 }
    }
}

/// The upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// Counters that grow with time as the traffic says; the traffic itself is not sent.
struct Counters {
    traffic: Traffic,
    counted_until: Instant,
    good: f64,
    bad: f64,
    /// Per bound, not cumulative; the last is everything above.
    buckets: [f64; BOUNDS.len() + 1],
    latency_sum: f64,
}

impl Counters {
    fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            counted_until: Instant::now(),
            good: 0.0,
            bad: 0.0,
            buckets: [0.0; BOUNDS.len() + 1],
            latency_sum: 0.0,
        }
    }

    fn count(&mut self) {
        let now = Instant::now();
        let elapsed = now.duration_since(self.counted_until).as_secs_f64();
        self.counted_until = now;
        let requests = elapsed * self.traffic.requests_per_sec;
        self.record(requests, requests * self.traffic.error_ratio);
    }

    fn record(&mut self, requests: f64, bad: f64) {
        let latency = self.traffic.latency_secs;
        self.good += requests - bad;
        self.bad += bad;
        self.latency_sum += requests * latency;
        let bucket = BOUNDS.iter().position(|bound| latency <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += requests;
    }

    /// The Prometheus text format. Counters are whole, as those of a real service.
    fn render(&self) -> String {
        const LATENCY: &str = "http_request_duration_seconds";
        let mut text = format!(
            "# TYPE http_requests_total counter\n\
             http_requests_total{{code=\"200\"}} {}\n\
             http_requests_total{{code=\"500\"}} {}\n\
             # TYPE {LATENCY} histogram\n",
            self.good.floor(),
            self.bad.floor(),
        );
        let mut below = 0.0;
        for (bound, requests) in BOUNDS.iter().zip(self.buckets) {
            below += requests;
            writeln!(text, "{LATENCY}_bucket{{le=\"{bound}\"}} {}", below.floor()).unwrap();
        }
        let all = (below + self.buckets[BOUNDS.len()]).floor();
        writeln!(text, "{LATENCY}_bucket{{le=\"+Inf\"}} {all}").unwrap();
        writeln!(text, "{LATENCY}_sum {}", self.latency_sum).unwrap();
        writeln!(text, "{LATENCY}_count {all}").unwrap();
        text
    }
}

struct Shared {
    version: String,
    counters: Mutex<Counters>,
    healthy: Mutex<bool>,
}

/// Serves /metrics, /healthz (`{"status": "ok"}` or 503) and /version (`{"version": …}`).
#[derive(Clone)]
pub(crate) struct Workload {
    shared: Arc<Shared>,
    served: Arc<Served>,
}

impl Workload {
    /// Serves on `address` until the last clone is dropped; port 0 takes a free one.
    pub(crate) async fn start(address: SocketAddr, version: &str, traffic: Traffic) -> Self {
        let shared = Arc::new(Shared {
            version: version.to_owned(),
            counters: Mutex::new(Counters::new(traffic)),
            healthy: Mutex::new(true),
        });
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/version", get(version_of))
            .with_state(shared.clone());
        let served = Arc::new(serve(address, router).await);
        Self { shared, served }
    }

    /// On a free port of 127.0.0.1.
    pub(crate) async fn local(version: &str, traffic: Traffic) -> Self {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), version, traffic).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address()
    }

    pub(crate) fn version(&self) -> &str {
        &self.shared.version
    }

    /// From now on; what was counted stays.
    pub(crate) fn set_traffic(&self, traffic: Traffic) {
        let mut counters = self.shared.counters.lock().unwrap();
        counters.count();
        counters.traffic = traffic;
    }

    /// Counts requests at once, `bad` of them with 500.
    pub(crate) fn record(&self, requests: u32, bad: u32) {
        let mut counters = self.shared.counters.lock().unwrap();
        counters.record(f64::from(requests), f64::from(bad));
    }

    /// Counts from zero again, as a process does that was started anew.
    pub(crate) fn restart(&self) {
        let mut counters = self.shared.counters.lock().unwrap();
        *counters = Counters::new(counters.traffic);
    }

    /// Whether /healthz answers 200.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        *self.shared.healthy.lock().unwrap() = healthy;
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    let mut counters = shared.counters.lock().unwrap();
    counters.count();
    counters.render()
}

async fn health(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    if *shared.healthy.lock().unwrap() {
        (StatusCode::OK, Json(json!({ "status": "ok" })))
    } else {
        let body = Json(json!({ "status": "failing" }));
        (StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

async fn version_of(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "version": shared.version }))
}

/// An HTTP server that ends when it is dropped.
pub(crate) struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `router` on the current runtime.
pub(crate) async fn serve(address: SocketAddr, router: Router) -> Served {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Served { address, task }
}
