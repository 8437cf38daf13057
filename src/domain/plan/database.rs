//! The way back for a database target.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Goal, Plan};
use crate::domain::names::TargetId;
use crate::domain::release::Version;

/// What an adapter found out about a database target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DatabaseSurvey {}

impl DatabaseSurvey {
    pub fn target(&self) -> &TargetId {
        match *self {}
    }

    /// What is served now.
    pub fn version(&self) -> &Version {
        match *self {}
    }
}

/// A step of its way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum DatabaseAction {}

impl DatabaseAction {
    pub fn mutates(&self) -> bool {
        match *self {}
    }
}

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseRefusal {}

impl fmt::Display for DatabaseRefusal {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl DatabaseRefusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match *self {}
    }
}

/// Drafts the steps.
///
/// # Errors
/// Why this target cannot be rolled back safely.
pub fn draft(survey: &DatabaseSurvey, _goal: &Goal, _run: &str) -> Result<Plan, DatabaseRefusal> {
    match *survey {}
}
