//! A restart with 1,000 open rollbacks: from opening the journal until each is adopted and its target is looked at again.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::approval::Asking;
use rollguard::domain::event::{StreamId, to_parts};
use rollguard::domain::guardrails::{Killed, Rails};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::opening::{Request, open};
use rollguard::domain::outcome::{Finding, Outcome as Applied};
use rollguard::domain::plan::{Goal, Plan, Step, draft};
use rollguard::domain::policy::{Decided, Decision, Mode};
use rollguard::domain::release::{Fingerprint, Version};
use rollguard::domain::runbook::{Judging, standard_rules};
use rollguard::domain::signal::Sample;
use rollguard::domain::survey::{KubernetesSurvey, Revision, Survey};
use rollguard::domain::verification::{CheckResult, CheckSpec};
use rollguard::domain::workload::WorkloadKind;
use rollguard::engine::clock::SystemClock;
use rollguard::engine::commands::Desk;
use rollguard::engine::driver::Tools;
use rollguard::engine::kill::KillSwitch;
use rollguard::engine::leadership::Tenure;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::settings::{Fleet, ServiceSettings};
use rollguard::engine::snapshot::Picture;
use rollguard::engine::sources::{AskBook, Sensing};
use rollguard::engine::watcher::{Parts, Watcher};
use rollguard::ports::{
    CheckContext, Checks, Clock, Commit, FeedEvent, Journal, KillFile, NewRecord, Notifier, Recorder,
    ReleaseFeed, SurveyError, Target,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Outcome, millis};

const RUNS: usize = 1000;
const WATCH: Duration = Duration::from_secs(1800);

