//! Alertmanager's webhook: the real payload, everything that is not it, and a journal that fails.
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use rollguard::http::webhook::{WebhookError, parse};
use serde_json::{Value, json};

use crate::http_world::{Doors, World};

const PATH: &str = "/webhook/alertmanager";

async fn open_world() -> World {
    World::start(Doors { open_reads: true, webhook_token: false }).await
}

fn alert(status: &str, labels: Value) -> Value {
    json!({"status": status, "labels": labels, "annotations": {"summary": "s"},
           "startsAt": "2026-11-22T10:00:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
           "generatorURL": "http://prometheus/graph", "fingerprint": format!("{:016x}", labels.to_string().len())})
}

fn body(alerts: &[Value]) -> Value {
    json!({"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "rollguard",
           "notification_reason": "first notification", "groupLabels": {}, "commonLabels": {},
           "commonAnnotations": {}, "routeLabels": {}, "externalURL": "http://alertmanager", "alerts": alerts})
}

fn critical() -> Value {
    json!({"alertname": "HighErrorRate", "service": "shop", "severity": "critical"})
}

async fn answer(world: &World, body: &Value) -> (u16, Value) {
    let (status, text) = world.post(PATH, None, body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn alerts_are_sorted_out_one_by_one() {
    let world = open_world().await;
    let alerts = [
        alert("firing", critical()),
        alert("resolved", critical()),
        alert("firing", json!({"alertname": "Slow", "team": "shopkeepers"})),
        alert("firing", json!({"alertname": "Warm", "service": "shop", "severity": "warning"})),
        alert("firing", json!({"alertname": "Other", "service": "cart", "severity": "critical"})),
        alert(
            "firing",
            json!({"alertname": "Page", "service": "shop", "severity": "critical", "rollguard": "self"}),
        ),
    ];
    let expected = json!({"accepted": 3, "duplicates": 0, "unmatched": 2, "own": 1});
    assert_eq!(answer(&world, &body(&alerts)).await, (200, expected));
    let again = json!({"accepted": 0, "duplicates": 3, "unmatched": 2, "own": 1});
    assert_eq!(answer(&world, &body(&alerts)).await, (200, again));
    let items = world.journal.items.lock().unwrap();
    let kept: Vec<_> =
        items.iter().map(|i| json!([i.body["service"], i.body["alert"], i.body["status"]])).collect();
    let expected = json!([
        ["shop", "HighErrorRate", "firing"],
        ["shop", "HighErrorRate", "resolved"],
        ["shop", "Slow", "firing"]
    ]);
    assert_eq!(json!(kept), expected);
    assert_eq!(items[0].body["starts_at"], "2026-11-22T10:00:00.123Z");
}

#[tokio::test]
async fn missing_fields_are_tolerated() {
    let world = open_world().await;
    let sparse = json!({"version": "4", "status": "firing", "alerts": [{"labels": critical()}, {}]});
    let expected = json!({"accepted": 1, "duplicates": 0, "unmatched": 1, "own": 0});
    assert_eq!(answer(&world, &sparse).await, (200, expected));
    let items = world.journal.items.lock().unwrap();
    assert_eq!(items[0].body["starts_at"], "2026-11-22T10:00:00Z", "unknown: since now");
    assert_eq!(items[0].body["fingerprint"].as_str().map(str::len), Some(16));
}

#[tokio::test]
async fn what_is_not_version_4_is_refused_and_named() {
    let world = open_world().await;
    let deep = format!(r#"{{"version":"4","alerts":{}"#, "[".repeat(100_000));
    let cases = [
        (json!({"version": "3", "alerts": []}).to_string(), "version is \"3\""),
        (json!({"version": 4, "alerts": []}).to_string(), "version is the number 4"),
        (json!({"version": ["4"]}).to_string(), "version is neither text nor number"),
        (json!({"text": "a custom payload"}).to_string(), "version is missing"),
        (json!({"version": "4"}).to_string(), "alerts is missing"),
        (json!({"version": "4", "alerts": {}}).to_string(), "alerts is not a list"),
        (json!({"version": "4", "alerts": [7]}).to_string(), "alerts[0] is not an object"),
        (json!({"version": "4", "alerts": [{}]}).to_string(), "alerts[0].status is missing"),
        (String::new(), "EOF"),
        ("[]".to_string(), "not JSON as Alertmanager's webhook sends it"),
        ("\u{0}\u{1}".to_string(), "not JSON"),
        (deep, "recursion limit"),
    ];
    for (body, expected) in cases {
        let (status, text) = world.post(PATH, None, body.clone()).await;
        assert_eq!(status, 400, "{text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(message.len() < 500, "{message}");
    }
}

#[tokio::test]
async fn a_bad_alert_spoils_no_other() {
    let world = open_world().await;
    let bad = [
        json!({"status": "burning", "labels": {}}),
        json!({"status": "firing", "labels": {"a": 1}}),
        json!({"status": "firing", "startsAt": "yesterday"}),
    ];
    for (bad, expected) in
        bad.into_iter().zip(["status is neither", "labels is not a map", "startsAt is not"])
    {
        let (status, error) = answer(&world, &body(&[bad, alert("firing", critical())])).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400);
        assert!(message.contains(&format!("alerts[0].{expected}")), "{message}");
        assert!(message.contains("the other alerts were kept"), "{message}");
    }
    assert_eq!(world.journal.kinds(), ["alert"]);
}

#[tokio::test]
async fn a_journal_that_fails_makes_alertmanager_try_again() {
    let world = open_world().await;
    world.journal.failing.store(true, Ordering::SeqCst);
    let (status, error) = answer(&world, &body(&[alert("firing", critical())])).await;
    assert_eq!(status, 503);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("send them again") && message.contains("no space left"), "{message}");
    world.journal.failing.store(false, Ordering::SeqCst);
    assert_eq!(answer(&world, &body(&[alert("firing", critical())])).await.1["accepted"], 1);
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let world = open_world().await;
    let (status, text) = world.post(PATH, None, vec![b' '; 2 * 1024 * 1024]).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("max_alerts"), "{text}");
}

/// Bodies that are nearly right, which arbitrary bytes never are.
fn nearly() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("4")),
        Just(json!("firing")),
        Just(json!("2026-11-22T10:00:00Z")),
        Just(json!("0001-01-01T00:00:00Z")),
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "version",
        "status",
        "alerts",
        "labels",
        "startsAt",
        "fingerprint",
        "truncatedAlerts",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let object = prop::collection::vec((name.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            object.prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn nearly_right_bodies_are_read_or_refused(mut body in nearly(), four in any::<bool>()) {
        if let (true, Some(map)) = (four, body.as_object_mut()) {
            map.insert("version".into(), json!("4"));
        }
        match parse(body.to_string().as_bytes()) {
            Ok(notification) => {
                prop_assert_eq!(&body["version"], "4");
                let listed = body["alerts"].as_array().map_or(0, Vec::len);
                let read = notification.alerts.len() + notification.faults.len();
                prop_assert!(read == listed || (listed == 0 && read == 1), "none is lost: {} of {}", read, listed);
            }
            Err(WebhookError::Version { .. }) => prop_assert!(body["version"] != "4"),
            Err(WebhookError::Shape { .. }) => prop_assert!(!body.is_object()),
        }
    }
}
