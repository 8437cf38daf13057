//! The checks that prove a rollback worked.
use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::TargetConfig;
use super::check::{self, Around};
use super::raw::Fields;
use super::settings::Settings;
use super::value::{Pointer, Share};
use super::{PostgresTls, Secrets, journal, probes, secrets};
use crate::domain::names::TargetName;
use crate::domain::plan::database::SchemaQuery;
use crate::domain::verification::{CheckKind, CheckSpec, RedisServer, Trust};

const DEADLINE: Duration = Duration::from_secs(600);
const KINDS: [&str; 13] = [
    "http",
    "journey",
    "tls",
    "version",
    "pods_ready",
    "endpoints_ready",
    "frontend_served",
    "error_rate",
    "latency_p95",
    "throughput",
    "no_active_alerts",
    "redis",
    "sql",
];

/// The deadline and the checks of a service, and what the journeys among them may use.
pub(super) struct Verification {
    pub(super) deadline: Duration,
    pub(super) checks: Vec<CheckSpec>,
    pub(super) secrets: BTreeMap<String, Secrets>,
}

pub(super) fn read(
    fields: &Fields<'_>,
    settings: &Settings,
    around: &Around<'_>,
    targets: &[TargetConfig],
) -> Verification {
    let named = |wanted: fn(&TargetConfig) -> bool| -> Vec<TargetName> {
        targets.iter().filter(|target| wanted(target)).map(|target| target.name.clone()).collect()
    };
    let fronted = named(|target| target.service.is_some());
    let databases = named(|target| target.kind.database().is_some());
    let measured = Measured { fronted: fronted.clone(), databases: Some(databases) };
    let own = fields.map("verify").map(|verify| {
        for check in verify.maps("checks") {
            check::measured(&check, settings, around);
            if check.has("endpoints_ready") && fronted.is_empty() {
                let message =
                    "endpoints_ready: nothing measures this: name the Service as service of a target";
                check.notes.error(check.key_at("endpoints_ready"), message);
            }
            if check.has("frontend_served") && !targets.iter().any(is_public) {
                let message = "frontend_served: no target is a frontend with a url";
                check.notes.error(check.key_at("frontend_served"), message);
            }
        }
        by_itself(&verify, around, &measured)
    });
    let (deadline, checks) = own.unwrap_or((DEADLINE, None));
    let checks = checks.unwrap_or_else(|| standard(settings, targets, &fronted));
    let secret = |(check, secrets): &(CheckSpec, Secrets)| {
        (!secrets.is_empty()).then(|| (check.name.clone(), secrets.clone()))
    };
    let secrets = checks.iter().filter_map(secret).collect();
    Verification { deadline, checks: checks.into_iter().map(|(check, _)| check).collect(), secrets }
}

/// Targets that certain checks are about.
#[derive(Default)]
pub(super) struct Measured {
    fronted: Vec<TargetName>,
    /// `None` where it is not known, as in the defaults.
    databases: Option<Vec<TargetName>>,
}

type Checks = Vec<(CheckSpec, Secrets)>;

/// A section `verify` whatever the service measures; `None` for the standard checks.
pub(super) fn by_itself(
    verify: &Fields<'_>,
    around: &Around<'_>,
    known: &Measured,
) -> (Duration, Option<Checks>) {
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
    (deadline, Some(all.iter().filter_map(|check| read_check(check, around, known)).collect()))
}

fn standard(settings: &Settings, targets: &[TargetConfig], fronted: &[TargetName]) -> Checks {
    let check = |name: &str, kind| (CheckSpec { name: name.to_string(), kind }, Secrets::default());
    let mut checks = Vec::new();
    if targets.iter().any(|target| target.kind.workload().is_some()) {
        checks.push(check("pods ready", CheckKind::PodsReady));
    }
    if targets.iter().any(is_public) {
        checks.push(check("frontend served", CheckKind::FrontendServed));
    }
    if !fronted.is_empty() {
        checks.push(check("endpoints ready", CheckKind::EndpointsReady { targets: fronted.to_vec() }));
    }
    if settings.measures_errors() {
        checks.push(check("error rate", CheckKind::ErrorRate { below: 0.01 }));
    }
    checks
}

