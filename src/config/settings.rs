//! What a service may leave to the defaults: its policy, times, rules, alerts and judging.
use std::time::Duration;

use jiff::SignedDuration;

use super::check::{self, Around};
use super::raw::Fields;
use super::read::labels;
use super::value::Share;
use super::{
    AlarmPattern, AlertsConfig, GitOpsPolicy, RuleConfig, RuleQuery, Selector, SourceName, cloudwatch,
    policies, probes, rules,
};
use crate::domain::guardrails::Rails;
use crate::domain::guardrails::freeze::{Freeze, FreezeError};
use crate::domain::names::RuleName;
use crate::domain::policy::Policy;
use crate::domain::runbook::{Judging, Rule, RuleKind};

/// A service's settings as far as they could be read.
pub(super) struct Settings {
    pub(super) policy: Option<Policy>,
    pub(super) watch: Duration,
    pub(super) page_after: Duration,
    pub(super) rails: Rails,
    pub(super) approval_expires: Duration,
    pub(super) rollout_deadline: Duration,
    pub(super) together: bool,
    pub(super) gitops: GitOpsPolicy,
    pub(super) rules: Vec<RuleConfig>,
    pub(super) alerts: Option<AlertsConfig>,
    pub(super) alarms: Vec<AlarmPattern>,
    pub(super) judging: Judging,
    has_errors: bool,
    has_latency: bool,
}

impl Settings {
    pub(super) fn read(fields: &Fields<'_>, around: &Around) -> Self {
        let minutes = |key: &str, usual: u64| fields.read(key).unwrap_or(Duration::from_secs(usual * 60));
        let watch = minutes("watch", 30);
        let rules = fields.maps("rules");
        check::distinct(&rules, "name", "rule");
        let approval_expires = minutes("approval_expires", 15);
        Self {
            policy: policies::policy(fields, &around.people, approval_expires),
            watch,
            page_after: minutes("page_after", 2),
            rails: rails(fields),
            approval_expires,
            rollout_deadline: minutes("rollout_deadline", 10),
            together: fields.read("together").unwrap_or(true),
            gitops: fields.read("gitops").unwrap_or_default(),
            has_errors: rules.iter().any(|rule| rule.has("errors")),
            has_latency: rules.iter().any(|rule| rule.has("latency")),
            rules: rules.iter().filter_map(|fields| rule(fields, around)).collect(),
            alerts: fields.map("alerts").and_then(|alerts| read_alerts(&alerts)),
            alarms: cloudwatch::alarms(fields, around),
            judging: judging(fields, watch),
        }
    }

    /// By presence: a rule that is wrong has its own message.
    pub(super) fn measures_errors(&self) -> bool {
        self.has_errors
    }

    pub(super) fn measures_latency(&self) -> bool {
        self.has_latency
    }
}

fn rails(fields: &Fields<'_>) -> Rails {
    let usual = Rails::default();
    Rails {
        cool_down: fields.read("cool_down").unwrap_or(usual.cool_down),
        max_per_day: fields.read("max_per_day").unwrap_or(usual.max_per_day),
        freezes: fields.maps("freeze").iter().filter_map(freeze).collect(),
    }
}

fn freeze(fields: &Fields<'_>) -> Option<Freeze> {
    let zone = fields.read("time_zone").unwrap_or_else(|| "UTC".to_string());
    let why = fields.read::<String>("reason").unwrap_or_default();
    let (cron, lasts) = (fields.read::<String>("cron")?, fields.read::<Duration>("duration")?);
    let lasts = SignedDuration::try_from(lasts).ok()?;
    let wrong = |error: FreezeError| {
        let key = match error {
            FreezeError::Cron { .. } => "cron",
            FreezeError::Zone { .. } => "time_zone",
        };
        fields.notes.error(fields.at(key), format!("{key}: {error}"));
    };
    Freeze::new(&cron, &zone, lasts, &why).map_err(wrong).ok()
}

fn rule(fields: &Fields<'_>, around: &Around) -> Option<RuleConfig> {
    let name = fields.read::<RuleName>("name");
    let key = fields.one_of(&["errors", "latency", "value", "logs", "http", "journey", "tls"])?;
    let kind = fields.map(key)?;
    let source = match key {
        "logs" => Some(SourceName::Logs),
        outside if probes::KINDS.contains(&outside) => Some(SourceName::Http),
        _ => source(&kind, around),
    };
    let (threshold, query) = match key {
        "errors" if source == Some(SourceName::CloudWatch) => cloudwatch::errors(&kind)?,
        "errors" => errors(&kind)?,
        "latency" => latency(&kind, source)?,
        "value" => rules::value(&kind, source)?,
        "logs" => rules::logs(&kind)?,
        _ => rules::outside(key, &kind, &around.outside)?,
    };
    if source == Some(SourceName::Scrape) && matches!(query, RuleQuery::Value { pods: false, .. }) {
        let message = "pods: the source scrape reads nothing but pods: measure this by another";
        kind.notes.error(kind.at("pods"), message);
    }
    Some(RuleConfig { rule: Rule::new(name?, threshold), source: source?, query })
}

