//! What people may do, how they are known, and that nobody counts twice.
use std::collections::BTreeSet;

use rollguard::domain::memory::PageState;
use rollguard::domain::names::PersonName;
use rollguard::domain::role::Role;
use rollguard::http::auth::{Member, People};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http_world::{Doors, World, plan, start};

async fn world() -> World {
    let member = |name: &str, roles: &[Role]| Member {
        name: PersonName::parse(name).unwrap(),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        token: Some(Sha256::digest(token(name)).into()),
        slack: None,
    };
    let members = vec![
        member("ann", &[Role::Approve]),
        member("ben", &[Role::Approve]),
        member("ci", &[Role::Release]),
        member("eve", &[Role::Approve, Role::BreakGlass]),
        member("ops", &[Role::Operate]),
        member("tom", &[]),
    ];
    World::of(Doors::default(), People::of(members, None)).await
}

fn token(name: &str) -> String {
    format!("{name}-token-0123456789")
}

async fn asks(world: &World, who: &str, path: &str, body: &str) -> u16 {
    world.post(path, Some(&token(who)), body.to_string()).await.0
}

#[tokio::test]
async fn each_order_needs_its_role_and_acknowledging_needs_none() {
    let world = world().await;
    let approve = json!({"digest": plan().digest()}).to_string();
    let rollback = r#"{"service":"shop","target":"backend"}"#;
    let release = r#"{"service":"shop","target":"backend","version":"v3"}"#;
    let orders: [(&str, &str, &[&str]); 8] = [
        ("/api/v1/runs/r-ask/approve", &approve, &["ann", "ben", "eve"]),
        ("/api/v1/runs/r-ask/deny", r#"{"reason":"no"}"#, &["ann", "ben", "eve"]),
        ("/api/v1/runs/r-ask/acknowledge", "", &["ann", "ben", "ci", "eve", "ops", "tom"]),
        ("/api/v1/runs/r-stuck/skip", "", &["ops"]),
        ("/api/v1/runs/r-stuck/abort", "", &["ops"]),
        ("/api/v1/rollbacks", rollback, &["ops"]),
        ("/api/v1/kill", r#"{"on":true}"#, &["ops"]),
        ("/api/v1/releases", release, &["ci"]),
    ];
    for (path, body, allowed) in orders {
        for who in ["ann", "ben", "ci", "eve", "ops", "tom"] {
            let expected = if allowed.contains(&who) { 202 } else { 403 };
            assert_eq!(asks(&world, who, path, body).await, expected, "{who} {path}");
        }
    }
    assert_eq!(world.get("/api/v1/runs", Some(&token("tom"))).await.0, 200, "whoever is known may read");
}

#[tokio::test]
async fn two_peoples_approvals_are_two_orders_and_one_persons_are_one() {
    let world = world().await;
    let approve = json!({"digest": plan().digest()}).to_string();
    for who in ["ann", "ben", "ann", "ben"] {
        assert_eq!(asks(&world, who, "/api/v1/runs/r-ask/approve", &approve).await, 202);
    }
    let by: Vec<Value> =
        world.journal.items.lock().unwrap().iter().map(|item| item.body["by"].clone()).collect();
    assert_eq!(by, ["ann", "ben"]);
}

#[tokio::test]
async fn a_glass_is_broken_with_a_role_and_a_reason_and_even_by_who_is_not_asked() {
    let world = world().await;
    let path = "/api/v1/runs/r-ask/approve";
    let body = |reason: &str| json!({"digest": plan().digest(), "break_glass": reason}).to_string();
    assert_eq!(asks(&world, "ann", path, &body("it burns")).await, 403);
    assert_eq!(asks(&world, "eve", path, &body(" ")).await, 400);
    world.picture.change(|s| {
        let run = s.runs.get_mut("r-ask").unwrap();
        run.approval = Some(rollguard::domain::approval::Standing {
            needed: 2,
            from: vec!["ann".into(), "ben".into()],
            by: vec![],
            requested_by: Some("ann".into()),
        });
    });
    let plain = json!({"digest": plan().digest()}).to_string();
    for who in ["eve", "ann"] {
        let (status, answer) = world.post(path, Some(&token(who)), plain.clone()).await;
        assert!(status == 409 && answer.contains("RG521"), "{who}: {answer}");
    }
    assert_eq!(asks(&world, "ben", path, &plain).await, 202);
    assert_eq!(asks(&world, "eve", path, &body("it burns")).await, 202);
    let items = world.journal.items.lock().unwrap();
    assert_eq!(items.last().unwrap().body["break_glass"], "it burns");
}

#[tokio::test]
async fn only_what_is_paged_can_be_acknowledged_and_each_page_once() {
    let world = world().await;
    let path = "/api/v1/targets/shop/backend/acknowledge";
    assert_eq!(asks(&world, "tom", path, "").await, 409);
    assert_eq!(asks(&world, "tom", "/api/v1/targets/shop/nothing/acknowledge", "").await, 404);
    for since in [start(), start() + jiff::SignedDuration::from_mins(5)] {
        world.picture.change(|s| {
            let target = s.targets.get_mut("shop/backend").unwrap();
            target.page = Some(PageState { since, acknowledged: None, level: 0 });
        });
        for _ in 0..2 {
            assert_eq!(asks(&world, "tom", path, "").await, 202);
        }
    }
    assert_eq!(world.journal.kinds().len(), 2);
    assert_eq!(world.get(path, Some(&token("tom"))).await.0, 405, "no GET changes anything");
}
