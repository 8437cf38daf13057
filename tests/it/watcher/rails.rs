//! Guard rails in a running watcher: what automation does not do, and that people hear why.
use jiff::SignedDuration;
use rollguard::domain::guardrails::Rails;
use rollguard::domain::guardrails::freeze::Freeze;
use rollguard::engine::commands::{Command, CommandError};

use super::town::{Town, target};

/// A town in which shop (and cart) have been released for a minute, and all was well before.
async fn released(arrange: impl FnOnce(&mut Town)) -> Town {
    let mut town = Town::of(&["cart", "shop"]).await;
    arrange(&mut town);
    town.live().await;
    town.run(120).await;
    town.release("shop").await;
    town.run(60).await;
    town
}

fn kill(on: bool) -> Command {
    Command::Kill { on, reason: "moving the database".into(), by: "ann".into() }
}

/// The last decision about the service, and why it was no more.
fn last(town: &Town, service: &str) -> (String, Vec<String>) {
    let bodies = town.records(service, "decided");
    let decided = &bodies.last().unwrap_or_else(|| panic!("nothing was decided about {service}"))["decided"];
    let barred = decided["barred"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    (text(&decided["decision"]), barred.iter().map(text).collect())
}

#[tokio::test]
async fn the_kill_switch_stops_everything_and_outlives_the_process() {
    let mut town = released(|_| {}).await;
    town.order(kill(true)).await.unwrap();
    let told = town.messages().await;
    assert_eq!(told[0].title, "[STOPPED] The kill switch is on");
    assert!(told[0].lines[0].starts_with("By: ann, at "), "{:?}", told[0]);
    town.end().await;
    town.live().await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    let (decision, barred) = last(&town, "shop");
    assert_eq!(decision, "page");
    assert!(barred[0].starts_with("the kill switch is on since"), "{barred:?}");
    assert!(barred[0].ends_with(", by ann (moving the database): nothing is changed [RG114]"), "{barred:?}");
    let order = Command::Rollback {
        target: target("shop"),
        revision: None,
        image: None,
        reason: String::new(),
        by: "ben".into(),
    };
    let refused = town.order(order).await.unwrap_err();
    assert!(matches!(refused, CommandError::Killed { .. }), "{refused}");

    town.order(kill(false)).await.unwrap();
    town.run(10).await;
    assert_eq!(last(&town, "shop").0, "rollback", "the release is still bad");
    town.end().await;
}

#[tokio::test]
async fn a_file_is_as_good_as_an_order() {
    let mut town = released(|_| {}).await;
    town.lever.pull();
    town.service("shop").failing = 0.3;
    town.run(60).await;
    let (decision, barred) = last(&town, "shop");
    assert_eq!(decision, "page");
    assert!(barred[0].contains("by a test (to see it)"), "{barred:?}");
    town.lever.release();
    town.run(10).await;
    assert_eq!(last(&town, "shop").0, "rollback");
    town.end().await;
}

#[tokio::test]
async fn a_freeze_asks_a_person() {
    let always = Freeze::new("* * * * *", "UTC", SignedDuration::from_hours(1), "launch day").unwrap();
    let mut town = released(|town| town.rails.freezes = vec![always]).await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    let (decision, barred) = last(&town, "shop");
    assert_eq!(decision, "ask");
    assert!(
        barred[0].starts_with("a freeze is on until ") && barred[0].contains("(launch day)"),
        "{barred:?}"
    );
    town.end().await;
}

#[tokio::test]
async fn a_machine_does_not_go_back_behind_the_minimum() {
    let mut town = released(|town| town.minimum = Some("v9")).await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    let (decision, barred) = last(&town, "shop");
    assert_eq!(decision, "page");
    assert!(barred[0].contains("is not known to be v9 or newer"), "{barred:?}");
    town.end().await;
}

#[tokio::test]
async fn so_many_rollbacks_at_once_and_the_next_when_one_is_done() {
    let mut town = released(|town| town.at_once = 1).await;
    town.release("cart").await;
    town.run(60).await;
    town.service("shop").failing = 0.3;
    town.run(40).await;
    assert_eq!(last(&town, "shop").0, "rollback");
    town.service("cart").failing = 0.3;
    town.run(40).await;
    let (decision, barred) = last(&town, "cart");
    assert_eq!(decision, "page");
    assert!(barred[0].starts_with("1 rollback under way (shop-"), "{barred:?}");
    // The other one gets stuck, since nothing is carried out here: then it changes nothing any more.
    town.run(130).await;
    assert_eq!(last(&town, "cart").0, "rollback");
    town.end().await;
}

#[tokio::test]
async fn a_service_is_rolled_back_so_often_a_day() {
    let rails = Rails { cool_down: std::time::Duration::ZERO, max_per_day: 1, ..Rails::default() };
    let mut town = released(|town| town.rails = rails).await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    assert_eq!(last(&town, "shop").0, "rollback");
    town.service("shop").failing = 0.0;
    town.release("shop").await;
    town.run(60).await;
    town.service("shop").failing = 0.3;
    town.run(60).await;
    let (decision, barred) = last(&town, "shop");
    assert_eq!(decision, "page");
    assert!(
        barred[0].starts_with("this service had 1 rollback within a day: automation rests until"),
        "{barred:?}"
    );
    town.end().await;
}
