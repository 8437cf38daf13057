//! A small world that outlives the process: a Deployment, a clock that jumps when somebody waits, and the journal.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::message::Message;
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::{Automation, Controller, GitOps, Origin, Owner, OwnerState, assess_hold};
use rollguard::domain::plan::kubernetes::{
    Progress, WorkloadFacts, assess_restart, assess_restore, assess_rollout,
};
use rollguard::domain::plan::{Action, Step};
use rollguard::domain::release::{Fingerprint, Version};
use rollguard::domain::survey::{KubernetesSurvey, Revision, Survey};
use rollguard::domain::verification::{CheckResult, CheckSpec};
use rollguard::domain::workload::{UpdateStrategy, WorkloadKind};
use rollguard::ports::{
    CheckContext, Checks, Clock, Delivered, Journal, Notifier, NotifyError, SurveyError, Target,
};
use serde_json::{Value, json};

use super::points::Fuel;

/// Whether the answers to applications arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Memo {
    Kept,
    /// The effect happens, and the answer is lost.
    AnswersLost,
}

/// Whether a GitOps controller owns the Deployment, and is suspended first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kin {
    Alone,
    Owned,
}

pub(super) struct World {
    memo: Memo,
    kin: Kin,
    pub(super) journal: Arc<MemoryJournal>,
    state: Mutex<State>,
    fuel: Mutex<Arc<Fuel>>,
}

struct State {
    now: Timestamp,
    template: Value,
    applied: u32,
    /// Times that the template was stamped with.
    restarts: Vec<String>,
    /// How often the owner was suspended.
    held: u32,
    /// Observations since the template changed: the rollout takes three.
    looks: u32,
}

pub(super) fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": image}]}})
}

fn version(image: &str) -> Version {
    Version::of_workload(Fingerprint::of_template(&template(image)), vec![image.to_string()])
}

pub(super) fn survey(world: &World) -> KubernetesSurvey {
    let revision = |number: u64, image: &str| Revision {
        name: format!("shop-{number}"),
        uid: format!("uid-{number}"),
        revision: number,
        version: version(image),
        template: template(image),
        annotations: BTreeMap::new(),
        created_at: None,
    };
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    let origin = Origin { owner: owner(world), writer: None };
    KubernetesSurvey {
        target,
        kind: WorkloadKind::Deployment,
        namespace: "default".into(),
        name: "shop".into(),
        uid: "uid".into(),
        paused: false,
        update: UpdateStrategy::default(),
        replicas: 3,
        revision: 2,
        template: world.state.lock().unwrap().template.clone(),
        version: version("shop:v2"),
        annotations: BTreeMap::from([("deployment.kubernetes.io/revision".to_string(), "2".to_string())]),
        origin,
        history: vec![revision(1, "shop:v1"), revision(2, "shop:v2")],
        revision_history_limit: Some(10),
    }
}

fn owner(world: &World) -> Option<Owner> {
    let controller = Controller::FluxKustomization { namespace: "flux".into(), name: "apps".into() };
    let state = world.state.lock().unwrap().owner();
    (world.kin == Kin::Owned).then_some(Owner::GitOps(GitOps { controller, state, may_hold: true }))
}

impl State {
    fn owner(&self) -> OwnerState {
        let automation = Automation { uid: "uid".into(), setting: Value::Null, reverts: true };
        if self.held > 0 { OwnerState::Suspended } else { OwnerState::Automated(automation) }
    }
}

impl World {
    pub(super) fn new(memo: Memo, kin: Kin) -> Self {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let state =
            State { now, template: template("shop:v2"), applied: 0, restarts: vec![], held: 0, looks: 0 };
        let fuel = Mutex::new(Arc::new(Fuel::new(u32::MAX)));
        Self { memo, kin, journal: Arc::new(MemoryJournal::default()), state: Mutex::new(state), fuel }
    }

    /// The process of this life burns this fuel.
    pub(super) fn board(&self, fuel: &Arc<Fuel>) {
        *self.fuel.lock().unwrap() = fuel.clone();
    }

    fn fuel(&self) -> Arc<Fuel> {
        self.fuel.lock().unwrap().clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state.lock().unwrap().now
    }

    pub(super) fn applied(&self) -> u32 {
        self.state.lock().unwrap().applied
    }

    /// Whether its plan has a restart.
    pub(super) fn restarts_too(&self) -> bool {
        self.memo == Memo::AnswersLost && self.kin == Kin::Alone
    }

    pub(super) fn restarts(&self) -> usize {
        self.state.lock().unwrap().restarts.len()
    }

    pub(super) fn held(&self) -> u32 {
        self.state.lock().unwrap().held
    }

