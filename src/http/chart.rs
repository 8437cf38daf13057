//! `…/chart.svg`: what a release did, with the deploy, the threshold and the decision drawn in.
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};

use super::HttpState;
use super::api::{records_of, target_of};
use super::connection::Peer;
use super::error::ApiError;
use super::report::changes;
use crate::domain::chart::{Chart, svg};
use crate::domain::names::TargetId;
use crate::domain::release::Version;
use crate::domain::report::word;

const IMAGE: [(HeaderName, &str); 2] = [
    (header::CONTENT_TYPE, "image/svg+xml"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
];

type Caller = ConnectInfo<Peer>;

/// Of the first target whose measurements are still there.
pub(super) async fn of_run(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    for change in changes(&records_of(&state, &run).await?) {
        if let Some(image) = drawn(&state, &change.target, Some(&change.from)).await? {
            return Ok((IMAGE, image).into_response());
        }
    }
    Err(nothing())
}

pub(super) async fn of_target(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): Caller,
    Path((service, target)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.0.gate.reader(&headers, from.ip())?;
    let image = drawn(&state, &target_of(&service, &target)?, None).await?.ok_or_else(nothing)?;
    Ok((IMAGE, image).into_response())
}

async fn drawn(
    state: &HttpState,
    target: &TargetId,
    version: Option<&Version>,
) -> Result<Option<String>, ApiError> {
    let Some(course) = state.0.inquiries.course(target, version).await? else { return Ok(None) };
    let reason = course.decided.as_ref().map_or("nothing was found against it", |(_, d)| d.reason.as_str());
    let decided = course.decided.as_ref().map(|(at, decided)| (*at, word(decided.reached()).to_string()));
    let title = format!("{target} {}", course.version);
    Ok(svg(&Chart { title, reason, trace: &course.trace, decided }))
}

fn nothing() -> ApiError {
    ApiError::not_found("nothing that has a course was recorded, or the recording is gone")
}