/// A frontend of which it is known where the public finds it.
fn is_public(target: &TargetConfig) -> bool {
    target.kind.frontend().is_some_and(|frontend| frontend.url.is_some())
}

fn read_check(fields: &Fields<'_>, around: &Around<'_>, known: &Measured) -> Option<(CheckSpec, Secrets)> {
    let name = fields.read::<String>("name");
    let key = fields.one_of(&KINDS)?;
    let body = fields.map(key)?;
    let mut secrets = Secrets::default();
    let kind = match key {
        outside if probes::KINDS.contains(&outside) => {
            let (probe, used) = probes::read(outside, &body, &around.outside)?;
            secrets = used;
            CheckKind::Outside(probe)
        }
        "version" => CheckKind::Version {
            url: body.read::<Url>("url")?.to_string(),
            pointer: body.read::<Pointer>("pointer").map(|pointer| pointer.0),
        },
        "pods_ready" => CheckKind::PodsReady,
        "frontend_served" => CheckKind::FrontendServed,
        "endpoints_ready" => CheckKind::EndpointsReady { targets: known.fronted.clone() },
        "error_rate" => CheckKind::ErrorRate { below: body.read::<Share>("below")?.0 },
        "latency_p95" => {
            CheckKind::LatencyP95 { below_ms: body.read::<Duration>("below")?.as_secs_f64() * 1000.0 }
        }
        "throughput" => CheckKind::Throughput { at_least: body.read::<Share>("at_least")?.0 },
        "sql" => sql(&body, name.clone().unwrap_or_default(), known)?,
        "redis" => {
            let (server, used) = redis(&body, around)?;
            secrets = used;
            CheckKind::Redis(server)
        }
        _ => CheckKind::NoActiveAlerts,
    };
    Some((CheckSpec { name: name?, kind }, secrets))
}

/// `SELECT 1` unless another query is named: that the database answers at all.
fn sql(fields: &Fields<'_>, name: String, known: &Measured) -> Option<CheckKind> {
    let databases = known.databases.as_deref();
    let target = match (fields.has("target"), databases) {
        (true, _) => fields.read::<TargetName>("target")?,
        (false, Some([only])) => only.clone(),
        (false, _) => {
            fields.notes.error(fields.begin(), "target is missing: name the database that is asked");
            return None;
        }
    };
    if databases.is_some_and(|databases| !databases.contains(&target)) {
        let message = format!("target: {target} is no database of this service");
        fields.notes.error(fields.at("target"), message);
        return None;
    }
    let sql = fields.read("query").unwrap_or_else(|| "SELECT 1".to_string());
    let expect = fields.read("expect");
    Some(CheckKind::Sql { target, query: SchemaQuery { name, sql, expect } })
}

fn redis(fields: &Fields<'_>, around: &Around<'_>) -> Option<(RedisServer, Secrets)> {
    let address = fields.read::<String>("address")?;
    if !address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        fields.notes.error(fields.at("address"), "address: write host:port, such as cache.internal:6379");
        return None;
    }
    let tls = match fields.has("tls").then(|| journal::tls(fields, &around.outside)) {
        None | Some(Some(PostgresTls::Disable)) => None,
        Some(Some(PostgresTls::Require)) => Some(Trust::Anybody),
        Some(Some(PostgresTls::VerifyFull { ca_file })) => Some(Trust::Signed { ca_file }),
        Some(None) => return None,
    };
    let password = secrets::plain(fields, "password", &around.outside);
    let user = fields.read::<String>("user").map(SecretString::from);
    let named = [("user".to_string(), user), ("password".to_string(), password)];
    let used = Secrets::new(named.into_iter().filter_map(|(name, secret)| Some((name, secret?))));
    Some((RedisServer { address, tls }, used))
}
