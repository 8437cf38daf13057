//! What stops automation and leaves the decision to a person.
pub mod freeze;
pub mod minimum;

use std::collections::BTreeSet;
use std::fmt;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::evidence::{clock_time, count_of};
use super::names::{ServiceName, TargetId};
use super::plan::Refusal;
use freeze::{Freeze, Frozen, frozen};
use minimum::MinVersion;

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
    /// A target that was released together with this one cannot be rolled back, and half a rollback is none.
    Companion {
        target: TargetId,
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
    /// So many rollbacks are under way that one more is left to a person.
    Busy {
        runs: Vec<String>,
        at_once: usize,
    },
    /// This service was rolled back often enough for a day.
    OftenToday {
        times: usize,
        until: Timestamp,
    },
    /// Going back so far is left to a person: it might undo a security fix.
    BelowMinimum {
        to: String,
        minimum: String,
    },
    /// A person stopped all automation.
    Killed(Killed),
}

/// The kill switch is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    pub by: String,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kill switch is on since {} UTC, by {}", clock_time(self.at), self.by)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
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
            Bar::Companion { target, why } => write!(
                f,
                "{target} was released together with it, and that cannot be rolled back: {why}; see to that first, roll \
                 this one back alone by hand, or set `together: false`"
            ),
            Bar::Together { services, watched } => write!(
                f,
                "{} of {watched} services under watch tripped within {} minutes ({}), so what they share is the \
                 likelier cause",
                services.len(),
                TOGETHER.as_secs() / 60,
                listed(services)
            ),
            Bar::Busy { runs, at_once } => write!(
                f,
                "{} under way ({}), and no more than {at_once} at once is allowed",
                count_of(runs.len(), "rollback"),
                runs.join(", ")
            ),
            Bar::OftenToday { times, until } => write!(
                f,
                "this service had {} within a day: automation rests until {} UTC",
                count_of(*times, "rollback"),
                clock_time(*until)
            ),
            Bar::BelowMinimum { to, minimum } => {
                write!(
                    f,
                    "{to} is not known to be {minimum} or newer, and going back further is left to a person"
                )
            }
            Bar::Killed(killed) => write!(f, "{killed}: nothing is changed"),
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
/// Percent of the services under watch that are too many for chance.
const TOGETHER_PERCENT: usize = 30;

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
    let many = services.len() >= TOGETHER_MIN && services.len() * 100 >= watched * TOGETHER_PERCENT;
    many.then(|| Bar::Together { services: services.into_iter().cloned().collect(), watched })
}

/// What keeps automation of one service from doing too much, as its owner set it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rails {
    /// After a rollback none is begun for so long.
    pub cool_down: Duration,
    pub max_per_day: usize,
    pub freezes: Vec<Freeze>,
}

impl Default for Rails {
    fn default() -> Self {
        Self { cool_down: Duration::from_secs(3600), max_per_day: 3, freezes: Vec::new() }
    }
}

impl Rails {
    /// Whether a target that was rolled back at `last` rests.
    pub fn resting(&self, last: Option<Timestamp>, now: Timestamp) -> Option<Bar> {
        cooling_down(last, now, self.cool_down.as_secs())
    }