pub(crate) async fn measure(dir: &Path) -> Outcome<()> {
    let plans = (0..RUNS).map(plan).collect::<Outcome<Vec<_>>>()?;
    fill(dir, &plans).await?;
    let world = Arc::new(World::default());
    let fleet = Fleet::new(plans.iter().map(settings).collect(), 2);
    let stop = CancellationToken::new();
    let began = Instant::now();
    let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(dir)?);
    let opened = began.elapsed();
    let epoch = journal.claim().await?;
    let parts = parts(&journal, &world, fleet, epoch, &stop);
    let watcher = tokio::spawn(Watcher::run(parts, Box::new(Silence)));
    while world.observed.load(Ordering::SeqCst) < RUNS {
        if watcher.is_finished() {
            watcher.await??;
            return Err("the watcher has ended".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let driving = began.elapsed();
    stop.cancel();
    watcher.await??;
    println!(
        "restart with {RUNS} open rollbacks: all adopted and driving again in {} (the journal was open after {})",
        millis(driving),
        millis(opened)
    );
    Ok(())
}

/// As an earlier life left them: each has started its first step.
async fn fill(dir: &Path, plans: &[Plan]) -> Outcome<()> {
    let journal = SqliteJournal::open(dir)?;
    let epoch = journal.claim().await?;
    let now = SystemClock.now();
    for (n, plan) in plans.iter().enumerate() {
        let id = format!("run-{n}");
        let (_, events) = open(request(plan), id.clone(), now, epoch);
        let record = |event: &_| {
            let (kind, body) = to_parts(event)?;
            Ok(NewRecord { stream: StreamId::run(&id), kind, body })
        };
        let events = events.iter().map(record).collect::<Outcome<_>>()?;
        journal.commit(epoch, Commit { at: now, events, ..Commit::default() }).await?;
    }
    Ok(())
}

fn request(plan: &Plan) -> Request<'_> {
    Request {
        service: &plan.service,
        incident: format!("{}/backend.v2.1", plan.service),
        decided: Decided {
            decision: Decision::Rollback,
            would: None,
            reason: "7.9 % errors on 412 requests of 3 new pods, threshold 5.0 %".into(),
            barred: vec![],
            policy: None,
        },
        verdict: None,
        requested_by: Some("ann".into()),
        released_at: None,
        plan: plan.clone(),
        checks: vec![],
        severity: 2,
        asking: Asking::within(900),
        verify_secs: 600,
        watch_secs: WATCH.as_secs(),
        status_page: None,
        configuration: None,
        kept: vec![],
        changed: vec![],
    }
}

fn version(label: &str) -> Version {
    Version {
        fingerprint: Fingerprint::named(label),
        label: label.into(),
        images: vec![format!("shop:{label}")],
    }
}

/// Drafted from a template of a usual size.
fn plan(n: usize) -> Outcome<Plan> {
    let target =
        TargetId { service: ServiceName::parse(format!("shop-{n}"))?, target: TargetName::parse("backend")? };
    let env: Vec<Value> =
        (0..30).map(|i| json!({"name": format!("KEY_{i}"), "value": "x".repeat(40)})).collect();
    let template = |label: &str| json!({"spec": {"containers": [{"name": "app", "image": format!("shop:{label}"), "env": env}]}});
    let revision = |revision, label: &str| Revision {
        name: format!("backend-{label}"),
        uid: format!("uid-{label}"),
        revision,
        version: version(label),
        template: template(label),
        annotations: BTreeMap::new(),
        created_at: None,
    };
    let survey = Survey::Kubernetes(Box::new(KubernetesSurvey {
        target,
        kind: WorkloadKind::Deployment,
        namespace: "prod".into(),
        name: "backend".into(),
        uid: "uid".into(),
        paused: false,
        update: Default::default(),
        replicas: 3,
        revision: 2,
        template: template("v2"),
        version: version("v2"),
        annotations: BTreeMap::new(),
        origin: Default::default(),
        history: vec![revision(1, "v1"), revision(2, "v2")],
        revision_history_limit: Some(10),
        rollout: None,
    }));
    draft(&survey, &Goal::Version(version("v1")), &format!("run-{n}"), 600)
        .map_err(|refusal| refusal.to_string().into())
}

fn settings(plan: &Plan) -> ServiceSettings {
    ServiceSettings {
        name: plan.service.clone(),
        policy: Mode::Auto.into(),
        targets: plan.changes.iter().map(|change| change.target.target.clone()).collect(),
        rules: standard_rules(),
        rules_apart: Default::default(),
        compatible: Default::default(),
        judging: Judging::standard(WATCH),
        watch: WATCH,
        page_after: Duration::from_secs(120),
        rails: Rails::default(),
        minimums: BTreeMap::new(),
        approval_expires: Duration::from_secs(900),
        rollout_deadline: Duration::from_secs(600),
        together: true,
        verify_deadline: Duration::from_secs(600),
        checks: vec![],
        status_page: None,
    }
}

fn parts(
    journal: &Arc<dyn Journal>,
    world: &Arc<World>,
    fleet: Fleet,
    epoch: u64,
    stop: &CancellationToken,
) -> Parts {
    let (clock, picture): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Picture::default());
    let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([]);
    let (notes, told) = mpsc::channel(256);
    let tools = Tools {
        ledger: Ledger::new(journal.clone(), notifiers, clock.clone(), picture.clone(), epoch),
        clock: clock.clone(),
        target: world.clone(),
        checks: world.clone(),
        kill: KillSwitch::new(world.clone()),
        tenure: Tenure::unlimited(),
        picture: picture.clone(),
        viewer: picture.viewer(),
        notes,
        stop: stop.clone(),
    };
    Parts {
        desk: Desk::new(journal.clone(), clock, picture.viewer()),
        tools,
        journal: journal.clone(),
        recorder: world.clone(),
        sensing: Sensing { sources: vec![], book: watch::channel(Arc::new(AskBook::default())).0 },
        fleet,
        notes: told,
        // Nothing is measured and nothing reconfigured here: the other ends stay open and silent.
        answers: mpsc::channel(1).1,
        reconfigured: mpsc::channel(1).1,
        stop: stop.clone(),
    }
}

/// A cluster in which every rollout takes its time.
#[derive(Default)]
struct World {
    observed: AtomicUsize,
}

#[async_trait]
impl Target for World {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        Err(SurveyError::Unknown { target: target.clone() })
    }
    async fn observe(&self, _: &Step) -> Finding {
        self.observed.fetch_add(1, Ordering::SeqCst);
        Finding::Unseen { why: "nothing answers".into() }
    }
    async fn apply(&self, _: &Step) -> Applied {
        Applied::Refused { why: "nothing is changed here".into() }
    }
}

#[async_trait]
impl Checks for World {
    async fn check(&self, _: &CheckSpec, _: &CheckContext) -> CheckResult {
        CheckResult::no_data("nothing is checked here")
    }
}

#[async_trait]
impl Recorder for World {
    async fn record(&self, _: &str, _: Vec<Sample>) {}
    async fn replay(&self, _: &str) -> Vec<Sample> {
        Vec::new()
    }
    async fn close(&self, _: &str) {}
}

#[async_trait]
impl KillFile for World {
    async fn look(&self) -> Option<Killed> {
        None
    }
}

struct Silence;

#[async_trait]
impl ReleaseFeed for Silence {
    async fn next(&mut self) -> Option<FeedEvent> {
        std::future::pending().await
    }
}
