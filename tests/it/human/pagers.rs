//! PagerDuty and Opsgenie: one incident whatever is sent again, acknowledged and resolved, within their limits.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rollguard::adapters::notify::opsgenie::{Opsgenie, OpsgenieConfig};
use rollguard::adapters::notify::pagerduty::{PagerDuty, PagerDutyConfig};
use rollguard::domain::event::RunEvent;
use rollguard::domain::message::{Message, MessageKind, Wording};
use rollguard::ports::{Delivered, Notifier, NotifyError};
use serde_json::{Value, json};

use super::world::{Asked, Mood, Office, SECRET, Server, secret, story};
use crate::messages::{all_passed, approved, asking, at, executed, opened, started, verified};
use crate::recorder::client;

/// The state of each incident by its dedup key, as PagerDuty keeps them.
type Incidents = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

async fn pagerduty() -> (Server, Incidents) {
    let incidents = Incidents::default();
    let store = incidents.clone();
    let server = Server::start(move |asked: &Asked| {
        let text = |key: &str| asked.body[key].as_str().unwrap_or_default().to_string();
        if asked.path != "/v2/enqueue" || text("routing_key") != SECRET {
            return (400, json!({"status": "invalid event", "message": "routing_key is invalid"}));
        }
        store.lock().unwrap().entry(text("dedup_key")).or_default().push(text("event_action"));
        (202, json!({"status": "success", "dedup_key": text("dedup_key")}))
    })
    .await;
    (server, incidents)
}

fn wording() -> Arc<Wording> {
    Arc::new(Wording { external_url: Some("https://rollguard.example.com".into()), ..Wording::default() })
}

fn pager(url: &str) -> Arc<PagerDuty> {
    let config = PagerDutyConfig { url: url.to_string(), routing_key: secret() };
    Arc::new(PagerDuty::new("pagerduty", config, wording(), client()).unwrap())
}

async fn page(messages: Vec<Message>) -> (Server, Vec<(String, Vec<String>)>) {
    let (server, incidents) = pagerduty().await;
    let office = Office::new();
    let life = office.begin(pager(&server.url)).await;
    life.enqueue(messages).await;
    assert_eq!(life.deliver(2).await, 0);
    let all = incidents.lock().unwrap().clone().into_iter().collect();
    (server, all)
}

#[tokio::test]
async fn a_question_is_triggered_acknowledged_and_resolved_under_one_key() {
    let events = [vec![approved()], executed(), all_passed(), vec![verified(true)]].concat();
    let (server, incidents) = page(story(asking(), events)).await;
    let key = "rollguard/shop/backend.v2.1795341600".to_string();
    let actions = ["trigger", "acknowledge", "resolve"].map(String::from).to_vec();
    assert_eq!(incidents, [(key, actions)]);
    let mut event = server.asked()[0].body.clone();
    assert_eq!(event["routing_key"].take(), SECRET);
    insta::assert_snapshot!(serde_json::to_string_pretty(&event).unwrap());
    assert!(server.asked()[1].body["payload"].is_null(), "an acknowledgement needs no payload");
}

#[tokio::test]
async fn a_rollback_that_gets_stuck_after_an_answer_pages_again() {
    let stuck = RunEvent::Stuck { step: 0, why: "backend runs v3 now".into() };
    let events = vec![approved(), started(0), stuck, RunEvent::Resumed { by: "ann".into() }];
    let (_, incidents) = page(story(asking(), events)).await;
    assert_eq!(incidents[0].1, ["trigger", "acknowledge", "trigger", "acknowledge"]);
    let denied = RunEvent::Denied { by: "bob".into(), reason: "no".into() };
    let (_, incidents) = page(story(asking(), vec![denied])).await;
    assert_eq!(incidents[0].1, ["trigger", "resolve"]);
}

