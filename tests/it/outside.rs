//! Checks from outside as a configuration writes them, against a small shop on loopback.
pub(crate) mod certificates;
mod example;
mod journeys;
mod mistakes;

use std::path::Path;

use rollguard::adapters::checks::OutsideChecks;
use rollguard::config::{Loaded, parse};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::verification::{CheckOutcome, CheckSpec};
use rollguard::ports::{CheckContext, Checks};

use crate::recorder::client;

const PASSWORD: &str = "open \"sesame\" & go";
const KEY: &str = "4711";

fn env(name: &str) -> Option<String> {
    match name {
        "SHOP_PASSWORD" => Some(PASSWORD.into()),
        "SHOP_KEY" => Some(KEY.into()),
        _ => None,
    }
}

/// One service with this among its checks (`check`) or its rules, in lines that are indented as far as a rule's own keys.
fn configured(section: &str, check: &str) -> String {
    let begin = "services:\n  - name: shop\n    policy: observe\n    targets: [{name: api, kubernetes: {deployment: api}}]\n";
    match section {
        "checks" => format!("{begin}    verify:\n     checks:\n      - name: buy\n{check}"),
        _ => format!("{begin}    rules:\n      - name: buy\n{check}"),
    }
}

fn load(section: &str, check: &str) -> Loaded {
    let text = configured(section, check);
    let loaded = parse(&text, "config.yaml", Path::new(""), &env);
    loaded.unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// What the check finds, through the same parts as after a rollback.
async fn checked(check: &str) -> Result<String, String> {
    let loaded = load("checks", check);
    let shop = &loaded.config.services[0];
    let secrets = [(shop.name.clone(), shop.check_secrets.clone())].into();
    let checks = OutsideChecks::new(client(), None).with_secrets(secrets);
    // What is journaled between the decision and the check.
    let journaled = serde_json::to_string(&shop.checks[0]).unwrap();
    assert!(!journaled.contains("sesame") && !journaled.contains(KEY), "{journaled}");
    let spec: CheckSpec = serde_json::from_str(&journaled).unwrap();
    assert_eq!(spec, shop.checks[0]);
    let target =
        TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("api").unwrap() };
    let result = checks.check(&spec, &CheckContext { target, version: "v1".into() }).await;
    match result.outcome {
        CheckOutcome::Passed => Ok(result.detail),
        CheckOutcome::Failed => Err(result.detail),
        CheckOutcome::NoData => panic!("{}", result.detail),
    }
}
