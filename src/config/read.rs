//! The top level of the configuration: where rollguard runs, what it reads and whom it tells.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::check::{self, Around};
use super::keys::ROOT;
use super::problem::Notes;
use super::raw::Fields;
use super::secrets::{self, Outside};
use super::value::KubernetesName;
use super::yaml::Node;
use super::{
    AlertmanagerConfig, CompareConfig, Config, KubernetesConfig, Paging, PrometheusConfig, ScrapeConfig,
    SourcesConfig, cloudwatch, journal, leadership, notify, people, registries, services,
};
use crate::domain::owner::ARGOCD_NAMESPACE;

/// `None` only together with at least one error.
pub(super) fn config(root: &Node, notes: &Notes, outside: Outside<'_>) -> Option<Config> {
    let root = Fields::open(root, "the file", ROOT, notes)?;
    let api = root.map("api");
    let people = api.as_ref().map(|api| people::people(api, &outside)).unwrap_or_default();
    let slack_buttons = api.as_ref().and_then(|api| people::slack(api, &people, &outside));
    let around = Around::of(&root, outside, people.clone());
    let listen = root.read::<SocketAddr>("listen").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9095)));
    check::exposed(&root, listen, &around);
    check::replicas(&root);
    let state_dir = root.read::<PathBuf>("state_dir").unwrap_or_else(|| PathBuf::from("/var/lib/rollguard"));
    let cluster = root.map("kubernetes");
    let config = Config {
        listen,
        state_dir: outside.path(state_dir),
        journal: root.map("journal").map(|j| journal::journal(&j, &outside)).unwrap_or_default(),
        leadership: leadership::leadership(&root),
        external_url: external_url(&root),
        status_page: root.read("status_page"),
        people,
        slack_buttons,
        kubernetes_events: cluster.as_ref().and_then(|k| k.read("events")).unwrap_or(true),
        watch_failed_probes: cluster.as_ref().and_then(|k| k.read("failed_probes")).unwrap_or(false),
        compare: cluster.as_ref().and_then(|k| k.map("compare")).map(|c| compare(&c)).unwrap_or_default(),
        argocd_namespace: argocd_namespace(cluster.as_ref()),
        kubernetes: cluster.map_or(KubernetesConfig::Infer, |k| kubernetes(&k, &outside)),
        sources: root.map("sources").map(|s| sources(&s, &outside)).unwrap_or_default(),
        registries: root.map("registries").map(|r| registries::registries(&r)).unwrap_or_default(),
        alertmanager: root.map("alertmanager").map(|a| alertmanager(&a, &outside)),
        notify: root.map("notify").map(|n| notify::notify(&n, &outside)).unwrap_or_default(),
        rollbacks_at_once: root.read("rollbacks_at_once").unwrap_or(2),
        services: services::services(&root, &around),
    };
    Some(config)
}

fn kubernetes(fields: &Fields<'_>, outside: &Outside<'_>) -> KubernetesConfig {
    let (path, context) = (fields.read::<PathBuf>("kubeconfig"), fields.read::<String>("context"));
    if let Some(url) = base_url(fields) {
        if let Some(other) = ["kubeconfig", "context"].into_iter().find(|key| fields.has(key)) {
            fields.notes.error(fields.key_at(other), format!("url and {other} exclude each other: keep one"));
        }
        return KubernetesConfig::Url(url);
    }
    if path.is_none() && context.is_none() {
        return KubernetesConfig::Infer;
    }
    KubernetesConfig::Kubeconfig { path: path.map(|path| outside.path(path)), context }
}

fn compare(fields: &Fields<'_>) -> CompareConfig {
    let on = |key: &str| fields.read(key).unwrap_or(false);
    CompareConfig { config_maps: on("config_maps"), secrets: on("secrets") }
}

fn argocd_namespace(kubernetes: Option<&Fields<'_>>) -> String {
    let named = kubernetes.and_then(|fields| fields.read::<KubernetesName>("argocd_namespace"));
    named.map_or_else(|| ARGOCD_NAMESPACE.to_string(), |name| name.0)
}

