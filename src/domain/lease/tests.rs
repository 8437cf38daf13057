//! Electors against a simulated API server that is slow, loses messages and answers, and processes that are paused.
use super::*;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TICK: Duration = Duration::from_millis(20);
/// As the loop around the elector gives an attempt up.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
const SEC: Duration = Duration::from_secs(1);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn elector(name: &str) -> Elector {
    Elector::new(name.into(), LeaseTimes::default(), 0.5)
}

fn wall() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// The lease as the API server keeps it: a write names the version that it is over.
#[derive(Default)]
struct Server {
    stored: Option<StoredLease>,
    writes: u64,
}

impl Server {
    fn write(&mut self, bid: &Bid) -> Written {
        if self.stored.as_ref().map(|stored| &stored.version) != bid.over.as_ref() {
            return Written::Conflict;
        }
        self.writes += 1;
        let version = self.writes.to_string();
        self.stored = Some(StoredLease { record: bid.record.clone(), version: version.clone() });
        Written::Done { version }
    }
}

/// Lets the elector act until it waits, without any fault.
fn settle(elector: &mut Elector, server: &mut Server, now: Moment) -> Step {
    loop {
        match elector.next(now, true, wall()) {
            Step::Read => elector.read(server.stored.clone(), now),
            Step::Take(bid) | Step::Renew(bid) => {
                let written = server.write(&bid);
                elector.wrote(bid, written, now, now);
            }
            step @ (Step::Wait { .. } | Step::StepDown { .. }) => return step,
        }
    }
}

#[test]
fn the_first_leads_and_renews_and_the_second_waits() {
    let (mut server, mut a, mut b) = (Server::default(), elector("a"), elector("b"));
    for now in (0..60).map(secs) {
        settle(&mut a, &mut server, now);
        settle(&mut b, &mut server, now);
        assert!(a.leads_at(now) && !b.leads_at(now), "{now:?}");
    }
    assert_eq!((b.holder(), server.writes), (Some("a"), 30));
    assert_eq!(server.stored.unwrap().record.transitions, 0);
}

#[test]
fn a_leader_that_falls_silent_is_followed_after_the_duration_and_not_before() {
    let (mut server, mut a, mut b) = (Server::default(), elector("a"), elector("b"));
    settle(&mut a, &mut server, secs(0));
    let mut led_at = None;
    for now in (0..200).map(|tenths| Duration::from_millis(tenths * 100)) {
        settle(&mut b, &mut server, now);
        assert!(!(a.leads_at(now) && b.leads_at(now)));
        led_at = led_at.or(b.leads_at(now).then_some(now));
    }
    assert_eq!((led_at, a.leads_until()), (Some(secs(15)), Some(secs(10))));
    assert_eq!(server.stored.clone().unwrap().record.transitions, 1);
    let why = SteppedDown::NotRenewed { deadline: secs(10) };
    assert_eq!(settle(&mut a, &mut server, secs(30)), Step::StepDown { why });
}

#[test]
fn a_lease_that_is_given_back_is_taken_at_the_next_look() {
    let (mut server, mut a, mut b) = (Server::default(), elector("a"), elector("b"));
    settle(&mut a, &mut server, secs(0));
    settle(&mut b, &mut server, secs(0));
    let bid = a.release(wall()).unwrap();
    assert!(!a.leads_at(secs(1)));
    assert!(matches!(server.write(&bid), Written::Done { .. }));
    settle(&mut b, &mut server, secs(2));
    assert!(b.leads_at(secs(2)));
    assert_eq!(b.release(wall()).map(|bid| bid.record.holder), Some(None));
}

#[test]
fn whoever_is_not_told_that_it_holds_the_lease_finds_out() {
    let (mut server, mut a) = (Server::default(), elector("a"));
    assert_eq!(a.next(SEC, true, wall()), Step::Read);
    a.read(None, SEC);
    let Step::Take(bid) = a.next(SEC, true, wall()) else { panic!() };
    server.write(&bid);
    a.wrote(bid, Written::Unknown, SEC, secs(6));
    assert!(!a.leads_at(secs(6)));
    settle(&mut a, &mut server, secs(6));
    assert!(a.leads_at(secs(6)));
    let record = server.stored.unwrap().record;
    assert_eq!((record.transitions, record.holder.as_deref()), (0, Some("a")));
}

