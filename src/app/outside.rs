//! From the configuration to what asks from outside: a source for each pace, and the secrets of the checks.
use std::collections::BTreeMap;
use std::time::Duration;

use super::AppError;
use super::build::setup;
use crate::adapters::checks::CheckSecrets;
use crate::adapters::signals::http::{HttpRule, HttpSource};
use crate::config::{Config, OutsideCheck, RuleConfig, RuleQuery, ServiceConfig};
use crate::domain::probe::Probe;

/// Slow ones by themselves, so that a journey never holds up a request, and those of one pace at rest together.
pub(super) fn sources(config: &Config) -> Result<Vec<HttpSource>, AppError> {
    let mut by_pace: BTreeMap<(&str, Duration), Vec<HttpRule>> = BTreeMap::new();
    for service in &config.services {
        for (rule, check) in service.rules.iter().filter_map(|rule| Some((rule, outside(rule)?))) {
            let name = match check.probe {
                Probe::Http(_) | Probe::Certificate(_) => "http",
                Probe::Journey(_) => "journeys",
            };
            by_pace.entry((name, check.at_rest)).or_default().push(asked(service, rule, check));
        }
    }
    // At rest, requests have one pace and journeys each their own, by which they are told apart.
    let source = |((name, at_rest), rules)| match name {
        "http" => HttpSource::new(name, rules, at_rest),
        _ => HttpSource::new(&format!("{name}-{}", humantime::format_duration(at_rest)), rules, at_rest),
    };
    by_pace.into_iter().map(source).collect::<Result<_, _>>().map_err(setup("the checks from outside"))
}

fn outside(rule: &RuleConfig) -> Option<&OutsideCheck> {
    match &rule.query {
        RuleQuery::Http(check) => Some(check),
        RuleQuery::Errors { .. }
        | RuleQuery::Latency { .. }
        | RuleQuery::Value { .. }
        | RuleQuery::CloudWatch(_)
        | RuleQuery::Logs(_) => None,
    }
}

fn asked(service: &ServiceConfig, rule: &RuleConfig, check: &OutsideCheck) -> HttpRule {
    HttpRule {
        service: service.name.clone(),
        rule: rule.rule.name.clone(),
        probe: check.probe.clone(),
        secrets: check.secrets.clone(),
        every: check.every,
    }
}

/// What the journeys among the checks may use.
pub(super) fn secrets(config: &Config) -> CheckSecrets {
    let of = |service: &ServiceConfig| (service.name.clone(), service.check_secrets.clone());
    config.services.iter().map(of).collect()
}
