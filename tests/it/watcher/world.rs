//! A cluster that shows what a test tells it to, and a journal that outlives the watcher.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::event::{StreamId, TargetEvent, to_parts};
use rollguard::domain::guardrails::Rails;
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::Origin;
use rollguard::domain::plan::Step;
use rollguard::domain::policy::Policy;
use rollguard::domain::release::{Fingerprint, Generation, Release, ReleaseKind, Version};
use rollguard::domain::runbook::{Judging, Rule, RuleKind, standard_rules};
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::survey::{KubernetesSurvey, Revision, Survey};
use rollguard::domain::verification::{CheckResult, CheckSpec};
use rollguard::domain::watch::WatchSpec;
use rollguard::domain::workload::{PodView, RolloutState, UpdateStrategy, WorkloadKind, WorkloadView};
use rollguard::engine::clock::SystemClock;
use rollguard::engine::commands::Desk;
use rollguard::engine::driver::Tools;
use rollguard::engine::leadership::Tenure;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::settings::{Fleet, ServiceSettings};
use rollguard::engine::snapshot::{Picture, Viewer};
use rollguard::engine::sources::{Answer, AskBook, Sensing};
use rollguard::engine::watcher::{Parts, Watcher};
use rollguard::ports::*;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::lever::Lever;

pub(crate) fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

fn template(label: &str) -> Value {
    json!({"spec": {"containers": [{"name": "shop", "image": format!("shop:{label}")}]}})
}

