//! Services that serve, fail and crash as a test tells them to, under a clock that it turns by hand.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::guardrails::Rails;
use rollguard::domain::guardrails::minimum::MinVersion;
use rollguard::domain::message::Message;
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::Step;
use rollguard::domain::policy::Mode;
use rollguard::domain::release::Generation;
use rollguard::domain::runbook::{Judging, standard_rules};
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::survey::Survey;
use rollguard::domain::workload::{PodView, RolloutState, WorkloadView};
use rollguard::engine::commands::{Command, CommandError, Desk};
use rollguard::engine::driver::Tools;
use rollguard::engine::leadership::Tenure;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::settings::{Fleet, ServiceSettings};
use rollguard::engine::snapshot::Picture;
use rollguard::engine::sources::{Answer, AskBook, Sensing};
use rollguard::engine::watcher::{Parts, Reconfigured, Watcher};
use rollguard::ports::*;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::lever::Lever;

use super::world::{Bystander, Feed, survey, version};

/// Requests that each pod serves in a second.
const RATE: f64 = 20.0;

pub(super) struct Town {
    clock: Arc<Hand>,
    journal: Arc<MemoryJournal>,
    outside: Arc<Outside>,
    services: BTreeMap<&'static str, Service>,
    judging: Judging,
    pub(super) rails: Rails,
    /// Behind which no automation goes back.
    pub(super) minimum: Option<&'static str>,
    pub(super) at_once: usize,
    pub(super) lever: Lever,
    life: Option<Life>,
}

/// One service with one target, `api`.
pub(super) struct Service {
    release: usize,
    released_at: Timestamp,
    pods: Vec<Pod>,
    /// The share of its requests that fails.
    pub(super) failing: f64,
    /// Whether its measurements are there.
    pub(super) measured: bool,
}

struct Pod {
    name: String,
    created_at: Timestamp,
    bad: f64,
    total: f64,
    restarts: u32,
}

struct Life {
    feed: mpsc::Sender<FeedEvent>,
    answers: mpsc::Sender<Answer>,
    reconfigure: mpsc::Sender<Reconfigured>,
    book: watch::Receiver<Arc<AskBook>>,
    desk: Desk,
    stop: CancellationToken,
    watcher: JoinHandle<Result<(), JournalError>>,
}

/// Time passes only when a test says so.
struct Hand(watch::Sender<Timestamp>);

/// The cluster, the recordings and the channel for messages.
#[derive(Default)]
struct Outside {
    histories: Mutex<BTreeMap<String, Vec<String>>>,
    recordings: Mutex<BTreeMap<String, Vec<Sample>>>,
}

pub(super) fn target(service: &str) -> TargetId {
    TargetId { service: ServiceName::parse(service).unwrap(), target: TargetName::parse("api").unwrap() }
}

fn label(release: usize) -> String {
    format!("v{release}")
}

