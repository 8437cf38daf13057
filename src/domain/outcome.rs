//! What came of a step: of looking at its target, and of carrying it out.
use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;

/// What an observation of a step's target says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    Satisfied {
        detail: String,
    },
    NotYet {
        detail: String,
        /// What stands in the way, if anything does.
        #[serde(default, skip_serializing_if = "Diagnosis::is_empty")]
        diagnosis: Diagnosis,
    },
    /// It could not be observed: neither done nor not done.
    Unseen {
        why: String,
    },
    /// The world is not as planned: a person decides.
    Conflict {
        why: String,
    },
}

impl Finding {
    pub fn not_yet(detail: impl Into<String>) -> Self {
        Finding::NotYet { detail: detail.into(), diagnosis: Diagnosis::default() }
    }

    /// The same with the reasons for it, if it is not done yet.
    pub fn because(self, diagnosis: Diagnosis) -> Self {
        match self {
            Finding::NotYet { detail, .. } => Finding::NotYet { detail, diagnosis },
            Finding::Satisfied { .. } | Finding::Unseen { .. } | Finding::Conflict { .. } => self,
        }
    }
}

/// A call that changes something outside, as the audit of the other side can be asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub request_id: String,
    /// HTTP status of the answer; none if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What became of an application. An unknown one is resolved by observing, never by guessing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Done { detail: String },
    Refused { why: String },
    Unknown { why: String },
}
