//! Services and their targets.
use std::collections::BTreeMap;

use super::check::{self, Around, Placed};
use super::frontend::frontend;
use super::keys::{DEFAULTS, SERVICE};
use super::problem::quotable;
use super::raw::Fields;
use super::settings::Settings;
use super::value::KubernetesName;
use super::verify::Verification;
use super::yaml::Entry;
use super::{ServiceConfig, TargetConfig, TargetKindConfig, database, infrastructure, policies, verify};
use crate::domain::guardrails::minimum::MinVersion;
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::plan::kubernetes::Workload;
use crate::domain::policy::table::TargetTerms;
use crate::domain::policy::{Mode, Policy};
use crate::domain::workload::WorkloadKind;

/// All services that could be read; what is wrong with the others is noted.
pub(super) fn services(root: &Fields<'_>, around: &Around) -> Vec<ServiceConfig> {
    let defaults = defaults(root, around);
    let items = root.items("services");
    if root.is_empty_list("services") {
        root.notes.error(root.at("services"), "services: there is none, so nothing is protected");
    }
    let open = |item| Fields::open_over(item, "services", SERVICE, root.notes, defaults);
    let all: Vec<Fields<'_>> = items.iter().filter_map(open).collect();
    check::distinct(&all, "name", "service");
    let mut placed = Vec::new();
    let services = all.iter().filter_map(|fields| service(fields, around, &mut placed)).collect();
    check::shared_places(&placed, root.notes);
    services
}

/// The defaults are read by themselves too: a wrong one is noted even if no service takes it.
fn defaults<'a>(root: &Fields<'a>, around: &Around) -> &'a [Entry] {
    let Some(entry) = root.entry("defaults") else { return &[] };
    let Some(fields) = Fields::open(&entry.node, "defaults", DEFAULTS, root.notes) else { return &[] };
    let settings = Settings::read(&fields, around);
    check::settings(&fields, &settings);
    if let Some(section) = fields.map("verify") {
        verify::by_itself(&section, around, &verify::Measured::default());
    }
    fields.entries()
}

fn service(fields: &Fields<'_>, around: &Around, placed: &mut Vec<Placed>) -> Option<ServiceConfig> {
    let shown = fields.peek("name").and_then(quotable).unwrap_or("this service");
    let settings = Settings::read(fields, around);
    check::service(fields, shown, &settings, around);
    check::settings(fields, &settings);
    let targets = targets(fields, shown, placed, around);
    let terms = terms(fields, &targets);
    check::policy(fields, shown, &settings, &terms, around);
    policies::known_evidence(fields, &settings.rules);
    let Verification { deadline: verify_deadline, checks, secrets: check_secrets } =
        verify::read(fields, &settings, around, &targets);
    Some(ServiceConfig {
        name: fields.read::<ServiceName>("name")?,
        policy: Policy { targets: terms, ..settings.policy? },
        watch: settings.watch,
        page_after: settings.page_after,
        rails: settings.rails,
        approval_expires: settings.approval_expires,
        rollout_deadline: settings.rollout_deadline,
        together: settings.together,
        gitops: settings.gitops,
        targets,
        rules: settings.rules,
        alerts: settings.alerts,
        alarms: settings.alarms,
        judging: settings.judging,
        checks,
        check_secrets,
        verify_deadline,
    })
}

/// What a target may be, as its key names it.
const KINDS: [&str; 4] = ["kubernetes", "frontend", "database", "infrastructure"];

fn targets(
    fields: &Fields<'_>,
    service: &str,
    placed: &mut Vec<Placed>,
    around: &Around,
) -> Vec<TargetConfig> {
    if fields.is_empty_list("targets") {
        fields.notes.error(fields.at("targets"), "targets: there is none, so nothing can be rolled back");
    }
    let all = fields.maps("targets");
    check::distinct(&all, "name", "target");
    let mut read = |target: &Fields<'_>| {
        let name = target.read::<TargetName>("name");
        let min_version =
            target.has("min_version").then(|| target.read::<MinVersion>("min_version")).flatten();
        let key = target.one_of(&KINDS)?;
        let fields = target.map(key)?;
        let kind = match key {
            "frontend" => frontend(&fields)?,
            "database" => TargetKindConfig::Database(Box::new(database::read(&fields, &around.outside)?)),
            "infrastructure" => {
                TargetKindConfig::Infrastructure(Box::new(infrastructure::read(&fields, around)?))
            }
            _ => workload(&fields)?,
        };
        let in_front =
            kind.workload().and_then(|_| fields.read::<KubernetesName>("service")).map(|name| name.0);
        placed.push(Placed { at: target.at(key), service: service.to_string(), place: kind.place() });
        Some(TargetConfig { name: name?, min_version, kind, service: in_front })
    };
    all.iter().filter_map(&mut read).collect()
}

/// What each target is, and what is written about it.
fn terms(fields: &Fields<'_>, targets: &[TargetConfig]) -> BTreeMap<TargetName, TargetTerms> {
    let all = fields.maps("targets");
    let own = |target: &TargetConfig| {
        let fields = all.iter().find(|fields| fields.peek("name") == Some(target.name.as_str()))?;
        fields.read::<Mode>("policy")
    };
    let terms = |target: &TargetConfig| TargetTerms { kind: target.kind.kind(), own: own(target) };
    targets.iter().map(|target| (target.name.clone(), terms(target))).collect()
}

fn workload(fields: &Fields<'_>) -> Option<TargetKindConfig> {
    let namespace = match fields.has("namespace") {
        true => fields.read::<KubernetesName>("namespace").map(|name| name.0),
        false => Some("default".to_string()),
    };
    let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
    let key = fields.one_of(&kinds.map(WorkloadKind::noun))?;
    let kind = kinds.into_iter().find(|kind| kind.noun() == key)?;
    let name = fields.read::<KubernetesName>(key)?.0;
    Some(TargetKindConfig::Kubernetes(Workload { kind, namespace: namespace?, name }))
}
