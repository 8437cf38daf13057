//! `POST /-/reload`: a person lets the configuration be read again.
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;

use super::HttpState;
use super::connection::Peer;
use super::dto::Reloaded;
use super::error::ApiError;
use crate::domain::role::Role;

pub(super) async fn reload(
    State(state): State<HttpState>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Result<Json<Reloaded>, ApiError> {
    let by = state.0.gate.allowed(&headers, from.ip(), Role::Operate)?;
    Ok(Json(state.0.reloads.reload(by.as_str()).await?))
}
