//! The reading half of the API.
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use super::connection::Peer;
use super::dto::{
    PlanAnswer, RunAnswer, RunStatus, RunsAnswer, ServicesAnswer, TargetHistoryAnswer, parse_target,
};
use super::error::ApiError;
use super::{HttpState, InquiryError, Story, timeline};
use crate::domain::event::Record;
use crate::domain::history::versions;
use crate::domain::names::TargetId;
use crate::domain::plan::Destination;
use crate::domain::plan::kubernetes::ImageChange;

type Caller = ConnectInfo<Peer>;

pub(super) async fn services(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
) -> Result<Json<ServicesAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let now = state.now();
    Ok(Json(state.0.viewer.look(|s| ServicesAnswer {
        now,
        targets: s.targets.values().cloned().collect(),
        sources: s.sources.clone(),
        feed: s.feed.clone(),
        journal: s.journal.clone(),
        outbox_waiting: s.outbox_waiting,
        killed: s.killed.clone(),
        leadership: s.leadership.clone(),
    })))
}

pub(super) async fn runs(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    headers: HeaderMap,
) -> Result<Json<RunsAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let mut runs: Vec<_> = state.0.viewer.look(|s| s.runs.values().cloned().collect());
    runs.sort_by_key(|run| !run.open);
    Ok(Json(RunsAnswer { now: state.now(), runs }))
}

pub(super) async fn run(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Json<RunAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let records = records_of(&state, &run).await?;
    let unreadable = || InquiryError::Unreadable { why: format!("the journal of run {run} does not begin") };
    Ok(Json(timeline::of_records(&records, state.now()).ok_or_else(unreadable)?))
}

/// All records of a run, or 404.
pub(super) async fn records_of(state: &HttpState, run: &str) -> Result<Vec<Record>, ApiError> {
    let records = state.0.inquiries.history(run).await?;
    let short: String = run.chars().take(80).collect();
    records.filter(|records| !records.is_empty()).ok_or_else(|| {
        ApiError::not_found(format!("there is no run {short:?}: `rollguard status` lists them"))
    })
}

pub(super) async fn history(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((service, target)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<TargetHistoryAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let target = target_of(&service, &target)?;
    let Story { events, survey } = state.0.inquiries.story(&target).await?;
    let of_service = |run: &&RunStatus| run.service == target.service;
    let mut runs: Vec<_> = state.0.viewer.look(|s| s.runs.values().filter(of_service).cloned().collect());
    // Their names begin with the service and go on with the time.
    runs.reverse();
    Ok(Json(TargetHistoryAnswer {
        now: state.now(),
        versions: versions(&events, survey.as_ref().ok()),
        runs,
        unread: survey.err(),
        target,
    }))
}

pub(super) fn target_of(service: &str, target: &str) -> Result<TargetId, ApiError> {
    parse_target(&format!("{service}/{target}")).map_err(|e| ApiError::bad_request(e.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanQuery {
    revision: Option<String>,
    image: Option<String>,
}

pub(super) const BOTH: &str = "`revision` and `image` exclude each other: keep one";

pub(super) async fn plan(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((service, target)): Path<(String, String)>,
    query: Result<Query<PlanQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<PlanAnswer>, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let target = target_of(&service, &target)?;
    let Query(query) = query.map_err(|_| {
        ApiError::bad_request("the only query parameters here are `revision` and `image`, once")
    })?;
    let revision =
        query.revision.as_deref().map(str::parse::<u64>).transpose().map_err(|_| {
            ApiError::bad_request("`revision` must be a number, as in `kubectl rollout history`")
        })?;
    let image = query.image.as_deref().map(ImageChange::parse).transpose();
    let image = image.map_err(|e| ApiError::bad_request(e.to_string()))?;
    let to = Destination::of(revision, image).ok_or_else(|| ApiError::bad_request(BOTH))?;
    Ok(Json(PlanAnswer::from(&state.0.inquiries.plan(&target, to).await?)))
}