    /// Whether the service had its rollbacks for today, given the times of all of them.
    pub fn often_today(&self, rollbacks: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Option<Bar> {
        often_today(rollbacks, now, self.max_per_day)
    }

    pub fn frozen(&self, now: Timestamp) -> Option<Frozen> {
        frozen(&self.freezes, now)
    }
}

/// Whether a target that was rolled back at `last` may be rolled back again by itself.
fn cooling_down(last: Option<Timestamp>, now: Timestamp, cool_down_secs: u64) -> Option<Bar> {
    let secs = i64::try_from(cool_down_secs).unwrap_or(i64::MAX);
    let until = last?.saturating_add(SignedDuration::from_secs(secs)).ok()?;
    (now < until).then_some(Bar::CoolingDown { until })
}

/// Whether a service that was rolled back at these times may be rolled back again by itself.
fn often_today(
    rollbacks: impl IntoIterator<Item = Timestamp>,
    now: Timestamp,
    max_per_day: usize,
) -> Option<Bar> {
    let day = SignedDuration::from_hours(24);
    let mut lately: Vec<Timestamp> =
        rollbacks.into_iter().filter(|at| now.duration_since(*at) < day).collect();
    lately.sort();
    // Once the oldest of the last so many is a day old, there is room for one.
    let oldest = lately.len().checked_sub(max_per_day.max(1)).and_then(|index| lately.get(index))?;
    let until = oldest.saturating_add(day).ok()?;
    Some(Bar::OftenToday { times: lately.len(), until })
}

/// Whether one more rollback may be begun while these are carried out.
pub fn busy(mut runs: Vec<String>, at_once: usize) -> Option<Bar> {
    runs.sort();
    (runs.len() >= at_once.max(1)).then_some(Bar::Busy { runs, at_once })
}

/// Whether automation may go back to a version with this label.
pub fn below_minimum(to: &str, minimum: Option<&MinVersion>) -> Option<Bar> {
    let minimum = minimum.filter(|minimum| !minimum.allows(to))?;
    Some(Bar::BelowMinimum { to: to.to_string(), minimum: minimum.as_str().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_services_and_a_third_of_those_watched_trip_together() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let names = ["a", "b", "c", "d"].map(|name| ServiceName::parse(name).unwrap());
        let bar = |tripped: &[(usize, i64)], watched| {
            let tripped = tripped.iter().map(|(i, second)| (&names[*i], at(*second)));
            together(tripped, watched, at(1000))
        };
        let three = [(0, 990), (1, 900), (2, 1000)];
        let together = bar(&three, 10).unwrap();
        assert_eq!(together, Bar::Together { services: names[..3].to_vec(), watched: 10 });
        let told = "3 of 10 services under watch tripped within 5 minutes (a, b, c), so";
        assert!(together.to_string().starts_with(told), "{together}");
        assert!(bar(&three, 2).is_some_and(|bar| bar.to_string().starts_with("3 of 3 ")), "two are over");
        assert_eq!(bar(&three, 11), None, "three of many may be chance");
        assert_eq!(bar(&three[..2], 2), None, "two may be chance");
        assert_eq!(bar(&[(0, 990), (0, 995), (0, 1000)], 3), None, "one service three times");
        assert_eq!(bar(&[(0, 699), (1, 900), (2, 1000)], 3), None, "one of them long ago");
    }

    #[test]
    fn a_service_is_rolled_back_so_often_a_day() {
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let bar = |hours: &[i64], now| often_today(hours.iter().map(|h| at(*h)), at(now), 3);
        assert_eq!(bar(&[1, 5], 6), None);
        assert_eq!(bar(&[5, 1, 3], 6), Some(Bar::OftenToday { times: 3, until: at(25) }));
        assert_eq!(bar(&[1, 3, 5], 25), None, "the first was a day ago");
        assert_eq!(bar(&[1, 2, 3, 5], 6), Some(Bar::OftenToday { times: 4, until: at(26) }));
    }

    #[test]
    fn so_many_rollbacks_are_carried_out_at_once() {
        let runs = |n: usize| (0..n).map(|i| format!("r{i}")).collect::<Vec<_>>();
        assert_eq!(busy(runs(1), 2), None);
        let told = "2 rollbacks under way (r0, r1), and no more than 2 at once is allowed";
        assert_eq!(busy(runs(2), 2).unwrap().to_string(), told);
    }

    #[test]
    fn a_minimum_bars_what_is_older_or_unknown() {
        let minimum = MinVersion::parse("v1.4.2");
        assert_eq!(below_minimum("v1.5.0", minimum.as_ref()), None);
        assert_eq!(below_minimum("v1.4.1", None), None);
        let told = "v1.4.1 is not known to be v1.4.2 or newer, and going back further is left to a person";
        assert_eq!(below_minimum("v1.4.1", minimum.as_ref()).unwrap().to_string(), told);
    }
}
