//! `/api/v1/runs/{run}/report`: a rollback as the review after it needs it.
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::api::records_of;
use super::connection::Peer;
use super::error::ApiError;
use super::{HttpState, InquiryError};
use crate::domain::event::Record;
use crate::domain::plan::Change;
use crate::domain::report::{Past, Report, report};
use crate::domain::timeline::told;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Markdown,
    Html,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    #[serde(default)]
    format: Format,
}

/// The page brings its own style and needs nothing else.
const NOTHING_ELSE: (HeaderName, &str) =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");

pub(super) async fn show(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    Path(run): Path<String>,
    query: Result<Query<ReportQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let Query(query) =
        query.map_err(|_| ApiError::bad_request("`format` is json, markdown or html, and nothing else"))?;
    let report = of_run(&state, &run).await?;
    let typed = |kind: &'static str| [(header::CONTENT_TYPE, kind)];
    Ok(match query.format {
        Format::Json => Json(report).into_response(),
        Format::Markdown => (typed("text/markdown; charset=utf-8"), report.markdown()).into_response(),
        Format::Html => (typed("text/html; charset=utf-8"), [NOTHING_ELSE], report.html()).into_response(),
    })
}

async fn of_run(state: &HttpState, run: &str) -> Result<Report, ApiError> {
    let records = records_of(state, run).await?;
    let mut past: Vec<Past> = Vec::new();
    for change in changes(&records) {
        let events = state.0.inquiries.past(&change.target).await?;
        past.push((change.target, events));
    }
    let unreadable = || InquiryError::Unreadable { why: format!("the journal of run {run} does not begin") };
    Ok(report(&records, &past, state.now()).ok_or_else(unreadable)?)
}

/// What a run changes, target by target.
pub(super) fn changes(records: &[Record]) -> Vec<Change> {
    told(records).0.opened.map(|opened| opened.plan.changes).unwrap_or_default()
}
