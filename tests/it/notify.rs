//! Channels against a recording server: what exactly is sent, and what each answer means.
use std::collections::BTreeMap;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use rollguard::adapters::notify::alertmanager::{Alertmanager, AlertmanagerConfig, is_own};
use rollguard::adapters::notify::slack::Slack;
use rollguard::adapters::notify::webhook::{Webhook, WebhookError};
use rollguard::domain::message::{Message, MessageKind};
use rollguard::domain::names::ServiceName;
use rollguard::ports::{Delivered, Notifier, NotifyError};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::recorder::{Answer, Recorder, client, nobody};

const KINDS: [MessageKind; 7] = [
    MessageKind::Action,
    MessageKind::Complete,
    MessageKind::Failed,
    MessageKind::Page,
    MessageKind::Resolve,
    MessageKind::Ask,
    MessageKind::Note,
];
/// In every address and credential here, and therefore in no error.
const SECRET: &str = "T0S3CR3T";

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn message(kind: MessageKind, lines: &[&str]) -> Message {
    Message {
        key: "run-1/page".into(),
        incident: "shop/backend.0123456789ab.1795341600".into(),
        kind,
        service: ServiceName::parse("shop").unwrap(),
        title: "[PAGE] shop/backend v2 is bad".into(),
        lines: lines.iter().map(ToString::to_string).collect(),
        targets: vec![],
        code: None,
        facts: None,
        level: 0,
    }
}

fn secret(text: impl Into<String>) -> SecretString {
    SecretString::from(text.into())
}

fn slack(base: &str) -> Slack {
    Slack::new("team", &secret(format!("{base}/services/{SECRET}/B1/x")), client()).unwrap()
}

fn webhook(base: &str) -> Webhook {
    let url = secret(format!("{base}/hook?key={SECRET}"));
    Webhook::new("archive", &url, &secret(format!("{SECRET}-signing")), client()).unwrap()
}

fn pager(base: &str, labels: &[(&str, &str)]) -> Alertmanager {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let config = AlertmanagerConfig {
        url: secret(format!("{base}/alerts/{SECRET}/")),
        token: Some(secret(format!("{SECRET}-token"))),
        labels,
    };
    Alertmanager::new("pager", config, client()).unwrap()
}

fn wanted(notifier: &dyn Notifier) -> Vec<&'static str> {
    KINDS.into_iter().filter(|k| notifier.wants(&message(*k, &[]))).map(MessageKind::as_str).collect()
}

#[test]
fn each_channel_takes_its_kinds() {
    let everything = ["action", "complete", "failed", "page", "resolve", "ask", "note"];
    assert_eq!(wanted(&webhook("http://localhost")), everything);
    assert_eq!(wanted(&pager("http://localhost", &[])), ["page", "resolve", "ask"]);
    assert_eq!(wanted(&slack("http://localhost")), ["action", "complete", "failed", "page", "ask", "note"]);
}

#[tokio::test]
async fn slack_gets_blocks_and_a_fallback_text_in_which_nothing_is_markup() {
    let server = Recorder::start(Answer::new(200, "ok")).await;
    let lines = ["pod <!channel> & <@U1> <https://evil|click>", "second"];
    let delivered = slack(&server.url).deliver(&message(MessageKind::Page, &lines), now()).await;
    assert_eq!(delivered, Ok(Delivered::Once));
    let sent = server.last();
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/services/T0S3CR3T/B1/x"));
    let mrkdwn =
        |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}});
    let escaped = "pod &lt;!channel&gt; &amp; &lt;@U1&gt; &lt;https://evil|click&gt;";
    let expected = json!({
        "text": format!("[PAGE] shop/backend v2 is bad\n{escaped}"),
        "blocks": [mrkdwn("*[PAGE] shop/backend v2 is bad*"), mrkdwn(&format!("{escaped}\nsecond"))],
    });
    assert_eq!(sent.json(), expected);
}

