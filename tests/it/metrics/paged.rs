//! Pages through a real Alertmanager: posted, delivered to whoever has the pager, posted again, and ended.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rollguard::adapters::journal::SqliteJournal;
use rollguard::adapters::notify::alertmanager::{Alertmanager as Pager, AlertmanagerConfig};
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::ServiceName;
use rollguard::engine::ledger::Ledger;
use rollguard::engine::outbox::Outbox;
use rollguard::engine::snapshot::Picture;
use rollguard::ports::{Clock, Journal, Notifier};

use super::LIMIT;
use crate::recorder::client;
use crate::support::alertmanager::Alertmanager;
use crate::support::receiver::Receiver;
use crate::support::until;

/// A clock that stands until a test moves it.
struct Hand(Mutex<Timestamp>);

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
    async fn sleep_until(&self, _: Timestamp) {}
}

fn message(kind: MessageKind, title: &str) -> Message {
    Message {
        key: format!("watch-1/{}", kind.as_str()),
        incident: "watch-1".into(),
        kind,
        service: ServiceName::parse("shop").unwrap(),
        title: title.into(),
        lines: vec!["Reason: 15.0 % errors on 412 requests".into(), "Nothing was changed".into()],
        targets: vec![],
        code: None,
        facts: None,
        level: 0,
    }
}

fn pager(alertmanager: &Alertmanager) -> Arc<dyn Notifier> {
    let labels = [("team".to_string(), "platform".to_string())].into();
    let config = AlertmanagerConfig { url: alertmanager.url().into(), token: None, labels };
    Arc::new(Pager::new("alertmanager", config, client()).unwrap())
}

/// An outbox on a journal of its own, with its ledger.
async fn outbox(dir: &std::path::Path, pager: Arc<dyn Notifier>, clock: Arc<Hand>) -> (Outbox, Ledger) {
    let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(dir).unwrap());
    let epoch = journal.claim().await.unwrap();
    let (notifiers, picture): (Arc<[_]>, _) = (vec![pager].into(), Picture::default());
    let ledger = Ledger::new(journal.clone(), notifiers.clone(), clock.clone(), picture.clone(), epoch);
    (
        Outbox {
            journal,
            notifiers: notifiers.into(),
            clock,
            ledger: ledger.clone(),
            picture,
            unsettled: Default::default(),
        },
        ledger,
    )
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_page_reaches_the_pager_is_repeated_and_ends() {
    let receiver = Receiver::start().await;
    let alertmanager = Alertmanager::start(&receiver.url("/pager"), None).await;
    let (dir, began) = (tempfile::tempdir().unwrap(), Timestamp::now() - Duration::from_secs(90));
    let clock = Arc::new(Hand(Mutex::new(began)));
    let (outbox, ledger) = outbox(dir.path(), pager(&alertmanager), clock.clone()).await;

    let page = message(MessageKind::Page, "[PAGE] shop/backend v2 is bad");
    ledger.commit(began, &[], vec![page], vec![]).await.unwrap();
    assert!(outbox.deliver_due().await);
    let active = alertmanager.active().await;
    assert_eq!(active.len(), 1, "{active:?}");
    let labels = &active[0]["labels"];
    assert_eq!(labels["alertname"], "RollguardPage");
    assert_eq!((&labels["service"], &labels["incident"]), (&"shop".into(), &"watch-1".into()));
    assert_eq!((&labels["severity"], &labels["team"]), (&"critical".into(), &"platform".into()));
    assert_eq!(labels["rollguard"], "self");
    let firing = receiver.wait_for("the page is delivered", LIMIT, |d| d.json()["status"] == "firing").await;
    let annotations = firing.json()["alerts"][0]["annotations"].clone();
    assert_eq!(annotations["summary"], "[PAGE] shop/backend v2 is bad");
    assert_eq!(annotations["description"], "Reason: 15.0 % errors on 412 requests\nNothing was changed");

    // A minute later it is posted again: the same alert, which ends later.
    assert!(!outbox.deliver_due().await, "nothing is due before");
    *clock.0.lock().unwrap() = began + Duration::from_secs(61);
    assert!(outbox.deliver_due().await);
    let again = alertmanager.active().await;
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["fingerprint"], active[0]["fingerprint"]);
    assert_eq!(again[0]["startsAt"], active[0]["startsAt"]);
    let ends = |alert: &serde_json::Value| alert["endsAt"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(ends(&again[0]).duration_since(ends(&active[0])).as_secs(), 61);

    let now = Timestamp::now();
    *clock.0.lock().unwrap() = now;
    let resolve = message(MessageKind::Resolve, "[RESOLVED] shop/backend v2 is healthy");
    ledger.commit(now, &[], vec![resolve], vec![]).await.unwrap();
    while outbox.deliver_due().await {}
    receiver.wait_for("the page ends", LIMIT, |d| d.json()["status"] == "resolved").await;
    until("no alert is active", LIMIT, async || alertmanager.active().await.is_empty().then_some(())).await;
    // Nothing brings it back.
    *clock.0.lock().unwrap() = now + Duration::from_secs(600);
    assert!(!outbox.deliver_due().await, "the page is still repeated");
    let fired = receiver.deliveries().iter().filter(|d| d.json()["status"] == "firing").count();
    assert_eq!(fired, 1, "repeating a page is not paging again");
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn a_page_waits_for_an_alertmanager_that_is_down() {
    let receiver = Receiver::start().await;
    let mut alertmanager = Alertmanager::start(&receiver.url("/pager"), None).await;
    let (dir, began) = (tempfile::tempdir().unwrap(), Timestamp::now());
    let clock = Arc::new(Hand(Mutex::new(began)));
    let (outbox, ledger) = outbox(dir.path(), pager(&alertmanager), clock.clone()).await;

    alertmanager.stop().await;
    let page = message(MessageKind::Page, "[PAGE] shop/backend v2 is bad");
    ledger.commit(began, &[], vec![page], vec![]).await.unwrap();
    outbox.deliver_due().await;
    assert_eq!(outbox.journal.outbox_depth().await.unwrap(), 1, "the page is lost");
    alertmanager.restart().await;
    *clock.0.lock().unwrap() = began + Duration::from_secs(5);
    outbox.deliver_due().await;
    receiver.wait_for("the page is delivered", LIMIT, |d| d.json()["status"] == "firing").await;
}
