//! What stops automation and leaves the decision to a person.
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::evidence::clock_time;
use super::plan::Refusal;

/// A reason not to act by ourselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    NoKnownGood,
    /// No plan could be drafted.
    Refused(Refusal),
    /// This target was rolled back a short while ago.
    CoolingDown {
        until: Timestamp,
    },
    /// A rollback of this service is under way.
    RunOpen {
        run: String,
    },
    /// Some of the target's state could not be read.
    NotSurveyed {
        why: String,
    },
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::NoKnownGood => {
                f.write_str("no version is known to be good, so there is nothing to go back to")
            }
            Bar::Refused(refusal) => write!(f, "{refusal}; {}", refusal.advice()),
            Bar::CoolingDown { until } => {
                write!(
                    f,
                    "this target was rolled back a short while ago: automation rests until {} UTC",
                    clock_time(*until)
                )
            }
            Bar::RunOpen { run } => write!(f, "run {run} is already rolling this service back"),
            Bar::NotSurveyed { why } => write!(f, "the target could not be surveyed: {why}"),
        }
    }
}

/// Whether a target that was rolled back at `last` may be rolled back again by itself.
pub fn cooling_down(last: Option<Timestamp>, now: Timestamp, cool_down_secs: u64) -> Option<Bar> {
    let secs = i64::try_from(cool_down_secs).unwrap_or(i64::MAX);
    let until = last?.saturating_add(SignedDuration::from_secs(secs)).ok()?;
    (now < until).then_some(Bar::CoolingDown { until })
}
