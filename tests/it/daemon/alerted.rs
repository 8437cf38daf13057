//! The user's own alerts, from a rule in Prometheus through Alertmanager into the webhook.
use std::time::Duration;

use rollguard::domain::policy::Decision;
use serde_json::{Value, json};

use super::{EVIDENCE, SOON, Stage, WEBHOOK_TOKEN, description, firing, in_phase};
use crate::support::daemon::Daemon;
use crate::support::until;

/// A rule about the service, as a user has it.
fn rule(alert: &str, expr: &str) -> Value {
    let labels = json!({ "severity": "critical", "service": "shop" });
    json!({ "alert": alert, "expr": expr, "labels": labels })
}

/// What the daemon counted as received with this result.
async fn received(daemon: &Daemon, result: &str) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", daemon.url())).await.unwrap().text().await.unwrap();
    let name = format!("rollguard_alerts_received_total{{result=\"{result}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

/// 4 % are over a fifth of the threshold, which is page level, and under half of it, which is never a rollback by itself.
#[tokio::test]
#[ignore = "tests/run daemon"]
async fn an_alert_that_our_own_evidence_confirms_rolls_back() {
    let share = "sum(rate(http_requests_total{code=\"500\"}[5s])) / sum(rate(http_requests_total[5s]))";
    let rules = vec![rule("HighErrorRate", &format!("{share} > 0.02"))];
    let stage = Stage::set_with("alerted", Duration::from_millis(300), rules).await;
    let mut config = stage.config();
    config["services"][0]["rules"][0]["errors"]["above"] = json!("10%");
    config["services"][0]["watch"] = json!("90s");
    config["services"][0]["verify"]["deadline"] = json!("60s");
    let daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-errors4").await;
    let run = daemon.await_run("it is rolled back", EVIDENCE, |_| true).await;
    assert!(run.reason.starts_with("alert HighErrorRate is firing since "), "{}", run.reason);
    assert!(run.reason.contains(" % errors on "), "{}", run.reason);
    let told = daemon.run(&run.run).await;
    assert_eq!(told.cause, rollguard::domain::evidence::Cause::Release);
    daemon.await_run("it is verified", EVIDENCE, in_phase(&run.run, "watching")).await;
    assert_eq!((stage.image().await.as_str(), stage.changes().await.as_str()), ("app:v1", "3"));
    let checks = daemon.run(&run.run).await.checks;
    assert!(checks.iter().any(|c| c.name == "alerts" && c.detail == "no alert is active"), "{checks:#?}");
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn an_alert_that_nothing_confirms_pages_and_our_own_page_confirms_nothing() {
    let latency = "http_request_duration_seconds";
    let mean = format!("sum(rate({latency}_sum[5s])) / sum(rate({latency}_count[5s]))");
    let rules = vec![rule("HighLatency", &format!("{mean} > 0.4"))];
    let stage = Stage::set_with("unconfirmed", Duration::from_millis(300), rules).await;
    let mut config = stage.config();
    config["services"][0]["page_after"] = json!("3s");
    let daemon = stage.serve(config).await;
    stage.release_over_known_good(&daemon, "v2-latency800").await;

    let page = stage.paged("somebody is paged", SOON, firing).await;
    let confirmed = "but no signal of our own confirms it";
    assert!(description(&page).contains("alert HighLatency is firing since"), "{page:#}");
    assert!(description(&page).contains(confirmed), "{page:#}");
    // It has the service's labels and the right severity, so nothing but being ours keeps it out.
    let labels = &page["labels"];
    assert_eq!((&labels["service"], &labels["severity"]), (&json!("shop"), &json!("critical")));
    until("our own page comes back", SOON, async || (received(&daemon, "own").await > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(received(&daemon, "accepted").await, 1);
    assert!(daemon.runs().await.is_empty());
    let watch = daemon.target().await.watch.unwrap();
    assert_eq!(watch.decision, Decision::Page);
    let alerts: Vec<&str> =
        watch.evidence.iter().filter(|e| e.rule == "alert").map(|e| e.sentence.as_str()).collect();
    assert!(alerts.len() == 1 && alerts[0].contains("HighLatency"), "{alerts:?}");
    assert_eq!(stage.image().await, "app:v2-latency800");
}

#[tokio::test]
#[ignore = "tests/run daemon"]
async fn nobody_raises_an_alert_without_the_webhooks_token() {
    let stage = Stage::set("forged", Duration::from_millis(300)).await;
    let daemon = stage.serve(stage.config()).await;
    let forged = json!({ "version": "4", "status": "firing", "alerts": [
        { "status": "firing", "labels": { "alertname": "Forged", "service": "shop", "severity": "critical" } },
    ]});
    let webhook = format!("{}/webhook/alertmanager", daemon.url());
    let post = async |token: Option<&str>| {
        let request = reqwest::Client::new().post(&webhook).json(&forged);
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(post(None).await.0, 401);
    assert_eq!(post(Some("token-of-somebody-else")).await.0, 401);
    assert_eq!(post(Some(crate::support::daemon::ANN.1)).await.0, 403);
    assert_eq!(received(&daemon, "accepted").await, 0);
    let (status, answer) = post(Some(WEBHOOK_TOKEN)).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
}
