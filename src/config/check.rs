//! Rules across keys: what each key allows by itself but what would not work, or not as meant, together.
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use super::problem::{Notes, quotable};
use super::raw::Fields;
use super::secrets::Outside;
use super::settings::Settings;
use super::yaml::{Mark, Node, Value};
use super::{Person, SourceName};
use crate::domain::names::TargetName;
use crate::domain::policy::Policy;
use crate::domain::policy::table::TargetTerms;
use crate::domain::role::Role;

/// What the top level offers to the services. By presence: what is there and wrong has its own message.
#[derive(Clone)]
pub(super) struct Around<'a> {
    /// Where secrets are.
    pub(super) outside: Outside<'a>,
    pub(super) prometheus: bool,
    pub(super) scrape: bool,
    pub(super) cloudwatch: bool,
    has_people: bool,
    /// Those who may call.
    pub(super) people: Vec<Person>,
    /// A page reaches somebody.
    pages: bool,
    alertmanager_url: bool,
    webhook_token: bool,
}

/// Channels that a page reaches somebody through.
const PAGES: [&str; 4] = ["webhook", "slack", "pagerduty", "opsgenie"];

impl<'a> Around<'a> {
    pub(super) fn of(root: &Fields<'_>, outside: Outside<'a>, people: Vec<Person>) -> Self {
        let node = |section: &str, key: &str| child(&root.entry(section)?.node, key);
        let has = |section: &str, key: &str| node(section, key).is_some();
        let has_people =
            matches!(node("api", "people").map(|n| &n.value), Some(Value::List(items)) if !items.is_empty());
        let alertmanager_url = has("alertmanager", "url");
        let paging = root.map("alertmanager").and_then(|a| a.read::<bool>("page")).unwrap_or(true);
        let token = ["webhook_token", "webhook_token_file", "webhook_token_env"];
        Self {
            outside,
            prometheus: has("sources", "prometheus"),
            scrape: has("sources", "scrape"),
            cloudwatch: has("sources", "cloudwatch"),
            has_people,
            people,
            pages: alertmanager_url && paging || PAGES.iter().any(|channel| has("notify", channel)),
            alertmanager_url,
            webhook_token: token.iter().any(|key| has("alertmanager", key)),
        }
    }

    pub(super) fn offers(&self, source: SourceName) -> bool {
        match source {
            SourceName::Prometheus => self.prometheus,
            SourceName::Scrape => self.scrape,
            SourceName::CloudWatch => self.cloudwatch,
            SourceName::Http | SourceName::Logs => true,
        }
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
}

/// Whoever reaches an open port must not be able to order, nor to raise alerts.
pub(super) fn exposed(root: &Fields<'_>, listen: SocketAddr, around: &Around) {
    if listen.ip().is_loopback() {
        return;
    }
    let mut missing = Vec::new();
    if !around.has_people {
        missing.push("api.people (a bearer token for each)");
    }
    if !around.webhook_token {
        missing.push("alertmanager.webhook_token_file");
    }
    if !missing.is_empty() {
        let message = format!(
            "listen: {listen} can be reached from outside of this machine: set {}, or listen on 127.0.0.1",
            missing.join(" and ")
        );
        root.notes.error(root.at("listen"), message);
    }
}

/// Replicas take turns where they share a journal, and share one only where they take turns.
pub(super) fn replicas(root: &Fields<'_>) {
    let shared = root.entry("journal").is_some_and(|journal| child(&journal.node, "postgres").is_some());
    match (root.has("leadership"), shared) {
        (true, false) => root.notes.error(
            root.key_at("leadership"),
            "leadership: the journal in state_dir belongs to one daemon alone: add journal.postgres, or leave this out",
        ),
        (false, true) => root.notes.error(
            root.key_at("journal"),
            "journal: several daemons may write in this Postgres: add `leadership: {lease: {}}`, so that one of them leads",
        ),
        (true, true) | (false, false) => {}
    }
}

/// Notes the second of two that have the same name.
pub(super) fn distinct(all: &[Fields<'_>], key: &str, what: &str) {
    let mut lines: HashMap<String, usize> = HashMap::new();
    for fields in all {
        // What is wrong with the name itself is noted when it is read.
        let Some(name) = fields.peek(key) else { continue };
        let at = fields.at(key);
        match lines.get(name) {
            Some(line) => {
                let name = quotable(name).unwrap_or("this name");
                fields
                    .notes
                    .error(at, format!("a second {what} is named {name}: the first is in line {line}"));
            }
            None => {
                lines.insert(name.to_string(), at.line);
            }
        }
    }
}

pub(super) fn distinct_tokens(people: &[(Mark, Person)], notes: &Notes) {
    for (index, (at, person)) in people.iter().enumerate() {
        let Some(token) = person.token else { continue };
        let earlier = people.iter().take(index).find(|(_, other)| other.token == Some(token));
        if let Some((_, other)) = earlier {
            let (name, other) = (&person.name, &other.name);
            notes.error(*at, format!("{name} has the same token as {other}: give everybody their own, so that the journal can tell who approved"));
        }
    }
}

/// Where a target stands and what it is.
pub(super) struct Placed {
    pub(super) at: Mark,
    pub(super) service: String,
    pub(super) place: String,
}

/// Two targets on one thing would roll it back twice.
pub(super) fn shared_places(placed: &[Placed], notes: &Notes) {
    let mut first: HashMap<&str, &Placed> = HashMap::new();
    for target in placed {
        let Some(other) = first.get(target.place.as_str()) else {
            first.insert(&target.place, target);
            continue;
        };
        let message = format!(
            "{} is a target already, of {} in line {}: it can be rolled back by one only",
            target.place, other.service, other.at.line
        );
        notes.error(target.at, message);
    }
}

pub(super) fn label_name(name: &str, at: Mark, notes: &Notes) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(allowed) {
        notes.error(at, "this is no label name: use letters, digits and _, not beginning with a digit");
    }
}

/// Values may be secrets and are not repeated.
pub(super) fn header(name: &str, value: &str, at: Mark, notes: &Notes) {
    let token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        notes.error(at, "this is no header name: use letters, digits, - and _");
    }
    if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        notes.error(at, "headers: a value must be printable ASCII");
    }
}

