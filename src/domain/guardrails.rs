//! What stops automation and leaves the decision to a person.
use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::evidence::clock_time;
use super::names::ServiceName;
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
    /// Other services tripped at nearly the same time: what they share is the likelier cause.
    Together {
        services: Vec<ServiceName>,
        watched: usize,
    },
    /// It had been rolled back, and came back.
    Undone {
        by: String,
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
            Bar::Undone { by } => write!(f, "rollguard does not fight whoever put it back: {by}"),
            Bar::Together { services, watched } => write!(
                f,
                "{} of {watched} services under watch tripped within {} minutes ({}), so what they share is the \
                 likelier cause",
                services.len(),
                TOGETHER.as_secs() / 60,
                listed(services)
            ),
        }
    }
}

/// Names in one message; how many there are is said too.
const NAMED_MAX: usize = 10;

fn listed(services: &[ServiceName]) -> String {
    let named = services.iter().take(NAMED_MAX).map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let more = services.len().saturating_sub(NAMED_MAX);
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Services that trip within this time trip together.
pub const TOGETHER: SignedDuration = SignedDuration::from_mins(5);
/// Fewer than this many may be chance, or one team's bad day.
const TOGETHER_MIN: usize = 3;

/// Whether so many of the `watched` services have tripped (see [`Verdict::trips`]; each with the time of its last) that it
/// is nobody's release.
///
/// [`Verdict::trips`]: super::verdict::Verdict::trips
pub fn together<'a>(
    tripped: impl IntoIterator<Item = (&'a ServiceName, Timestamp)>,
    watched: usize,
    now: Timestamp,
) -> Option<Bar> {
    let lately = |at: Timestamp| now.duration_since(at).abs() <= TOGETHER;
    let names = tripped.into_iter().filter(|(_, at)| lately(*at)).map(|(name, _)| name);
    let services: BTreeSet<&ServiceName> = names.collect();
    // The watch of one that tripped a moment ago may be over.
    let watched = watched.max(services.len());
    let many = services.len() >= TOGETHER_MIN && services.len() * 2 > watched;
    many.then(|| Bar::Together { services: services.into_iter().cloned().collect(), watched })
}

/// Whether a target that was rolled back at `last` may be rolled back again by itself.
pub fn cooling_down(last: Option<Timestamp>, now: Timestamp, cool_down_secs: u64) -> Option<Bar> {
    let secs = i64::try_from(cool_down_secs).unwrap_or(i64::MAX);
    let until = last?.saturating_add(SignedDuration::from_secs(secs)).ok()?;
    (now < until).then_some(Bar::CoolingDown { until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_services_and_most_of_those_watched_trip_together() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let names = ["a", "b", "c", "d"].map(|name| ServiceName::parse(name).unwrap());
        let bar = |tripped: &[(usize, i64)], watched| {
            let tripped = tripped.iter().map(|(i, second)| (&names[*i], at(*second)));
            together(tripped, watched, at(1000))
        };
        let three = [(0, 990), (1, 900), (2, 1000)];
        let together = bar(&three, 5).unwrap();
        assert_eq!(together, Bar::Together { services: names[..3].to_vec(), watched: 5 });
        let told = "3 of 5 services under watch tripped within 5 minutes (a, b, c), so";
        assert!(together.to_string().starts_with(told), "{together}");
        assert!(bar(&three, 2).is_some_and(|bar| bar.to_string().starts_with("3 of 3 ")), "two are over");
        assert_eq!(bar(&three, 6), None, "half of them is no majority");
        assert_eq!(bar(&three[..2], 2), None, "two may be chance");
        assert_eq!(bar(&[(0, 990), (0, 995), (0, 1000)], 3), None, "one service three times");
        assert_eq!(bar(&[(0, 699), (1, 900), (2, 1000)], 3), None, "one of them long ago");
    }
}
