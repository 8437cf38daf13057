//! GitHub: the bad deployment fails, and the rollback is one deployment with one status of each kind.
use std::sync::{Arc, Mutex};

use rollguard::adapters::notify::github::{GitHub, GitHubConfig};
use rollguard::domain::message::Wording;
use rollguard::domain::names::ServiceName;
use rollguard::ports::Notifier;
use serde_json::{Value, json};

use super::world::{Asked, Mood, Office, SECRET, Server, secret, story};
use crate::messages::{all_passed, ended, executed, opened, verified};
use crate::recorder::client;

type Held = Arc<Mutex<Vec<Value>>>;

const AT: &str = "/repos/example/shop/deployments";

/// A repository in which v2 was deployed.
async fn forge() -> (Server, Held) {
    let bad = json!({"id": 1, "ref": "v2", "environment": "production", "payload": "{}", "statuses": []});
    let held: Held = Arc::new(Mutex::new(vec![bad]));
    let store = held.clone();
    let server = Server::start(move |asked| answer(&mut store.lock().unwrap(), asked)).await;
    (server, held)
}

fn answer(held: &mut Vec<Value>, asked: &Asked) -> (u16, Value) {
    let Some(path) = asked.path.strip_prefix(AT) else { return (404, json!({"message": "Not Found"})) };
    if asked.authorization != format!("Bearer {SECRET}") {
        return (401, json!({"message": "Bad credentials"}));
    }
    if path.is_empty() && asked.method == "GET" {
        let of_ref =
            |found: &&Value| asked.query.contains(&format!("ref={}", found["ref"].as_str().unwrap()));
        return (200, held.iter().rev().filter(of_ref).cloned().collect());
    }
    if path.is_empty() {
        let mut made = asked.body.clone();
        (made["id"], made["statuses"]) = (json!(held.len() + 1), json!([]));
        made["payload"] = json!(asked.body["payload"].to_string());
        held.push(made.clone());
        return (201, made);
    }
    let id: usize = path.trim_start_matches('/').split('/').next().unwrap().parse().unwrap();
    let statuses = held[id - 1]["statuses"].as_array_mut().unwrap();
    if asked.method == "POST" {
        statuses.insert(0, asked.body.clone());
        return (201, asked.body.clone());
    }
    (200, json!(statuses))
}

fn github(url: &str) -> Arc<GitHub> {
    let config = GitHubConfig {
        url: url.to_string(),
        token: secret(),
        environment: "production".into(),
        repositories: [(ServiceName::parse("shop").unwrap(), "example/shop".to_string())].into(),
    };
    let wording =
        Wording { external_url: Some("https://rollguard.example.com".into()), ..Wording::default() };
    Arc::new(GitHub::new("github", config, Arc::new(wording), client()).unwrap())
}

fn states(held: &Held) -> Vec<Vec<String>> {
    let states = |found: &Value| {
        let statuses = found["statuses"].as_array().unwrap().iter().rev();
        statuses.map(|status| status["state"].as_str().unwrap().to_string()).collect()
    };
    held.lock().unwrap().iter().map(states).collect()
}

#[tokio::test]
async fn the_bad_deployment_fails_and_the_rollback_is_one_of_its_own() {
    let (server, held) = forge().await;
    let end = ended(true, "nothing is wrong");
    let all = story(opened(), [executed(), all_passed(), vec![verified(true), end]].concat());
    let office = Office::new();
    let life = office.begin(github(&server.url)).await;
    life.enqueue(all).await;
    assert_eq!(life.deliver(1).await, 0);
    assert_eq!(states(&held), [vec!["failure"], vec!["in_progress", "success"]]);
    let held = held.lock().unwrap();
    assert_eq!((&held[1]["ref"], &held[1]["task"]), (&json!("v1"), &json!("rollback")));
    let status = &held[0]["statuses"][0];
    assert!(status["description"].as_str().unwrap().chars().count() <= 140, "{status}");
    assert!(status["log_url"].as_str().unwrap().contains("/report"), "{status}");
}

#[tokio::test]
async fn lost_answers_and_limits_leave_no_second_deployment() {
    let (server, held) = forge().await;
    let office = Office::new();
    let life = office.begin(github(&server.url)).await;
    server.then([Mood::Refuse(403, "60", json!({"message": "secondary rate limit"}).to_string())]);
    life.enqueue(story(opened(), vec![])).await;
    assert_eq!(life.deliver(1).await, 1);
    // Of the bad one: its deployments, its statuses and its failure; then the list, and the creation is lost.
    let pass = |body: Value| Mood::Refuse(200, "", body.to_string());
    let bad = held.lock().unwrap()[0].clone();
    server.then([pass(json!([bad])), pass(json!([])), Mood::LoseAnswer]);
    assert_eq!(life.deliver(6).await, 0);
    assert_eq!(states(&held), [vec!["failure"], vec!["in_progress"]]);
}

#[test]
fn services_without_a_repository_are_no_business_of_it() {
    let mut message = story(opened(), vec![]).remove(0);
    let github = github("http://localhost");
    assert!(github.wants(&message));
    message.service = ServiceName::parse("other").unwrap();
    assert!(!github.wants(&message));
}
