//! The HTTP side on a free loopback port, with a journal in memory and an engine's picture made by hand.
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusBuilder;
use rollguard::domain::answer::Wanted;
use rollguard::domain::event::{ApprovalAsk, Record, RunEvent, RunOpened, StreamId, TargetEvent, to_parts};
use rollguard::domain::evidence::Cause;
use rollguard::domain::names::{PersonName, ServiceName, TargetId, TargetName};
use rollguard::domain::owner::Origin;
use rollguard::domain::plan::{Destination, Goal, Plan, draft};
use rollguard::domain::policy::{Decided, Decision, Mode};
use rollguard::domain::probe::Probe;
use rollguard::domain::release::{Fingerprint, Version};
use rollguard::domain::run::Phase;
use rollguard::domain::runbook::{ChecklistItem, Item};
use rollguard::domain::survey::{KubernetesSurvey, Revision, Survey};
use rollguard::domain::verification::{CheckKind, CheckSpec};
use rollguard::domain::workload::{UpdateStrategy, WorkloadKind};
use rollguard::engine::commands::Desk;
use rollguard::engine::reload::Reloads;
use rollguard::engine::snapshot::{Health, Picture, RunStatus, TargetStatus, WayBack};
use rollguard::http::auth::People;
use rollguard::http::webhook::AlertRoute;
use rollguard::http::{HttpParts, HttpState, Inquiries, InquiryError, Story};
use rollguard::ports::{
    Clock, Commit, Delivery, Head, InboxItem, InboxRow, Journal, JournalError, MinuteRow, OutboxRow,
    Published, Received,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ANNA: &str = "anna-token-0123456789";
pub(crate) const WEBHOOK: &str = "webhook-token-0123456789";
/// In the pod templates and in a check's URL: it must never leave the daemon.
pub(crate) const SECRET: &str = "hunter2-password";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) picture: Picture,
    pub(crate) journal: Arc<MemoryInbox>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

/// Which doors are open without a token.
#[derive(Clone, Copy, Default)]
pub(crate) struct Doors {
    pub(crate) open_reads: bool,
    pub(crate) webhook_token: bool,
}

impl World {
    pub(crate) async fn start(doors: Doors) -> World {
        Self::of(doors, People::new(vec![(PersonName::parse("anna").unwrap(), ANNA.into())])).await
    }

