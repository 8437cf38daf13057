//! Past the threshold for certain: is it this release? One answer for errors and for slowness.
use jiff::{SignedDuration, Timestamp};

use super::rollout::Rollout;
use crate::domain::evidence::{Cause, Strength};
use crate::domain::runbook::LateOnset;

/// How the release compares with the time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing is known of it; that never forbids a rollback.
    Unknown,
    /// Not clearly worse than it was.
    Alike,
    Worse,
}

/// What is known about trouble that is past its threshold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    pub(super) onset: Timestamp,
    /// How much earlier it may have begun.
    pub(super) lag: SignedDuration,
    /// The onset may lie inside the rollout.
    pub(super) with_rollout: bool,
    /// The old pods have the same trouble.
    pub(super) old_too: bool,
    /// Nearly all of it is on one of three or more new pods.
    pub(super) one_pod: bool,
    /// Worse than old pods that served beside, since the trouble began.
    pub(super) worse_than_old: bool,
    pub(super) old_serve: bool,
    pub(super) before: Before,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attributed {
    pub(super) strength: Strength,
    pub(super) cause: Cause,
    /// Why, as the end of a sentence; empty where the numbers say it all.
    pub(super) because: String,
}

impl Attributed {
    pub(super) fn new(strength: Strength, cause: Cause, because: &str) -> Self {
        Self { strength, cause, because: because.to_string() }
    }
}

/// A release is blamed when its pods are worse than known good ones beside them, at any onset; without such pods, when the
/// trouble began inside the rollout, is new to the service, and no unreleased service got worse at the same time.
pub(super) fn attribute(found: &Suspicion, rollout: &Rollout) -> Attributed {
    use Cause::{Release, Shared, SinglePod, Unknown};
    use Strength::{Page, Rollback, Urgent};
    if found.old_too {
        let because = "the old pods have the same trouble, so the release is not the cause";
        return Attributed::new(Urgent, Shared, because);
    }
    if found.one_pod {
        let because = "nearly all of it on one pod, so it is that pod or its node";
        return Attributed::new(Urgent, SinglePod, because);
    }
    if found.worse_than_old {
        return Attributed::new(Rollback, Release, "");
    }
    if found.old_serve {
        return Attributed::new(Page, Unknown, "not yet shown to be worse than the old pods");
    }
    if let Some((who, what)) = rollout.other_worse_at(found.onset, found.lag) {
        let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
        let because = format!("{who}, which was not released, got worse at the same time{what}");
        return Attributed { strength: Urgent, cause: Shared, because };
    }
    if !found.with_rollout && rollout.late_onset == LateOnset::Page {
        let because = "it began after the rollout, and no old pods are left to compare";
        return Attributed::new(Urgent, Unknown, because);
    }
    let began = if found.with_rollout { "it began with the rollout" } else { "it began in this watch" };
    match found.before {
        Before::Alike => Attributed::new(Page, Unknown, "not yet shown to be more than before the release"),
        Before::Worse => Attributed::new(Rollback, Release, began),
        Before::Unknown => {
            Attributed::new(Rollback, Release, &format!("{began}; no history to compare with"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found() -> Suspicion {
        Suspicion {
            onset: at(1010),
            lag: SignedDuration::ZERO,
            with_rollout: true,
            old_too: false,
            one_pod: false,
            worse_than_old: false,
            old_serve: false,
            before: Before::Worse,
        }
    }

    fn judged(found: Suspicion, late: LateOnset, other_worse_at: Option<i64>) -> (Strength, Cause) {
        let mut rollout = Rollout::new(at(1000), late);
        rollout.take_other("cart/api", other_worse_at.map(at), false, "");
        let attributed = attribute(&found, &rollout);
        (attributed.strength, attributed.cause)
    }

    #[test]
    fn blame_needs_a_comparison_or_the_rollout() {
        use Cause::{Release, Shared, SinglePod, Unknown};
        use LateOnset::{Page as Ask, Rollback as Back};
        use Strength::{Page, Rollback, Urgent};
        let late = Suspicion { with_rollout: false, ..found() };
        let cases = [
            (found(), Ask, None, (Rollback, Release)),
            (Suspicion { before: Before::Unknown, ..found() }, Ask, None, (Rollback, Release)),
            (Suspicion { before: Before::Alike, ..found() }, Ask, None, (Page, Unknown)),
            (found(), Ask, Some(1030), (Urgent, Shared)),
            (found(), Ask, Some(1500), (Rollback, Release)),
            (found(), Ask, Some(900), (Rollback, Release)),
            (Suspicion { lag: SignedDuration::from_mins(1), ..found() }, Ask, Some(900), (Urgent, Shared)),
            (late, Ask, None, (Urgent, Unknown)),
            (late, Back, None, (Rollback, Release)),
            (late, Back, Some(1000), (Urgent, Shared)),
            (Suspicion { worse_than_old: true, ..late }, Ask, Some(1010), (Rollback, Release)),
            (Suspicion { old_serve: true, ..found() }, Ask, None, (Page, Unknown)),
            (Suspicion { one_pod: true, worse_than_old: true, ..found() }, Ask, None, (Urgent, SinglePod)),
            (Suspicion { old_too: true, worse_than_old: true, ..found() }, Ask, None, (Urgent, Shared)),
        ];
        for (found, late_onset, other, expected) in cases {
            assert_eq!(judged(found, late_onset, other), expected, "{found:?} {late_onset:?} {other:?}");
        }
    }
}
