//! What differs between two configurations: for people to read, and to know which parts go on as they are.
use std::collections::BTreeSet;
use std::fmt::Debug;

use secrecy::{ExposeSecret, SecretString};

use super::{
    Config, NotifyConfig, Person, PrometheusConfig, RuleConfig, ServiceConfig, TargetConfig, TokenDigest,
};
use crate::domain::names::{RuleName, ServiceName, TargetId};

/// From one configuration to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<ServiceName>,
    pub removed: Vec<ServiceName>,
    pub changed: Vec<ServiceName>,
    /// Top-level keys beside the services.
    pub settings: Vec<&'static str>,
    /// Keys that cannot change while the daemon runs.
    pub needs_restart: Vec<&'static str>,
    /// Something is read from another place, or something else is read.
    pub measuring: bool,
    /// The cluster or the workloads in it.
    pub workloads: bool,
    /// Targets that are another workload now.
    pub elsewhere: BTreeSet<TargetId>,
    /// Rules that are measured in another way now, or not at all any more.
    pub remeasured: BTreeSet<(ServiceName, RuleName)>,
}

impl Changes {
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        for service in &new.services {
            match find(old, &service.name) {
                None => changes.added.push(service.name.clone()),
                Some(before) if before != service => changes.changed.push(service.name.clone()),
                Some(_) => {}
            }
        }
        let gone = old.services.iter().filter(|service| find(new, &service.name).is_none());
        changes.removed.extend(gone.map(|service| service.name.clone()));
        changes.note_settings(old, new);
        changes.note_measuring(old, new);
        changes
    }

    fn note_settings(&mut self, old: &Config, new: &Config) {
        let mut note = |key, same: bool| self.settings.extend((!same).then_some(key));
        note(
            "api.people",
            shown(&old.people) == shown(&new.people) && tokens(&old.people) == tokens(&new.people),
        );
        note(
            "api.slack",
            same(&old.slack_buttons, &new.slack_buttons, |slack| {
                slack.iter().map(|slack| &slack.signing_secret).collect()
            }),
        );
        note("kubernetes.events", old.kubernetes_events == new.kubernetes_events);
        note("kubernetes.compare", old.compare == new.compare);
        note("kubernetes.failed_probes", old.watch_failed_probes == new.watch_failed_probes);
        note("kubernetes", old.kubernetes == new.kubernetes && old.argocd_namespace == new.argocd_namespace);
        note("sources.prometheus", same(&old.sources.prometheus, &new.sources.prometheus, prometheus));
        note("sources.scrape", old.sources.scrape == new.sources.scrape);
        note("sources.cloudwatch", shown(&old.sources.cloudwatch) == shown(&new.sources.cloudwatch));
        note(
            "alertmanager",
            same(&old.alertmanager, &new.alertmanager, |a| {
                a.iter().filter_map(|a| a.webhook_token.as_ref()).collect()
            }),
        );
        note("notify", same(&old.notify, &new.notify, NotifyConfig::secrets));
        note("external_url", old.external_url == new.external_url);
        note("status_page", old.status_page == new.status_page);
        note("registries", old.registries == new.registries);
        note("rollbacks_at_once", old.rollbacks_at_once == new.rollbacks_at_once);
        let mut note = |key, same: bool| self.needs_restart.extend((!same).then_some(key));
        note("listen", old.listen == new.listen);
        note("state_dir", old.state_dir == new.state_dir);
        note("journal", same(&old.journal, &new.journal, |journal| journal.secret().into_iter().collect()));
        note("leadership", old.leadership == new.leadership);
    }

    fn note_measuring(&mut self, old: &Config, new: &Config) {
        let sources = self.settings.iter().any(|key| key.starts_with("sources."));
        let cluster = ["kubernetes", "kubernetes.failed_probes"];
        let cluster = cluster.iter().any(|key| self.settings.contains(key));
        self.workloads = cluster || workloads(old) != workloads(new);
        // Logs are read from the cluster, too.
        let sources = sources || self.settings.contains(&"kubernetes");
        self.measuring = sources || series(old) != series(new) || workloads(old) != workloads(new);
        for before in &old.services {
            let now = find(new, &before.name);
            let rule = |name: &RuleName| now?.rules.iter().find(|rule| rule.rule.name == *name);
            let differs = |was: &&RuleConfig| rule(&was.rule.name).is_none_or(|is| asks(was) != asks(is));
            let named = before.rules.iter().filter(differs).map(|rule| rule.rule.name.clone());
            self.remeasured.extend(named.map(|rule| (before.name.clone(), rule)));
            let target = |was: &TargetConfig| now?.targets.iter().find(|target| target.name == was.name);
            let moved = |was: &&TargetConfig| target(was).is_some_and(|is| is.kind != was.kind);
            let id = |was: &TargetConfig| TargetId { service: before.name.clone(), target: was.name.clone() };
            self.elsewhere.extend(before.targets.iter().filter(moved).map(id));
        }
    }
}

fn tokens(people: &[Person]) -> Vec<Option<TokenDigest>> {
    people.iter().map(|person| person.token).collect()
}

fn find<'a>(config: &'a Config, name: &ServiceName) -> Option<&'a ServiceConfig> {
    config.services.iter().find(|service| service.name == *name)
}

/// What a rule asks its source, whatever is made of the answer.
fn asks(rule: &RuleConfig) -> impl PartialEq + '_ {
    (rule.source, &rule.query)
}

/// All that the sources are asked for.
fn series(config: &Config) -> impl PartialEq + '_ {
    let of_service = |s: &'_ ServiceConfig| (s.name.clone(), s.alarms.clone());
    let rules =
        config.services.iter().flat_map(|s| s.rules.iter().map(move |r| (&s.name, &r.rule.name, asks(r))));
    (config.services.iter().map(of_service).collect::<Vec<_>>(), rules.collect::<Vec<_>>())
}

fn workloads(config: &Config) -> Vec<(&ServiceName, &TargetConfig)> {
    config.services.iter().flat_map(|s| s.targets.iter().map(move |target| (&s.name, target))).collect()
}

fn prometheus(prometheus: &Option<PrometheusConfig>) -> Vec<&SecretString> {
    let headers = prometheus.iter().flat_map(|p| p.headers.iter().map(|(_, value)| value));
    prometheus.iter().filter_map(|p| p.bearer_token.as_ref()).chain(headers).collect()
}

/// Secrets are no part of what Debug shows, so they are compared beside it.
fn same<T: Debug>(old: &T, new: &T, secrets: impl Fn(&T) -> Vec<&SecretString>) -> bool {
    let exposed = |part| secrets(part).into_iter().map(|s| s.expose_secret().to_string()).collect::<Vec<_>>();
    shown(old) == shown(new) && exposed(old) == exposed(new)
}

fn shown(part: &impl Debug) -> String {
    format!("{part:?}")
}
