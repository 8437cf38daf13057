//! Verification checks against a recording server: what passes, what fails, and what is unknown.
use std::collections::BTreeMap;

use rollguard::adapters::checks::{AlertmanagerAccess, OutsideChecks};
use rollguard::adapters::endpoint::Endpoint;
use rollguard::domain::answer::{Expect, Wanted};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::probe::Probe;
use rollguard::domain::verification::{CheckKind, CheckOutcome, CheckSpec};
use rollguard::ports::{CheckContext, Checks};
use secrecy::SecretString;
use serde_json::json;

use crate::recorder::{Answer, Recorder, client, nobody};

use CheckOutcome::{Failed, NoData, Passed};

fn service() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

async fn check(checks: &OutsideChecks, kind: CheckKind) -> (CheckOutcome, String) {
    let target = TargetId { service: service(), target: TargetName::parse("backend").unwrap() };
    let about = CheckContext { target, version: "v1.2".into() };
    let result = checks.check(&CheckSpec { name: "check".into(), kind }, &about).await;
    (result.outcome, result.detail)
}

fn http(url: &str, status: u16, expect: Vec<Expect>) -> CheckKind {
    CheckKind::Outside(Probe::http(url, Wanted { expect, ..Wanted::status(status) }))
}

fn plain() -> OutsideChecks {
    OutsideChecks::new(client(), None)
}