    pub(crate) async fn of(doors: Doors, people: People) -> World {
        let picture = Picture::default();
        picture.change(|snapshot| {
            snapshot.targets.insert(target().to_string(), Box::new(target_status()));
            for (run, phase) in [("r-ask", "awaiting approval"), ("r-stuck", "stuck")] {
                snapshot.runs.insert(run.into(), run_status(run, phase));
            }
        });
        let journal = Arc::new(MemoryInbox::default());
        let clock = Arc::new(HandClock(AtomicI64::new(start().as_second())));
        let (reloads, _) = Reloads::new();
        let desk = Desk::new(journal.clone(), clock.clone(), picture.viewer());
        let now = clock.clone();
        let parts = HttpParts {
            desk,
            viewer: picture.viewer(),
            inquiries: Arc::new(Shelf),
            people,
            webhook_token: doors.webhook_token.then(|| WEBHOOK.into()),
            routes: routes(),
            open_reads: doors.open_reads,
            reloads,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            now: Arc::new(move || now.now()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(rollguard::http::serve(listener, HttpState::new(parts), shutdown));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        World { address, picture, journal, clock, http, stop, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> (u16, String) {
        answer(self.with(self.http.get(self.url(path)), token)).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (u16, String) {
        answer(self.with(self.http.post(self.url(path)).body(body), token)).await
    }

    fn with(&self, request: reqwest::RequestBuilder, token: Option<&str>) -> reqwest::RequestBuilder {
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn routes() -> Vec<AlertRoute> {
    let route = |severities: &[&str], label: (&str, &str)| AlertRoute {
        service: ServiceName::parse("shop").unwrap(),
        match_labels: BTreeMap::from([(label.0.to_string(), label.1.to_string())]),
        severities: severities.iter().map(ToString::to_string).collect(),
    };
    vec![route(&["critical", "page"], ("service", "shop")), route(&[], ("team", "shopkeepers"))]
}

pub(crate) fn start() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

pub(crate) fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

fn version(label: &str) -> Version {
    Version {
        fingerprint: Fingerprint::named(format!("{label}{label}{label}{label}{label}{label}{label}")),
        label: label.into(),
        images: vec![format!("shop:{label}")],
    }
}

fn target_status() -> TargetStatus {
    TargetStatus {
        target: target(),
        mode: Mode::Approval,
        current: Some(version("v2")),
        known_good: Some(version("v1")),
        watch: None,
        last_watch: None,
        held: vec![],
        way_back: Some(WayBack::Open { to: "v1".into() }),
        readiness: None,
        page: None,
    }
}

/// Its templates hold a password.
pub(crate) fn survey() -> Survey {
    let template = |image: &str| json!({"spec": {"containers": [{"image": image, "env": [{"name": "DB", "value": SECRET}]}]}});
    let revision = |number, label: &str| Revision {
        name: format!("backend-{label}"),
        uid: format!("uid-{label}"),
        revision: number,
        version: version(label),
        template: template(label),
        annotations: BTreeMap::new(),
        created_at: None,
    };
    Survey::Kubernetes(Box::new(KubernetesSurvey {
        target: target(),
        kind: WorkloadKind::Deployment,
        namespace: "prod".into(),
        name: "backend".into(),
        uid: "uid".into(),
        paused: false,
        update: UpdateStrategy::default(),
        replicas: 3,
        revision: 2,
        template: template("v2"),
        version: version("v2"),
        annotations: BTreeMap::new(),
        origin: Origin::default(),
        history: vec![revision(1, "v1"), revision(2, "v2")],
        revision_history_limit: Some(10),
        rollout: None,
    }))
}

/// Drafted by the real code from [`survey`].
pub(crate) fn plan() -> Plan {
    draft(&survey(), &Goal::Version(version("v1")), "r-ask", 600).unwrap()
}

pub(crate) fn run_status(run: &str, phase: &str) -> RunStatus {
    let plan = plan();
    RunStatus {
        run: run.into(),
        service: plan.service.clone(),
        summary: plan.summary(),
        phase: phase.into(),
        open: true,
        reason: REASON.into(),
        digest: plan.digest(),
        steps: plan.steps.iter().map(|step| step.title.clone()).collect(),
        step: Some(0),
        detail: None,
        checks: Vec::new(),
        verified: None,
        until: start().checked_add(SignedDuration::from_mins(15)).ok(),
        approval: None,
    }
}

pub(crate) const REASON: &str = "7.9 % errors on 412 requests of 3 new pods since 10:02:15, threshold 5.0 %, old pods 0.3 %; \
    it began with the rollout; a release with a true error rate of up to 2.5 % would cause this in fewer than 1 of 2,500 watches";

/// Records as the journal keeps them.
pub(crate) fn records(run: &str, events: &[RunEvent]) -> Vec<Record> {
    let record = |(seq, event): (usize, &RunEvent)| {
        let (kind, body) = to_parts(event).unwrap();
        Record {
            v: 1,
            seq: seq as u64 + 1,
            stream: StreamId::run(run),
            at: start().checked_add(SignedDuration::from_secs(seq as i64)).unwrap(),
            epoch: 1,
            kind,
            body,
            prev_hash: String::new(),
        }
    };
    events.iter().enumerate().map(record).collect()
}

pub(crate) fn opened(run: &str, approval: bool) -> RunEvent {
    let plan = plan();
    let expires_at = start().checked_add(SignedDuration::from_mins(15)).unwrap();
    RunEvent::Opened(Box::new(RunOpened {
        run: run.into(),
        incident: "w1".into(),
        service: plan.service.clone(),
        decided: Decided {
            decision: Decision::Ask,
            would: None,
            reason: REASON.into(),
            barred: vec![],
            policy: None,
        },
        cause: Cause::Release,
        requested_by: None,
        released_at: Some(start()),
        severity: 2,
        checklist: vec![ChecklistItem { item: Item::Severity, met: true, detail: "SEV 2".into() }],
        digest: plan.digest(),
        plan,
        approval: approval.then_some(ApprovalAsk::until(expires_at)),
        checks: vec![CheckSpec {
            name: "health".into(),
            kind: CheckKind::Outside(Probe::http(
                format!("http://user:{SECRET}@shop/health"),
                Wanted::status(200),
            )),
        }],
        verify_secs: 600,
        watch_secs: 1800,
        status_page: None,
        kept: vec![],
        changed: vec![],
        configuration: None,
    }))
}

/// Answers as the engine would, from two runs and one target.
struct Shelf;

#[async_trait]
impl Inquiries for Shelf {
    async fn plan(&self, asked: &TargetId, to: Destination) -> Result<Plan, InquiryError> {
        match to {
            _ if *asked != target() => Err(InquiryError::NoSuchTarget { target: asked.clone() }),
            Destination::Revision(9) => {
                Err(InquiryError::Unreadable { why: "the API server does not answer".into() })
            }
            Destination::Revision(8) => Err(InquiryError::NoKnownGood { target: asked.clone() }),
            Destination::KnownGood | Destination::Revision(_) | Destination::Image(_) => Ok(plan()),
        }
    }

    async fn story(&self, asked: &TargetId) -> Result<Story, InquiryError> {
        if *asked != target() {
            return Err(InquiryError::NoSuchTarget { target: asked.clone() });
        }
        let bad = plan().changes.remove(0).from;
        let events = vec![(start(), TargetEvent::RolledBack { run: "r-done".into(), bad })];
        Ok(Story { events, survey: Ok(survey()) })
    }

    async fn history(&self, run: &str) -> Result<Option<Vec<Record>>, InquiryError> {
        let stuck = RunEvent::Stuck { step: 0, why: "somebody deployed v3".into() };
        Ok(match run {
            "r-ask" => Some(records(run, &[opened(run, true)])),
            "r-stuck" => Some(records(run, &[opened(run, false), stuck])),
            "r-done" => {
                let done = RunEvent::Verified { passed: true, watch_until: start() };
                Some(records(run, &[opened(run, false), done]))
            }
            _ => None,
        })
    }
}

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn forward(&self, secs: i64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
    async fn sleep_until(&self, _at: Timestamp) {
        std::future::pending().await
    }
}

/// Only the inbox: nothing else of the journal is the HTTP side's business.
#[derive(Default)]
pub(crate) struct MemoryInbox {
    pub(crate) items: Mutex<Vec<InboxItem>>,
    keys: Mutex<HashSet<String>>,
    pub(crate) failing: AtomicBool,
}

impl MemoryInbox {
    fn elsewhere<T>() -> Result<T, JournalError> {
        Err(JournalError::Unavailable { why: "not the inbox".into() })
    }
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.items.lock().unwrap().iter().map(|item| item.kind.clone()).collect()
    }
}

#[async_trait]
impl Journal for MemoryInbox {
    async fn head(&self) -> Result<Head, JournalError> {
        Self::elsewhere()
    }
    async fn receive(&self, item: InboxItem) -> Result<Received, JournalError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(JournalError::Unavailable { why: "no space left on the disk".into() });
        }
        if !self.keys.lock().unwrap().insert(item.key.clone()) {
            return Ok(Received::Duplicate);
        }
        let mut items = self.items.lock().unwrap();
        items.push(item);
        Ok(Received::New(items.len() as i64))
    }
    async fn claim(&self) -> Result<u64, JournalError> {
        Self::elsewhere()
    }
    async fn commit(&self, _: u64, _: Commit) -> Result<(), JournalError> {
        Self::elsewhere()
    }
    async fn read(&self, _: &StreamId) -> Result<Vec<Record>, JournalError> {
        Self::elsewhere()
    }
    async fn streams(&self, _: &str) -> Result<Vec<StreamId>, JournalError> {
        Self::elsewhere()
    }
    async fn inbox(&self, _: usize) -> Result<Vec<InboxRow>, JournalError> {
        Self::elsewhere()
    }
    async fn outbox(&self, _: Timestamp, _: usize) -> Result<Vec<OutboxRow>, JournalError> {
        Self::elsewhere()
    }
    async fn settle(&self, _: u64, _: i64, _: Timestamp, _: Delivery) -> Result<(), JournalError> {
        Self::elsewhere()
    }
    async fn outbox_depth(&self) -> Result<usize, JournalError> {
        Self::elsewhere()
    }
    async fn save_minutes(&self, _: u64, _: &TargetId, _: Vec<MinuteRow>) -> Result<(), JournalError> {
        Self::elsewhere()
    }
    async fn minutes(&self, _: &TargetId, _: Timestamp) -> Result<Vec<MinuteRow>, JournalError> {
        Self::elsewhere()
    }
    async fn epoch(&self) -> Result<u64, JournalError> {
        Self::elsewhere()
    }
    async fn publish(&self, _: u64, _: Published) -> Result<(), JournalError> {
        Self::elsewhere()
    }
    async fn published(&self) -> Result<Option<Published>, JournalError> {
        Self::elsewhere()
    }
}

pub(crate) fn up(up: bool) -> Health {
    Health { up, since: start(), detail: "connection refused".into() }
}

/// The phases that the fold names are those that the desk lets pass.
#[test]
fn the_hand_made_runs_are_in_phases_that_exist() {
    for (events, phase) in [
        (vec![opened("r", true)], "awaiting approval"),
        (vec![opened("r", false), RunEvent::Stuck { step: 0, why: "x".into() }], "stuck"),
    ] {
        let fold = |run, event| rollguard::domain::run::evolve(run, event, start());
        let run = events.iter().fold(rollguard::domain::run::Run::default(), fold);
        assert_eq!(run.phase_title(), phase);
        assert!(!matches!(run.phase, Phase::New));
    }
}
