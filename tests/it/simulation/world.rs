//! What outlives every daemon of a schedule: the cluster and its traffic, time, faults, people's phones, and the journal.
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::names::{RuleName, TargetId};
use rollguard::domain::release::{Generation, Version};
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::workload::{PodView, RolloutState, WorkloadKind, WorkloadView};
use rollguard::ports::AskTarget;

use crate::support::workloads::{Workload, Workloads, target};

/// Requests that each pod serves in a second, and the share of them that a bad version fails.
pub(crate) const RATE: f64 = 20.0;
const FAILING: f64 = 0.3;
pub(crate) const PODS: u32 = 3;
/// Released and judged, and one beside it that nobody touches.
pub(crate) const SERVICES: [&str; 2] = ["cart", "shop"];
pub(crate) const GOOD: &str = "shop:v1";
pub(crate) const RELEASED: &str = "shop:v2";
pub(crate) const FIXED: &str = "shop:v3";

/// What is wrong with the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    Errors,
    CrashLoop,
}

pub(crate) fn api(service: &str) -> TargetId {
    target(service, "api")
}

/// What a view of a service depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sight {
    changed_at: Timestamp,
    ended: bool,
    crashing: bool,
}

pub(crate) struct World {
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) trouble: Trouble,
    /// Who waits for time to pass, in the order in which they began.
    waiting: Mutex<Vec<Waker>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Seconds since the beginning, and by how much the daemons' clocks are ahead.
    pub(crate) second: i64,
    ahead: i64,
    pub(crate) workloads: Workloads,
    pub(crate) recordings: BTreeMap<String, Vec<Sample>>,
    pub(crate) faults: Faults,
    pub(crate) newest_epoch: u64,
    /// Each message's key with how often it arrived.
    pub(crate) taken: BTreeMap<String, u32>,
    /// The daemons could see that the release is bad.
    pub(crate) shown_bad: bool,
    /// What must never happen, and did.
    pub(crate) wrong: Vec<String>,
}

/// Seconds until which something does not work.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) feed: i64,
    pub(crate) sources: i64,
    /// The target cannot be read or changed.
    pub(crate) target: i64,
    /// What is changed changes, and the answer is lost.
    pub(crate) answers: i64,
    /// Changes take half a minute to arrive.
    pub(crate) slow: i64,
    /// The journal takes no write.
    pub(crate) disk: i64,
    /// The journal takes so many writes without saying so.
    pub(crate) doubts: u32,
    pub(crate) channel: i64,
}

fn began() -> Timestamp {
    Timestamp::from_second(1_795_341_600).unwrap()
}

