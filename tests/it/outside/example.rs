//! The checks from outside in the example, as they are meant.
use std::path::Path;
use std::time::Duration;

use rollguard::config::{RuleQuery, ServiceConfig, load};
use rollguard::domain::answer::{Expect, Statuses};
use rollguard::domain::journey::{Body, Capture};
use rollguard::domain::probe::Probe;
use rollguard::domain::runbook::{Checked, RuleKind};
use rollguard::domain::verification::CheckKind;

/// Every variable is set, each to something else.
fn shop() -> ServiceConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rollguard.yaml");
    let env = |name: &str| match name {
        "ROLLGUARD_POSTGRES_URL" | "SHOP_DATABASE_URL" => {
            Some(format!("postgres://db.example.com/the-secret-of-{name}"))
        }
        _ => Some(format!("https://example.com/the-secret-of-{name}")),
    };
    let mut loaded = load(&path, &env).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    loaded.config.services.remove(0)
}

fn rule(shop: &ServiceConfig, name: &str) -> (RuleKind, Probe, [u64; 2]) {
    let rule = shop.rules.iter().find(|rule| rule.rule.name.as_str() == name).unwrap();
    let RuleQuery::Http(check) = &rule.query else { panic!("{rule:?}") };
    (rule.rule.kind.clone(), check.probe.clone(), [check.every, check.at_rest].map(|d| d.as_secs()))
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn requests_and_certificates_are_typed() {
    let shop = shop();
    let (_, probe, pace) = rule(&shop, "health");
    let Probe::Http(http) = &probe else { panic!("{probe:?}") };
    assert_eq!((http.url.as_str(), pace), ("https://shop.example.com/api/health", [10, 60]));
    assert_eq!((&http.wanted.status, http.wanted.within_secs), (&Statuses::from(200), Some(2.0)));
    let json = Expect::Json { pointer: "/status".into(), equals: "healthy".into() };
    assert_eq!((&http.wanted.expect[0], &http.wanted.expect[2]), (&Expect::Text("healthy".into()), &json));
    assert_eq!((http.wanted.expect.len(), probe.timeout()), (6, Duration::from_secs(5)));
    assert_eq!(shop.checks[0].kind, CheckKind::Outside(probe));

    let (kind, probe, pace) = rule(&shop, "certificate");
    assert_eq!(kind, RuleKind::Check { failing_for_secs: 150.0, about: Checked::Certificate });
    assert!(matches!(&probe, Probe::Certificate(tls) if tls.valid_for_secs == 14.0 * 86_400.0), "{probe:?}");
    assert_eq!(pace, [60, 60]);
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_purchase_is_the_same_as_a_rule_and_as_a_check() {
    let shop = shop();
    let (kind, probe, pace) = rule(&shop, "purchase");
    assert_eq!((kind, pace), (RuleKind::check(90.0), [30, 300]));
    let check = shop.checks.iter().find(|check| check.name == "purchase").unwrap();
    assert_eq!(check.kind, CheckKind::Outside(probe.clone()));
    let Probe::Journey(journey) = probe else { panic!("{probe:?}") };
    assert_eq!(journey.steps.len(), 4);
    assert!(matches!(&journey.steps[0].body, Some(Body::Form(form)) if form.len() == 2));
    assert_eq!(journey.steps[0].capture["token"], Capture::Json("/access_token".into()));
    assert_eq!(journey.steps[0].wanted.status, Statuses::SUCCESS);
    let secrets: Vec<_> = shop.check_secrets["purchase"].exposed().collect();
    assert_eq!(secrets, [("password", "https://example.com/the-secret-of-SHOP_CHECK_PASSWORD")]);
    assert!(!format!("{shop:?}").contains("the-secret-of"));
}
