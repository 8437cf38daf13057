//! `POST /-/reload`: a person lets the configuration be read again.
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;

use super::HttpState;
use super::connection::Peer;
use super::dto::Reloaded;
use super::error::ApiError;

pub(super) async fn reload(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<Json<Reloaded>, ApiError> {
    let by = state.0.gate.person(&headers, from.ip())?;
    Ok(Json(state.0.reloads.reload(by.as_str()).await?))
}