impl World {
    pub(crate) fn new(trouble: Trouble) -> Arc<Self> {
        let since = began() - SignedDuration::from_hours(24);
        let workload = || Workload::running(WorkloadKind::Deployment, &[GOOD], since);
        let workloads =
            SERVICES.iter().fold(Workloads::default(), |all, name| all.with(api(name), workload()));
        let state = Mutex::new(State { workloads, ..State::default() });
        Arc::new(Self { journal: Arc::default(), trouble, waiting: Mutex::default(), state })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn second(&self) -> i64 {
        self.state().second
    }

    /// The daemons' time.
    pub(crate) fn wall(&self) -> Timestamp {
        self.state().wall()
    }

    /// Waits as the engine's own clock does: no longer than was left when it began.
    pub(crate) async fn wall_is(&self, at: Timestamp) {
        let end = self.second().saturating_add(at.duration_since(self.wall()).as_secs() + 1);
        poll_fn(|context| {
            if self.wall() >= at || self.second() >= end {
                return Poll::Ready(());
            }
            self.waiting.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn pass(&self, secs: i64) {
        self.state().second += secs;
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The daemons' clocks are set by somebody.
    pub(crate) fn set_clock(&self, by: i64) {
        self.state().ahead += by;
        self.pass(0);
    }

    pub(crate) fn deploy(&self, image: &str) {
        let mut state = self.state();
        let now = state.now();
        state.workloads.of_mut(&api("shop")).deploy(image, now);
    }

    pub(crate) fn image(&self) -> String {
        self.state().workloads.of(&api("shop")).image()
    }

    fn is_bad(&self, workload: &Workload) -> bool {
        workload.image() == RELEASED && self.trouble != Trouble::None
    }

    /// All that changes about a service.
    pub(crate) fn sight(&self, service: &str) -> Sight {
        let state = self.state();
        let workload = state.workloads.of(&api(service));
        let secs = state.now().duration_since(workload.changed_at).as_secs();
        Sight {
            changed_at: workload.changed_at,
            ended: secs >= i64::from(PODS),
            crashing: self.is_bad(workload) && self.trouble == Trouble::CrashLoop && secs > 10,
        }
    }

    /// The service as a feed shows it.
    pub(crate) fn view(&self, service: &str) -> WorkloadView {
        let Sight { ended, crashing, .. } = self.sight(service);
        let mut state = self.state();
        state.shown_bad |= crashing;
        let workload = state.workloads.of(&api(service));
        let generations = workload.generations();
        let generation = |(revision, (version, created_at)): (u64, &(&Version, Timestamp))| Generation {
            version: Version::clone(version),
            revision,
            created_at: *created_at,
        };
        let at = workload.changed_at + SignedDuration::from_secs(i64::from(PODS));
        WorkloadView {
            target: api(service),
            version: workload.version().clone(),
            current_since: workload.changed_at,
            rollout: if ended { RolloutState::Ended { at } } else { RolloutState::Rolling },
            history: (1..).zip(&generations).map(generation).collect(),
            pods: (0..PODS).map(|n| pod(service, workload, n, crashing)).collect(),
            progress_deadline_secs: Some(600),
        }
    }

    /// What a source measures of the pods that it is asked about.
    pub(crate) fn measure(&self, ask: &AskTarget) -> Vec<Sample> {
        let mut state = self.state();
        let (now, wall) = (state.now(), state.wall());
        let workload = state.workloads.of(&ask.target).clone();
        let bad = self.is_bad(&workload) && self.trouble == Trouble::Errors;
        let secs = now.duration_since(workload.changed_at).as_secs_f64();
        let rule = RuleName::parse("error-rate").unwrap();
        let sample = |pod: Option<String>, release: Option<String>, reading| Sample {
            at: wall,
            service: ask.target.service.clone(),
            target: Some(ask.target.target.clone()),
            release,
            pod,
            reading,
        };
        if state.second < state.faults.sources {
            return vec![sample(None, None, Reading::NoData { rule, reason: "no answer".into() })];
        }
        state.shown_bad |= bad && !ask.pods.is_empty();
        let there = ask
            .pods
            .iter()
            .filter(|asked| asked.name.starts_with(&prefix(&ask.target.service.to_string(), &workload)));
        let counts = |pod: &rollguard::ports::AskPod| {
            let total = RATE * secs;
            let failed = if bad { (total * FAILING).floor() } else { 0.0 };
            let reading = Reading::Counts { rule: rule.clone(), bad: failed, total };
            sample(Some(pod.name.clone()), pod.release.clone(), reading)
        };
        there.map(counts).collect()
    }
}

impl State {
    /// The right time.
    pub(crate) fn now(&self) -> Timestamp {
        began() + SignedDuration::from_secs(self.second)
    }

    fn wall(&self) -> Timestamp {
        self.now() + SignedDuration::from_secs(self.ahead)
    }
}

/// Every change of the template makes pods of other names.
fn prefix(service: &str, workload: &Workload) -> String {
    format!("{service}-{}-{}-", workload.image().replace(':', "-"), workload.changed_at.as_second())
}

fn pod(service: &str, workload: &Workload, n: u32, crashing: bool) -> PodView {
    let created_at = workload.changed_at;
    PodView {
        name: format!("{}{n}", prefix(service, workload)),
        fingerprint: Some(workload.version().fingerprint.clone()),
        created_at,
        reading: PodReading {
            ready: !crashing,
            created_at: Some(created_at),
            ready_since: (!crashing).then_some(created_at),
            restarts: if crashing { 3 } else { 0 },
            reason: crashing.then(|| "CrashLoopBackOff".to_string()),
            ..PodReading::default()
        },
        metrics_url: None,
    }
}