impl Town {
    /// All of them have been running for a day.
    pub(super) async fn of(services: &[&'static str]) -> Self {
        Self::judging(services, Judging::standard(Duration::from_secs(1800))).await
    }

    pub(super) async fn judging(services: &[&'static str], judging: Judging) -> Self {
        let began = Timestamp::from_second(1_795_341_600).unwrap();
        let mut town = Self {
            clock: Arc::new(Hand(watch::Sender::new(began))),
            journal: Arc::default(),
            outside: Arc::default(),
            services: BTreeMap::new(),
            judging,
            rails: Rails::default(),
            minimum: None,
            at_once: 2,
            lever: Lever::default(),
            life: None,
        };
        for service in services {
            let released_at = began - SignedDuration::from_hours(24);
            let new = Service { release: 0, released_at, pods: vec![], failing: 0.0, measured: true };
            town.services.insert(service, new);
            town.put(service, released_at);
        }
        town
    }

    pub(super) fn service(&mut self, name: &str) -> &mut Service {
        self.services.get_mut(name).unwrap()
    }

    fn put(&mut self, service: &'static str, at: Timestamp) {
        let its = self.services.get_mut(service).unwrap();
        its.release += 1;
        its.released_at = at;
        let release = label(its.release);
        let pod = |n: usize| Pod {
            name: format!("{service}-{release}-{n}"),
            created_at: at,
            bad: 0.0,
            total: 0.0,
            restarts: 0,
        };
        its.pods = (0..3).map(pod).collect();
        self.outside.histories.lock().unwrap().entry(service.to_string()).or_default().push(release);
    }

    /// The next version replaces the running one at once: no old pods are left.
    pub(super) async fn release(&mut self, service: &'static str) {
        self.put(service, self.clock.now());
        self.show(service).await;
    }

    /// All its pods crash once.
    pub(super) async fn crash(&mut self, service: &'static str) {
        self.service(service).pods.iter_mut().for_each(|pod| pod.restarts += 1);
        self.show(service).await;
    }

    async fn show(&self, service: &'static str) {
        let Some(life) = &self.life else { return };
        let view = self.services[service].view(service);
        life.feed.send(FeedEvent::Changed(Box::new(view))).await.unwrap();
        rest().await;
    }

    /// A life of the watcher begins.
    pub(super) async fn live(&mut self) {
        let journal: Arc<dyn Journal> = self.journal.clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (picture, stop) = (Picture::default(), CancellationToken::new());
        let epoch = journal.claim().await.unwrap();
        let notifiers: Arc<[Arc<dyn Notifier>]> = Arc::new([Arc::new(Bystander) as Arc<dyn Notifier>]);
        let (notes, told) = mpsc::channel(16);
        let (feed, events) = mpsc::channel(64);
        let (reconfigure, reconfigured) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(64);
        let (book, asked) = watch::channel(Arc::new(AskBook::default()));
        let tools = Tools {
            ledger: Ledger::new(journal.clone(), notifiers, clock.clone(), picture.clone(), epoch),
            clock: clock.clone(),
            target: self.outside.clone(),
            checks: Arc::new(Bystander),
            kill: self.lever.switch(),
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
            recorder: self.outside.clone(),
            sensing: Sensing { sources: vec![], book },
            fleet: Fleet::new(self.services.keys().map(|name| self.settings(name)).collect(), self.at_once),
            notes: told,
            answers: answered,
            reconfigured,
            stop: stop.clone(),
        };
        let watcher = tokio::spawn(Watcher::run(parts, Box::new(Feed(events))));
        self.life = Some(Life { feed, answers, reconfigure, book: asked, desk, stop, watcher });
        let services: Vec<&'static str> = self.services.keys().copied().collect();
        for service in services {
            self.show(service).await;
        }
    }

    fn settings(&self, service: &str) -> ServiceSettings {
        settings(service, &self.judging, &self.rails, self.minimum)
    }

    /// What a person orders.
    pub(super) async fn order(&self, command: Command) -> Result<Received, CommandError> {
        let taken = self.life.as_ref().unwrap().desk.submit(command, &self.clock.now().to_string()).await;
        rest().await;
        taken
    }

    pub(super) async fn end(&mut self) {
        let life = self.life.take().unwrap();
        life.stop.cancel();
        life.watcher.await.unwrap().unwrap();
    }

    /// A configuration of these services comes into force, changed as told; these rules are measured in another way.
    pub(super) async fn reconfigure(
        &mut self,
        services: &[&str],
        change: impl Fn(&mut ServiceSettings),
        remeasured: &[(&str, &str)],
    ) {
        let fleet = services.iter().map(|name| {
            let mut settings = self.settings(name);
            change(&mut settings);
            settings
        });
        let name =
            |(service, rule): &(&str, &str)| (target(service).service, RuleName::parse(*rule).unwrap());
        let (book, asked) = watch::channel(Arc::new(AskBook::default()));
        let (done, in_force) = oneshot::channel();
        let sensing = (!remeasured.is_empty()).then(|| Sensing { sources: vec![], book });
        let reconfigured = Reconfigured {
            fleet: Fleet::new(fleet.collect(), self.at_once),
            feed: None,
            elsewhere: BTreeSet::new(),
            remeasured: remeasured.iter().map(name).collect(),
            done,
            sensing,
        };
        let life = self.life.as_mut().unwrap();
        if reconfigured.sensing.is_some() {
            life.book = asked;
        }
        life.reconfigure.send(reconfigured).await.unwrap();
        in_force.await.unwrap();
        let shown: Vec<&'static str> = self.services.keys().copied().collect();
        for service in shown {
            self.show(service).await;
        }
    }

    /// What the sources of the latest configuration are asked about.
    pub(super) fn book(&self) -> watch::Receiver<Arc<AskBook>> {
        self.life.as_ref().unwrap().book.clone()
    }

    /// The names of all runs.
    pub(super) fn runs(&self) -> Vec<String> {
        let opened = self.journal.records().into_iter().filter(|r| r.kind == "opened");
        opened.map(|r| r.body["run"].as_str().unwrap().to_string()).collect()
    }

    /// The kinds of all records of a run.
    pub(super) fn run_kinds(&self, run: &str) -> Vec<String> {
        let stream = format!("run:{run}");
        let records = self.journal.records().into_iter();
        records.filter(|r| r.stream.as_str() == stream).map(|r| r.kind).collect()
    }

    /// So many seconds pass; what the watcher wants to know is measured as a source does it.
    pub(super) async fn run(&mut self, secs: i64) {
        for _ in 0..secs {
            self.clock.0.send_modify(|now| *now += SignedDuration::from_secs(1));
            self.services.values_mut().for_each(Service::serve);
            self.measure().await;
            rest().await;
        }
    }

    async fn measure(&self) {
        let Some(life) = &self.life else { return };
        let (book, now) = (life.book.borrow().clone(), self.clock.now());
        let every = if book.fresh.is_empty() { 60 } else { 5 };
        if now.as_second() % every != 0 {
            return;
        }
        let asked = book.fresh.iter().chain(&book.controls);
        let samples = asked.flat_map(|ask| self.services[ask.target.service.as_str()].measure(ask, now));
        let answer = Answer { source: "prometheus".into(), samples: samples.collect() };
        life.answers.send(answer).await.unwrap();
    }

    /// Bodies of all records of this kind about this service.
    pub(super) fn records(&self, service: &str, kind: &str) -> Vec<Value> {
        let stream = format!("target:{}", target(service));
        let records = self.journal.records().into_iter();
        records.filter(|r| r.kind == kind && r.stream.as_str() == stream).map(|r| r.body).collect()
    }

    /// Each decision about this service with its cause.
    pub(super) fn decided(&self, service: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let of = |body: &Value| (text(&body["decided"]["decision"]), text(&body["cause"]));
        self.records(service, "decided").iter().map(of).collect()
    }

    /// Everything that was recorded about watches of this service.
    pub(super) fn recorded(&self, service: &str) -> Vec<Reading> {
        let recordings = self.outside.recordings.lock().unwrap();
        let all = recordings.values().flatten().filter(|sample| sample.service.as_str() == service);
        all.map(|sample| sample.reading.clone()).collect()
    }

    /// Everything that waits to be delivered.
    pub(super) async fn messages(&self) -> Vec<Message> {
        let later = self.clock.now() + SignedDuration::from_hours(1);
        let rows = self.journal.outbox(later, 1000).await.unwrap();
        rows.into_iter().map(|row| row.message).collect()
    }
}

/// Lets all that is ready go on, until everybody waits for time to pass.
async fn rest() {
    for _ in 0..30 {
        tokio::task::yield_now().await;
    }
}

impl Service {
    fn serve(&mut self) {
        for pod in &mut self.pods {
            pod.bad += RATE * self.failing;
            pod.total += RATE;
        }
    }

    fn measure(&self, ask: &AskTarget, at: Timestamp) -> Vec<Sample> {
        let rule = RuleName::parse("error-rate").unwrap();
        let sample = |pod: Option<String>, reading| Sample {
            at,
            service: ask.target.service.clone(),
            target: Some(ask.target.target.clone()),
            release: pod.is_some().then(|| label(self.release)),
            pod,
            reading,
        };
        if !self.measured {
            return vec![sample(None, Reading::NoData { rule, reason: "no series".into() })];
        }
        let asked = self.pods.iter().filter(|pod| ask.pods.iter().any(|asked| asked.name == pod.name));
        let counts =
            |pod: &Pod| Reading::Counts { rule: rule.clone(), bad: pod.bad.floor(), total: pod.total };
        asked.map(|pod| sample(Some(pod.name.clone()), counts(pod))).collect()
    }

    fn view(&self, service: &str) -> WorkloadView {
        let first = self.pods[0].created_at;
        let generation = |n: usize| Generation {
            version: version(&label(n)),
            revision: n as u64,
            created_at: if n == self.release { first } else { first - SignedDuration::from_hours(24) },
        };
        let pod = |pod: &Pod| PodView {
            name: pod.name.clone(),
            fingerprint: Some(version(&label(self.release)).fingerprint),
            created_at: pod.created_at,
            reading: PodReading {
                ready: pod.restarts == 0,
                created_at: Some(pod.created_at),
                ready_since: Some(pod.created_at),
                restarts: pod.restarts,
                reason: (pod.restarts > 0).then(|| "CrashLoopBackOff".to_string()),
                ..PodReading::default()
            },
            metrics_url: None,
        };
        WorkloadView {
            target: target(service),
            version: version(&label(self.release)),
            current_since: self.released_at,
            rollout: RolloutState::Ended { at: self.released_at + SignedDuration::from_secs(5) },
            history: (1..=self.release).map(generation).collect(),
            pods: self.pods.iter().map(pod).collect(),
            progress_deadline_secs: Some(600),
        }
    }
}

fn settings(service: &str, judging: &Judging, rails: &Rails, minimum: Option<&str>) -> ServiceSettings {
    let minimum = minimum.and_then(MinVersion::parse).map(|minimum| (target(service).target, minimum));
    let minutes = |n: u64| Duration::from_secs(60 * n);
    ServiceSettings {
        name: target(service).service,
        policy: Mode::Auto.into(),
        targets: vec![target(service).target],
        rules: standard_rules(),
        rules_apart: Default::default(),
        compatible: Default::default(),
        judging: judging.clone(),
        watch: minutes(30),
        page_after: minutes(2),
        rails: rails.clone(),
        minimums: minimum.into_iter().collect(),
        approval_expires: minutes(15),
        rollout_deadline: minutes(10),
        together: true,
        verify_deadline: minutes(10),
        checks: vec![],
        status_page: None,
    }
}

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
    async fn sleep_until(&self, at: Timestamp) {
        self.0.subscribe().wait_for(|now| *now >= at).await.unwrap();
    }
}

#[async_trait]
impl Target for Outside {
    async fn survey(&self, target: &TargetId) -> Result<Survey, SurveyError> {
        let history = self.histories.lock().unwrap()[target.service.as_str()].clone();
        Ok(survey(target, history.last().unwrap(), &history))
    }
    async fn observe(&self, _: &Step) -> Finding {
        Finding::Unseen { why: "nothing is carried out here".into() }
    }
    async fn apply(&self, _: &Step) -> Outcome {
        Outcome::Refused { why: "nothing is carried out here".into() }
    }
}

#[async_trait]
impl Recorder for Outside {
    async fn record(&self, watch: &str, samples: Vec<Sample>) {
        self.recordings.lock().unwrap().entry(watch.to_string()).or_default().extend(samples);
    }
    async fn replay(&self, watch: &str) -> Vec<Sample> {
        self.recordings.lock().unwrap().get(watch).cloned().unwrap_or_default()
    }
    async fn close(&self, _: &str) {}
}