#[tokio::test]
async fn slack_messages_stay_within_its_limits_and_say_that_they_were_cut() {
    let server = Recorder::start(Answer::new(200, "ok")).await;
    let long = "&".repeat(4000);
    let lines: Vec<&str> = (0..120).map(|_| long.as_str()).collect();
    slack(&server.url).deliver(&message(MessageKind::Page, &lines), now()).await.unwrap();
    let body = server.last().json();
    let blocks = body["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 50);
    let text = |block: &Value| block["text"]["text"].as_str().unwrap().to_string();
    assert!(blocks.iter().all(|b| text(b).chars().count() <= 3000));
    assert!(text(&blocks[1]).ends_with("… (cut here)"));
    assert!(text(&blocks[49]).contains("was cut"));
    assert!(body["text"].as_str().unwrap().chars().count() <= 3000);
}

#[tokio::test]
async fn slack_without_ok_did_not_take_it() {
    for answer in [Answer::new(200, "<html>login</html>"), Answer::new(204, ""), Answer::new(200, "no_text")]
    {
        let server = Recorder::start(answer).await;
        let refused = slack(&server.url).deliver(&message(MessageKind::Note, &[]), now()).await;
        assert!(matches!(refused, Err(NotifyError::Refused { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn webhooks_are_cloud_events_with_a_signature_that_anybody_can_check() {
    let server = Recorder::start(Answer::new(202, "")).await;
    let page = message(MessageKind::Page, &["15.0 % errors on 412 requests"]);
    assert_eq!(webhook(&server.url).deliver(&page, now()).await, Ok(Delivered::Once));
    let sent = server.last();
    assert_eq!(sent.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let expected = json!({
        "specversion": "1.0", "id": "run-1/page", "source": "rollguard", "type": "io.rollguard.page.v1",
        "subject": "shop", "time": "2026-11-22T10:00:00Z", "datacontenttype": "application/json",
        "data": {
            "incident": "shop/backend.0123456789ab.1795341600", "kind": "page", "service": "shop",
            "title": "[PAGE] shop/backend v2 is bad", "lines": ["15.0 % errors on 412 requests"],
            "targets": [], "code": null,
        },
    });
    assert_eq!(sent.json(), expected);

    let timestamp = sent.header("x-rollguard-timestamp");
    assert_eq!(timestamp, now().as_second().to_string());
    let signed = [b"v1:", timestamp.as_bytes(), b":", &sent.body].concat();
    let given = sent.header("x-rollguard-signature").strip_prefix("v1=").unwrap();
    let given: Vec<u8> =
        (0..given.len()).step_by(2).map(|i| u8::from_str_radix(&given[i..i + 2], 16).unwrap()).collect();
    let verify = |key: &str, bytes: &[u8]| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(bytes);
        mac.verify_slice(&given).is_ok()
    };
    assert!(verify("T0S3CR3T-signing", &signed));
    assert!(!verify("another", &signed));
    assert!(!verify("T0S3CR3T-signing", &sent.body));
}

#[test]
fn a_webhook_without_a_secret_is_refused() {
    let made = Webhook::new("archive", &secret("https://hooks.example"), &secret(""), client());
    assert_eq!(made.unwrap_err(), WebhookError::EmptySecret);
}

#[tokio::test]
async fn pages_are_one_alert_per_incident_that_lasts_while_it_is_repeated() {
    let server = Recorder::start(Answer::new(200, "")).await;
    let pager = pager(&server.url, &[("team", "web"), ("service", "not this one")]);
    let page = message(MessageKind::Page, &["because", "do this"]);
    let delivered = pager.deliver(&page, now()).await;
    assert_eq!(delivered, Ok(Delivered::RepeatAfter(Duration::from_secs(60))));
    let first = server.last();
    assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/alerts/T0S3CR3T/api/v2/alerts"));
    assert_eq!(first.header("authorization"), "Bearer T0S3CR3T-token");
    let labels = json!({
        "alertname": "RollguardPage", "service": "shop", "severity": "critical", "team": "web",
        "incident": "shop/backend.0123456789ab.1795341600", "rollguard": "self",
    });
    let expected = json!([{
        "labels": labels,
        "annotations": {"summary": "[PAGE] shop/backend v2 is bad", "description": "because\ndo this"},
        "startsAt": "2026-11-22T10:00:00Z", "endsAt": "2026-11-22T10:05:00Z",
    }]);
    assert_eq!(first.json(), expected);

    let over =
        Message { title: "over".into(), key: "run-1/resolve".into(), ..message(MessageKind::Resolve, &[]) };
    assert_eq!(pager.deliver(&over, now()).await, Ok(Delivered::Once));
    let last = server.last().json();
    assert_eq!(last[0]["labels"], labels);
    assert_eq!(last[0]["endsAt"], "2026-11-22T10:00:00Z");
}

#[test]
fn our_own_alerts_are_known_again() {
    let labels = |value: &str| BTreeMap::from([("rollguard".to_string(), value.to_string())]);
    assert!(is_own(&labels("self")));
    assert!(!is_own(&labels("true")), "the label by which users route alerts to rollguard");
    assert!(!is_own(&BTreeMap::new()));
}

fn all(base: &str) -> Vec<Box<dyn Notifier>> {
    vec![Box::new(slack(base)), Box::new(webhook(base)), Box::new(pager(base, &[]))]
}

/// `None` when it was taken, else whether it is tried again and when.
fn verdict(delivered: Result<Delivered, NotifyError>) -> Option<(bool, Option<u64>)> {
    let error = delivered.err()?;
    let text = format!("{error} {error:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    match error {
        NotifyError::Retry { after, .. } => Some((true, after.map(|d| d.as_secs()))),
        NotifyError::Refused { .. } => Some((false, None)),
    }
}

#[tokio::test]
async fn answers_mean_again_or_never_and_errors_hold_no_secret() {
    let again = |after| [Some((true, after)); 3];
    let never = Some((false, None));
    let cases = [
        (Answer::new(429, "").with("retry-after", "7"), again(Some(7))),
        (Answer::new(503, "").with("retry-after", "Sun, 22 Nov 2026 10:00:30 GMT"), again(Some(30))),
        (Answer::new(500, format!("failed: {SECRET}")), again(None)),
        (Answer::new(400, format!("{SECRET} is wrong")), [never; 3]),
        // A page is not given up because a token or a route is wrong for a while.
        (Answer::new(401, SECRET), [never, never, Some((true, None))]),
        (Answer::new(404, "no_service"), [never, never, Some((true, None))]),
        (Answer::new(302, "").with("location", "http://127.0.0.1:1/"), [never, never, Some((true, None))]),
    ];
    let server = Recorder::start(Answer::new(200, "ok")).await;
    let page = message(MessageKind::Page, &[]);
    for (answer, expected) in cases {
        server.answer(answer.clone());
        for (notifier, expected) in all(&server.url).iter().zip(expected) {
            let found = verdict(notifier.deliver(&page, now()).await);
            assert_eq!(found, expected, "{} at {answer:?}", notifier.channel());
        }
    }
    assert_eq!(server.seen().len(), 7 * 3, "redirects are not followed");
}

#[tokio::test]
async fn a_receiver_that_is_down_is_tried_again() {
    for notifier in all(&nobody()) {
        let failed = notifier.deliver(&message(MessageKind::Page, &[]), now()).await;
        let text = failed.clone().unwrap_err().to_string();
        assert!(text.contains("cannot connect: Connection refused"), "{text}");
        assert_eq!(verdict(failed), Some((true, None)));
    }
}

#[test]
fn addresses_that_are_none_are_refused_unseen() {
    let error = Slack::new("team", &secret(format!("hooks/{SECRET}")), client()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET));
    let debug = format!("{:?} {:?} {:?}", slack("http://h"), webhook("http://h"), pager("http://h", &[]));
    assert!(!debug.contains(SECRET), "{debug}");
}
