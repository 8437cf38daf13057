//! What the sandbox's API answers when it refuses a request: the `Status` object of a real API server.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::object::Key;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("{} \"{}\" not found", .0.kind.resource(), .0.name)]
    NotFound(Key),
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    #[error("only application/json of whole objects is served here: tables and partial metadata are not")]
    NotAcceptable,
    #[error("{} \"{}\" already exists", .0.kind.resource(), .0.name)]
    AlreadyExists(Key),
    #[error(
        "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
        .0.kind.resource(), .0.name
    )]
    Conflict(Key),
    #[error("too old resource version: {asked} ({oldest})")]
    Expired { asked: u64, oldest: u64 },
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
    )]
    UnsupportedMediaType,
    /// A JSON Patch that parses and does not apply: a failed `test`, a missing path. A real API server says no more either.
    #[error("the server rejected our request due to an error in our request")]
    PatchRejected,
    #[error("{} \"{}\" is invalid: {reason}", .key.kind.name(), .key.name)]
    Invalid { key: Key, reason: String },
}

impl Refusal {
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::AlreadyExists(_) | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Expired { .. } => StatusCode::GONE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PatchRejected | Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::NotFound(_) | Self::NoSuchPath => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists(_) => "AlreadyExists",
            Self::Conflict(_) => "Conflict",
            Self::Expired { .. } => "Expired",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::PatchRejected | Self::Invalid { .. } => "Invalid",
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::NotFound(key)
            | Self::AlreadyExists(key)
            | Self::Conflict(key)
            | Self::Invalid { key, .. } => {
                json!({"name": key.name, "group": key.kind.group(), "kind": key.kind.plural()})
            }
            Self::BadRequest(_)
            | Self::NoSuchPath
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::Expired { .. }
            | Self::UnsupportedMediaType
            | Self::PatchRejected => json!({}),
        }
    }

    pub(super) fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": self.reason(),
            "details": self.details(),
            "code": self.code().as_u16(),
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.code(), Json(self.status())).into_response()
    }
}
