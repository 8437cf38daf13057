//! Buttons in Slack: what is forged, replayed, stale or somebody else's is refused, and what is taken is taken once.
use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use rollguard::domain::button::{Button, Press};
use rollguard::domain::names::PersonName;
use rollguard::domain::role::Role;
use rollguard::http::auth::{Member, People};
use rollguard::http::slack::SlackApp;
use serde_json::json;
use sha2::Sha256;

use crate::http_world::{Doors, World, plan, start};

const SECRET: &str = "signing-secret-0123456789";

fn people() -> People {
    let member = |name: &str, slack: &str, roles: &[Role]| Member {
        name: PersonName::parse(name).unwrap(),
        roles: roles.iter().copied().collect::<BTreeSet<_>>(),
        token: None,
        slack: Some(slack.into()),
    };
    let members = vec![member("anna", "U1", &Role::USUAL), member("tom", "U2", &[])];
    People::of(members, Some(SlackApp { team: "T1".into(), signing_secret: SECRET.into() }))
}

async fn world() -> World {
    World::of(Doors::default(), people()).await
}

fn value(run: &str) -> String {
    Button { press: Press::Approve, run: run.into(), digest: plan().digest() }.value()
}

/// A press as Slack sends it.
fn press(user: &str, team: &str, action: &str, value: &str) -> String {
    let payload = json!({
        "type": "block_actions",
        "user": {"id": user, "username": "anna", "name": "anna"},
        "team": {"id": team, "domain": "shop"},
        "response_url": "https://hooks.slack.example/actions/1",
        "actions": [{"action_id": action, "value": value, "type": "button"}],
    });
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string()).finish()
}

