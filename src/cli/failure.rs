//! How a command ends: an exit code that scripts rely on, and a sentence for people.
use std::fmt;
use std::process::ExitCode;

use crate::client::ClientError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Failure,
    Usage,
    /// Policy or a guard rail said no.
    Refused,
    NoData,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::NoData => 4,
        })
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Answered { status: 409, .. } => Exit::Refused,
            ClientError::Answered { .. }
            | ClientError::BadServer { .. }
            | ClientError::BadToken
            | ClientError::Setup { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Strange { .. } => Exit::Failure,
        };
        Self::new(exit, error.to_string())
    }
}