#[tokio::test]
async fn health_is_the_status_and_what_the_body_says() {
    let server = Recorder::start(Answer::new(200, r#"{"status":"healthy","n":3}"#)).await;
    let text = |t: &str| Expect::Text(t.into());
    let is = |pointer: &str, equals| Expect::Json { pointer: pointer.into(), equals };
    let cases = [
        (200, vec![], Passed, "HTTP 200"),
        (204, vec![], Failed, "HTTP 200 instead of 204"),
        (200, vec![is("/status", json!("healthy"))], Passed, r#"200, /status is "healthy""#),
        (200, vec![is("/status", json!("up"))], Failed, r#"/status is "healthy" instead of "up""#),
        (200, vec![is("/state", json!("up"))], Failed, "the answer has no /state"),
        (200, vec![text("heal"), is("/n", json!(3))], Passed, r#"200, contains "heal", /n is 3"#),
        (200, vec![text("ill")], Failed, r#"does not contain "ill""#),
    ];
    for (status, expect, outcome, detail) in cases {
        let found = check(&plain(), http(&server.url, status, expect)).await;
        assert_eq!(found, (outcome, detail.to_string()));
    }
    assert!(server.seen().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn an_endpoint_that_is_down_slow_or_elsewhere_fails() {
    let server = Recorder::start(Answer::new(302, "").with("location", "/login")).await;
    let found = check(&plain(), http(&server.url, 200, vec![])).await;
    assert_eq!(found, (Failed, "HTTP 302 instead of 200 (redirects are not followed)".into()));
    assert_eq!(server.seen().len(), 1);

    let (outcome, detail) = check(&plain(), http(&nobody(), 200, vec![])).await;
    assert_eq!(outcome, Failed);
    assert!(detail.starts_with("cannot connect: Connection refused"), "{detail}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    assert_eq!(check(&plain(), http(&url, 200, vec![])).await, (Failed, "timed out".into()));
}

#[tokio::test]
async fn bodies_are_read_up_to_a_mebibyte() {
    let server = Recorder::start(Answer::new(200, "x".repeat(1024 * 1024))).await;
    let expect = || vec![Expect::Text("xx".into())];
    assert_eq!(check(&plain(), http(&server.url, 200, expect())).await.0, Passed);
    server.answer(Answer::new(200, "x".repeat(1024 * 1024 + 1)));
    let found = check(&plain(), http(&server.url, 200, expect())).await;
    assert_eq!(found, (Failed, "the answer is longer than 1048576 bytes".into()));
}

#[tokio::test]
async fn the_restored_version_must_be_named() {
    let server = Recorder::start(Answer::new(200, r#"{"version":"v1.2"}"#)).await;
    let version = |pointer: Option<&str>| CheckKind::Version {
        url: server.url.clone(),
        pointer: pointer.map(str::to_string),
    };
    let at = Some("/version");
    assert_eq!(check(&plain(), version(at)).await, (Passed, "/version is v1.2".into()));
    assert_eq!(check(&plain(), version(None)).await, (Passed, "answers v1.2".into()));
    server.answer(Answer::new(200, r#"{"version":"v1.2.1"}"#));
    let wrong = (Failed, r#"/version is "v1.2.1" instead of v1.2"#.to_string());
    assert_eq!(check(&plain(), version(at)).await, wrong);
    assert_eq!(check(&plain(), version(None)).await, (Failed, "the answer does not name v1.2".into()));
    server.answer(Answer::new(503, "v1.2"));
    assert_eq!(check(&plain(), version(None)).await, (Failed, "HTTP 503 instead of 200".into()));
}

fn asking(url: &str, labels: &[(&str, &str)]) -> OutsideChecks {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let access = AlertmanagerAccess {
        url: Endpoint::parse(&format!("{url}/prefix/")).unwrap(),
        token: Some(SecretString::from("tok")),
        match_labels: BTreeMap::from([(service(), labels)]),
    };
    OutsideChecks::new(client(), Some(access))
}

fn alert(name: &str, state: &str, own: &str) -> serde_json::Value {
    json!({"labels": {"alertname": name, "rollguard": own}, "status": {"state": state, "silencedBy": []},
           "fingerprint": "f", "startsAt": "2026-11-22T10:00:00Z"})
}

#[tokio::test]
async fn alerts_that_fire_fail_and_silenced_ones_are_unknown() {
    let server = Recorder::start(Answer::new(200, "[]")).await;
    let checks = asking(&server.url, &[("service", "sh\"op\\")]);
    let cases = [
        (json!([]), Passed, "no alert is active"),
        (json!([alert("Ours", "active", "self")]), Passed, "no alert is active"),
        (json!([alert("Hush", "suppressed", "")]), NoData, "1 silenced or inhibited alert: Hush"),
        (
            json!([alert("B", "unprocessed", ""), alert("A", "active", ""), alert("Hush", "suppressed", "")]),
            Failed,
            "2 active: A, B",
        ),
        (
            json!(["A", "B", "C", "D", "E"].map(|name| alert(name, "active", "true"))),
            Failed,
            "5 active: A, B, C and 2 more",
        ),
    ];
    for (answer, outcome, detail) in cases {
        server.answer(Answer::new(200, answer.to_string()));
        assert_eq!(check(&checks, CheckKind::NoActiveAlerts).await, (outcome, detail.to_string()));
    }
    let sent = server.last();
    let query = "active=true&silenced=true&inhibited=true&unprocessed=true\
                 &filter=service%3D%22sh%5C%22op%5C%5C%22";
    assert_eq!(sent.target, format!("/prefix/api/v2/alerts?{query}"));
    assert_eq!(sent.header("authorization"), "Bearer tok");
}

#[tokio::test]
async fn an_alertmanager_that_cannot_be_asked_proves_nothing() {
    let server = Recorder::start(Answer::new(503, "")).await;
    let labels = [("service", "shop")];
    let unknown = |detail: &str| (NoData, detail.to_string());
    let ask = CheckKind::NoActiveAlerts;
    let found = check(&asking(&server.url, &labels), ask.clone()).await;
    assert_eq!(found, unknown("Alertmanager could not be asked: HTTP 503"));
    server.answer(Answer::new(200, r#"{"alerts":[]}"#));
    let found = check(&asking(&server.url, &labels), ask.clone()).await;
    assert_eq!(found, unknown("Alertmanager could not be asked: the answer is not its list of alerts"));
    assert_eq!(check(&asking(&nobody(), &labels), ask.clone()).await.0, NoData);
    let found = check(&asking(&server.url, &[]), ask.clone()).await;
    assert_eq!(found, unknown("no alert labels are configured for shop"));
    assert_eq!(check(&plain(), ask).await, unknown("no Alertmanager is configured to ask"));
}

#[tokio::test]
async fn the_engines_own_checks_are_left_to_it() {
    let found = check(&plain(), CheckKind::PodsReady).await;
    assert_eq!(found, (NoData, "measured by the engine".into()));
}
