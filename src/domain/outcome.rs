//! What came of a step: of looking at its target, and of carrying it out.
use serde::{Deserialize, Serialize};

/// What an observation of a step's target says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    Satisfied {
        detail: String,
    },
    NotYet {
        detail: String,
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

/// What became of an application. An unknown one is resolved by observing, never by guessing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Done { detail: String },
    Refused { why: String },
    Unknown { why: String },
}