fn errors(fields: &Fields<'_>) -> Option<(RuleKind, RuleQuery)> {
    cloudwatch::only_here(fields);
    let above = fields.read::<Share>("above");
    let (total, bad) = (fields.read::<Selector>("total"), fields.read::<Selector>("bad"));
    if bad.is_some() && bad == total {
        fields
            .notes
            .error(fields.at("bad"), "bad: the same as total, so every request would count as failed");
        return None;
    }
    Some((RuleKind::Errors { above: above?.0 }, RuleQuery::Errors { total: total?, bad: bad? }))
}

fn latency(fields: &Fields<'_>, source: Option<SourceName>) -> Option<(RuleKind, RuleQuery)> {
    if source == Some(SourceName::CloudWatch) {
        let message =
            "latency: CloudWatch has no histograms: write a rule with value on a percentile such as p95";
        fields.notes.error(fields.begin(), message);
        return None;
    }
    let increase = fields.read::<Share>("increase");
    let histogram = fields.read::<Selector>("histogram");
    if histogram.as_ref().is_some_and(|selector| selector.name().ends_with("_bucket")) {
        fields.notes.error(fields.at("histogram"), "histogram: leave out _bucket at the end of the name");
        return None;
    }
    Some((RuleKind::Latency { increase: increase?.0 }, RuleQuery::Latency { histogram: histogram? }))
}

fn source(fields: &Fields<'_>, around: &Around) -> Option<SourceName> {
    if !fields.has("source") {
        return only_source(fields, around);
    }
    let source = fields.read::<SourceName>("source")?;
    if !around.offers(source) {
        let name = source.as_str();
        fields
            .notes
            .error(fields.at("source"), format!("source: {name} is not configured: add sources.{name}"));
        return None;
    }
    Some(source)
}

fn only_source(fields: &Fields<'_>, around: &Around) -> Option<SourceName> {
    let offered: Vec<SourceName> = SourceName::ALL.into_iter().filter(|s| around.offers(*s)).collect();
    let names = |sources: &[SourceName], before: &str| {
        sources.iter().map(|s| format!("{before}{}", s.as_str())).collect::<Vec<_>>().join(" or ")
    };
    let wrong = match offered.as_slice() {
        [one] => return Some(*one),
        [] => format!("there is no source to measure this: add {}", names(&SourceName::ALL, "sources.")),
        several => format!(
            "source is missing: {} are configured, so say {}",
            if several.len() == 2 { "two" } else { "several" },
            names(several, "")
        ),
    };
    fields.notes.error(fields.begin(), wrong);
    None
}

fn read_alerts(fields: &Fields<'_>) -> Option<AlertsConfig> {
    let severities = match fields.has("severities") {
        true => fields.texts("severities"),
        false => vec!["critical".to_string()],
    };
    if fields.is_empty_list("severities") {
        fields.notes.error(fields.at("severities"), "severities: there is none, so no alert would count");
    }
    let match_labels = labels(fields, "match")?;
    if match_labels.is_empty() {
        fields.notes.error(
            fields.at("match"),
            "match: without labels every alert would be about this service: write such as {service: shop}",
        );
        return None;
    }
    Some(AlertsConfig { match_labels, severities })
}

fn judging(fields: &Fields<'_>, watch: Duration) -> Judging {
    let mut judging = Judging::standard(watch);
    if let Some(corroborate) = fields.map("alerts").and_then(|alerts| alerts.read("corroborate")) {
        judging.corroborate_alerts = corroborate;
    }
    let Some(own) = fields.map("judging") else { return judging };
    let set = |key: &str, secs: &mut f64| {
        if let Some(value) = own.read::<Duration>(key) {
            *secs = value.as_secs_f64();
        }
    };
    set("batch", &mut judging.batch_secs);
    set("never_ready_after", &mut judging.never_ready_after_secs);
    set("unready_after", &mut judging.unready_after_secs);
    set("start_failure_after", &mut judging.start_failure_after_secs);
    set("blind_after", &mut judging.blind_after_secs);
    set("settle", &mut judging.settle_secs);
    set("warm_up", &mut judging.warm_up_secs);
    judging.late_onset = own.read("late_onset").unwrap_or_default();
    judging.end_when_healthy = own.read("end_when_healthy").unwrap_or_default();
    judging
}