#[test]
fn a_leader_counts_from_before_it_asked_and_an_answer_that_comes_too_late_is_none() {
    let mut a = elector("a");
    a.read(None, SEC);
    let Step::Take(bid) = a.next(SEC, true, wall()) else { panic!() };
    a.wrote(bid, Written::Done { version: "1".into() }, SEC, secs(5));
    assert_eq!(a.leads_until(), Some(secs(11)));
    let Step::Renew(bid) = a.next(secs(5), true, wall()) else { panic!() };
    a.wrote(bid, Written::Done { version: "2".into() }, secs(5), secs(16));
    assert!(!a.leads_at(secs(16)));
}

#[test]
fn whoever_could_not_lead_does_not_take_it() {
    let mut a = elector("a");
    a.read(None, SEC);
    assert!(matches!(a.next(SEC, false, wall()), Step::Wait { until } if until > SEC));
}

#[test]
fn a_lease_that_is_deleted_under_its_holder_counts_as_held_for_its_time() {
    let (mut server, mut a, mut b) = (Server::default(), elector("a"), elector("b"));
    settle(&mut a, &mut server, secs(0));
    settle(&mut b, &mut server, secs(0));
    server.stored = None;
    for now in (1..15).map(secs) {
        settle(&mut b, &mut server, now);
        assert!(!b.leads_at(now));
    }
    settle(&mut b, &mut server, secs(15));
    assert!(b.leads_at(secs(15)));
}

#[test]
fn a_lease_that_a_person_gave_to_another_is_given_up() {
    let (mut server, mut a) = (Server::default(), elector("a"));
    settle(&mut a, &mut server, secs(0));
    let stored = server.stored.as_mut().unwrap();
    (stored.record.holder, stored.version) = (Some("x".into()), "edited".into());
    settle(&mut a, &mut server, secs(2));
    let step = settle(&mut a, &mut server, secs(3));
    assert_eq!(step, Step::StepDown { why: SteppedDown::Taken { holder: "x".into() } });
    assert!(!a.leads_at(secs(3)) && a.release(wall()).is_none());
}

/// One request on its way. All times are true ones.
struct Asked {
    bid: Option<Bid>,
    began: Moment,
    /// When it has its effect, if it is not lost.
    arrives: Option<Duration>,
    /// When the answer is there; otherwise the attempt is given up.
    answered: Option<Duration>,
    given_up: Duration,
    done: Option<(Option<StoredLease>, Written)>,
}

/// A replica with clocks of its own.
struct Replica {
    elector: Elector,
    rate: f64,
    wall: Timestamp,
    paused_until: Duration,
    asked: Option<Asked>,
    /// Writes that were given up and are still on their way.
    late: Vec<(Duration, Bid)>,
}

impl Replica {
    fn new(name: &str, chance: &mut StdRng) -> Self {
        // As close to each other as the guarantee allows for clocks that differ by a tenth.
        let times = LeaseTimes { renew_deadline: Duration::from_millis(13_500), ..LeaseTimes::default() };
        let elector = Elector::new(name.into(), times, chance.random());
        let wall = Timestamp::from_second(chance.random_range(0..4_000_000_000)).unwrap();
        let (paused_until, late) = (Duration::ZERO, vec![]);
        Self { elector, rate: chance.random_range(0.95..1.05), wall, paused_until, asked: None, late }
    }

    fn local(&self, true_time: Duration) -> Moment {
        true_time.mul_f64(self.rate)
    }

    fn act(&mut self, server: &mut Server, t: Duration, trouble: f64, chance: &mut StdRng) {
        self.late.retain(|(at, bid)| {
            let on_its_way = *at > t;
            if !on_its_way {
                server.write(bid);
            }
            on_its_way
        });
        let now = self.local(t);
        self.advance(server, t);
        if self.paused_until > t {
            return;
        }
        if chance.random_bool(trouble * 0.004) {
            self.paused_until = t + Duration::from_millis(chance.random_range(100..25_000));
        }
        self.answered(t, now);
        if self.asked.is_some() {
            return;
        }
        match self.elector.next(now, true, self.wall) {
            Step::Wait { .. } | Step::StepDown { .. } => {}
            Step::Read => self.ask(None, t, trouble, chance),
            Step::Take(bid) | Step::Renew(bid) => self.ask(Some(bid), t, trouble, chance),
        }
    }

