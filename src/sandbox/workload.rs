//! One process of the demo service: it answers requests, fails as its version does, and serves its own metrics.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::Served;
use super::random::Random;

const LATENCY_MEDIAN_SECS: f64 = 0.08;
/// A 95th percentile of 155 ms.
const LATENCY_SIGMA: f64 = 0.4;

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// This share of its requests, 0 to 1, is answered with 500.
    Errors(f64),
    /// It exits with code 1 about a second after each start.
    CrashLoop,
    /// It runs, and its health endpoint always answers 503.
    ProbesFail,
    /// It takes this many times as long to answer.
    Latency(f64),
}

impl Fault {
    fn error_ratio(self) -> f64 {
        match self {
            Self::Errors(ratio) => ratio.clamp(0.0, 1.0),
            Self::None | Self::CrashLoop | Self::ProbesFail | Self::Latency(_) => 0.0,
        }
    }

    fn latency_factor(self) -> f64 {
        match self {
            Self::Latency(factor) => factor.max(0.0),
            Self::None | Self::Errors(_) | Self::CrashLoop | Self::ProbesFail => 1.0,
        }
    }

    pub(super) fn passes_probes(self) -> bool {
        match self {
            Self::None | Self::Errors(_) | Self::Latency(_) => true,
            Self::CrashLoop | Self::ProbesFail => false,
        }
    }
}

/// Something that every process of every version needs, and that can break.
#[derive(Debug, Default)]
pub(super) struct Dependency {
    error_ratio_bits: AtomicU64,
    fails_once: AtomicBool,
}

impl Dependency {
    pub(super) fn break_for(&self, error_ratio: f64) {
        let bits = error_ratio.clamp(0.0, 1.0).to_bits();
        self.error_ratio_bits.store(bits, Ordering::Relaxed);
    }

    pub(super) fn fail_once(&self) {
        self.fails_once.store(true, Ordering::Relaxed);
    }

    /// Asked once per request.
    fn error_ratio(&self) -> f64 {
        if self.fails_once.swap(false, Ordering::Relaxed) {
            return 1.0;
        }
        f64::from_bits(self.error_ratio_bits.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) pod: String,
    pub(super) version: String,
    fault: Fault,
    dependency: Arc<Dependency>,
    started_at: Timestamp,
    ready: AtomicBool,
    served: Mutex<Served>,
    random: Mutex<Random>,
}

impl Workload {
    pub(super) fn new(
        pod: &str,
        version: &str,
        fault: Fault,
        dependency: &Arc<Dependency>,
        started_at: Timestamp,
        random: Random,
    ) -> Self {
        Self {
            pod: pod.to_owned(),
            version: version.to_owned(),
            fault,
            dependency: Arc::clone(dependency),
            started_at,
            ready: AtomicBool::new(false),
            served: Mutex::default(),
            random: Mutex::new(random),
        }
    }

    pub(super) fn become_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Answers one simulated request, and counts it.
    pub(super) fn answer(&self) -> StatusCode {
        let (failed, duration_secs) = {
            let mut random = lock(&self.random);
            let healthy = (1.0 - self.fault.error_ratio()) * (1.0 - self.dependency.error_ratio());
            let latency = random.log_normal(LATENCY_MEDIAN_SECS, LATENCY_SIGMA);
            (!random.happens(healthy), latency * self.fault.latency_factor())
        };
        lock(&self.served).record(failed, duration_secs);
        if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    }

    pub(super) fn health(&self) -> StatusCode {
        if self.ready.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    pub(super) fn requests_served(&self) -> u64 {
        lock(&self.served).total()
    }

    fn router(self: &Arc<Self>) -> Router {
        let (metrics, health, version, root) = (self.clone(), self.clone(), self.clone(), self.clone());
        Router::new()
            .route("/metrics", get(|| async move { metrics.exposition() }))
            .route("/health", get(|| async move { health_answer(health.health()) }))
            .route("/version", get(|| async move { Json(json!({"version": version.version})) }))
            .route("/", get(|| async move { root.answer() }))
    }

    fn exposition(&self) -> impl IntoResponse + use<> {
        let text = lock(&self.served).exposition(self.started_at);
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
    }

    /// Serves until `stop`; the answer is the address.
    pub(super) fn serve(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> std::io::Result<SocketAddr> {
        serve(self.router(), tasks, stop)
    }
}

pub(super) fn health_answer(code: StatusCode) -> (StatusCode, Json<serde_json::Value>) {
    let status = if code.is_success() { "ok" } else { "unavailable" };
    (code, Json(json!({"status": status})))
}

/// Serves a router on a free port of the loopback interface until `stop`.
pub(super) fn serve(
    router: Router,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tasks.spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::warn!(%error, %address, "a server of the sandbox ended");
        }
    });
    Ok(address)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures_of_10_000(fault: Fault, broken: f64) -> usize {
        let dependency = Arc::new(Dependency::default());
        dependency.break_for(broken);
        let workload = Workload::new("p", "v1", fault, &dependency, Timestamp::UNIX_EPOCH, Random::seeded(5));
        (0..10_000).filter(|_| workload.answer() != StatusCode::OK).count()
    }

    #[test]
    fn faults_of_the_version_and_of_the_dependency_add_up() {
        assert_eq!(failures_of_10_000(Fault::None, 0.0), 0);
        assert!((1_350..1_650).contains(&failures_of_10_000(Fault::Errors(0.15), 0.0)));
        assert!((2_800..3_200).contains(&failures_of_10_000(Fault::None, 0.3)));
        assert!((7_300..7_700).contains(&failures_of_10_000(Fault::Errors(0.5), 0.5)));
        assert_eq!(failures_of_10_000(Fault::Errors(7.0), 0.0), 10_000);
    }

    #[test]
    fn an_unlucky_request_is_the_only_one_that_fails() {
        let dependency = Arc::new(Dependency::default());
        let random = Random::seeded(5);
        let workload = Workload::new("p", "v1", Fault::None, &dependency, Timestamp::UNIX_EPOCH, random);
        dependency.fail_once();
        let answers: Vec<StatusCode> = (0..3).map(|_| workload.answer()).collect();
        assert_eq!(answers, [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK, StatusCode::OK]);
    }
}
