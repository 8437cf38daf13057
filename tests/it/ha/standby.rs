//! What is handed to the standby is done by the leader, and what the leader sees the standby shows.
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Pair, leads, quick};
use crate::kubernetes::world::SOON;

fn alert() -> Value {
    let labels = json!({ "alertname": "HighErrorRate", "service": "shop", "severity": "critical" });
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "rollguard",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {}, "startsAt": Timestamp::now().to_string(),
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00000000000000aa",
        }],
    })
}

#[tokio::test]
#[ignore = "tests/run ha"]
async fn an_alert_and_an_approval_at_the_standby_are_the_leaders_work() {
    let pair = Pair::start("ha-standby", quick(), |config| {
        config["services"][0]["policy"] = json!("approval");
        config["services"][0]["alerts"] = json!({ "match": { "service": "shop" }, "corroborate": false });
    })
    .await;
    pair.place.deploy_quickly("v2").await;
    let watch = pair.second.await_watch("v2").await;
    assert_eq!(watch.known_good.map(|version| version.label), Some("v1".into()));

    let webhook = format!("{}/webhook/alertmanager", pair.second.url());
    let taken = reqwest::Client::new().post(webhook).body(alert().to_string()).send().await.unwrap();
    assert_eq!(taken.json::<Value>().await.unwrap()["accepted"], 1);
    let asks = |phase: &str| phase == "awaiting approval";
    let run = pair.second.await_run("it asks", SOON, |run| asks(&run.phase)).await;
    assert!(run.reason.contains("HighErrorRate"), "{run:?}");

    let status = pair.second.cli_ok("status").await;
    assert!(status.contains(" leads; this is ") && status.contains("which stands by, as "), "{status}");
    assert!(status.contains("shop/backend") && status.contains(&run.run), "{status}");
    assert!(pair.second.cli_ok(&format!("show {}", run.run)).await.contains("awaiting approval"));
    let unclear = pair.second.cli("approve no-such-run").await;
    assert!(!unclear.status.success());

    pair.second.cli_ok(&format!("approve {}", run.run)).await;
    let verified = |phase: &str| phase == "watching";
    pair.second.await_run("it is verified", SOON * 2, |run| verified(&run.phase)).await;
    assert_eq!((pair.place.tag().await, pair.place.generation().await), ("v1".into(), 3));
    assert_eq!(pair.first.run(&run.run).await.approved_by.as_deref(), Some("ann"));
    assert!(leads(&pair.first).await && !leads(&pair.second).await);
}
