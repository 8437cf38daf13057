//! What is asked from outside, for rules and for checks alike: what to ask, and what its answer must be.
use std::time::Duration;

use url::Url;

use super::raw::Fields;
use super::secrets::Outside;
use super::value::Pointer;
use super::yaml::{Mark, Node, Scalar, Value};
use super::{Secrets, journeys};
use crate::domain::answer::{Expect, Pattern, StatusIs, Statuses, Wanted};
use crate::domain::probe::{CertificateProbe, HttpProbe, Probe, TIMEOUT};

/// The keys that probes stand under.
pub(super) const KINDS: [&str; 3] = ["http", "journey", "tls"];

const VALID_FOR: Duration = Duration::from_secs(14 * 24 * 3600);

/// The probe under this key, and the secrets that it uses.
pub(super) fn read(key: &str, fields: &Fields<'_>, outside: &Outside<'_>) -> Option<(Probe, Secrets)> {
    match key {
        "journey" => {
            let (journey, secrets) = journeys::read(fields, outside)?;
            Some((Probe::Journey(journey), secrets))
        }
        "tls" => Some((Probe::Certificate(certificate(fields)?), Secrets::default())),
        _ => Some((Probe::Http(http(fields)?), Secrets::default())),
    }
}

fn http(fields: &Fields<'_>) -> Option<HttpProbe> {
    let timeout = fields.read("timeout").unwrap_or(TIMEOUT);
    let wanted = wanted(fields, 200.into(), &mut |_, _| {});
    too_late(fields, &wanted, timeout);
    let url = fields.read::<Url>("url")?.to_string();
    Some(HttpProbe { url, wanted, timeout_secs: timeout.as_secs_f64() })
}

/// An answer that is never waited for so long cannot be late.
pub(super) fn too_late(fields: &Fields<'_>, wanted: &Wanted, timeout: Duration) {
    if wanted.within_secs.is_some_and(|within| within >= timeout.as_secs_f64()) {
        fields.notes.error(fields.at("within"), "within: not shorter than the timeout, which says the same");
    }
}

fn certificate(fields: &Fields<'_>) -> Option<CertificateProbe> {
    let url = fields.read::<Url>("url")?;
    if url.scheme() != "https" {
        fields.notes.error(fields.at("url"), "url: only https:// shows a certificate");
        return None;
    }
    let seconds = |key: &str, usual: Duration| fields.read(key).unwrap_or(usual).as_secs_f64();
    let (valid_for_secs, timeout_secs) = (seconds("valid_for", VALID_FOR), seconds("timeout", TIMEOUT));
    Some(CertificateProbe { url: url.to_string(), valid_for_secs, timeout_secs })
}

/// What an answer must be. `told` hears of every text in it that may be a template.
pub(super) fn wanted(fields: &Fields<'_>, usual: Statuses, told: &mut dyn FnMut(Mark, &str)) -> Wanted {
    let mut statuses: Vec<StatusIs> = fields.some("status").into_iter().map(|(_, status)| status).collect();
    let status = match (statuses.pop(), statuses.is_empty()) {
        (None, _) => usual,
        (Some(one), true) => Statuses::One(one),
        (Some(last), false) => Statuses::Any(statuses.into_iter().chain([last]).collect()),
    };
    let mut expect = Vec::new();
    for (at, text) in fields.some::<String>("text") {
        told(at, &text);
        expect.push(Expect::Text(text));
    }
    expect.extend(fields.some("matches").into_iter().map(|(_, pattern)| Expect::Matches(pattern)));
    expect.extend(fields.some_maps("json").iter().filter_map(|json| of_json(json, told)));
    expect.extend(fields.some_maps("header").iter().filter_map(|header| of_header(header, told)));
    let within_secs = fields.read::<Duration>("within").map(|within| within.as_secs_f64());
    Wanted { status, expect, within_secs }
}

fn of_json(fields: &Fields<'_>, told: &mut dyn FnMut(Mark, &str)) -> Option<Expect> {
    let pointer = fields.read::<Pointer>("pointer").map(|pointer| pointer.0);
    match fields.one_of(&["equals", "matches"])? {
        "equals" => {
            let node = &fields.entry("equals")?.node;
            texts(node, told);
            Some(Expect::Json { pointer: pointer?, equals: json_value(node) })
        }
        _ => {
            let pattern = fields.read::<Pattern>("matches");
            Some(Expect::JsonMatches { pointer: pointer?, pattern: pattern? })
        }
    }
}

fn of_header(fields: &Fields<'_>, told: &mut dyn FnMut(Mark, &str)) -> Option<Expect> {
    let name = fields.read::<String>("name");
    match fields.one_of(&["equals", "matches"])? {
        "equals" => {
            let equals = fields.read::<String>("equals")?;
            told(fields.at("equals"), &equals);
            Some(Expect::Header { name: name?, equals })
        }
        _ => {
            let pattern = fields.read::<Pattern>("matches");
            Some(Expect::HeaderMatches { name: name?, pattern: pattern? })
        }
    }
}

/// All texts in a value, keys left out.
pub(super) fn texts(node: &Node, told: &mut dyn FnMut(Mark, &str)) {
    match &node.value {
        Value::Scalar(Scalar::Text(text)) => told(node.at, text),
        Value::Scalar(Scalar::Null | Scalar::Bool(_) | Scalar::Number(_)) => {}
        Value::List(items) => items.iter().for_each(|item| texts(item, told)),
        Value::Map(entries) => entries.iter().for_each(|entry| texts(&entry.node, told)),
    }
}

pub(super) fn json_value(node: &Node) -> serde_json::Value {
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
