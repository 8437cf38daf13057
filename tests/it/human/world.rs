//! A journal, an outbox and a clock of its own around one channel, over several lives; and a server with a temper.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::Response;
use jiff::{SignedDuration, Timestamp};
use rollguard::adapters::journal::MemoryJournal;
use rollguard::domain::event::{RunEvent, RunOpened};
use rollguard::domain::message::{Message, of_run};
use rollguard::domain::run::{Run, evolve};
use rollguard::engine::ledger::Ledger;
use rollguard::engine::outbox::{Outbox, Unsettled};
use rollguard::engine::snapshot::Picture;
use rollguard::ports::{Clock, Journal, Notifier};
use secrecy::SecretString;
use serde_json::Value;

use crate::messages::at;

/// In every credential here, and therefore in no error, note or message.
pub(super) const SECRET: &str = "S3CR3T-0123456789";

pub(super) fn secret() -> SecretString {
    SecretString::from(SECRET)
}

/// All messages of a run, in their order: half a minute between its events, from 10:02:30 on.
pub(super) fn story(opened: RunOpened, events: Vec<RunEvent>) -> Vec<Message> {
    let (mut run, mut all) = (Run::default(), Vec::new());
    let events = std::iter::once(RunEvent::Opened(Box::new(opened))).chain(events);
    for (mut event, now) in events.zip((150..).step_by(30).map(at)) {
        if let RunEvent::Verified { watch_until, .. } = &mut event {
            *watch_until = now + SignedDuration::from_mins(30);
        }
        run = evolve(run, &event, now);
        all.extend(of_run(&event, &run, now));
    }
    all
}

struct Hand(Mutex<Timestamp>);

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
    async fn sleep_until(&self, _: Timestamp) {
        std::future::pending().await
    }
}

/// What outlives a process.
pub(super) struct Office {
    pub(super) journal: Arc<MemoryJournal>,
    clock: Arc<Hand>,
}

/// One life of the process.
pub(super) struct Life<'a> {
    office: &'a Office,
    ledger: Ledger,
    outbox: Outbox,
}

impl Office {
    pub(super) fn new() -> Self {
        Self { journal: Arc::default(), clock: Arc::new(Hand(Mutex::new(at(200)))) }
    }

    pub(super) async fn begin(&self, notifier: Arc<dyn Notifier>) -> Life<'_> {
        self.begin_with(vec![notifier]).await
    }

    pub(super) async fn begin_with(&self, notifiers: Vec<Arc<dyn Notifier>>) -> Life<'_> {
        let (journal, clock): (Arc<dyn Journal>, Arc<dyn Clock>) = (self.journal.clone(), self.clock.clone());
        let notifiers: Arc<[Arc<dyn Notifier>]> = notifiers.into();
        let epoch = journal.claim().await.unwrap();
        let picture = Picture::default();
        let ledger = Ledger::new(journal.clone(), notifiers.clone(), clock.clone(), picture.clone(), epoch);
        let unsettled = Unsettled::default();
        let outbox = Outbox {
            journal,
            notifiers: notifiers.into(),
            clock,
            ledger: ledger.clone(),
            picture,
            unsettled,
        };
        Life { office: self, ledger, outbox }
    }
}

impl Life<'_> {
    pub(super) async fn enqueue(&self, messages: Vec<Message>) {
        self.ledger.commit(self.office.clock.now(), &[], messages, vec![]).await.unwrap();
    }

    /// As the daemon runs it.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Tries so often, a minute apart; answers what still waits.
    pub(super) async fn deliver(&self, rounds: usize) -> usize {
        for _ in 0..rounds {
            while self.outbox.deliver_due().await {}
            *self.office.clock.0.lock().unwrap() += SignedDuration::from_mins(1);
        }
        self.office.journal.outbox_depth().await.unwrap()
    }
}

/// What a server does with one request.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    /// It answers so, and does nothing.
    Refuse(u16, &'static str, String),
    /// It does what is asked, and its answer is lost on the way.
    LoseAnswer,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) authorization: String,
    pub(super) body: Value,
}

type Handler = Box<dyn FnMut(&Asked) -> (u16, Value) + Send>;

/// A server on loopback that keeps its state in `handler`; its next moods come first.
pub(super) struct Server {
    pub(super) url: String,
    moods: Arc<Mutex<VecDeque<Mood>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(handler: impl FnMut(&Asked) -> (u16, Value) + Send + 'static) -> Self {
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Box::new(handler)));
        let (moods, asked) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(Mutex::new(Vec::new())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (next, log) = (moods.clone(), asked.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (handler, next, log) = (handler.clone(), next.clone(), log.clone());
            async move {
                let request = read(request).await;
                log.lock().unwrap().push(request.clone());
                let mood: Option<Mood> = next.lock().unwrap().pop_front();
                let (status, retry, body) = match mood {
                    Some(Mood::Refuse(status, retry, body)) => (status, retry, body),
                    Some(Mood::LoseAnswer) => {
                        (handler.lock().unwrap())(&request);
                        (502, "", "<html>bad gateway</html>".into())
                    }
                    None => {
                        let (status, body) = (handler.lock().unwrap())(&request);
                        (status, "", body.to_string())
                    }
                };
                let response = Response::builder().status(status);
                let response =
                    if retry.is_empty() { response } else { response.header("retry-after", retry) };
                response.body(body).unwrap()
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, moods, asked, task }
    }

    pub(super) fn then(&self, moods: impl IntoIterator<Item = Mood>) {
        self.moods.lock().unwrap().extend(moods);
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, usize::MAX).await.unwrap();
    let authorization = parts.headers.get("authorization").map(|v| v.to_str().unwrap().to_string());
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_string(),
        query: parts.uri.query().unwrap_or_default().to_string(),
        authorization: authorization.unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}
