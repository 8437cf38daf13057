//! A small world that outlives the process: workloads, a clock that jumps when somebody waits, people, and the journal.
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::guardrails::Killed;
use rollguard::domain::message::Message;
use rollguard::domain::names::TargetId;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::{Plan, Step};
use rollguard::domain::survey::Survey;
use rollguard::domain::verification::{CheckResult, CheckSpec};
use rollguard::engine::commands::{Command, INBOX_COMMAND};
use rollguard::ports::{
    CheckContext, Checks, Clock, Delivered, InboxItem, Journal, JournalError, KillFile, NewRecord, Notifier,
    NotifyError, SurveyError, Target,
};

use super::cases::{Case, Meddling, Person, RUN};
use super::journal::Written;
use crate::support::hooked::{Hook, Hooked, Write};
use crate::support::workloads::Workloads;

/// How the world treats what the process asks of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manner {
    Plain,
    /// The effect happens, and the answer is lost.
    AnswersLost,
    /// Every step is applied twice and looked at twice.
    Twice,
}

pub(super) struct World {
    pub(super) case: &'static Case,
    manner: Manner,
    pub(super) plan: Arc<Plan>,
    pub(super) journal: Arc<MemoryJournal>,
    state: Mutex<State>,
    /// Where a process may have died, if that is asked for.
    trail: Mutex<Option<Vec<Moment>>>,
}

/// Everything that is left of a world when its process dies.
#[derive(Clone)]
pub(super) struct Moment {
    state: State,
    pub(super) key: u64,
}

#[derive(Clone, Debug)]
struct State {
    now: Timestamp,
    workloads: Workloads,
    written: Written,
    killed: bool,
    /// Keys of messages as the receiver took them.
    taken: Vec<String>,
    /// Those that it refused the first time.
    refused: BTreeSet<String>,
    /// Those that a person has answered.
    answered: BTreeSet<String>,
    /// What must never happen, and did.
    wrong: Vec<String>,
}

/// More than any life has: without it a run that goes nowhere would wait for ever.
const POINTS_MAX: usize = 2000;

impl World {
    pub(super) fn new(case: &'static Case, manner: Manner) -> Arc<Self> {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let workloads = (case.workloads)(now);
        let plan = Arc::new((case.plan)(&workloads, now));
        let mut state = State {
            now,
            workloads,
            written: Written::default(),
            killed: false,
            taken: vec![],
            refused: BTreeSet::new(),
            answered: BTreeSet::new(),
            wrong: vec![],
        };
        if case.meddling == Meddling::Paused {
            state.pause(true);
        }
        Arc::new(Self {
            case,
            manner,
            plan,
            journal: Arc::default(),
            state: Mutex::new(state),
            trail: Mutex::new(None),
        })
    }

    /// The same world at an earlier moment, after the process was down for a while.
    pub(super) async fn at(&self, moment: &Moment) -> Arc<Self> {
        let mut state = moment.state.clone();
        state.now += self.case.down;
        Arc::new(Self {
            case: self.case,
            manner: self.manner,
            plan: self.plan.clone(),
            journal: Arc::new(state.written.journal().await),
            state: Mutex::new(state),
            trail: Mutex::new(None),
        })
    }

    /// From now on it is kept how the world is wherever the process may die.
    pub(super) fn keep_trail(&self) {
        *self.trail.lock().unwrap() = Some(vec![]);
    }

    pub(super) fn trail(&self) -> Vec<Moment> {
        self.trail.lock().unwrap().take().unwrap_or_default()
    }

    /// A process may die here.
    fn point(&self) {
        let Some(trail) = &mut *self.trail.lock().unwrap() else { return };
        let state = self.state().clone();
        let mut hasher = DefaultHasher::new();
        format!("{state:?}").hash(&mut hasher);
        trail.push(Moment { key: hasher.finish(), state });
        assert!(trail.len() < POINTS_MAX, "{}: it goes nowhere", self.case.name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state().now
    }

    pub(super) fn pass(&self, time: SignedDuration) {
        self.state().now += time;
    }

    pub(super) fn effects(&self) -> Vec<String> {
        self.state().workloads.effects()
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// What the receiver knows, who counts by key: without the run and without times.
    pub(super) fn told(&self) -> Vec<String> {
        let keys: BTreeSet<String> = self.state().taken.iter().cloned().collect();
        let name = |key: String| {
            let what = key.strip_prefix(&format!("{RUN}/")).unwrap_or(&key).to_string();
            let timed = what.rsplit_once('-').filter(|(_, end)| end.parse::<u64>().is_ok_and(|n| n > 1000));
            timed.map_or(what.clone(), |(name, _)| name.to_string())
        };
        keys.into_iter().map(name).collect()
    }

    /// When records of this kind were written.
    pub(super) fn recorded(&self, kind: &str) -> Vec<Timestamp> {
        let state = self.state();
        state.written.records().filter(|(record, _)| record.kind == kind).map(|(_, at)| at).collect()
    }

    /// People do what they were asked for.
    async fn answer(&self) {
        for by in ["ben", "eve"].iter().take(self.case.needed) {
            let reaction = self.state().react(self.case.person, &self.plan, by);
            let Some((key, command)) = reaction else { return };
            let body = serde_json::to_value(&command).unwrap();
            let key = format!("command/{key}");
            let item = InboxItem { key, kind: INBOX_COMMAND.into(), body, at: self.now() };
            self.journal.receive(item.clone()).await.unwrap();
            self.state().written.push(Write::Receive(item));
        }
    }

    /// What the journal must hold before a step is applied: that it began, and that this life has looked at it.
    fn is_announced(&self, step: &Step) -> Result<(), String> {
        let place = self.plan.steps.iter().position(|s| s == step).unwrap();
        let state = self.state();
        let is = |kind: &'static str| {
            move |(r, _): &(&NewRecord, Timestamp)| r.kind == kind && r.body["step"] == place
        };
        if !state.written.records().any(|record| is("step_started")(&record)) {
            return Err(format!("step {place} was applied before the journal knew of it"));
        }
        let mut this_life = state.written.records().rev().take_while(|(r, _)| r.kind != "adopted");
        if this_life.any(|record| is("observed")(&record)) {
            return Ok(());
        }
        Err(format!("step {place} was applied by a life that had not looked at it"))
    }

    pub(super) fn hands(self: &Arc<Self>) -> Arc<Hands> {
        Arc::new(Hands(self.clone()))
    }

    pub(super) fn open_journal(self: &Arc<Self>) -> Arc<dyn Journal> {
        Arc::new(Hooked::new(self.journal.clone(), Hands(self.clone())))
    }
}

impl State {
    fn pause(&mut self, paused: bool) {
        let targets: Vec<TargetId> = self.workloads.iter().map(|(id, _)| id.clone()).collect();
        targets.iter().for_each(|target| self.workloads.of_mut(target).pause(paused));
    }

