//! Answers that say no: a status, a code for machines, and a sentence for people.
use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::InquiryError;
use super::dto::{ErrorAnswer, ErrorBody};
use crate::domain::code::Code;
use crate::engine::commands::CommandError;
use crate::engine::reload::ReloadError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    explain: Option<Code>,
    problems: Vec<String>,
    retry_after_secs: Option<u32>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            explain: None,
            problems: vec![],
            retry_after_secs: None,
        }
    }
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).retry_after(1)
    }
    fn explained(mut self, code: Code) -> Self {
        self.explain = Some(code);
        self
    }
    pub(super) fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let brackets = self.explain.map(|code| format!(" [{code}]")).unwrap_or_default();
        let error = ErrorBody {
            code: self.code.to_string(),
            message: self.message + &brackets,
            explain: self.explain,
            problems: self.problems,
        };
        let mut response = (self.status, Json(ErrorAnswer { error })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rollguard\""));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        match error {
            CommandError::NoSuchRun { .. } => Self::not_found(message).explained(Code::NoSuchRun),
            CommandError::NoSuchTarget { .. } => Self::not_found(message).explained(Code::NoSuchTarget),
            CommandError::WrongPhase { .. } => conflict("wrong_phase", message, Code::WrongPhase),
            CommandError::OtherPlan { .. } => conflict("other_plan", message, Code::OtherPlan),
            CommandError::NotCounted { .. } => conflict("not_counted", message, Code::ApprovalNotCounted),
            CommandError::NothingPaged { .. } => conflict("nothing_paged", message, Code::NothingPaged),
            CommandError::Killed { .. } => conflict("killed", message, Code::Killed),
            CommandError::Journal(_) => {
                let message = format!("nothing was accepted, send it again: {message}");
                Self::unavailable(message).explained(Code::NotAccepted)
            }
        }
    }
}

impl From<InquiryError> for ApiError {
    fn from(error: InquiryError) -> Self {
        let message = error.to_string();
        match error {
            InquiryError::NoSuchTarget { .. } => Self::not_found(message).explained(Code::NoSuchTarget),
            InquiryError::NoKnownGood { .. } => conflict("no_known_good", message, Code::NoKnownGood),
            InquiryError::Refused { refusal } => conflict("refused", message, (&refusal).into()),
            InquiryError::Unreadable { .. } => Self::unavailable(message).explained(Code::Unreadable),
        }
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        let message = error.to_string();
        match error {
            ReloadError::Mistaken { problems } => {
                let mistaken = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "mistaken", message);
                Self { problems, ..mistaken.explained(Code::ConfigurationMistaken) }
            }
            ReloadError::NeedsRestart { .. } => conflict("needs_restart", message, Code::NeedsRestart),
            ReloadError::Unusable { .. } => conflict("unusable", message, Code::ConfigurationUnusable),
            ReloadError::NoFile => Self::new(StatusCode::CONFLICT, "no_file", message),
            ReloadError::Stopping => Self::unavailable(message),
        }
    }
}

fn conflict(code: &'static str, message: String, explain: Code) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, message).explained(explain)
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = super::server::BODY_BYTES_MAX / 1024;
            let message = format!(
                "the body is larger than {limit} KiB: send less at once (`max_alerts` in Alertmanager)"
            );
            return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        }
        Self::bad_request("the body ended early or could not be read")
    }
}
