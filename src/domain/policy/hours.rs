//! Business hours: days of the week and times of the day in a time zone.
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// When people are at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// From Monday on.
    days: [bool; 7],
    from: Time,
    to: Time,
    zone: TimeZone,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    #[error("{text:?} names no days: write such as Mon-Fri or Mon,Wed,Sat-Sun")]
    Days { text: String },
    #[error("{text:?} is no time of the day: write such as \"09:00\"")]
    Time { key: &'static str, text: String },
    #[error("the day ends before it begins: write a later time")]
    Backwards,
    #[error("{zone:?} is no time zone: write such as Europe/Berlin or UTC")]
    Zone { zone: String },
}

impl Hours {
    /// # Errors
    /// A text that is not written as it must be, or a day that ends before it begins.
    pub fn new(days: &str, from: &str, to: &str, zone: &str) -> Result<Self, HoursError> {
        let wrong_zone = |_| HoursError::Zone { zone: zone.to_string() };
        let time = |key, text: &str| {
            let wrong = |_| HoursError::Time { key, text: text.to_string() };
            Time::strptime("%H:%M", text.trim()).map_err(wrong)
        };
        let hours = Self {
            days: days_of(days)?,
            from: time("from", from)?,
            to: time("to", to)?,
            zone: TimeZone::get(zone).map_err(wrong_zone)?,
            text: format!("{} {}-{} {zone}", days.trim(), from.trim(), to.trim()),
        };
        if hours.from < hours.to { Ok(hours) } else { Err(HoursError::Backwards) }
    }

    /// Whether people are at work then.
    pub fn contain(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
        let works = self.days.get(day).copied().unwrap_or_default();
        works && (self.from..self.to).contains(&local.time())
    }
}

fn days_of(text: &str) -> Result<[bool; 7], HoursError> {
    let wrong = || HoursError::Days { text: text.to_string() };
    let day =
        |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim())).ok_or_else(wrong);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Sat-Mon goes over the end of the week.
        let length = (last + 7 - first) % 7;
        (first..=first + length).map(|n| n % 7).for_each(|n| {
            if let Some(day) = days.get_mut(n) {
                *day = true;
            }
        });
    }
    Ok(days)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_work(hours: &Hours, at: &str) -> bool {
        hours.contain(at.parse().unwrap())
    }

    #[test]
    fn hours_are_those_of_their_time_zone() {
        let hours = Hours::new("Mon-Fri", "09:00", "18:00", "Europe/Berlin").unwrap();
        assert!(at_work(&hours, "2026-11-23T08:00:00Z"), "a Monday, nine in Berlin");
        assert!(!at_work(&hours, "2026-11-23T07:59:59Z"));
        assert!(at_work(&hours, "2026-11-23T16:59:59Z") && !at_work(&hours, "2026-11-23T17:00:00Z"));
        assert!(at_work(&hours, "2026-07-20T07:00:00Z"), "summer time");
        assert!(!at_work(&hours, "2026-11-22T12:00:00Z"), "a Sunday");
        assert_eq!(hours.to_string(), "Mon-Fri 09:00-18:00 Europe/Berlin");
    }

    #[test]
    fn days_are_single_ones_and_spans() {
        let week = |text: &str| days_of(text).unwrap().map(u8::from).map(|d| d.to_string()).concat();
        assert_eq!(week("Mon-Fri"), "1111100");
        assert_eq!(week("mon, Wed,sat-sun"), "1010011");
        assert_eq!(week("Sat-Mon"), "1000011");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |days, from, to, zone| Hours::new(days, from, to, zone).unwrap_err();
        assert!(matches!(wrong("Monday", "09:00", "18:00", "UTC"), HoursError::Days { .. }));
        assert!(matches!(wrong("Mon", "9 am", "18:00", "UTC"), HoursError::Time { key: "from", .. }));
        assert!(matches!(wrong("Mon", "09:00", "25:00", "UTC"), HoursError::Time { key: "to", .. }));
        assert_eq!(wrong("Mon", "18:00", "09:00", "UTC"), HoursError::Backwards);
        assert!(matches!(wrong("Mon", "09:00", "18:00", "Mars/Base"), HoursError::Zone { .. }));
    }
}
