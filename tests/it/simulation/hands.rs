//! The world as one daemon reaches it, with the faults of the moment; each call is a point at which the daemon may die.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rollguard::domain::event::{RunEvent, from_record};
use rollguard::domain::guardrails::Killed;
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::TargetId;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::Step;
use rollguard::domain::signal::Sample;
use rollguard::domain::survey::Survey;
use rollguard::domain::verification::{CheckResult, CheckSpec};
use rollguard::ports::{
    CheckContext, Checks, Clock, Delivered, JournalError, KillFile, Notifier, NotifyError, Recorder,
    SurveyError, Target,
};

use super::world::{RELEASED, Trouble, World};
use crate::support::hooked::{Hook, Write};

/// Of one daemon. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) world: Arc<World>,
    pub(crate) fate: Arc<Fate>,
}

/// How many points a daemon still lives, and the epoch in which it writes.
pub(crate) struct Fate {
    left: AtomicU64,
    passed: AtomicU64,
    dead: AtomicBool,
    pub(crate) epoch: AtomicU64,
}

impl Fate {
    pub(crate) fn new(points: u64) -> Arc<Self> {
        let dead = AtomicBool::new(false);
        Arc::new(Self {
            left: AtomicU64::new(points),
            passed: AtomicU64::new(0),
            dead,
            epoch: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn dies_after(&self, points: u64) {
        self.left.store(points, Ordering::SeqCst);
    }

    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// The daemon that has no point left dies here: what it would do next is never done.
    async fn point(&self) {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.dead.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.passed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Hands {
    /// What the journal must hold before a step is applied: its start, and that this daemon looked at it since.
    fn is_announced(&self, step: &Step) -> Result<(), String> {
        let records = self.world.journal.records();
        let events = records.iter().filter(|r| r.stream.as_run().is_some());
        let events: Vec<(u64, &str, RunEvent)> =
            events.map(|r| (r.epoch, r.stream.as_str(), from_record(r).unwrap())).collect();
        let place = events.iter().rev().find_map(|(_, stream, event)| match event {
            RunEvent::Opened(opened) => Some((*stream, opened.plan.steps.iter().position(|s| s == step)?)),
            _ => None,
        });
        let Some((stream, place)) = place else { return Err("a step of no run was applied".into()) };
        let of = |is: &dyn Fn(u64, &RunEvent) -> bool| {
            events.iter().rposition(|(epoch, of, event)| *of == stream && is(*epoch, event))
        };
        let begun = of(&|_, event| matches!(event, RunEvent::StepStarted { step, .. } if *step == place));
        let ours = self.fate.epoch.load(Ordering::SeqCst);
        let seen = of(&|epoch, event| {
            epoch == ours && matches!(event, RunEvent::Observed { step, .. } if *step == place)
        });
        match (begun, seen) {
            (None, _) => Err(format!("{stream}: step {place} was applied before the journal knew of it")),
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => {
                Err(format!("{stream}: step {place} was applied without a look in epoch {ours}"))
            }
        }
    }
}

#[async_trait]
impl Hook for Hands {
    async fn before(&self, _: &Write) -> Result<(), JournalError> {
        self.fate.point().await;
        let state = self.world.state();
        if state.second < state.faults.disk {
            return Err(JournalError::Unavailable { why: "the disk is full".into() });
        }
        Ok(())
    }

    async fn after(&self, write: Write) -> Result<(), JournalError> {
        let doubt = {
            let mut state = self.world.state();
            let newest = state.newest_epoch;
            match write.epoch() {
                Some(epoch) if epoch < newest => {
                    state.wrong.push(format!("epoch {epoch} wrote while {newest} was there already"));
                }
                Some(_) => {}
                None if matches!(write, Write::Claim) => state.newest_epoch += 1,
                None => {}
            }
            let doubt = state.faults.doubts > 0 && !matches!(write, Write::Claim);
            state.faults.doubts -= u32::from(doubt);
            doubt
        };
        self.fate.point().await;
        if doubt {
            return Err(JournalError::Unavailable { why: "the answer was lost".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.world.wall()
    }
    async fn sleep_until(&self, at: Timestamp) {
        self.world.wall_is(at).await;
    }
}

#[async_trait]
impl Target for Hands {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let state = self.world.state();
        if state.second < state.faults.target {
            return Err(SurveyError::Unreadable { what: target.to_string(), why: "no route".into() });
        }
        Ok(state.workloads.survey(target))
    }

    async fn observe(&self, step: &Step) -> Finding {
        self.fate.point().await;
        let state = self.world.state();
        if state.second < state.faults.target {
            return Finding::Unseen { why: "no route".into() };
        }
        state.workloads.observe(step, state.now())
    }

    async fn apply(&self, step: &Step) -> Outcome {
        let announced = self.is_announced(step);
        self.world.state().wrong.extend(announced.err());
        self.fate.point().await;
        let slow = {
            let state = self.world.state();
            state.second < state.faults.slow
        };
        if slow {
            self.world.wall_is(self.world.wall() + SignedDuration::from_secs(30)).await;
        }
        let (outcome, lost) = {
            let mut state = self.world.state();
            if state.second < state.faults.target {
                return Outcome::Unknown { why: "no route".into() };
            }
            let now = state.now();
            (state.workloads.apply(step, now), state.second < state.faults.answers)
        };
        self.fate.point().await;
        if lost { Outcome::Unknown { why: "the connection was lost".into() } } else { outcome }
    }
}

#[async_trait]
impl Checks for Hands {
    async fn check(&self, _: &CheckSpec, _: &CheckContext) -> CheckResult {
        self.fate.point().await;
        if self.world.image() == RELEASED && self.world.trouble != Trouble::None {
            return CheckResult::failed("503");
        }
        CheckResult::passed("200")
    }
}

#[async_trait]
impl KillFile for Hands {
    async fn look(&self) -> Option<Killed> {
        None
    }
}

#[async_trait]
impl Notifier for Hands {
    fn channel(&self) -> &str {
        "pager"
    }
    fn wants(&self, message: &Message) -> bool {
        message.kind != MessageKind::Trace
    }
    async fn deliver(&self, message: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        self.fate.point().await;
        {
            let mut state = self.world.state();
            if state.second < state.faults.channel {
                let (channel, why) = ("pager".to_string(), "no answer".to_string());
                return Err(NotifyError::Retry { channel, why, after: None });
            }
            *state.taken.entry(message.key.clone()).or_default() += 1;
        }
        self.fate.point().await;
        Ok(Delivered::Once)
    }
}

#[async_trait]
impl Recorder for Hands {
    async fn record(&self, watch: &str, samples: Vec<Sample>) {
        self.fate.point().await;
        self.world.state().recordings.entry(watch.to_string()).or_default().extend(samples);
    }
    async fn replay(&self, watch: &str) -> Vec<Sample> {
        self.world.state().recordings.get(watch).cloned().unwrap_or_default()
    }
    async fn close(&self, _: &str) {}
}
