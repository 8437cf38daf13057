//! Why the daemon could not be asked, or what it said instead.
use std::error::Error;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("{server:?} is no server to talk to: {why}; set --server or ROLLGUARD_SERVER")]
    BadServer { server: String, why: String },
    #[error("the token holds characters that no token has: check the token file")]
    BadToken,
    #[error("the HTTP client could not be set up: {why}")]
    Setup { why: String },
    #[error("cannot reach {server}: {why}; is `rollguard serve` running? set --server or ROLLGUARD_SERVER")]
    Unreachable { server: String, why: String },
    #[error(
        "{server} answered {status}, but not as rollguard does: is it another program, or another version? set --server or ROLLGUARD_SERVER"
    )]
    Strange { server: String, status: u16 },
    #[error("{message}{}", advice(*status))]
    Answered { status: u16, code: String, message: String },
}

fn advice(status: u16) -> &'static str {
    if status == 401 { "; set --token-file, ROLLGUARD_TOKEN_FILE or ROLLGUARD_TOKEN" } else { "" }
}

/// What went wrong at the bottom, without the URL.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_string();
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return io_text(io);
        }
        cause = source;
    }
    cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), io_text)
}

/// `connection refused`, without the number that the system has for it.
fn io_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => error.kind().to_string(),
        None => error.to_string(),
    }
}
