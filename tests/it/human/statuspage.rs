//! The public page: one incident over restarts and lost answers, in the user's words and nobody else's.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollguard::adapters::notify::statuspage::{PublicTexts, Statuspage, StatuspageConfig};
use serde_json::{Value, json};

use super::world::{Asked, Mood, Office, SECRET, Server, secret, story};
use crate::messages::{all_passed, ended, executed, opened, verified};
use crate::recorder::client;

type Held = Arc<Mutex<Vec<Value>>>;

/// The page's incidents, and every text that was ever public.
async fn page() -> (Server, Held) {
    let held = Held::default();
    let store = held.clone();
    let server = Server::start(move |asked| answer(&mut store.lock().unwrap(), asked)).await;
    (server, held)
}

fn answer(held: &mut Vec<Value>, asked: &Asked) -> (u16, Value) {
    if asked.authorization != format!("OAuth {SECRET}") {
        return (401, json!({"error": "unauthorized"}));
    }
    let change = &asked.body["incident"];
    match (asked.method.as_str(), asked.path.strip_prefix("/v1/pages/p1/incidents")) {
        ("GET", Some("")) => (200, json!(held)),
        ("POST", Some("")) => {
            let mut made = change.clone();
            made["id"] = json!(format!("i{}", held.len() + 1));
            made["said"] = json!([change["body"]]);
            held.push(made.clone());
            (201, made)
        }
        ("PATCH", Some(path)) => {
            let found = held.iter_mut().find(|found| path[1..] == found["id"]);
            let Some(found) = found else { return (404, json!({"error": "not found"})) };
            found["status"] = change["status"].clone();
            found["components"] = change["components"].clone();
            found["said"].as_array_mut().unwrap().push(change["body"].clone());
            (200, found.clone())
        }
        _ => (404, json!({"error": "not found"})),
    }
}

fn statuspage(url: &str) -> Arc<Statuspage> {
    let texts = PublicTexts {
        title: "Elevated error rates".into(),
        identified: "We are going back to the version before.".into(),
        monitoring: "We have gone back, and keep watching.".into(),
        resolved: "All services are operating normally.".into(),
    };
    let config = StatuspageConfig {
        url: format!("{url}/v1"),
        page: "p1".into(),
        api_key: secret(),
        components: vec!["c1".into()],
        texts,
        pace: Duration::ZERO,
    };
    Arc::new(Statuspage::new("statuspage", config, client()).unwrap())
}

#[tokio::test]
async fn an_incident_goes_from_identified_over_monitoring_to_resolved_in_public_words_only() {
    let (server, held) = page().await;
    let mut run = opened();
    run.decided.reason = format!("<script>{SECRET}</script> @channel");
    let events = [executed(), all_passed(), vec![verified(true), ended(true, SECRET)]].concat();
    let office = Office::new();
    let life = office.begin(statuspage(&server.url)).await;
    life.enqueue(story(run, events)).await;
    assert_eq!(life.deliver(1).await, 0);
    let held = held.lock().unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(
        (&held[0]["status"], &held[0]["components"]["c1"]),
        (&json!("resolved"), &json!("operational"))
    );
    let said = [
        "We are going back to the version before.",
        "We have gone back, and keep watching.",
        "All services are operating normally.",
    ];
    assert_eq!(held[0]["said"], json!(said));
    assert!(server.asked().iter().all(|asked| !asked.body.to_string().contains("script")));
}

#[tokio::test]
async fn a_restart_or_a_lost_answer_opens_no_second_incident() {
    let (server, held) = page().await;
    let office = Office::new();
    let all = story(opened(), [executed(), all_passed(), vec![verified(true)]].concat());
    let life = office.begin(statuspage(&server.url)).await;
    life.enqueue(all[..1].to_vec()).await;
    // The list is answered, and the answer to the creation is lost.
    server.then([Mood::Refuse(200, "", "[]".into()), Mood::LoseAnswer]);
    assert_eq!(life.deliver(1).await, 1);
    let life = office.begin(statuspage(&server.url)).await;
    server.then([Mood::Refuse(429, "10", String::new()), Mood::Refuse(420, "", String::new())]);
    life.enqueue(all[1..].to_vec()).await;
    assert_eq!(life.deliver(6).await, 0);
    let held = held.lock().unwrap();
    assert_eq!((held.len(), &held[0]["status"]), (1, &json!("monitoring")));
}

#[tokio::test]
async fn what_people_have_resolved_is_not_opened_again() {
    let (server, held) = page().await;
    let office = Office::new();
    let all = story(opened(), [executed(), all_passed(), vec![verified(true)]].concat());
    let life = office.begin(statuspage(&server.url)).await;
    life.enqueue(all[..1].to_vec()).await;
    assert_eq!(life.deliver(1).await, 0);
    held.lock().unwrap()[0]["status"] = json!("resolved");
    life.enqueue(all[1..].to_vec()).await;
    assert_eq!(life.deliver(1).await, 0);
    assert_eq!(held.lock().unwrap()[0]["status"], "resolved");
    assert!(server.asked().iter().all(|asked| asked.method != "PATCH"));
}
