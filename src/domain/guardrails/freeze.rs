//! Freeze windows: recurring times in which nothing is rolled back without a person.
use std::fmt;

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{SignedDuration, Timestamp};

use crate::domain::evidence::clock_time;

/// Begins at each time that a cron expression names in a time zone, and lasts.
#[derive(Clone, Debug)]
pub struct Freeze {
    text: String,
    begins: Crontab,
    lasts: SignedDuration,
    why: String,
}

/// A freeze that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub until: Timestamp,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    #[error("this is no cron expression of five fields: write such as \"0 18 * * Fri\": {why}")]
    Cron { why: String },
    #[error("{zone:?} is no time zone: write such as Europe/Berlin or UTC")]
    Zone { zone: String },
}

/// Windows that overlap are followed one after another, so many at most: then it is long enough.
const FOLLOWED_MAX: usize = 10_000;

impl Freeze {
    /// `cron` has five fields: minute, hour, day of the month, month, day of the week.
    ///
    /// # Errors
    /// A text that is no cron expression, or an unknown time zone.
    pub fn new(cron: &str, zone: &str, lasts: SignedDuration, why: &str) -> Result<Self, FreezeError> {
        if jiff::tz::TimeZone::get(zone).is_err() {
            return Err(FreezeError::Zone { zone: zone.to_string() });
        }
        let text = format!("{} {zone}", cron.trim());
        let parsed = if cron.split_whitespace().count() == 5 {
            cronexpr::parse_crontab(&text).map_err(|error| one_line(&error.to_string()))
        } else {
            Err("it has another number of fields".to_string())
        };
        let begins = parsed.map_err(|why| FreezeError::Cron { why })?;
        Ok(Self { text, begins, lasts, why: why.to_string() })
    }

    /// Whether it is on, and until when.
    pub fn at(&self, now: Timestamp) -> Option<Frozen> {
        let mut from = now.checked_sub(self.lasts).ok()?;
        let mut until = None;
        for _ in 0..FOLLOWED_MAX {
            let Some(begin) = self.next_after(from) else { break };
            // A window that begins while another is on goes on with it.
            if begin > until.unwrap_or(now) {
                break;
            }
            until = begin.checked_add(self.lasts).ok();
            from = begin;
        }
        until.filter(|until| *until > now).map(|until| Frozen { until, why: self.why.clone() })
    }

    fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.begins.find_next(MakeTimestamp(moment)).ok().map(|zoned| zoned.timestamp())
    }
}

/// The same text means the same window.
impl PartialEq for Freeze {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.lasts, &self.why) == (&other.text, other.lasts, &other.why)
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        write!(f, "a freeze is on until {} UTC{why}: only a person may roll back", clock_time(self.until))
    }
}

/// The freeze that lasts longest of those that are on.
pub fn frozen(freezes: &[Freeze], now: Timestamp) -> Option<Frozen> {
    freezes.iter().filter_map(|freeze| freeze.at(now)).max_by_key(|frozen| frozen.until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(cron: &str, zone: &str, hours: i64) -> Freeze {
        Freeze::new(cron, zone, SignedDuration::from_hours(hours), "weekend").unwrap()
    }

    fn until(freeze: &Freeze, now: &str) -> Option<String> {
        freeze.at(now.parse().unwrap()).map(|frozen| frozen.until.to_string())
    }

    #[test]
    fn a_weekend_is_frozen_in_its_own_time_zone() {
        let weekend = freeze("0 18 * * Fri", "Europe/Berlin", 62);
        // In winter Berlin is an hour before UTC.
        assert_eq!(until(&weekend, "2026-11-20T16:59:59Z"), None);
        let monday = Some("2026-11-23T07:00:00Z".to_string());
        assert_eq!(until(&weekend, "2026-11-20T17:00:00Z"), monday);
        assert_eq!(until(&weekend, "2026-11-22T12:00:00Z"), monday);
        assert_eq!(until(&weekend, "2026-11-23T07:00:00Z"), None);
        assert_eq!(until(&weekend, "2026-07-17T16:00:00Z").unwrap(), "2026-07-20T06:00:00Z", "summer time");
    }

    #[test]
    fn windows_that_overlap_are_one() {
        let nights = freeze("0 22 * * *", "UTC", 8);
        assert_eq!(until(&nights, "2026-11-22T05:00:00Z").unwrap(), "2026-11-22T06:00:00Z");
        let always = freeze("0 * * * *", "UTC", 2);
        assert!(always.at("2026-11-22T05:30:00Z".parse().unwrap()).is_some());
    }

    #[test]
    fn the_longest_counts_and_is_told() {
        let freezes = [freeze("0 0 * * *", "UTC", 6), freeze("0 0 22 11 *", "UTC", 24)];
        let frozen = frozen(&freezes, "2026-11-22T05:00:00Z".parse().unwrap()).unwrap();
        let told = "a freeze is on until 00:00:00 UTC (weekend): only a person may roll back";
        assert_eq!(frozen.to_string(), told);
        assert_eq!(super::frozen(&freezes, "2026-11-23T07:00:00Z".parse().unwrap()), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |cron: &str, zone: &str| {
            Freeze::new(cron, zone, SignedDuration::from_hours(1), "").unwrap_err().to_string()
        };
        assert!(wrong("0 18 * * Fri", "Mars/Base").starts_with("\"Mars/Base\" is no time zone"));
        assert!(wrong("18 * * Fri", "UTC").starts_with("this is no cron expression of five fields"));
        assert!(wrong("0 99 * * Fri", "UTC").starts_with("this is no cron expression"));
    }
}
