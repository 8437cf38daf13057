//! The check that no alert is active, asked of a real Alertmanager.
use rollguard::adapters::checks::{AlertmanagerAccess, OutsideChecks};
use rollguard::adapters::endpoint::Endpoint;
use rollguard::domain::names::ServiceName;
use rollguard::domain::verification::{CheckKind, CheckOutcome, CheckSpec};
use rollguard::ports::{CheckContext, Checks};
use serde_json::json;

use super::{LIMIT, target};
use crate::recorder::client;
use crate::support::alertmanager::Alertmanager;
use crate::support::receiver::Receiver;
use crate::support::until;

use CheckOutcome::{Failed, NoData, Passed};

fn checks(alertmanager: &Alertmanager) -> OutsideChecks {
    let labels = [("service".to_string(), "shop".to_string())].into();
    let access = AlertmanagerAccess {
        url: Endpoint::parse(alertmanager.url()).unwrap(),
        token: None,
        match_labels: [(ServiceName::parse("shop").unwrap(), labels)].into(),
    };
    OutsideChecks::new(client(), Some(access))
}

async fn check(checks: &OutsideChecks) -> (CheckOutcome, String) {
    let spec = CheckSpec { name: "alerts".into(), kind: CheckKind::NoActiveAlerts };
    let about = CheckContext { target: target("shop"), version: "v1".into() };
    let result = checks.check(&spec, &about).await;
    (result.outcome, result.detail)
}

async fn becomes(checks: &OutsideChecks, outcome: CheckOutcome, detail: &str) {
    until(detail, LIMIT, async || (check(checks).await == (outcome, detail.to_string())).then_some(())).await;
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn active_alerts_fail_silenced_ones_are_unknown_and_our_own_do_not_count() {
    let receiver = Receiver::start().await;
    let alertmanager = Alertmanager::start(&receiver.url("/pager"), None).await;
    let checks = checks(&alertmanager);
    assert_eq!(check(&checks).await, (Passed, "no alert is active".into()));

    let elsewhere = json!({ "labels": { "alertname": "HighErrorRate", "service": "pay" } });
    let own = json!({ "labels": { "alertname": "RollguardPage", "service": "shop", "rollguard": "self" } });
    alertmanager.post(&json!([elsewhere, own])).await;
    assert_eq!(alertmanager.active().await.len(), 2);
    assert_eq!(check(&checks).await, (Passed, "no alert is active".into()));

    let mut alert = json!({ "labels": { "alertname": "HighErrorRate", "service": "shop" } });
    alertmanager.post(&json!([alert])).await;
    assert_eq!(check(&checks).await, (Failed, "1 active: HighErrorRate".into()));

    let silence = alertmanager.silence("service", "shop").await;
    becomes(&checks, NoData, "1 silenced or inhibited alert: HighErrorRate").await;
    alertmanager.expire(&silence).await;
    becomes(&checks, Failed, "1 active: HighErrorRate").await;

    alert["endsAt"] = json!(jiff::Timestamp::now());
    alertmanager.post(&json!([alert])).await;
    becomes(&checks, Passed, "no alert is active").await;
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn an_alertmanager_that_is_down_proves_nothing() {
    let receiver = Receiver::start().await;
    let mut alertmanager = Alertmanager::start(&receiver.url("/pager"), None).await;
    let checks = checks(&alertmanager);
    alertmanager.stop().await;
    let (outcome, detail) = check(&checks).await;
    assert_eq!(outcome, NoData, "{detail}");
    alertmanager.restart().await;
    assert_eq!(check(&checks).await, (Passed, "no alert is active".into()));
}
