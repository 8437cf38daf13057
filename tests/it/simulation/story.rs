//! Carries a schedule out: daemons live, die and are replaced, people answer, and in the end everything is mended.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::FutureExt;
use rollguard::domain::event::{RunEvent, RunOpened, from_record};
use rollguard::domain::run::{Phase, Run, evolve};
use rollguard::engine::commands::Command;
use rollguard::ports::Journal;

use super::life::Life;
use super::schedule::{Happening, RELEASE_AT, Schedule};
use super::world::{FIXED, RELEASED, World};

/// Time passes in steps of so many seconds.
const STRIDE: i64 = 5;
/// From here on nothing new goes wrong.
const MENDED: i64 = 420;
/// By then everything must be over.
const OVER: i64 = 3600;
/// More points than any daemon has.
const FOR_EVER: u64 = u64::MAX;
/// An answer that shows no effect is given again.
const ASK_AGAIN: i64 = 20;

pub(crate) struct Story<'a> {
    pub(crate) world: Arc<World>,
    schedule: &'a Schedule,
    /// The last one has taken over from the others.
    lives: Vec<Life>,
    /// After how many points the next daemons die; those after them live on.
    deaths: VecDeque<u64>,
    down_until: i64,
    orders: u32,
    /// What a person was asked for, with when they answer next.
    asked: BTreeMap<String, i64>,
}

impl<'a> Story<'a> {
    pub(crate) fn of(schedule: &'a Schedule) -> Self {
        let world = World::new(schedule.trouble);
        let deaths = VecDeque::new();
        Self { world, schedule, lives: vec![], deaths, down_until: 0, orders: 0, asked: BTreeMap::new() }
    }

    /// Beside what happens in the schedule, each of the first daemons dies after so many points.
    pub(crate) fn with_deaths(self, after: &[u64]) -> Self {
        Self { deaths: after.iter().copied().collect(), ..self }
    }

    /// Everything that happens, until nothing is open any more; the points that the daemons passed.
    pub(crate) fn tell(&mut self) -> u64 {
        let mut points = 0;
        let mended = if self.schedule.happenings.is_empty() { 2 * RELEASE_AT } else { MENDED };
        while self.world.second() < mended || (self.is_open() && self.world.second() < OVER) {
            let second = self.world.second();
            let due: Vec<Happening> =
                self.schedule.happenings.iter().filter(|(at, _)| *at == second).map(|(_, h)| *h).collect();
            due.into_iter().for_each(|happening| self.happen(happening, second));
            match second {
                RELEASE_AT => self.world.deploy(RELEASED),
                MENDED => self.mend(),
                _ => {}
            }
            self.revive(second);
            self.lives.iter_mut().for_each(Life::live);
            self.lives.retain(|life| {
                points += if life.is_over() { life.fate.passed() } else { 0 };
                !life.is_over()
            });
            self.answer(second);
            self.world.pass(STRIDE);
        }
        points + self.lives.iter().map(|life| life.fate.passed()).sum::<u64>()
    }

    fn revive(&mut self, second: i64) {
        if self.lives.is_empty() && second >= self.down_until {
            let points = self.deaths.pop_front().unwrap_or(FOR_EVER);
            self.lives.extend(Life::begin(&self.world, self.schedule.mode, points));
        }
    }

    fn happen(&mut self, happening: Happening, second: i64) {
        match happening {
            Happening::FeedGap(secs) => self.world.state().faults.feed = second + secs,
            Happening::SourceGap(secs) => self.world.state().faults.sources = second + secs,
            Happening::TargetDown(secs) => self.world.state().faults.target = second + secs,
            Happening::AnswersLost(secs) => self.world.state().faults.answers = second + secs,
            Happening::Slow(secs) => self.world.state().faults.slow = second + secs,
            Happening::DiskFull(secs) => self.world.state().faults.disk = second + secs,
            Happening::WritesInDoubt(writes) => self.world.state().faults.doubts = writes,
            Happening::ChannelDown(secs) => self.world.state().faults.channel = second + secs,
            Happening::Kill { points, down } => {
                self.lives.iter().for_each(|life| life.fate.dies_after(points));
                self.down_until = second + down;
            }
            Happening::SecondDaemon => {
                self.lives.extend(Life::begin(&self.world, self.schedule.mode, FOR_EVER));
            }
            Happening::ClockSet(by) => self.world.set_clock(by),
            Happening::KillSwitch { on } => {
                self.order(Command::Kill { on, reason: "to see".into(), by: "ben".into() }, "kill");
            }
            Happening::HotFix if self.world.image() == RELEASED => self.world.deploy(FIXED),
            Happening::HotFix => {}
        }
    }

