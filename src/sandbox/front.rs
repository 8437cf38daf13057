//! The front door of the demo service: one address whose answers come from the ready pods in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::kubelet::Floor;
use super::workload::{Workload, health_answer};

#[derive(Debug)]
struct Front {
    floor: Arc<Floor>,
    turn: AtomicUsize,
}

pub(super) fn router(floor: &Arc<Floor>) -> Router {
    let front = Arc::new(Front { floor: Arc::clone(floor), turn: AtomicUsize::new(0) });
    let (health, version, root) = (front.clone(), front.clone(), front);
    Router::new()
        .route("/health", get(|| async move { health.ask(|pod| health_answer(pod.health())) }))
        .route("/version", get(|| async move { version.ask(|pod| Json(json!({"version": pod.version}))) }))
        .route("/", get(|| async move { root.ask(Workload::answer) }))
}

impl Front {
    fn ask<A: IntoResponse>(&self, question: impl FnOnce(&Workload) -> A) -> Response {
        let ready = self.floor.ready();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match ready.get(turn % ready.len().max(1)) {
            Some(pod) => question(pod).into_response(),
            None => health_answer(StatusCode::SERVICE_UNAVAILABLE).into_response(),
        }
    }
}
