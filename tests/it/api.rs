//! The API on a real socket: who may call, what is answered, what is never shown.
use std::sync::atomic::Ordering;

use rollguard::engine::snapshot::LeadershipStatus;
use rollguard::telemetry::{Metric, label};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http_world::{ANNA, Doors, REASON, SECRET, WEBHOOK, World, plan, start, up};

const READS: [&str; 6] = [
    "/api/v1/services",
    "/api/v1/doctor",
    "/api/v1/doctor/shop/backend",
    "/api/v1/runs",
    "/api/v1/runs/r-ask",
    "/api/v1/targets/shop/backend/plan",
];

fn orders() -> Vec<(&'static str, String)> {
    let approve = json!({"digest": plan().digest()}).to_string();
    vec![
        ("/api/v1/rollbacks", r#"{"service":"shop","target":"backend","reason":"slow"}"#.into()),
        ("/api/v1/releases", r#"{"service":"shop","target":"backend","version":"v3"}"#.into()),
        ("/api/v1/runs/r-ask/approve", approve),
        ("/api/v1/runs/r-ask/deny", r#"{"reason":"a known blip"}"#.into()),
        ("/api/v1/runs/r-stuck/resume", String::new()),
        ("/api/v1/runs/r-stuck/skip", "{}".into()),
        ("/api/v1/runs/r-stuck/abort", String::new()),
    ]
}

fn code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    body["error"]["code"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn without_a_token_nothing_is_read_or_changed() {
    let world = World::start(Doors::default()).await;
    for path in READS {
        let (status, body) = world.get(path, None).await;
        assert_eq!((status, code(&body).as_str()), (401, "unauthorized"), "{path}");
        assert_eq!(world.get(path, Some(ANNA)).await.0, 200, "{path}");
    }
    for (path, body) in orders() {
        assert_eq!(world.post(path, None, body.clone()).await.0, 401, "{path}");
        assert_eq!(world.post(path, Some("wrong"), body).await.0, 401, "{path}");
    }
    let response = world.http.get(world.url(READS[0])).send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"rollguard\"");
    assert_eq!(world.journal.kinds(), Vec::<String>::new());
}

#[tokio::test]
async fn on_a_loopback_listener_reading_is_open_and_ordering_is_not() {
    let world = World::start(Doors { open_reads: true, webhook_token: true }).await;
    for path in READS {
        assert_eq!(world.get(path, None).await.0, 200, "{path}");
    }
    for (path, body) in orders() {
        assert_eq!(world.post(path, None, body.clone()).await.0, 401, "{path}");
        assert_eq!(world.post(path, Some(WEBHOOK), body).await.0, 403, "{path}");
    }
    assert_eq!(world.post("/webhook/alertmanager", None, "{}").await.0, 401);
    assert_eq!(world.post("/webhook/alertmanager", Some(ANNA), "{}").await.0, 403);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_forgotten_after_a_minute() {
    let world = World::start(Doors { open_reads: false, webhook_token: true }).await;
    for _ in 0..10 {
        assert_eq!(world.get(READS[0], Some("guess")).await.0, 401);
    }
    let (status, body) = world.get(READS[0], Some(ANNA)).await;
    assert_eq!((status, code(&body).as_str()), (429, "too_many_failures"));
    let alerts = r#"{"version":"4","alerts":[]}"#;
    assert_eq!(world.post("/webhook/alertmanager", Some("guess"), alerts).await.0, 429);
    assert_eq!(world.post("/webhook/alertmanager", Some(WEBHOOK), alerts).await.0, 200, "no alert is lost");
    world.clock.forward(61);
    assert_eq!(world.get(READS[0], Some(ANNA)).await.0, 200);
}

#[tokio::test]
async fn orders_are_durable_before_they_are_accepted_and_carry_the_persons_name() {
    let world = World::start(Doors::default()).await;
    for (path, body) in orders() {
        let (status, answer) = world.post(path, Some(ANNA), body).await;
        assert_eq!(status, 202, "{path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["accepted"], &answer["duplicate"]), (&json!(true), &json!(false)), "{path}");
    }
    let items = world.journal.items.lock().unwrap();
    assert_eq!(items.len(), orders().len());
    assert!(items.iter().all(|item| item.kind == "command" && item.body["by"] == "anna"));
    let commands: Vec<_> = items.iter().map(|item| item.body["command"].clone()).collect();
    assert_eq!(json!(commands), json!(["rollback", "release", "approve", "deny", "resume", "skip", "abort"]));
}

#[tokio::test]
async fn orders_about_the_same_moment_of_a_run_are_one_order() {
    let world = World::start(Doors::default()).await;
    for (path, body) in orders().into_iter().filter(|(path, _)| path.contains("/runs/")) {
        world.post(path, Some(ANNA), body.clone()).await;
        let (status, answer) = world.post(path, Some(ANNA), body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["duplicate"]), (202, &json!(true)), "{path}");
    }
    assert_eq!(world.journal.kinds().len(), 5);
}

#[tokio::test]
async fn a_key_makes_one_order_of_several_and_never_of_different_ones() {
    let world = World::start(Doors::default()).await;
    let order = async |key: &str, body: &'static str| {
        let request = world.http.post(world.url("/api/v1/rollbacks")).bearer_auth(ANNA);
        let response = request.header("Idempotency-Key", key).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap()["duplicate"] == json!(true))
    };
    let (to_one, to_two) = (
        r#"{"service":"shop","target":"backend","revision":1}"#,
        r#"{"service":"shop","target":"backend","revision":2}"#,
    );
    assert_eq!(order("k1", to_one).await, (202, false));
    assert_eq!(order("k1", to_one).await, (202, true));
    assert_eq!(order("k1", to_two).await, (202, false));
    assert_eq!(order("k2", to_one).await, (202, false));
    assert_eq!(order(&"k".repeat(300), to_one).await.0, 400);
    for _ in 0..2 {
        let (_, answer) = world.post("/api/v1/rollbacks", Some(ANNA), to_one).await;
        assert!(answer.contains(r#""duplicate":false"#), "unmarked rollbacks are never merged: {answer}");
    }
}

#[tokio::test]
async fn orders_that_do_not_fit_are_refused_with_a_reason() {
    let world = World::start(Doors::default()).await;
    let digest = json!({"digest": plan().digest()}).to_string();
    let cases: [(&str, &str, u16, &str); 14] = [
        ("/api/v1/runs/r-ask/approve", r#"{"digest":"0000"}"#, 409, "other_plan"),
        ("/api/v1/runs/r-stuck/approve", &digest, 409, "wrong_phase"),
        ("/api/v1/runs/r-ask/resume", "", 409, "wrong_phase"),
        ("/api/v1/runs/nope/approve", &digest, 404, "not_found"),
        ("/api/v1/runs/r-ask/explode", "", 404, "not_found"),
        ("/api/v1/runs/r-ask/approve", "", 400, "bad_request"),
        ("/api/v1/runs/r-ask/deny", "{}", 400, "bad_request"),
        ("/api/v1/runs/r-ask/deny", r#"{"reason":7}"#, 400, "bad_request"),
        ("/api/v1/rollbacks", r#"{"service":"shop","target":"nope"}"#, 404, "not_found"),
        ("/api/v1/rollbacks", r#"{"service":"shop","target":"backend","revison":3}"#, 400, "bad_request"),
        ("/api/v1/rollbacks", r#"{"service":"../x","target":"backend"}"#, 400, "bad_request"),
        ("/api/v1/releases", r#"{"service":"shop","target":"backend","version":" "}"#, 400, "bad_request"),
        ("/api/v1/rollbacks", r#"["shop","backend",3,""]"#, 400, "bad_request"),
        ("/api/v1/releases", "not json", 400, "bad_request"),
    ];
    for (path, body, status, expected) in cases {
        let (found, answer) = world.post(path, Some(ANNA), body.to_string()).await;
        assert_eq!((found, code(&answer).as_str()), (status, expected), "{path} {body}: {answer}");
    }
    let long = json!({"reason": "x".repeat(501)}).to_string();
    assert_eq!(world.post("/api/v1/runs/r-ask/deny", Some(ANNA), long).await.0, 400);
    assert_eq!(world.journal.kinds(), Vec::<String>::new());
}

#[tokio::test]
async fn an_order_that_cannot_be_kept_is_not_accepted() {
    let world = World::start(Doors::default()).await;
    world.journal.failing.store(true, Ordering::SeqCst);
    for (path, body) in orders() {
        let (status, answer) = world.post(path, Some(ANNA), body).await;
        assert_eq!((status, code(&answer).as_str()), (503, "unavailable"), "{path}");
    }
}

#[tokio::test]
async fn answers_tell_the_story_and_no_secret() {
    let world = World::start(Doors::default()).await;
    let mut bodies = Vec::new();
    for path in READS.into_iter().chain(["/api/v1/runs/r-stuck", "/readyz?verbose", "/metrics", "/"]) {
        bodies.push(world.get(path, Some(ANNA)).await.1);
    }
    for secret in [SECRET, ANNA, "spec", "patch"] {
        assert!(bodies.iter().all(|body| !body.contains(secret)), "{secret} is shown: {bodies:?}");
    }
    let run: Value = serde_json::from_str(&bodies[4]).unwrap();
    assert_eq!(run["phase"], "awaiting approval");
    assert_eq!(run["plan"]["digest"], json!(plan().digest()));
    assert_eq!(run["timeline"][0]["what"], format!("approval asked for: {REASON}"));
    let shown: Value = serde_json::from_str(&bodies[5]).unwrap();
    assert_eq!(shown["digest"], run["plan"]["digest"]);
    assert_eq!(shown["steps"][0]["mutates"], true);
    assert_eq!(shown["changes"][0]["to"]["images"], json!(["shop:v1"]));
}

#[tokio::test]
async fn plans_that_cannot_be_made_say_why() {
    let world = World::start(Doors { open_reads: true, webhook_token: false }).await;
    for (path, status, expected) in [
        ("/api/v1/targets/shop/nope/plan", 404, "not_found"),
        ("/api/v1/targets/SHOP/backend/plan", 400, "bad_request"),
        ("/api/v1/targets/shop/backend/plan?revision=x", 400, "bad_request"),
        ("/api/v1/targets/shop/backend/plan?image=shop:v%207", 400, "bad_request"),
        ("/api/v1/targets/shop/backend/plan?image=shop:v7&revision=1", 400, "bad_request"),
        ("/api/v1/targets/shop/backend/plan?to=1", 400, "bad_request"),
        ("/api/v1/targets/shop/backend/plan?revision=9", 503, "unavailable"),
        ("/api/v1/targets/shop/backend/plan?revision=8", 409, "no_known_good"),
        ("/api/v1/nothing", 404, "not_found"),
        ("/api/v1/rollbacks", 405, "method_not_allowed"),
    ] {
        let (found, body) = world.get(path, None).await;
        assert_eq!((found, code(&body).as_str()), (status, expected), "{path}");
    }
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_liveness_depends_on_nothing() {
    let world = World::start(Doors::default()).await;
    let missing =
        "[+]config ok\n[-]journal failed: not opened yet\n[-]feed failed: not connected yet\nreadyz failed\n";
    assert_eq!(world.get("/readyz", None).await, (503, missing.to_string()));
    world.picture.change(|s| (s.journal, s.feed) = (Some(up(true)), Some(up(true))));
    assert_eq!(world.get("/-/ready", None).await, (200, "ok\n".to_string()));
    world.picture.change(|s| s.feed = Some(up(false)));
    let (status, body) = world.get("/readyz?verbose", None).await;
    assert_eq!(status, 200, "an API server that is away for a while does not stop approvals: {body}");
    assert!(
        body.contains("[+]feed ok (interrupted: connection refused since 2026-11-22T10:00:00Z)"),
        "{body}"
    );
    world.picture.change(|s| s.journal = Some(up(false)));
    assert_eq!(world.get("/readyz", None).await.0, 503);
    assert_eq!(world.get("/livez", None).await, (200, "ok\n".to_string()));
    assert_eq!(world.get("/-/healthy", None).await.0, 200);
}

#[tokio::test]
async fn a_standby_is_ready_without_a_feed_and_says_who_leads() {
    let world = World::start(Doors::default()).await;
    let status = |leader: Option<&str>, trouble: Option<&str>| LeadershipStatus {
        me: "b".into(),
        leader: leader.map(String::from),
        shown_at: None,
        trouble: trouble.map(String::from),
    };
    let ready = async |status: LeadershipStatus| {
        world.picture.change(|s| s.leadership = Some(status));
        world.get("/readyz?verbose", None).await
    };
    world.picture.change(|s| (s.journal, s.feed) = (Some(up(true)), Some(up(false))));
    let (code, body) = ready(status(Some("a"), Some("timeout"))).await;
    assert_eq!((code, body.contains("[+]leadership ok (standby, a leads)\n")), (200, true), "{body}");
    let (code, body) = ready(status(None, Some("HTTP 403"))).await;
    assert_eq!((code, body.contains("[-]leadership failed: HTTP 403\n")), (503, true), "{body}");
    world.picture.change(|s| s.feed = None);
    let (code, body) = ready(status(Some("b"), None)).await;
    assert_eq!((code, body.contains("[+]leadership ok (leading)\n")), (503, true), "{body}");
    world.picture.change(|s| s.journal = Some(up(false)));
    assert_eq!(ready(status(Some("a"), None)).await.0, 503, "webhooks cannot be written down");
}

#[tokio::test]
async fn shutting_down_finishes_what_has_begun() {
    let world = World::start(Doors::default()).await;
    assert_eq!(world.get("/livez", None).await.0, 200);
    let mut slow = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /api/v1/runs/r-stuck/abort HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ANNA}\r\nContent-Length: 2\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    world.stop.send(()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    slow.write_all(b"}").await.unwrap();
    world.server.await.unwrap().unwrap();
    assert_eq!(world.journal.kinds(), ["command"]);
}

/// The recorder belongs to the whole process, so this is the only test that installs it.
#[test]
fn metrics_are_described_and_have_the_right_kind() {
    let handle = rollguard::http::metrics::install(start()).unwrap();
    assert!(rollguard::http::metrics::install(start()).is_err());
    Metric::AlertsReceivedTotal.add(1, vec![label("result", "test")]);
    Metric::JournalSeconds.observe(0.002, vec![]);
    Metric::FeedUp.set(1.0, vec![]);
    let text = handle.render();
    for line in [
        "# HELP rollguard_alerts_received_total Alerts received, by result.",
        "# TYPE rollguard_alerts_received_total counter",
        "rollguard_alerts_received_total{result=\"test\"} 1",
        "# TYPE rollguard_journal_seconds histogram",
        "rollguard_journal_seconds_bucket{le=\"0.0025\"} 1",
        "# TYPE rollguard_feed_up gauge",
        "process_start_time_seconds 1795341600",
        "rollguard_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
