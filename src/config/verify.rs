//! The checks that prove a rollback worked.
use std::time::Duration;

use url::Url;

use super::TargetConfig;
use super::check::{self, Around};
use super::raw::Fields;
use super::settings::Settings;
use super::value::{Pointer, Share, Status};
use super::yaml::{Node, Scalar, Value};
use crate::domain::verification::{CheckKind, CheckSpec, Expect};

const DEADLINE: Duration = Duration::from_secs(600);
const KINDS: [&str; 8] = [
    "http",
    "version",
    "pods_ready",
    "endpoints_ready",
    "error_rate",
    "latency_p95",
    "throughput",
    "no_active_alerts",
];

/// The deadline and the checks of a service.
pub(super) fn read(
    fields: &Fields<'_>,
    settings: &Settings,
    around: &Around,
    targets: &[TargetConfig],
) -> (Duration, Vec<CheckSpec>) {
    let has_service = targets.iter().any(|target| target.service.is_some());
    let standard = || standard(settings, has_service);
    let Some(verify) = fields.map("verify") else { return (DEADLINE, standard()) };
    let (deadline, checks) = by_itself(&verify);
    for check in verify.maps("checks") {
        check::measured(&check, settings, around);
        if check.has("endpoints_ready") && !has_service {
            let message = "endpoints_ready: nothing measures this: name the Service as service of a target";
            check.notes.error(check.key_at("endpoints_ready"), message);
        }
    }
    (deadline, checks.unwrap_or_else(standard))
}

/// A section `verify` whatever the service measures; `None` for the standard checks.
pub(super) fn by_itself(verify: &Fields<'_>) -> (Duration, Option<Vec<CheckSpec>>) {
    let deadline = verify.read("deadline").unwrap_or(DEADLINE);
    if !verify.has("checks") {
        return (deadline, None);
    }
    if verify.is_empty_list("checks") {
        let message = "checks: without any, nothing proves that a rollback worked: leave the key out for the standard ones";
        verify.notes.error(verify.at("checks"), message);
    }
    let all = verify.maps("checks");
    check::distinct(&all, "name", "check");
    (deadline, Some(all.iter().filter_map(read_check).collect()))
}

fn standard(settings: &Settings, has_service: bool) -> Vec<CheckSpec> {
    let check = |name: &str, kind| CheckSpec { name: name.to_string(), kind };
    let mut checks = vec![check("pods ready", CheckKind::PodsReady)];
    if has_service {
        checks.push(check("endpoints ready", CheckKind::EndpointsReady));
    }
    if settings.measures_errors() {
        checks.push(check("error rate", CheckKind::ErrorRate { below: 0.01 }));
    }
    checks
}

fn read_check(fields: &Fields<'_>) -> Option<CheckSpec> {
    let name = fields.read::<String>("name");
    let key = fields.one_of(&KINDS)?;
    let body = fields.map(key)?;
    let kind = match key {
        "http" => {
            let (url, status, expect) = answer(&body)?;
            CheckKind::Http { url: url.to_string(), status, expect }
        }
        "version" => CheckKind::Version {
            url: body.read::<Url>("url")?.to_string(),
            pointer: body.read::<Pointer>("pointer").map(|pointer| pointer.0),
        },
        "pods_ready" => CheckKind::PodsReady,
        "endpoints_ready" => CheckKind::EndpointsReady,
        "error_rate" => CheckKind::ErrorRate { below: body.read::<Share>("below")?.0 },
        "latency_p95" => {
            CheckKind::LatencyP95 { below_ms: body.read::<Duration>("below")?.as_secs_f64() * 1000.0 }
        }
        "throughput" => CheckKind::Throughput { at_least: body.read::<Share>("at_least")?.0 },
        _ => CheckKind::NoActiveAlerts,
    };
    Some(CheckSpec { name: name?, kind })
}

/// What to GET, and the status and content that it must answer with.
pub(super) fn answer(fields: &Fields<'_>) -> Option<(Url, u16, Vec<Expect>)> {
    let mut expect: Vec<Expect> = fields.read::<String>("text").map(Expect::Text).into_iter().collect();
    if let Some(json) = fields.map("json") {
        let pointer = json.read::<Pointer>("pointer");
        let equals = json.entry("equals").map(|entry| json_value(&entry.node));
        expect
            .extend(pointer.zip(equals).map(|(pointer, equals)| Expect::Json { pointer: pointer.0, equals }));
    }
    let status = fields.read::<Status>("status").map_or(200, |status| status.0);
    Some((fields.read::<Url>("url")?, status, expect))
}

fn json_value(node: &Node) -> serde_json::Value {
    use serde_json::Value as Json;
    match &node.value {
        Value::Scalar(Scalar::Null) => Json::Null,
        Value::Scalar(Scalar::Bool(value)) => Json::Bool(*value),
        // YAML also writes numbers in ways that JSON does not; those compare as floats.
        Value::Scalar(Scalar::Number(text)) => serde_json::from_str(text)
            .unwrap_or_else(|_| text.parse::<f64>().map_or_else(|_| Json::String(text.clone()), Json::from)),
        Value::Scalar(Scalar::Text(text)) => Json::String(text.clone()),
        Value::List(items) => items.iter().map(json_value).collect(),
        Value::Map(entries) => entries.iter().map(|e| (e.key.clone(), json_value(&e.node))).collect(),
    }
}
