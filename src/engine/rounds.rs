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
/// Of those, looks at what nothing was heard of: with thousands of targets they would keep us and the API server busy.
const ROUTINE_MAX: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// New or changed targets, by the time from which on they are looked at.
    changed: Queue,
    routine: Queue,
    turns: BTreeMap<TargetId, Turn>,
}

type Queue = BTreeSet<(Timestamp, TargetId)>;

#[derive(Clone, Copy, Debug)]
struct Turn {
    looked_at: Option<Timestamp>,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Waiting {
        due: Timestamp,
        /// Nothing was heard of it.
        routine: bool,
    },
    UnderWay {
        /// It has changed since the look began.
        changed: bool,
    },
}

impl Rounds {
    fn queue(&mut self, routine: bool) -> &mut Queue {
        if routine { &mut self.routine } else { &mut self.changed }
    }

    /// The target is new, or has changed: it is looked at soon.
    pub(super) fn hasten(&mut self, target: &TargetId, now: Timestamp) {
        let known = self.turns.get(target).copied();
        let looked_at = known.and_then(|turn| turn.looked_at);
        let soonest = looked_at.map_or(now, |at| after(at, AGAIN_AFTER).max(now));
        let place = match known.map(|turn| turn.place) {
            Some(Place::UnderWay { .. }) => Place::UnderWay { changed: true },
            Some(Place::Waiting { due, routine }) => {
                self.queue(routine).remove(&(due, target.clone()));
                Place::Waiting { due: due.min(soonest), routine: false }
            }
            None => Place::Waiting { due: soonest, routine: false },
        };
        self.put(target, Turn { looked_at, place });
    }

    fn put(&mut self, target: &TargetId, turn: Turn) {
        if let Place::Waiting { due, routine } = turn.place {
            self.queue(routine).insert((due, target.clone()));
        }
        self.turns.insert(target.clone(), turn);
    }

    /// Those whose turn it is. Each is under way until it is [`Rounds::finished`].
    pub(super) fn begin(&mut self, now: Timestamp) -> Vec<TargetId> {
        let under_way = self.turns.len() - self.changed.len() - self.routine.len();
        let room = UNDER_WAY_MAX.saturating_sub(under_way).min(BEGUN_MAX);
        let mut begun = self.take(false, now, room);
        begun.extend(self.take(true, now, ROUTINE_MAX.min(room - begun.len())));
        begun
    }

    fn take(&mut self, routine: bool, now: Timestamp, most: usize) -> Vec<TargetId> {
        let queue = self.queue(routine);
        let ready = queue.iter().take_while(|(due, _)| *due <= now).take(most).cloned();
        let ready: Vec<(Timestamp, TargetId)> = ready.collect();
        for due in &ready {
            queue.remove(due);
        }
        let begun: Vec<TargetId> = ready.into_iter().map(|(_, target)| target).collect();
        for target in &begun {
            if let Some(turn) = self.turns.get_mut(target) {
                turn.place = Place::UnderWay { changed: false };
            }
        }
        begun
    }

    pub(super) fn finished(&mut self, target: &TargetId, now: Timestamp) {
        let Some(Turn { place: Place::UnderWay { changed }, .. }) = self.turns.get(target).copied() else {
            return;
        };
        let pause = if changed { AGAIN_AFTER } else { EVERY + jitter(target, now) };
        let place = Place::Waiting { due: after(now, pause), routine: !changed };
        self.put(target, Turn { looked_at: Some(now), place });
    }

    /// The target is guarded no more.
    pub(super) fn forget(&mut self, target: &TargetId) {
        if let Some(Turn { place: Place::Waiting { due, routine }, .. }) = self.turns.remove(target) {
            self.queue(routine).remove(&(due, target.clone()));
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
        let rest: usize = (271..=304).map(|second| rounds.begin(at(second)).len()).sum();
        assert!(half_way > 0 && rest > 0 && half_way + rest == 10, "{half_way} and {rest}");
    }

    #[test]
    fn what_changed_goes_before_what_is_only_due_and_that_goes_slowly() {
        let mut rounds = Rounds::default();
        for n in 0..50 {
            rounds.hasten(&target(n), at(0));
            rounds.begin(at(0)).iter().for_each(|target| rounds.finished(target, at(0)));
        }
        assert_eq!(rounds.begin(at(1000)).len(), ROUTINE_MAX);
        rounds.hasten(&target(49), at(1001));
        let next = rounds.begin(at(1001));
        assert_eq!((next.len(), &next[0]), (1 + ROUTINE_MAX, &target(49)));
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