/// A URL that paths are added to.
fn base_url(fields: &Fields<'_>) -> Option<Url> {
    base(fields, "url")
}

fn external_url(root: &Fields<'_>) -> Option<String> {
    base(root, "external_url").map(|url| url.as_str().trim_end_matches('/').to_string())
}

fn base(fields: &Fields<'_>, key: &str) -> Option<Url> {
    let url = fields.read::<Url>(key)?;
    if url.query().is_some() || url.fragment().is_some() {
        let message = format!("{key}: paths are added to this URL: leave out what begins with ? or #");
        fields.notes.error(fields.at(key), message);
        return None;
    }
    Some(url)
}

fn sources(fields: &Fields<'_>, outside: &Outside<'_>) -> SourcesConfig {
    SourcesConfig {
        prometheus: fields.map("prometheus").and_then(|p| prometheus(&p, outside)),
        scrape: fields.map("scrape").map(|s| scrape(&s)),
        cloudwatch: fields.map("cloudwatch").and_then(|c| cloudwatch::source(&c)),
    }
}

fn prometheus(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<PrometheusConfig> {
    let label = |key: &str, usual: &str| {
        let label = fields.read::<String>(key).unwrap_or_else(|| usual.to_string());
        check::label_name(&label, fields.at(key), fields.notes);
        label
    };
    let seconds = |key: &str, usual| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let read = PrometheusConfig {
        interval: seconds("interval", 5),
        timeout: seconds("timeout", 5),
        bearer_token: secrets::token(fields, "bearer_token", outside),
        headers: headers(fields),
        namespace_label: label("namespace_label", "namespace"),
        pod_label: label("pod_label", "pod"),
        url: base_url(fields)?,
    };
    Some(read)
}

fn headers(fields: &Fields<'_>) -> Vec<(String, SecretString)> {
    let pairs = fields.pairs("headers").into_iter();
    pairs
        .map(|(name, (at, value))| {
            check::header(&name, &value, at, fields.notes);
            if name.eq_ignore_ascii_case("authorization") {
                fields.notes.error(at, "headers: use bearer_token_file for Authorization");
            }
            (name, SecretString::from(value))
        })
        .collect()
}

fn scrape(fields: &Fields<'_>) -> ScrapeConfig {
    let seconds = |key: &str, usual| fields.read(key).unwrap_or(Duration::from_secs(usual));
    let read = ScrapeConfig {
        interval: seconds("interval", 15),
        fresh_interval: seconds("fresh_interval", 1),
        timeout: seconds("timeout", 1),
    };
    if read.fresh_interval > read.interval {
        fields.notes.error(
            fields.at("fresh_interval"),
            "fresh_interval: longer than interval, so fresh releases would be read less often",
        );
    }
    read
}

fn alertmanager(fields: &Fields<'_>, outside: &Outside<'_>) -> AlertmanagerConfig {
    let url = base_url(fields);
    let page = fields.read::<bool>("page").unwrap_or(true);
    if page && fields.has("page") && !fields.has("url") {
        fields.notes.error(fields.at("page"), "page: there is no url to send pages to: add alertmanager.url");
    }
    let labels = labels(fields, "labels")
        .unwrap_or_else(|| BTreeMap::from([("severity".to_string(), "critical".to_string())]));
    AlertmanagerConfig {
        webhook_token: secrets::guarding(fields, "webhook_token", outside),
        paging: url.clone().filter(|_| page).map(|url| Paging { url, labels }),
        url,
    }
}

/// Labels with valid names; `None` if the key is not there.
pub(super) fn labels(fields: &Fields<'_>, key: &str) -> Option<BTreeMap<String, String>> {
    fields.entry(key)?;
    let pairs = fields.pairs(key);
    pairs.iter().for_each(|(name, (at, _))| check::label_name(name, *at, fields.notes));
    Some(pairs.into_iter().map(|(name, (_, value))| (name, value)).collect())
}