fn signature(stamp: &str, body: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{stamp}:{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v0={hex}")
}

async fn send(world: &World, stamp: &str, signature: &str, body: &str) -> u16 {
    let request = world.http.post(world.url("/slack/interactions"));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.header("x-slack-request-timestamp", stamp).header("x-slack-signature", signature);
    request.body(body.to_string()).send().await.unwrap().status().as_u16()
}

/// Signed as Slack signs, so many seconds after the world's start.
async fn pressed(world: &World, secs: i64, body: &str) -> u16 {
    let stamp = (start().as_second() + secs).to_string();
    send(world, &stamp, &signature(&stamp, body, SECRET), body).await
}

fn taken(world: &World) -> Vec<serde_json::Value> {
    world.journal.items.lock().unwrap().iter().map(|item| item.body.clone()).collect()
}

#[tokio::test]
async fn a_press_is_an_order_of_the_person_who_pressed() {
    let world = world().await;
    let approve = press("U1", "T1", Press::Approve.action_id(), &value("r-ask"));
    assert_eq!(pressed(&world, 0, &approve).await, 200);
    // Pressed again, and sent again by somebody who kept it: the same order.
    assert_eq!(pressed(&world, 1, &approve).await, 200);
    let deny = press("U1", "T1", Press::Deny.action_id(), &value("r-ask"));
    assert_eq!(pressed(&world, 2, &deny).await, 200);
    let ack = press("U2", "T1", Press::Acknowledge.action_id(), &value("r-ask"));
    assert_eq!(pressed(&world, 3, &ack).await, 200, "anybody known may have it in hand");
    let orders = taken(&world);
    let of = |n: usize| (orders[n]["command"].as_str().unwrap(), orders[n]["by"].as_str().unwrap());
    assert_eq!(orders.len(), 3, "{orders:?}");
    assert_eq!((of(0), of(1), of(2)), (("approve", "anna"), ("deny", "anna"), ("acknowledge", "tom")));
    assert_eq!(orders[0]["digest"], plan().digest().as_str());
}

#[tokio::test]
async fn whoever_may_not_is_refused() {
    let world = world().await;
    let (approve, good) = (Press::Approve.action_id(), value("r-ask"));
    let other_plan = Button {
        digest: rollguard::domain::plan::PlanDigest::named("00ff"),
        press: Press::Approve,
        run: "r-ask".into(),
    };
    let refused = [
        (403, press("U9", "T1", approve, &good)),
        (403, press("anna", "T1", approve, &good)),
        (403, press("U1", "T9", approve, &good)),
        (403, press("U2", "T1", approve, &good)),
        (404, press("U1", "T1", approve, &value("r-none"))),
        (409, press("U1", "T1", approve, &value("r-stuck"))),
        (409, press("U1", "T1", approve, &other_plan.value())),
        (400, press("U1", "T1", "rollguard_skip", &good)),
        (400, press("U1", "T1", approve, "r-ask")),
        (400, "payload=%7B".to_string()),
        (400, "token=x".to_string()),
        (400, format!("{good}&{good}", good = press("U1", "T1", approve, &good))),
    ];
    for (n, (status, body)) in (0..).zip(&refused) {
        assert_eq!(pressed(&world, n, body).await, *status, "{body}");
    }
    assert_eq!(taken(&world), Vec::<serde_json::Value>::new());
    let get = world.http.get(world.url("/slack/interactions")).send().await.unwrap();
    assert_eq!(get.status().as_u16(), 405, "no GET changes anything");
}

#[tokio::test]
async fn what_slack_did_not_sign_lately_is_not_even_read() {
    let world = world().await;
    let body = press("U1", "T1", Press::Approve.action_id(), &value("r-ask"));
    let now = start().as_second();
    let stamp = now.to_string();
    let right = signature(&stamp, &body, SECRET);
    assert_eq!(
        send(&world, &stamp, &signature(&stamp, &body, "another-secret-0123456789"), &body).await,
        401
    );
    assert_eq!(send(&world, &stamp, &right, &body.replace("U1", "U2")).await, 401, "another body");
    assert_eq!(send(&world, &(now + 1).to_string(), &right, &body).await, 401, "another time");
    for secs in [-301, 301] {
        assert_eq!(pressed(&world, secs, &body).await, 401, "stale or from the future");
    }
    assert_eq!(send(&world, &stamp, &right, &body).await, 200);
    assert_eq!(send(&world, &stamp, &right, &body).await, 401, "replayed");
    assert_eq!(send(&world, &stamp, &right.to_uppercase().replace("V0", "v0"), &body).await, 401, "replayed");
    assert_eq!(pressed(&world, -200, &body).await, 200, "an older one that comes later is the same order");
    assert_eq!(taken(&world).len(), 1);
    let elsewhere = World::start(Doors::default()).await;
    assert_eq!(pressed(&elsewhere, 0, &body).await, 404, "no app is configured");
}

#[tokio::test]
async fn whoever_guesses_is_told_to_wait_and_slack_is_not() {
    let world = world().await;
    let body = press("U1", "T1", Press::Approve.action_id(), &value("r-ask"));
    for n in 0..10 {
        assert_eq!(send(&world, &start().as_second().to_string(), &format!("v0={n:064x}"), &body).await, 401);
    }
    assert_eq!(send(&world, &start().as_second().to_string(), "v0=00", &body).await, 429);
    assert_eq!(pressed(&world, 0, &body).await, 200);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// One bit anywhere, and it is not Slack's any more.
    #[test]
    fn no_altered_request_is_taken(at in any::<prop::sample::Index>(), bit in 0u8..7) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            let body = press("U1", "T1", Press::Approve.action_id(), &value("r-ask"));
            let stamp = start().as_second().to_string();
            let signature = signature(&stamp, &body, SECRET);
            let mut bytes = body.clone().into_bytes();
            let n = at.index(bytes.len());
            bytes[n] ^= 1 << bit;
            let altered = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(send(&world, &stamp, &signature, &altered).await, 401);
            prop_assert!(taken(&world).is_empty());
            Ok(())
        })?;
    }
}