    pub(super) async fn messages(&self) -> Vec<String> {
        let far = self.now() + SignedDuration::from_hours(24);
        let epoch = self.journal.claim().await.unwrap();
        let mut keys = Vec::new();
        // Rows of one incident come one after the other: settle each to see the next.
        loop {
            let rows = self.journal.outbox(far, 100).await.unwrap();
            if rows.is_empty() {
                return keys;
            }
            for row in rows {
                keys.push(row.message.key.clone());
                self.journal.settle(epoch, row.id, far, rollguard::ports::Delivery::Done).await.unwrap();
            }
        }
    }

    pub(super) fn clock(self: &Arc<Self>) -> Arc<dyn Clock> {
        Arc::new(Hands(self.clone()))
    }
    pub(super) fn target(self: &Arc<Self>) -> Arc<dyn Target> {
        Arc::new(Hands(self.clone()))
    }
    pub(super) fn checks(self: &Arc<Self>) -> Arc<dyn Checks> {
        Arc::new(Hands(self.clone()))
    }
    pub(super) fn notifier(self: &Arc<Self>) -> Arc<dyn Notifier> {
        Arc::new(Hands(self.clone()))
    }
}

/// The world as the process reaches it.
struct Hands(Arc<World>);

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    async fn sleep_until(&self, at: Timestamp) {
        tokio::task::yield_now().await;
        self.0.fuel().burn().await;
        let mut state = self.0.state.lock().unwrap();
        // Somebody who waits for an hour may be killed in the middle of it.
        state.now = at.min(state.now + SignedDuration::from_mins(10)).max(state.now);
    }
}

#[async_trait]
impl Target for Hands {
    async fn survey(&self, _: &TargetId) -> Result<Survey, SurveyError> {
        Ok(Survey::Kubernetes(survey(&self.0)))
    }

    async fn observe(&self, step: &Step) -> Finding {
        self.0.fuel().burn().await;
        let mut state = self.0.state.lock().unwrap();
        state.looks += 1;
        let updated = state.looks.min(3);
        let facts = WorkloadFacts {
            uid: "uid".into(),
            fingerprint: Fingerprint::of_template(&state.template),
            label: "a version".into(),
            paused: false,
            progress: Progress {
                kind: WorkloadKind::Deployment,
                update: UpdateStrategy::default(),
                generation: 2,
                observed_generation: 2,
                wanted: 3,
                total: 3,
                updated,
                available: updated,
                gave_up: false,
            },
            restarted_at: state.restarts.last().cloned(),
            waiting: vec![],
            blocked: None,
        };
        match &step.action {
            Action::HoldOwner(hold) => assess_hold(hold, &state.owner()),
            Action::RestoreTemplate(restore) => assess_restore(restore, Some(&facts)),
            Action::AwaitRollout(wait) => assess_rollout(wait, Some(&facts)),
            Action::Restart(restart) => assess_restart(restart, Some(&facts)),
        }
    }

    async fn apply(&self, step: &Step) -> Outcome {
        self.0.fuel().burn().await;
        let outcome = self.change(step);
        self.0.fuel().burn().await;
        match self.0.memo {
            Memo::Kept => outcome,
            Memo::AnswersLost => Outcome::Unknown { why: "the connection was lost".into() },
        }
    }
}

impl Hands {
    /// What an API server does with the patch: its tests first, then all of it.
    fn change(&self, step: &Step) -> Outcome {
        let mut state = self.0.state.lock().unwrap();
        let restore = match &step.action {
            Action::AwaitRollout(_) => return Outcome::Done { detail: "nothing to do".into() },
            Action::Restart(restart) => {
                state.restarts.push(restart.stamp());
                state.looks = 0;
                return Outcome::Done { detail: "stamped".into() };
            }
            Action::RestoreTemplate(restore) => restore,
            // Its guard is on what was set before.
            Action::HoldOwner(_) if state.held > 0 => {
                return Outcome::Refused { why: "the test failed".into() };
            }
            Action::HoldOwner(_) => {
                state.held += 1;
                return Outcome::Done { detail: "suspended".into() };
            }
        };
        let operations = restore.patch.as_array().unwrap();
        let of = |op: &str, path: &str| {
            operations.iter().find(|o| o["op"] == op && o["path"] == path).map(|o| o["value"].clone())
        };
        if of("test", "/spec/template") != Some(state.template.clone()) {
            return Outcome::Refused { why: "the test failed".into() };
        }
        state.template = of("replace", "/spec/template").unwrap();
        (state.applied, state.looks) = (state.applied + 1, 0);
        Outcome::Done { detail: "patched".into() }
    }
}

#[async_trait]
impl Checks for Hands {
    async fn check(&self, _: &CheckSpec, _: &CheckContext) -> CheckResult {
        self.0.fuel().burn().await;
        CheckResult::passed("200")
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
    async fn deliver(&self, _: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        Ok(Delivered::Once)
    }
}
