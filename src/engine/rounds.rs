//! Who is looked at next: everybody in turn, sooner whoever changed, and never many at once.
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use crate::domain::names::TargetId;

/// How old a look becomes at most, with few targets; with many, each has its turn as the limits below allow.
const EVERY: SignedDuration = SignedDuration::from_mins(4);
/// Turns are spread over so much more time, so that they do not come together.
const SPREAD_SECS: u64 = 60;
/// What changes all the time is looked at no more often.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// Looks that begin with one tick, and that are under way: a few requests each.
const BEGUN_MAX: usize = 10;
const UNDER_WAY_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Rounds {
    due: BTreeSet<(Timestamp, TargetId)>,
    turns: BTreeMap<TargetId, Turn>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    looked_at: Option<Timestamp>,
    /// `None` while it is being looked at.
    due: Option<Timestamp>,
    changed: bool,
}

impl Rounds {
    /// The target is new, or has changed: it is looked at soon.
    pub(super) fn hasten(&mut self, target: &TargetId, now: Timestamp) {
        let turn = self.turns.entry(target.clone()).or_insert(Turn { due: Some(now), ..Turn::default() });
        let Some(due) = turn.due else {
            turn.changed = true;
            return;
        };
        let soonest = turn.looked_at.map_or(now, |at| after(at, AGAIN_AFTER).max(now));
        self.due.remove(&(due, target.clone()));
        turn.due = Some(due.min(soonest));
        self.due.insert((due.min(soonest), target.clone()));
    }

    /// Those whose turn it is. Each is under way until it is [`Rounds::finished`].
    pub(super) fn begin(&mut self, now: Timestamp) -> Vec<TargetId> {
        let under_way = self.turns.len() - self.due.len();
        let room = UNDER_WAY_MAX.saturating_sub(under_way).min(BEGUN_MAX);
        let ready = self.due.iter().take_while(|(at, _)| *at <= now).take(room).cloned();
        let begun: Vec<(Timestamp, TargetId)> = ready.collect();
        for due in &begun {
            self.due.remove(due);
            if let Some(turn) = self.turns.get_mut(&due.1) {
                turn.due = None;
            }
        }
        begun.into_iter().map(|(_, target)| target).collect()
    }

    pub(super) fn finished(&mut self, target: &TargetId, now: Timestamp) {
        let Some(turn) = self.turns.get_mut(target).filter(|turn| turn.due.is_none()) else { return };
        let pause = if turn.changed { AGAIN_AFTER } else { EVERY + jitter(target, now) };
        let due = after(now, pause);
        *turn = Turn { looked_at: Some(now), due: Some(due), changed: false };
        self.due.insert((due, target.clone()));
    }

    /// The target is guarded no more.
    pub(super) fn forget(&mut self, target: &TargetId) {
        if let Some(due) = self.turns.remove(target).and_then(|turn| turn.due) {
            self.due.remove(&(due, target.clone()));
        }
    }
}

fn after(at: Timestamp, pause: SignedDuration) -> Timestamp {
    at.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn jitter(target: &TargetId, now: Timestamp) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    (target.to_string(), now.as_second()).hash(&mut hasher);
    SignedDuration::from_secs(i64::try_from(hasher.finish() % SPREAD_SECS).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::domain::names::{ServiceName, TargetName};

    fn target(n: usize) -> TargetId {
        let (service, target) = (ServiceName::parse(format!("s{n}")), TargetName::parse("api"));
        TargetId { service: service.unwrap(), target: target.unwrap() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn everybody_has_a_turn_and_not_all_at_once() {
        let mut rounds = Rounds::default();
        (0..50).for_each(|n| rounds.hasten(&target(n), at(0)));
        let first = rounds.begin(at(0));
        assert_eq!(first.len(), BEGUN_MAX);
        assert_eq!(rounds.begin(at(1)).len(), BEGUN_MAX);
        assert!(rounds.begin(at(2)).is_empty(), "none of the twenty has come back");
        first.iter().for_each(|target| rounds.finished(target, at(3)));
        assert_eq!(
            rounds.begin(at(3)).len(),
            BEGUN_MAX,
            "those who wait come before those who were looked at"
        );
    }

    #[test]
    fn a_look_is_renewed_within_minutes_and_turns_drift_apart() {
        let mut rounds = Rounds::default();
        (0..10).for_each(|n| rounds.hasten(&target(n), at(0)));
        rounds.begin(at(0)).iter().for_each(|target| rounds.finished(target, at(1)));
        assert!(rounds.begin(at(240)).is_empty());
        let half_way: usize = (241..271).map(|second| rounds.begin(at(second)).len()).sum();
        let rest: usize = (271..=301).map(|second| rounds.begin(at(second)).len()).sum();
        assert!(half_way > 0 && rest > 0 && half_way + rest == 10, "{half_way} and {rest}");
    }

    #[test]
    fn what_changes_is_looked_at_soon_but_not_all_the_time() {
        let mut rounds = Rounds::default();
        let one = target(1);
        rounds.hasten(&one, at(0));
        assert_eq!(rounds.begin(at(0)), from_ref(&one));
        rounds.hasten(&one, at(1));
        assert!(rounds.begin(at(1)).is_empty(), "it is being looked at");
        rounds.finished(&one, at(2));
        assert!(rounds.begin(at(11)).is_empty());
        assert_eq!(rounds.begin(at(12)), from_ref(&one), "it changed meanwhile");
        rounds.finished(&one, at(13));
        rounds.hasten(&one, at(100));
        assert_eq!(rounds.begin(at(100)), from_ref(&one));
        rounds.forget(&one);
        rounds.finished(&one, at(101));
        assert!(rounds.begin(at(9999)).is_empty(), "it is guarded no more");
    }
}
