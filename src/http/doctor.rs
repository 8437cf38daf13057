//! `/api/v1/doctor`: could each target be rolled back right now, and is the daemon itself well.
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;

use super::HttpState;
use super::connection::Peer;
use super::dto::{DaemonCheck, DoctorAnswer, TargetReadiness, parse_target};
use super::error::ApiError;
use crate::engine::snapshot::{Health, Snapshot, TargetStatus};

type Caller = ConnectInfo<Peer>;

pub(super) async fn all(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
) -> Result<Json<DoctorAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let now = state.now();
    Ok(Json(state.0.viewer.look(|s| DoctorAnswer {
        now,
        targets: s.targets.values().map(|status| readiness(status)).collect(),
        daemon: daemon(s),
    })))
}

pub(super) async fn one(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((service, target)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<DoctorAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let target =
        parse_target(&format!("{service}/{target}")).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let (found, daemon) = state
        .0
        .viewer
        .look(|s| (s.targets.get(&target.to_string()).map(|status| readiness(status)), daemon(s)));
    let found = found.ok_or_else(|| {
        ApiError::not_found(format!("{target} is not configured: `rollguard status` lists the targets"))
    })?;
    Ok(Json(DoctorAnswer { now: state.now(), targets: vec![found], daemon }))
}

fn readiness(status: &TargetStatus) -> TargetReadiness {
    let readiness = status.readiness.clone();
    TargetReadiness {
        target: status.target.clone(),
        ready: readiness.as_ref().map(|found| found.ready()),
        readiness,
    }
}

/// What must be well for a bad release to be noticed, rolled back and told.
fn daemon(snapshot: &Snapshot) -> Vec<DaemonCheck> {
    let targets = snapshot.targets.len();
    let mut checks = vec![
        DaemonCheck::new("configuration", targets > 0, format!("{targets} targets")),
        of_health("journal", snapshot.journal.as_ref()),
        of_health("feed of releases", snapshot.feed.as_ref()),
    ];
    checks.extend(snapshot.leadership.as_ref().map(|status| match &status.leader {
        Some(leader) => DaemonCheck::new("leadership", true, format!("{leader} leads")),
        None => DaemonCheck::new("leadership", false, "no replica leads".to_string()),
    }));
    checks.extend(snapshot.clock.as_ref().map(|health| of_health("clock", Some(health))));
    checks.extend(
        snapshot.sources.iter().map(|(name, health)| of_health(&format!("source {name}"), Some(health))),
    );
    checks.extend(
        snapshot.channels.iter().map(|(name, health)| of_health(&format!("channel {name}"), Some(health))),
    );
    let waiting = snapshot.outbox_waiting;
    let detail =
        if waiting == 0 { String::new() } else { format!("{waiting} messages wait to be delivered") };
    checks.push(DaemonCheck::new("messages", waiting == 0, detail));
    checks
}

fn of_health(name: &str, health: Option<&Health>) -> DaemonCheck {
    match health {
        None => DaemonCheck::new(name, false, "not heard of yet".to_string()),
        Some(health) if health.up => DaemonCheck::new(name, true, String::new()),
        Some(health) => {
            DaemonCheck::new(name, false, format!("not well since {}: {}", health.since, health.detail))
        }
    }
}