pub(crate) fn version(label: &str) -> Version {
    Version::of_workload(Fingerprint::of_template(&template(label)), vec![format!("shop:{label}")])
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// A Deployment that runs this version, with the versions that it knows, oldest first.
pub(crate) fn survey(target: &TargetId, running: &str, history: &[String]) -> Survey {
    let revision = |(revision, label): (u64, &String)| Revision {
        name: format!("shop-{label}"),
        uid: label.clone(),
        revision,
        version: version(label),
        template: template(label),
        annotations: BTreeMap::new(),
        created_at: None,
    };
    Survey::Kubernetes(Box::new(KubernetesSurvey {
        target: target.clone(),
        kind: WorkloadKind::Deployment,
        namespace: "default".into(),
        name: target.service.to_string(),
        uid: "uid".into(),
        paused: false,
        update: UpdateStrategy::default(),
        replicas: 1,
        revision: 9,
        template: template(running),
        version: version(running),
        annotations: BTreeMap::new(),
        origin: Origin::default(),
        history: (1..).zip(history).map(revision).collect(),
        revision_history_limit: Some(10),
        rollout: None,
    }))
}

pub(crate) fn crash_looping(label: &str) -> Vec<PodView> {
    let reason = Some("CrashLoopBackOff".to_string());
    let reading = PodReading { restarts: 3, reason, ..PodReading::default() };
    let fingerprint = Some(version(label).fingerprint);
    vec![PodView { name: format!("{label}-0"), fingerprint, created_at: now(), reading, metrics_url: None }]
}

pub(crate) fn opened(label: &str, kind: ReleaseKind) -> TargetEvent {
    let release =
        Release { target: target(), kind, from: Some(version("v1")), to: version(label), at: now() };
    TargetEvent::WatchOpened(Box::new(WatchSpec {
        id: "remembered".into(),
        release,
        known_good: Some(version("v1")),
        opened_at: now(),
        ends_at: now() + SignedDuration::from_mins(30),
        rules: standard_rules(),
        judging: Judging::standard(Duration::from_secs(1800)),
        baseline: BTreeMap::new(),
    }))
}

pub(crate) struct World {
    journal: Arc<MemoryJournal>,
    policy: Policy,
    told: Mutex<Vec<Message>>,
    cluster: Arc<Cluster>,
}

struct Cluster {
    history: Vec<String>,
    running: Mutex<String>,
    recording: Mutex<Vec<Sample>>,
}

/// One life of the watcher.
pub(crate) struct Life {
    feed: mpsc::Sender<FeedEvent>,
    answers: mpsc::Sender<Answer>,
    history: Vec<String>,
    stop: CancellationToken,
    pub(crate) desk: Desk,
    pub(crate) viewer: Viewer,
    watcher: JoinHandle<Result<(), JournalError>>,
}

impl World {
    pub(crate) fn new(policy: impl Into<Policy>, history: &[&str]) -> Self {
        let history: Vec<String> = history.iter().map(ToString::to_string).collect();
        let running = Mutex::new(history[0].clone());
        let cluster = Arc::new(Cluster { history, running, recording: Mutex::default() });
        Self {
            journal: Arc::new(MemoryJournal::default()),
            policy: policy.into(),
            told: Mutex::default(),
            cluster,
        }
    }

    /// What a survey finds from now on.
    pub(crate) fn runs(&self, label: &str) {
        *self.cluster.running.lock().unwrap() = label.to_string();
    }

    pub(crate) fn recorded(&self, pods: Vec<PodView>) {
        let sample = |pod: PodView| Sample {
            at: now(),
            service: target().service,
            target: Some(target().target),
            release: pod.name.split('-').next().map(str::to_string),
            pod: Some(pod.name),
            reading: Reading::Pod(pod.reading),
        };
        self.cluster.recording.lock().unwrap().extend(pods.into_iter().map(sample));
    }

    pub(crate) async fn remembers(&self, events: Vec<TargetEvent>) {
        let epoch = self.journal.claim().await.unwrap();
        let record = |event: &TargetEvent| {
            let (kind, body) = to_parts(event).unwrap();
            NewRecord { stream: StreamId::target(&target()), kind, body }
        };
        let events = events.iter().map(record).collect();
        self.journal.commit(epoch, Commit { at: now(), events, ..Commit::default() }).await.unwrap();
    }

    pub(crate) async fn live(&self) -> Life {
        let journal: Arc<dyn Journal> = self.journal.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (picture, stop) = (Picture::default(), CancellationToken::new());
        let epoch = journal.claim().await.unwrap();
        let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([Arc::new(Bystander) as Arc<dyn Notifier>]);
        let (notes, told) = mpsc::channel(16);
        let (feed, events) = mpsc::channel(16);
        let (answers, answered) = mpsc::channel(16);
        let tools = Tools {
            ledger: Ledger::new(journal.clone(), notifiers, clock.clone(), picture.clone(), epoch),
            clock: clock.clone(),
            target: self.cluster.clone(),
            checks: Arc::new(Bystander),
            kill: Lever::default().switch(),
            tenure: Tenure::unlimited(),
            picture: picture.clone(),
            viewer: picture.viewer(),
            notes,
            stop: stop.clone(),
        };
        let desk = Desk::new(journal.clone(), clock, picture.viewer());
        let parts = Parts {
            tools,
            desk: desk.clone(),
            journal,
            recorder: self.cluster.clone(),
            sensing: Sensing { sources: vec![], book: watch::channel(Arc::new(AskBook::default())).0 },
            fleet: Fleet::new(vec![settings(self.policy.clone())], 2),
            notes: told,
            answers: answered,
            reconfigured: mpsc::channel(1).1,
            stop: stop.clone(),
        };
        let watcher = tokio::spawn(Watcher::run(parts, Box::new(Feed(events))));
        Life {
            feed,
            answers,
            history: self.cluster.history.clone(),
            stop,
            desk,
            viewer: picture.viewer(),
            watcher,
        }
    }

    /// The body of the first record that is looked for, waiting for it.
    pub(crate) async fn until(&self, wanted: impl Fn(&str, &Value) -> bool) -> Value {
        for _ in 0..500 {
            let found = self.journal.records().into_iter().find(|r| wanted(&r.kind, &r.body));
            if let Some(record) = found {
                return record.body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let kinds: Vec<String> = self.journal.records().into_iter().map(|r| r.kind).collect();
        panic!("it was not recorded within 10 seconds, only {kinds:?}")
    }

    pub(crate) async fn count(&self, kind: &str) -> usize {
        self.journal.records().iter().filter(|r| r.kind == kind).count()
    }

    pub(crate) async fn runs_opened(&self) -> usize {
        self.count("opened").await
    }

    /// Everything that was told so far, delivered as it comes.
    pub(crate) async fn told(&self) -> Vec<Message> {
        let epoch = self.journal.epoch().await.unwrap();
        loop {
            let rows = self.journal.outbox(now(), 100).await.unwrap();
            if rows.is_empty() {
                return self.told.lock().unwrap().clone();
            }
            for row in rows {
                self.journal.settle(epoch, row.id, now(), Delivery::Done).await.unwrap();
                self.told.lock().unwrap().push(row.message);
            }
        }
    }

    /// Keys of everything that waits to be delivered.
    pub(crate) async fn messages(&self) -> Vec<String> {
        let rows = self.journal.outbox(now() + SignedDuration::from_hours(1), 100).await.unwrap();
        rows.into_iter().map(|row| row.message.key).collect()
    }
}

impl Life {
    /// The feed shows this version with these pods.
    pub(crate) async fn sees(&self, label: &str, pods: Vec<PodView>) {
        let place = self.history.iter().position(|known| known == label).unwrap();
        let begun = now() - SignedDuration::from_hours(24);
        let since = if place == 0 { begun } else { now() };
        let generation = |(revision, label): (u64, &String)| Generation {
            version: version(label),
            revision,
            created_at: if revision == 1 { begun } else { since },
        };
        let view = WorkloadView {
            target: target(),
            version: version(label),
            current_since: since,
            rollout: RolloutState::Rolling,
            history: (1..).zip(&self.history[..=place]).map(generation).collect(),
            pods,
            progress_deadline_secs: Some(600),
        };
        self.feed.send(FeedEvent::Changed(Box::new(view))).await.unwrap();
    }

    /// The HTTP check `health`, which must fail for a second, was answered.
    pub(crate) async fn checks(&self, ok: bool, detail: &str) {
        let rule = RuleName::parse(HEALTH).unwrap();
        let sample = Sample {
            at: now(),
            service: target().service,
            target: Some(target().target),
            release: None,
            pod: None,
            reading: Reading::Check { rule, ok, detail: detail.into() },
        };
        self.answers.send(Answer { source: "http".into(), samples: vec![sample] }).await.unwrap();
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.watcher.await.unwrap().unwrap();
    }
}

const HEALTH: &str = "health";

fn settings(policy: Policy) -> ServiceSettings {
    let kind = RuleKind::check(1.0);
    let health = Rule::new(RuleName::parse(HEALTH).unwrap(), kind);
    let minutes = |n: u64| Duration::from_secs(60 * n);
    ServiceSettings {
        name: target().service,
        policy,
        targets: vec![target().target],
        rules: [standard_rules(), vec![health]].concat(),
        rules_apart: Default::default(),
        compatible: Default::default(),
        judging: Judging::standard(minutes(30)),
        watch: minutes(30),
        page_after: minutes(2),
        rails: Rails::default(),
        minimums: BTreeMap::new(),
        approval_expires: minutes(15),
        rollout_deadline: minutes(10),
        together: true,
        verify_deadline: minutes(10),
        checks: vec![],
        status_page: None,
    }
}

pub(crate) struct Feed(pub(crate) mpsc::Receiver<FeedEvent>);

#[async_trait]
impl ReleaseFeed for Feed {
    async fn next(&mut self) -> Option<FeedEvent> {
        self.0.recv().await
    }
}

#[async_trait]
impl Target for Cluster {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let running = self.running.lock().unwrap().clone();
        Ok(survey(target, &running, &self.history))
    }
    async fn observe(&self, _: &Step) -> Finding {
        Finding::Unseen { why: "nothing is carried out here".into() }
    }
    async fn apply(&self, _: &Step) -> Outcome {
        Outcome::Refused { why: "nothing is carried out here".into() }
    }
}

#[async_trait]
impl Recorder for Cluster {
    async fn record(&self, _: &str, _: Vec<Sample>) {}
    async fn replay(&self, _: &str) -> Vec<Sample> {
        self.recording.lock().unwrap().clone()
    }
    async fn close(&self, _: &str) {}
}

/// Checks nothing, and takes every message that is for people.
pub(crate) struct Bystander;

#[async_trait]
impl Checks for Bystander {
    async fn check(&self, _: &CheckSpec, _: &CheckContext) -> CheckResult {
        CheckResult::no_data("nothing is checked here")
    }
}

#[async_trait]
impl Notifier for Bystander {
    fn channel(&self) -> &str {
        "pager"
    }
    fn wants(&self, message: &Message) -> bool {
        message.kind != MessageKind::Trace
    }
    async fn deliver(&self, _: &Message, _: Timestamp) -> Result<Delivered, NotifyError> {
        Ok(Delivered::Once)
    }
}