/// What a service asks for and the top level must offer. `name` is as it stands in the file.
pub(super) fn service(fields: &Fields<'_>, name: &str, settings: &Settings, around: &Around) {
    if settings.policy.as_ref().is_some_and(|policy| !policy.observe) && !around.pages {
        fields.notes.error(
            fields.at("policy"),
            format!("policy: a page about {name} reaches nobody: set alertmanager.url, or notify.slack, pagerduty, opsgenie or webhook, or the policy observe"),
        );
    }
    if !fields.has("rules") || fields.is_empty_list("rules") {
        fields.notes.warning(fields.at("rules"), format!("{name} has no rules: only its pods and alerts are judged, and no release can be proven healthy"));
    }
}

/// What is asked must be asked of somebody.
pub(super) fn policy(
    fields: &Fields<'_>,
    name: &str,
    settings: &Settings,
    targets: &BTreeMap<TargetName, TargetTerms>,
    around: &Around,
) {
    let Some(policy) = &settings.policy else { return };
    let policy = Policy { targets: targets.clone(), ..policy.clone() };
    let anybody = around.people.iter().any(|person| person.may(Role::Approve));
    if policy.asks() && !policy.observe && !anybody {
        fields.notes.error(fields.at("policy"), format!("policy: {name} waits for an approval that nobody can give: add a person with a token to api.people"));
    }
}

/// Durations of one service that contradict each other.
pub(super) fn settings(fields: &Fields<'_>, settings: &Settings) {
    never_speaking(fields, settings.watch);
    always_blind(fields, settings.judging.blind_after_secs);
    let Some(judging) = fields.map("judging") else { return };
    let watch = settings.watch.as_secs_f64();
    let longer = |key: &str, secs: f64, why: &str| {
        if judging.has(key) && secs > watch {
            fields.notes.error(judging.at(key), format!("{key}: longer than the watch: {why}"));
        }
    };
    longer("settle", settings.judging.settle_secs, "no release could ever be proven healthy");
    longer("blind_after", settings.judging.blind_after_secs, "missing data would never page");
    if settings.judging.batch_secs >= watch {
        fields.notes.error(judging.at("batch"), "batch: not shorter than the watch: nothing would be judged");
    } else if settings.judging.batch_secs < 5.0 {
        fields.notes.warning(
            judging.at("batch"),
            "batch: below 5s requests of one batch are hardly independent: meant for tests",
        );
    }
}

/// Rules that need as long as a watch lasts, or longer.
fn never_speaking(fields: &Fields<'_>, watch: Duration) {
    for rule in fields.maps("rules") {
        let keys = [("value", "for"), ("logs", "for"), ("http", "failing_for"), ("journey", "failing_for")];
        for (kind, key) in keys {
            let Some(body) = rule.map(kind) else { continue };
            if body.read::<Duration>(key).is_some_and(|needed| needed >= watch) {
                let message = format!("{key}: not shorter than the watch: the rule could never speak");
                body.notes.error(body.at(key), message);
            }
        }
    }
}

/// Rules that are asked so seldom that their silence between two answers would page.
fn always_blind(fields: &Fields<'_>, blind_after_secs: f64) {
    for rule in fields.maps("rules") {
        for body in ["http", "journey"].into_iter().filter_map(|kind| rule.map(kind)) {
            let every = body.read::<Duration>("every").filter(|every| every.as_secs_f64() > blind_after_secs);
            if every.is_some() {
                let message = "every: longer than judging.blind_after: the time between two answers would page as blindness";
                body.notes.error(body.at("every"), message);
            }
        }
    }
}

/// Checks that nothing measures would wait for their deadline after every rollback.
pub(super) fn measured(check: &Fields<'_>, settings: &Settings, around: &Around) {
    let (errors, latency) = ("a rule with errors", "a rule with latency");
    let needs = [
        ("no_active_alerts", "alertmanager.url", around.alertmanager_url),
        ("error_rate", errors, settings.measures_errors()),
        ("throughput", errors, settings.measures_errors()),
        ("latency_p95", latency, settings.measures_latency()),
    ];
    for (kind, needed, given) in needs {
        if check.has(kind) && !given {
            check.notes.error(check.key_at(kind), format!("{kind}: nothing measures this: add {needed}"));
        }
    }
}