    /// Ann ordered it, so others answer, each of them once.
    fn react(&mut self, person: Person, plan: &Plan, by: &str) -> Option<(String, Command)> {
        let asks = |key: &&String| key.contains("/ask") || key.contains("/stuck-");
        let answers = self.taken.iter().filter(asks).map(|key| format!("{key}/{by}"));
        let key = answers.into_iter().find(|key| !self.answered.contains(key))?;
        let (run, by, reason) = (RUN.to_string(), by.to_string(), "I say so".to_string());
        let command = match person {
            Person::Nobody => return None,
            Person::Approves => Command::Approve { run, digest: plan.digest(), by, break_glass: None },
            Person::Resumes => {
                self.killed = false;
                self.pause(false);
                Command::Resume { run, by }
            }
            Person::Skips => {
                let now = self.now;
                self.workloads.of_mut(&plan.changes[0].target).deploy("shop:v1", now);
                Command::Skip { run, by }
            }
            Person::Aborts => Command::Abort { run, reason, by },
        };
        self.answered.insert(key.clone());
        Some((key, command))
    }
}

/// The world as the process reaches it.
pub(super) struct Hands(Arc<World>);

/// For those who let others say how time passes.
pub(super) struct Patient(pub(super) Arc<World>);

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    async fn sleep_until(&self, at: Timestamp) {
        // The outbox and the inbox come first.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.0.point();
        self.0.answer().await;
        self.0.point();
        {
            let mut state = self.0.state();
            // Somebody who waits for an hour may be killed in the middle of it.
            state.now = at.min(state.now + SignedDuration::from_mins(10)).max(state.now);
        }
        self.0.point();
    }
}

#[async_trait]
impl Clock for Patient {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    async fn sleep_until(&self, at: Timestamp) {
        while self.0.now() < at {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Hook for Hands {
    async fn before(&self, _: &Write) -> Result<(), JournalError> {
        self.0.point();
        Ok(())
    }
    async fn after(&self, write: Write) -> Result<(), JournalError> {
        self.0.state().written.push(write);
        self.0.point();
        Ok(())
    }
}

#[async_trait]
impl Target for Hands {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        Ok(self.0.state().workloads.survey(target))
    }

    async fn observe(&self, step: &Step) -> Finding {
        self.0.point();
        let finding = {
            let mut state = self.0.state();
            let finding = state.workloads.observe(step, state.now);
            if self.0.manner == Manner::Twice && state.workloads.observe(step, state.now) != finding {
                state.wrong.push(format!("looking changed what {} finds", step.title));
            }
            finding
        };
        self.0.point();
        finding
    }

    async fn apply(&self, step: &Step) -> Outcome {
        self.0.point();
        let announced = self.0.is_announced(step);
        let outcome = {
            let mut state = self.0.state();
            state.wrong.extend(announced.err());
            let now = state.now;
            let outcome = state.workloads.apply(step, now);
            if self.0.manner == Manner::Twice {
                state.workloads.apply(step, now);
            }
            state.killed |= self.0.case.meddling == Meddling::Killed && state.answered.is_empty();
            outcome
        };
        self.0.point();
        match self.0.manner {
            Manner::Plain | Manner::Twice => outcome,
            Manner::AnswersLost => Outcome::Unknown { why: "the connection was lost".into() },
        }
    }
}

#[async_trait]
impl Checks for Hands {
    async fn check(&self, _: &CheckSpec, _: &CheckContext) -> CheckResult {
        self.0.point();
        CheckResult::passed("200")
    }
}

#[async_trait]
impl KillFile for Hands {
    async fn look(&self) -> Option<Killed> {
        let killed = Killed { by: "a test".into(), at: self.0.now(), reason: "to see it".into() };
        self.0.state().killed.then_some(killed)
    }
}

#[async_trait]
impl Notifier for Hands {
    fn channel(&self) -> &str {
        "chat"
    }
    fn wants(&self, _: &Message) -> bool {
        true
    }
    async fn deliver(&self, message: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        self.0.point();
        let first = self.0.state().refused.insert(message.key.clone());
        if first && message.key.ends_with("/action") {
            let (channel, why) = ("chat".to_string(), "it is full".to_string());
            return Err(NotifyError::Retry { channel, why, after: None });
        }
        self.0.state().taken.push(message.key.clone());
        self.0.point();
        Ok(Delivered::Once)
    }
}
