//! Questions and pages in the engine: who counts, who comes first, and what is done while nobody answers.
use std::time::Duration;

use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::plan::PlanDigest;
use rollguard::domain::policy::asking::{Approvals, Then, Unanswered};
use rollguard::domain::policy::{Mode, Policy};
use rollguard::engine::commands::{Command, CommandError, Received};

use crate::watcher::world::{Life, World, crash_looping, target};

fn asks(approvals: Approvals, unanswered: &[(u64, Then)]) -> Policy {
    let unanswered = unanswered
        .iter()
        .map(|(millis, then)| Unanswered { after: Duration::from_millis(*millis), then: *then });
    Policy { approvals, unanswered: unanswered.collect(), ..Mode::Approval.into() }
}

fn two_of(names: &[&str]) -> Approvals {
    Approvals { needed: 2, from: names.iter().map(ToString::to_string).collect(), orders: false }
}

/// A world in which v2 is bad, and one question about it is open.
async fn asked(policy: Policy) -> (World, Life, String, PlanDigest) {
    let world = World::new(policy, &["v1", "v2"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    world.runs("v2");
    life.sees("v2", crash_looping("v2")).await;
    let opened = world.until(|kind, _| kind == "opened").await;
    let run = opened["run"].as_str().unwrap().to_string();
    let digest = PlanDigest::named(opened["digest"].as_str().unwrap());
    until(&life, |life| life.viewer.look(|s| s.runs.contains_key(&run))).await;
    (world, life, run, digest)
}

async fn until(life: &Life, met: impl Fn(&Life) -> bool) {
    for _ in 0..500 {
        if met(life) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to that within 10 seconds");
}

fn approve(run: &str, digest: &PlanDigest, by: &str) -> Command {
    Command::Approve { run: run.into(), digest: digest.clone(), by: by.into(), break_glass: None }
}

async fn says(life: &Life, command: Command, key: &str) -> Result<Received, CommandError> {
    life.desk.submit(command, key).await
}

async fn page_of(world: &World, code: &str) -> Option<Message> {
    world.told().await.into_iter().find(|m| m.kind.pages() && m.title.contains(code))
}

#[tokio::test]
async fn two_people_must_approve_whoever_comes_first_and_however_often() {
    let (world, life, run, digest) = asked(asks(two_of(&["ann", "ben", "eve"]), &[])).await;
    says(&life, approve(&run, &digest, "ann"), "1").await.unwrap();
    world.until(|kind, body| kind == "approved" && body["by"] == "ann").await;
    until(&life, |life| life.viewer.look(|s| s.runs[&run].approval.as_ref().unwrap().by == ["ann"])).await;
    // Again by the same person, by somebody who is not asked, and for another plan.
    says(&life, approve(&run, &digest, "ann"), "2").await.unwrap();
    let joe = says(&life, approve(&run, &digest, "joe"), "3").await.unwrap_err().to_string();
    assert!(joe.starts_with("joe may not approve it: ann, ben, eve may"), "{joe}");
    let other = says(&life, approve(&run, &PlanDigest::named("00ff"), "ben"), "4").await;
    assert!(matches!(other, Err(CommandError::OtherPlan { .. })));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((world.count("approved").await, world.count("step_started").await), (1, 0));
    // Two at the same time: one of them lets it begin, and the other changes nothing.
    let (ben, eve) = (approve(&run, &digest, "ben"), approve(&run, &digest, "eve"));
    let (first, second) = tokio::join!(says(&life, ben, "5"), says(&life, eve, "6"));
    assert!(first.is_ok() || second.is_ok());
    world.until(|kind, _| kind == "step_started").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((world.count("approved").await, world.count("step_started").await), (2, 1));
    let late = says(&life, approve(&run, &digest, "eve"), "7").await;
    assert!(matches!(late, Err(CommandError::WrongPhase { .. })));
    life.end().await;
}

#[tokio::test]
async fn approvals_outlive_the_process_that_took_them() {
    let (world, life, run, digest) = asked(asks(two_of(&[]), &[(1, Then::PageAgain)])).await;
    says(&life, approve(&run, &digest, "ann"), "1").await.unwrap();
    world.until(|kind, _| kind == "approved").await;
    world.until(|kind, _| kind == "unanswered").await;
    life.end().await;
    let life = world.live().await;
    until(&life, |life| life.viewer.look(|s| s.runs.contains_key(&run))).await;
    says(&life, approve(&run, &digest, "ben"), "2").await.unwrap();
    world.until(|kind, _| kind == "step_started").await;
    assert_eq!((world.count("approved").await, world.count("unanswered").await), (2, 1));
    life.end().await;
}

#[tokio::test]
async fn a_denial_by_one_is_final() {
    let (world, life, run, digest) = asked(asks(two_of(&[]), &[])).await;
    says(&life, approve(&run, &digest, "ann"), "1").await.unwrap();
    let deny = Command::Deny { run: run.clone(), reason: "a hot-fix is on its way".into(), by: "ben".into() };
    says(&life, deny, "2").await.unwrap();
    world.until(|kind, _| kind == "denied").await;
    let late = says(&life, approve(&run, &digest, "eve"), "3").await;
    until(&life, |life| life.viewer.look(|s| s.runs[&run].phase == "denied")).await;
    assert!(late.is_err() || world.count("approved").await == 1);
    assert_eq!(world.count("step_started").await, 0);
    life.end().await;
}

#[tokio::test]
async fn a_broken_glass_is_enough_and_pages() {
    let (world, life, run, digest) = asked(asks(two_of(&["ann", "ben"]), &[])).await;
    let break_glass = Some("nobody answers and customers cannot pay".to_string());
    let command = Command::Approve { run: run.clone(), digest, by: "joe".into(), break_glass };
    says(&life, command, "1").await.unwrap();
    world.until(|kind, _| kind == "step_started").await;
    let approved = world.until(|kind, _| kind == "approved").await;
    assert_eq!(approved["break_glass"], "nobody answers and customers cannot pay");
    let page = page_of(&world, "RG421").await.unwrap();
    assert_eq!(page.incident, format!("{run}/break-glass"));
    assert!(page.lines[0].contains("customers cannot pay") && page.lines[1].contains("joe"), "{page:?}");
    life.end().await;
}

#[tokio::test]
async fn what_nobody_answers_is_paged_again_escalated_and_then_done() {
    let follow = [(100, Then::PageAgain), (200, Then::Escalate), (300, Then::Rollback)];
    let (world, life, run, _) = asked(asks(Approvals::default(), &follow)).await;
    world.until(|kind, _| kind == "step_started").await;
    assert_eq!((world.count("unanswered").await, world.count("approved").await), (3, 0));
    let told = world.told().await;
    let asks: Vec<(&str, u8)> =
        told.iter().filter(|m| m.kind == MessageKind::Ask).map(|m| (m.key.as_str(), m.level)).collect();
    let key = |what: &str| format!("{run}/{what}");
    assert_eq!(asks, [(key("ask").as_str(), 0), (key("ask-2").as_str(), 0), (key("ask-3").as_str(), 1)]);
    let action = told.iter().find(|m| m.kind == MessageKind::Action).unwrap();
    assert!(action.lines.iter().any(|line| line.contains("since nobody answered")), "{action:?}");
    world.until(|kind, _| kind == "rolled_back").await;
    life.end().await;
}

#[tokio::test]
async fn what_nobody_answers_may_be_let_be() {
    let (world, life, run, _) = asked(asks(Approvals::default(), &[(100, Then::Hold)])).await;
    until(&life, |life| life.viewer.look(|s| s.runs[&run].phase == "expired")).await;
    let told = world.told().await;
    let held = told.iter().find(|m| m.title.starts_with("[HELD]")).unwrap();
    assert_eq!(held.kind, MessageKind::Note);
    assert!(told.iter().any(|m| m.kind == MessageKind::Resolve && m.incident == held.incident));
    assert_eq!(world.count("step_started").await, 0);
    life.end().await;
}

#[tokio::test]
async fn whoever_has_it_in_hand_is_waited_for() {
    let follow = [(1500, Then::Escalate), (1700, Then::Rollback)];
    let (world, life, run, digest) = asked(asks(Approvals::default(), &follow)).await;
    says(&life, Command::AcknowledgePage { target: target(), by: "ann".into() }, "1").await.unwrap();
    world.until(|kind, body| kind == "acknowledged" && body["by"] == "ann").await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert_eq!((world.count("unanswered").await, world.count("step_started").await), (0, 0));
    says(&life, approve(&run, &digest, "ann"), "2").await.unwrap();
    world.until(|kind, _| kind == "step_started").await;
    life.end().await;
}

/// A page about v2, which the policy leaves to people.
async fn paged(escalate_after: Option<Duration>) -> (World, Life) {
    let world = World::new(Policy { escalate_after, ..Mode::Page.into() }, &["v1", "v2"]);
    let life = world.live().await;
    life.sees("v1", vec![]).await;
    world.runs("v2");
    life.sees("v2", crash_looping("v2")).await;
    world.until(|kind, body| kind == "paging" && body["on"] == true).await;
    (world, life)
}

#[tokio::test]
async fn a_page_that_nobody_acknowledges_is_escalated_once() {
    let (world, life) = paged(Some(Duration::from_millis(100))).await;
    let escalated = world.until(|kind, _| kind == "escalated").await;
    assert_eq!(escalated["level"], 1);
    let page = page_of(&world, "RG422").await.unwrap();
    assert_eq!((page.level, page.incident.as_str()), (1, escalated["incident"].as_str().unwrap()));
    tokio::time::sleep(Duration::from_millis(2200)).await;
    life.end().await;
    let life = world.live().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(world.count("escalated").await, 1, "nor by the next life");
    life.end().await;
}

#[tokio::test]
async fn a_page_that_somebody_has_in_hand_is_not_escalated() {
    let (world, life) = paged(Some(Duration::from_secs(2))).await;
    until(&life, |life| life.viewer.look(|s| s.targets["shop/backend"].page.is_some())).await;
    says(&life, Command::AcknowledgePage { target: target(), by: "ann".into() }, "1").await.unwrap();
    world.until(|kind, _| kind == "acknowledged").await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(world.count("escalated").await, 0);
    assert!(life.viewer.look(|s| s.targets["shop/backend"].page.as_ref().unwrap().acknowledged.is_some()));
    life.end().await;
}