    /// Whatever is broken is mended, and nothing is forbidden any more.
    fn mend(&mut self) {
        self.world.state().faults = Default::default();
        self.order(Command::Kill { on: false, reason: "it is over".into(), by: "ben".into() }, "kill");
    }

    /// A person tells the daemon that has taken over; the same order never twice.
    fn order(&mut self, command: Command, what: &str) {
        self.orders += 1;
        if let Some(life) = self.lives.last() {
            life.ask(command, format!("{what}-{}", self.orders));
        }
    }

    /// People answer what they were asked for after a while, and again while nothing comes of it.
    fn answer(&mut self, second: i64) {
        let asks = |key: &&String| key.contains("/ask") || key.contains("/stuck-");
        let asked: Vec<String> = self.world.state().taken.keys().filter(asks).cloned().collect();
        for key in asked {
            let due = *self.asked.entry(key.clone()).or_insert(second + self.schedule.thinks);
            if second < due {
                continue;
            }
            self.asked.insert(key.clone(), second + ASK_AGAIN);
            let run = self.runs().into_iter().find(|run| key.starts_with(&opened(run).run));
            let Some((run, life)) = run.zip(self.lives.last()) else { continue };
            // The same answer to the same question is the same command, however often it is sent.
            if let Some(command) = self.reply(&run) {
                life.ask(command, format!("{key}-{}", second / 200));
            }
        }
    }

    fn reply(&self, run: &Run) -> Option<Command> {
        let (id, by) = (opened(run).run.clone(), "ann".to_string());
        let reason = "I say so".to_string();
        match (&run.phase, self.schedule.agrees) {
            (Phase::AwaitingApproval { .. }, true) => {
                Some(Command::Approve { run: id, digest: opened(run).digest.clone(), by, break_glass: None })
            }
            (Phase::AwaitingApproval { .. }, false) => Some(Command::Deny { run: id, reason, by }),
            (Phase::Stuck { .. }, true) if self.world.second() < 2 * MENDED => {
                Some(Command::Resume { run: id, by })
            }
            (Phase::Stuck { .. }, _) => Some(Command::Abort { run: id, reason, by }),
            (Phase::New | Phase::Executing { .. } | Phase::Verifying { .. } | Phase::Watching { .. }, _)
            | (Phase::Closed(_), _) => None,
        }
    }

    /// All runs, as the journal has them.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let mut runs: BTreeMap<String, Run> = BTreeMap::new();
        for record in self.world.journal.records() {
            if record.stream.as_run().is_some() {
                let event: RunEvent = from_record(&record).unwrap();
                let run = runs.entry(record.stream.as_str().to_string()).or_default();
                *run = evolve(std::mem::take(run), &event, record.at);
            }
        }
        runs.into_values().collect()
    }

    fn is_open(&self) -> bool {
        if self.world.journal.outbox_depth().now_or_never().unwrap().unwrap() > 0
            || !self.world.journal.inbox(1).now_or_never().unwrap().unwrap().is_empty()
        {
            return true;
        }
        let records = self.world.journal.records();
        let watches = |kind: &str| {
            records
                .iter()
                .filter(|r| r.kind == kind)
                .map(|r| r.body.get("watch").or(r.body.get("id")).cloned())
                .collect::<Vec<_>>()
        };
        let closed = watches("watch_closed");
        watches("watch_opened").iter().any(|watch| !closed.contains(watch))
            || self.runs().iter().any(Run::is_open)
    }
}

pub(crate) fn opened(run: &Run) -> &RunOpened {
    run.opened.as_deref().unwrap()
}