    fn ask(&mut self, bid: Option<Bid>, t: Duration, trouble: f64, chance: &mut StdRng) {
        let slow = if chance.random_bool(trouble) { 12_000 } else { 60 };
        let mut way = |from: Duration| {
            let lost = chance.random_bool(trouble * 0.3);
            (!lost).then(|| from + Duration::from_millis(chance.random_range(1..=slow)))
        };
        let arrives = way(t);
        let answered = arrives.and_then(&mut way);
        let given_up = t + ATTEMPT_MAX;
        self.asked = Some(Asked { bid, began: self.local(t), arrives, answered, given_up, done: None });
    }

    /// What has arrived at the server has its effect, also while we are paused.
    fn advance(&mut self, server: &mut Server, t: Duration) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.done.is_none()) else { return };
        if asked.arrives.is_some_and(|at| at <= t) {
            let written = asked.bid.as_ref().map_or(Written::Unknown, |bid| server.write(bid));
            asked.done = Some((server.stored.clone(), written));
        }
    }

    fn answered(&mut self, t: Duration, now: Moment) {
        let Some(asked) = self.asked.take_if(|asked| {
            asked.given_up <= t || asked.done.is_some() && asked.answered.is_some_and(|at| at <= t)
        }) else {
            return;
        };
        let heard = asked.answered.is_some_and(|at| at <= t.min(asked.given_up));
        match (asked.bid, asked.done.filter(|_| heard)) {
            (None, Some((found, _))) => self.elector.read(found, now),
            (None, None) => self.elector.unread(now),
            (Some(bid), Some((_, written))) => self.elector.wrote(bid, written, asked.began, now),
            (Some(bid), None) => {
                self.late.extend(asked.arrives.filter(|at| *at > t).map(|at| (at, bid.clone())));
                self.elector.wrote(bid, Written::Unknown, asked.began, now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_do_two_lead_at_once(seed: u64, count in 2_usize..4, trouble in 0.0..0.4) {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut server = Server::default();
        let mut replicas: Vec<Replica> =
            ["a", "b", "c"].iter().take(count).map(|name| Replica::new(name, &mut chance)).collect();
        let mut t = Duration::ZERO;
        while t < secs(150) {
            for replica in &mut replicas {
                replica.act(&mut server, t, trouble, &mut chance);
                // As after a restart of its process: with another name and nothing known.
                if replica.elector.down.is_some() && replica.paused_until <= t && replica.asked.is_none() {
                    let name = format!("{}'", replica.elector.me());
                    *replica = Replica { late: std::mem::take(&mut replica.late), ..Replica::new(&name, &mut chance) };
                }
            }
            let leading = replicas.iter().filter(|r| r.elector.leads_at(r.local(t))).count();
            prop_assert!(leading <= 1, "{leading} lead at {t:?}");
            t += TICK;
        }
    }

    #[test]
    fn without_trouble_somebody_leads_soon_after_the_leader_is_gone(seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut server = Server::default();
        let [mut a, mut b] = ["a", "b"].map(|name| Replica::new(name, &mut chance));
        let gone = Duration::from_millis(chance.random_range(1_000..30_000));
        let mut t = Duration::ZERO;
        let mut last = None;
        while t < gone + secs(20) {
            if t < gone {
                a.act(&mut server, t, 0.0, &mut chance);
                last = (a.elector.leads_at(a.local(t)), b.elector.leads_at(b.local(t))).into();
            }
            b.act(&mut server, t, 0.0, &mut chance);
            t += TICK;
        }
        prop_assert!(last.is_some_and(|(a, b)| a != b));
        prop_assert!(b.elector.leads_at(b.local(t)));
    }
}
