//! Liveness and readiness. Liveness depends on nothing: a restart in the middle of a rollback helps nobody.
use std::fmt::Write;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use super::HttpState;
use crate::engine::snapshot::{Health, LeadershipStatus, Snapshot};

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(state): State<HttpState>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let verbose = query.is_some_and(|q| q.split('&').any(|part| part == "verbose" || part == "verbose=true"));
    let conditions = state.0.viewer.look(conditions);
    let ready = conditions.iter().all(|condition| condition.failure.is_none());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if ready && !verbose {
        return (status, "ok\n".to_string());
    }
    let mut text: String = conditions.iter().map(Condition::line).collect();
    text.push_str(if ready { "readyz passed\n" } else { "readyz failed\n" });
    (status, text)
}

struct Condition {
    name: &'static str,
    failure: Option<String>,
    note: Option<String>,
}

impl Condition {
    fn line(&self) -> String {
        let mut line = match &self.failure {
            None => format!("[+]{} ok", self.name),
            Some(why) => format!("[-]{} failed: {why}", self.name),
        };
        if let Some(note) = &self.note {
            // Writing to a String cannot fail.
            write!(line, " ({note})").ok();
        }
        line.push('\n');
        line
    }
}

fn conditions(snapshot: &Snapshot) -> Vec<Condition> {
    let mut conditions = vec![config(snapshot), journal(snapshot)];
    match &snapshot.leadership {
        // A standby follows no feed of its own.
        Some(status) if !status.leads() => conditions.push(standby(status)),
        Some(_) => {
            let note = Some("leading".to_string());
            conditions.extend([feed(snapshot), Condition { name: "leadership", failure: None, note }]);
        }
        None => conditions.push(feed(snapshot)),
    }
    conditions
}

/// It takes webhooks and orders as long as it can write them down. Who could never ask for the lease will never lead.
fn standby(status: &LeadershipStatus) -> Condition {
    let (failure, note) = match (&status.leader, &status.trouble) {
        (Some(leader), _) => (None, Some(format!("standby, {leader} leads"))),
        (None, None) => (None, Some("standby, nobody leads yet".to_string())),
        (None, Some(trouble)) => (Some(trouble.clone()), None),
    };
    Condition { name: "leadership", failure, note }
}

/// Nothing is served before a configuration is in force, and it stays so when the next one cannot be.
fn config(snapshot: &Snapshot) -> Condition {
    let refused = snapshot.config.as_ref().filter(|health| !health.up);
    let note = refused.map(|health| format!("the last reload failed: {}", down(health)));
    Condition { name: "config", failure: None, note }
}

fn journal(snapshot: &Snapshot) -> Condition {
    let failure = match &snapshot.journal {
        None => Some("not opened yet".to_string()),
        Some(health) if health.up => None,
        Some(health) => Some(down(health)),
    };
    Condition { name: "journal", failure, note: None }
}

/// Connected once is enough: while the API server is away, webhooks and approvals are still taken.
fn feed(snapshot: &Snapshot) -> Condition {
    let delivered = snapshot.targets.values().any(|target| target.current.is_some());
    let (failure, note) = match &snapshot.feed {
        None => (Some("not connected yet".to_string()), None),
        Some(health) if health.up => (None, None),
        Some(health) if delivered => (None, Some(format!("interrupted: {}", down(health)))),
        Some(health) => (Some(down(health)), None),
    };
    Condition { name: "feed", failure, note }
}

fn down(health: &Health) -> String {
    format!("{} since {}", health.detail, health.since)
}
