//! The way back for a infrastructure target.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Goal, Plan};
use crate::domain::names::TargetId;
use crate::domain::release::Version;

/// What an adapter found out about a infrastructure target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InfrastructureSurvey {}

impl InfrastructureSurvey {
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
pub enum InfrastructureAction {}

impl InfrastructureAction {
    pub fn mutates(&self) -> bool {
        match *self {}
    }
}

/// Why no plan is drafted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfrastructureRefusal {}

impl fmt::Display for InfrastructureRefusal {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl InfrastructureRefusal {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match *self {}
    }
}

/// Drafts the steps.
///
/// # Errors
/// Why this target cannot be rolled back safely.
pub fn draft(survey: &InfrastructureSurvey, _goal: &Goal, _run: &str) -> Result<Plan, InfrastructureRefusal> {
    match *survey {}
}
