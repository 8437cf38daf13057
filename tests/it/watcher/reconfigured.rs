//! A new configuration comes into force in the middle of watches: nothing is forgotten, and what it names is guarded at once.
use rollguard::domain::runbook::RuleKind;
use rollguard::engine::commands::Command;
use serde_json::json;

use super::town::Town;

/// Shop was released ten minutes after the watcher began, and a minute ago.
async fn released(services: &[&'static str]) -> Town {
    let mut town = Town::of(services).await;
    town.live().await;
    town.run(600).await;
    town.release("shop").await;
    town.run(60).await;
    town
}

#[tokio::test]
async fn an_open_watch_keeps_its_rules_and_the_next_has_the_new_ones() {
    let mut town = released(&["shop"]).await;
    town.reconfigure(&["shop"], |s| s.rules[0].kind = RuleKind::Errors { above: 0.5 }, &[]).await;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!(town.decided("shop"), [("rollback".to_string(), "release".to_string())]);
    assert_eq!(town.records("shop", "watch_opened").len(), 1, "the watch went on");
    assert_eq!(town.records("shop", "watch_closed").len(), 0);
    town.release("shop").await;
    town.run(5).await;
    let opened = town.records("shop", "watch_opened");
    assert_eq!(opened[1]["rules"][0]["kind"]["errors"]["above"], json!(0.5), "{}", opened[1]);
    town.end().await;
}

#[tokio::test]
async fn a_removed_service_is_left_alone_and_a_new_one_is_guarded() {
    let mut town = released(&["cart", "shop"]).await;
    town.reconfigure(&["cart"], |_| {}, &[]).await;
    let closed = town.records("shop", "watch_closed");
    assert_eq!((closed.len(), &closed[0]["end"]), (1, &json!("gone")));
    assert!(closed[0]["reason"].as_str().unwrap().contains("not configured any more"), "{}", closed[0]);
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert!(town.decided("shop").is_empty());

    // Configured again: what was known of it before is still known.
    town.service("shop").failing = 0.0;
    town.reconfigure(&["cart", "shop"], |_| {}, &[]).await;
    town.run(60).await;
    town.release("shop").await;
    town.run(60).await;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    let good = town.records("shop", "watch_opened").last().unwrap()["known_good"]["label"].clone();
    assert_eq!(good, json!("v1"), "v2 was never watched to an end");
    assert_eq!(town.decided("shop"), [("rollback".to_string(), "release".to_string())]);
    town.end().await;
}

#[tokio::test]
async fn a_watch_is_measured_to_its_end_as_it_began() {
    let mut town = released(&["cart", "shop"]).await;
    let before = town.book();
    town.reconfigure(&["cart", "shop"], |_| {}, &[("shop", "error-rate")]).await;
    let names = |asked: &[rollguard::ports::AskTarget]| {
        asked.iter().map(|ask| ask.target.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&before.borrow().fresh), ["shop/api"], "the older source goes on");
    let now = town.book();
    assert!(now.borrow().fresh.is_empty());
    assert_eq!(names(&now.borrow().idle), ["cart/api"], "and nobody else asks for the same");

    town.release("shop").await;
    town.run(5).await;
    assert_eq!(names(&now.borrow().fresh), ["shop/api"], "the next watch is measured in the new way");
    assert!(before.has_changed().is_err(), "nobody keeps the old book any more, so its polling ends");
    town.end().await;
}

#[tokio::test]
async fn a_run_goes_on_when_its_service_is_removed() {
    let mut town = released(&["cart", "shop"]).await;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    let opened = town.runs();
    assert_eq!(opened.len(), 1);
    town.reconfigure(&["cart"], |_| {}, &[]).await;
    assert_eq!(town.run_kinds(&opened[0]).last().map(String::as_str), Some("observed"));
    let abort = Command::Abort { run: opened[0].clone(), reason: "by hand".into(), by: "ann".into() };
    town.order(abort).await.unwrap();
    town.run(2).await;
    assert_eq!(town.run_kinds(&opened[0]).last().map(String::as_str), Some("aborted"));
    town.end().await;
}

#[tokio::test]
async fn a_page_ends_with_the_watch_of_a_removed_service() {
    let mut town = released(&["cart", "shop"]).await;
    town.service("cart").failing = 0.3;
    town.service("shop").failing = 0.3;
    town.run(120).await;
    assert_eq!(town.decided("shop").len(), 1);
    town.reconfigure(&["cart"], |_| {}, &[]).await;
    let paging = town.records("shop", "paging");
    assert_eq!(paging.last().map(|body| body["on"].clone()), Some(json!(false)));
    town.end().await;
}