#[tokio::test]
async fn what_comes_too_fast_or_is_down_is_sent_again_and_what_is_wrong_is_not() {
    let (server, incidents) = pagerduty().await;
    let office = Office::new();
    let life = office.begin(pager(&server.url)).await;
    server.then([
        Mood::Refuse(429, "30", String::new()),
        Mood::Refuse(500, "", String::new()),
        Mood::LoseAnswer,
    ]);
    life.enqueue(story(asking(), vec![])).await;
    assert_eq!(life.deliver(8).await, 0);
    let all: Vec<_> = incidents.lock().unwrap().values().cloned().collect();
    assert_eq!(all, [["trigger", "trigger"]], "the lost answer is asked for again under the same key");

    let message = &story(asking(), vec![])[0];
    server.then([Mood::Refuse(400, "", SECRET.into())]);
    let error = pager(&server.url).deliver(message, at(0)).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Refused { .. }) && !format!("{error:?}").contains(SECRET),
        "{error}"
    );
    server.then([Mood::Refuse(404, "", String::new())]);
    let error = pager(&server.url).deliver(message, at(0)).await.unwrap_err();
    assert!(matches!(error, NotifyError::Retry { .. }), "a page outlives a wrong route: {error}");
}

#[tokio::test]
async fn events_stay_within_pagerdutys_limits() {
    let (server, _) = pagerduty().await;
    let mut message = story(asking(), vec![]).remove(0);
    message.title = "ü".repeat(2000);
    message.incident = "i".repeat(400);
    message.lines = vec!["x".repeat(600_000)];
    assert_eq!(pager(&server.url).deliver(&message, at(0)).await, Ok(Delivered::Once));
    let event = server.asked()[0].body.clone();
    assert!(event["payload"]["summary"].as_str().unwrap().chars().count() == 1024);
    assert!(event["dedup_key"].as_str().unwrap().len() <= 255);
    assert!(event.to_string().len() <= 512_000);
    assert!(event["payload"]["custom_details"]["details"].as_str().unwrap().contains("too long"));
}

#[tokio::test]
async fn opsgenie_opens_acknowledges_and_closes_by_alias() {
    let server = Server::start(|_| (202, json!({"result": "Request will be processed"}))).await;
    let config = OpsgenieConfig { url: server.url.clone(), api_key: secret() };
    let opsgenie: Arc<dyn Notifier> =
        Arc::new(Opsgenie::new("opsgenie", config, wording(), client()).unwrap());
    let events = [vec![approved()], executed(), all_passed(), vec![verified(true)]].concat();
    let office = Office::new();
    let life = office.begin(opsgenie).await;
    life.enqueue(story(asking(), events)).await;
    assert_eq!(life.deliver(1).await, 0);
    let asked = server.asked();
    let alias = "rollguard%2Fshop%2Fbackend.v2.1795341600";
    let about = |what: &str| format!("/v2/alerts/{alias}/{what}");
    let paths: Vec<&str> = asked.iter().map(|a| a.path.as_str()).collect();
    assert_eq!(paths, ["/v2/alerts", &about("acknowledge"), &about("close")]);
    assert!(asked.iter().all(|a| a.authorization == format!("GenieKey {SECRET}")));
    assert_eq!(asked[1].query, "identifierType=alias");
    let Value::String(message) = &asked[0].body["message"] else { panic!("{:?}", asked[0]) };
    assert!(message.chars().count() <= 130 && message.starts_with("[ASK]"), "{message}");
    assert_eq!((&asked[0].body["priority"], &asked[0].body["source"]), (&json!("P2"), &json!("rollguard")));
}

#[test]
fn pagers_take_what_calls_a_person_and_its_end() {
    let pager = pager("http://localhost");
    let wanted: Vec<&str> = story(opened(), [executed(), all_passed(), vec![verified(true)]].concat())
        .iter()
        .filter(|message| pager.wants(message))
        .map(|message| message.kind.as_str())
        .collect();
    assert_eq!(wanted, [MessageKind::Resolve.as_str()]);
}
