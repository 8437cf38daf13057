//! What the tests need to know about the rollout: when it was, what serves beside it, and what became of other services.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::runbook::LateOnset;

/// Trouble that begins so long after the rollout still counts as the release's.
const GRACE: SignedDuration = SignedDuration::from_mins(2);
/// Other services that got worse so close to the onset share its cause; and half of the time that it took to see it.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(60);
/// Other services beyond this say nothing more.
const OTHERS_MAX: usize = 1_000;
/// Times at which one of them got worse.
const TIMES_MAX: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Rollout {
    released_at: Timestamp,
    ended: Option<Timestamp>,
    /// When the newest new pod appeared, or an old one last reported: without word of its end, it lasted at least so long.
    still: Timestamp,
    others: BTreeMap<String, Vec<Other>>,
    pub(super) late_onset: LateOnset,
    pub(super) now: Timestamp,
}

/// A service that was not released got worse.
#[derive(Clone, Debug)]
struct Other {
    since: Timestamp,
    crashes: bool,
    detail: String,
}

impl Rollout {
    pub(super) fn new(released_at: Timestamp, late_onset: LateOnset) -> Self {
        let others = BTreeMap::new();
        Self { released_at, ended: None, still: released_at, others, late_onset, now: released_at }
    }

    pub(super) fn ended(&self) -> Option<Timestamp> {
        self.ended
    }
    pub(super) fn end(&mut self, at: Timestamp) {
        self.ended = Some(at);
    }
    /// A new pod appeared, or an old one reported.
    pub(super) fn goes_on(&mut self, at: Timestamp) {
        self.still = self.still.max(at);
    }

    /// Whether that was before the release.
    pub(super) fn is_before(&self, moment: Timestamp) -> bool {
        moment < self.released_at
    }

    /// From when on trouble counts that began then and belongs to no pod. Where a version is `restored` it began with the
    /// one before, and is this one's only once that is gone, which shows after `lag`.
    pub(super) fn counts_from(
        &self,
        onset: Timestamp,
        restored: bool,
        lag: SignedDuration,
    ) -> Option<Timestamp> {
        if restored { Some(onset.max(self.ended? + lag)) } else { Some(onset) }
    }

    /// Whether what begins then counts as the release's.
    pub(super) fn covers(&self, onset: Timestamp) -> bool {
        self.covers_with(onset, SignedDuration::ZERO)
    }

    /// The same for what shows only `later`, such as slowness after a warm-up or what a source publishes late.
    pub(super) fn covers_with(&self, onset: Timestamp, later: SignedDuration) -> bool {
        let ended = self.ended.unwrap_or(self.still);
        onset >= self.released_at && onset.duration_since(ended) <= GRACE + later
    }

    pub(super) fn take_other(
        &mut self,
        other: &str,
        worse_since: Option<Timestamp>,
        crashes: bool,
        detail: &str,
    ) {
        // That it got better again, or worse once more, does not undo that it was worse at the time.
        let Some(since) = worse_since else { return };
        if self.others.len() < OTHERS_MAX || self.others.contains_key(other) {
            let times = self.others.entry(other.to_string()).or_default();
            if times.len() >= TIMES_MAX {
                times.remove(0);
            }
            times.push(Other { since, crashes, detail: detail.chars().take(200).collect() });
        }
    }

    /// An unreleased service that got worse at the same time, with what is wrong with it. The onset may have been earlier
    /// than it showed, by up to `lag`.
    pub(super) fn other_worse_at(&self, onset: Timestamp, lag: SignedDuration) -> Option<(&str, &str)> {
        self.others_at(onset, lag).next().map(|(who, other)| (who, other.detail.as_str()))
    }

    /// An unreleased service whose pods began to crash at the same time.
    pub(super) fn other_crashes_at(&self, onset: Timestamp) -> Option<&str> {
        self.others_at(onset, SignedDuration::ZERO).find(|(_, other)| other.crashes).map(|(who, _)| who)
    }

    fn others_at(&self, onset: Timestamp, lag: SignedDuration) -> impl Iterator<Item = (&str, &Other)> {
        let times = self.others.iter().flat_map(|(who, times)| times.iter().map(move |t| (who.as_str(), t)));
        // The longer it took to be sure, the less is known of when it began.
        let slack = SAME_TIME + self.now.duration_since(onset).max(SignedDuration::ZERO) / 2;
        times.filter(move |(_, other)| {
            let later = other.since.duration_since(onset);
            later >= -(slack + lag) && later <= slack
        })
    }
}

#[cfg(test)]
impl Rollout {
    pub(super) fn seen(released_at: Timestamp, ended: Option<Timestamp>, now: Timestamp) -> Self {
        Self { ended, now, still: now, ..Self::new(released_at, LateOnset::Page) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_end_of_a_rollout_is_told_or_seen() {
        let mut rollout = Rollout::new(at(1000), LateOnset::Page);
        assert!(!rollout.covers(at(999)) && rollout.covers(at(1120)) && !rollout.covers(at(1121)));
        rollout.goes_on(at(1300));
        assert!(rollout.covers(at(1420)), "old pods still report: it goes on");
        rollout.end(at(1060));
        assert!(rollout.covers(at(1180)) && !rollout.covers(at(1181)));
        assert!(rollout.covers_with(at(1240), SignedDuration::from_secs(60)));
    }

    #[test]
    fn others_count_only_if_they_got_worse_at_the_same_time() {
        let mut rollout = Rollout::new(at(1000), LateOnset::Page);
        rollout.take_other("cart/api", Some(at(400)), false, "since long before");
        rollout.take_other("pay/api", Some(at(1030)), false, "8 % errors");
        rollout.take_other("pay/api", None, false, "");
        rollout.take_other("pay/api", Some(at(1400)), false, "again");
        let worse = |rollout: &Rollout, onset, lag| {
            let (_, what) = rollout.other_worse_at(at(onset), SignedDuration::from_secs(lag))?;
            Some(what.to_string())
        };
        let shown = |what: &str| Some(what.to_string());
        assert_eq!(worse(&rollout, 1010, 0), shown("8 % errors"));
        assert_eq!(worse(&rollout, 1200, 0), None);
        assert_eq!(worse(&rollout, 1200, 180), shown("8 % errors"), "it showed late");
        assert_eq!(worse(&rollout, 900, 180), None, "nothing shows before it happens");
        rollout.now = at(1600);
        assert_eq!(worse(&rollout, 1200, 0), shown("8 % errors"), "it took long to see");
        rollout.now = at(1000);
        assert_eq!(worse(&rollout, 430, 0), shown("since long before"));
    }
}
