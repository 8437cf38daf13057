//! The watcher over a journal in memory and a made-up cluster: what it may take back, and what a new life of it does.
mod fleet;
mod rails;
mod reconfigured;
mod town;
pub(crate) mod world;

use rollguard::domain::event::TargetEvent;
use rollguard::domain::policy::Mode;
use rollguard::domain::release::ReleaseKind;

use world::{World, crash_looping, opened, version};

#[tokio::test]
async fn only_the_version_that_was_judged_is_taken_back() {
    let world = World::new(Mode::Auto, &["v1", "v2", "v3"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    // Somebody deploys v3 while v2 crashes, and only the survey knows.
    world.runs("v3");
    life.sees("v2", crash_looping("v2")).await;
    let decided = world.until(|kind, _| kind == "decided").await;
    assert_eq!(decided["decided"]["decision"], "page");
    assert!(decided["decided"]["barred"][0].as_str().unwrap().contains("it runs v3 by now"), "{decided}");
    assert_eq!(world.runs_opened().await, 0);
    life.end().await;
}

#[tokio::test]
async fn a_bad_version_is_taken_back_and_its_page_is_remembered() {
    let world = World::new(Mode::Approval, &["v1", "v2"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    world.runs("v2");
    life.sees("v2", crash_looping("v2")).await;
    world.until(|kind, body| kind == "paging" && body["on"] == true).await;
    assert_eq!(world.runs_opened().await, 1);
    life.end().await;
}

#[tokio::test]
async fn a_check_that_passed_before_the_release_and_fails_after_it_rolls_back() {
    let world = World::new(Mode::Auto, &["v1", "v2"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    life.checks(true, "HTTP 200").await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    world.runs("v2");
    life.sees("v2", vec![]).await;
    world.until(|kind, _| kind == "watch_opened").await;
    for _ in 0..4 {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        life.checks(false, "HTTP 503").await;
    }
    let decided = world.until(|kind, _| kind == "decided").await;
    assert_eq!(decided["decided"]["decision"], "rollback", "{decided}");
    let reason = decided["decided"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("health fails since") && reason.contains("HTTP 503"), "{reason}");
    life.end().await;
}

#[tokio::test]
async fn a_new_life_looks_before_it_acts_on_what_it_remembers() {
    let world = World::new(Mode::Auto, &["v1", "v2"]);
    let good = TargetEvent::KnownGood { version: version("v1"), why: "it ran".into() };
    world.remembers(vec![good, opened("v2", ReleaseKind::New)]).await;
    world.recorded(crash_looping("v2"));
    world.runs("v1");
    let life = world.live().await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    life.sees("v1", vec![]).await;
    let watch =
        world.until(|kind, body| kind == "watch_opened" && body["release"]["to"]["label"] == "v1").await;
    assert_eq!(watch["release"]["kind"], "undo");
    assert_eq!(world.count("decided").await, 0, "v2 is gone, and nobody has to hear of it");
    assert_eq!(world.runs_opened().await, 0);
    life.end().await;
}

#[tokio::test]
async fn who_only_observes_tells_nobody() {
    let world = World::new(Mode::Observe, &["v1", "v2", "v3"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    world.runs("v2");
    life.sees("v2", crash_looping("v2")).await;
    let decided = world.until(|kind, _| kind == "decided").await;
    assert_eq!(decided["decided"]["would"], "rollback");
    world.runs("v3");
    life.sees("v3", vec![]).await;
    world.until(|kind, body| kind == "watch_opened" && body["release"]["to"]["label"] == "v3").await;
    assert_eq!(world.messages().await, Vec::<String>::new());
    life.end().await;
}

#[tokio::test]
async fn a_newer_release_ends_the_page_of_a_watch_that_is_over() {
    let world = World::new(Mode::Page, &["v1", "v2"]);
    let page = TargetEvent::Paging { incident: "an-older-watch".into(), on: true };
    let good = TargetEvent::KnownGood { version: version("v1"), why: "it ran".into() };
    world.remembers(vec![good, page]).await;
    world.runs("v2");
    let life = world.live().await;
    life.sees("v2", vec![]).await;
    world.until(|kind, body| kind == "paging" && body["on"] == false).await;
    assert_eq!(world.messages().await, ["an-older-watch/replaced"]);
    life.end().await;
}
