//! Who is told, where, and in which words: the section `notify`.
use std::collections::BTreeMap;

use secrecy::SecretString;
use url::Url;

use super::raw::Fields;
use super::secrets::{self, Outside, SecretUrl};
use crate::domain::message::wording::{Occasion, Template};
use crate::domain::names::ServiceName;

#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    pub slack: Option<SlackConfig>,
    pub pagerduty: Option<PagerDutyConfig>,
    pub opsgenie: Option<OpsgenieConfig>,
    pub statuspage: Option<StatuspageConfig>,
    pub github: Option<GitHubConfig>,
    pub webhook: Option<WebhookConfig>,
    pub templates: TemplatesConfig,
}

impl NotifyConfig {
    /// In a fixed order, to see whether one of them changed.
    pub(super) fn secrets(&self) -> Vec<&SecretString> {
        let slack = self.slack.iter().map(|slack| match slack {
            SlackConfig::Webhook(url) => url.secret(),
            SlackConfig::Bot { token, .. } => token,
        });
        let keys = [
            self.pagerduty.as_ref().map(|p| &p.routing_key),
            self.opsgenie.as_ref().map(|o| &o.api_key),
            self.statuspage.as_ref().map(|s| &s.api_key),
            self.github.as_ref().map(|g| &g.token),
        ];
        let webhook = self.webhook.iter().flat_map(|hook| [hook.url.secret(), &hook.secret]);
        slack.chain(keys.into_iter().flatten()).chain(webhook).collect()
    }
}

#[derive(Clone, Debug)]
pub enum SlackConfig {
    Webhook(SecretUrl),
    Bot {
        token: SecretString,
        /// Its id, or its name.
        channel: String,
        /// Base of the Web API.
        url: Url,
    },
}

#[derive(Clone, Debug)]
pub struct PagerDutyConfig {
    pub url: Url,
    pub routing_key: SecretString,
}

#[derive(Clone, Debug)]
pub struct OpsgenieConfig {
    pub url: Url,
    pub api_key: SecretString,
}

#[derive(Clone, Debug)]
pub struct StatuspageConfig {
    pub url: Url,
    pub page: String,
    pub api_key: SecretString,
    pub components: Vec<String>,
    pub title: String,
    pub identified: String,
    pub monitoring: String,
    pub resolved: String,
}

#[derive(Clone, Debug)]
pub struct GitHubConfig {
    pub url: Url,
    pub token: SecretString,
    pub environment: String,
    pub repositories: BTreeMap<ServiceName, String>,
}

#[derive(Clone, Debug)]
pub struct WebhookConfig {
    pub url: SecretUrl,
    /// Key of the HMAC-SHA256 signature.
    pub secret: SecretString,
}

/// Each has been rendered with sample data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplatesConfig {
    pub action: Option<Template>,
    pub complete: Option<Template>,
    pub failed: Option<Template>,
}

impl TemplatesConfig {
    pub fn all(&self) -> impl Iterator<Item = (Occasion, &Template)> {
        let all = [
            (Occasion::Action, &self.action),
            (Occasion::Complete, &self.complete),
            (Occasion::Failed, &self.failed),
        ];
        all.into_iter().filter_map(|(occasion, template)| Some((occasion, template.as_ref()?)))
    }
}

pub(super) fn notify(fields: &Fields<'_>, outside: &Outside<'_>) -> NotifyConfig {
    let webhook = |w: Fields<'_>| {
        let (url, secret) = (secrets::url(&w, "url", outside), secrets::guarding(&w, "secret", outside));
        Some(WebhookConfig { url: url?, secret: secret? })
    };
    let pagerduty = |p: Fields<'_>| {
        let (url, key) =
            (url(&p, "https://events.pagerduty.com"), secrets::token(&p, "routing_key", outside));
        Some(PagerDutyConfig { url: url?, routing_key: key? })
    };
    let opsgenie = |o: Fields<'_>| {
        let (url, key) = (url(&o, "https://api.opsgenie.com"), secrets::token(&o, "api_key", outside));
        Some(OpsgenieConfig { url: url?, api_key: key? })
    };
    NotifyConfig {
        slack: fields.map("slack").and_then(|s| slack(&s, outside)),
        pagerduty: fields.map("pagerduty").and_then(pagerduty),
        opsgenie: fields.map("opsgenie").and_then(opsgenie),
        statuspage: fields.map("statuspage").and_then(|s| statuspage(&s, outside)),
        github: fields.map("github").and_then(|g| github(&g, outside)),
        webhook: fields.map("webhook").and_then(webhook),
        templates: fields.map("templates").map(|t| templates(&t)).unwrap_or_default(),
    }
}

fn url(fields: &Fields<'_>, usual: &str) -> Option<Url> {
    if fields.has("url") { fields.read("url") } else { Url::parse(usual).ok() }
}

fn slack(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<SlackConfig> {
    let given = |stem: &str| ["", "_env", "_file"].iter().any(|end| fields.has(&format!("{stem}{end}")));
    let wrong = match (given("webhook_url"), given("bot_token")) {
        (true, true) => "webhook_url and bot_token exclude each other: keep one",
        (false, false) => "webhook_url or bot_token is missing: name a secret, best as …_env or …_file",
        (true, false) => return secrets::url(fields, "webhook_url", outside).map(SlackConfig::Webhook),
        (false, true) if !fields.has("channel") => {
            "channel is missing: a bot must know where to post, such as C0123ABCD"
        }
        (false, true) => {
            let token = secrets::token(fields, "bot_token", outside);
            let channel = fields.read::<String>("channel");
            let url = url(fields, "https://slack.com/api");
            return Some(SlackConfig::Bot { token: token?, channel: channel?, url: url? });
        }
    };
    fields.notes.error(fields.begin(), format!("slack: {wrong}"));
    None
}

fn statuspage(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<StatuspageConfig> {
    let text = |key: &str, usual: &str| fields.read(key).unwrap_or_else(|| usual.to_string());
    let key = secrets::token(fields, "api_key", outside);
    Some(StatuspageConfig {
        title: text("title", "Elevated error rates"),
        identified: text(
            "identified",
            "A recent deployment causes elevated error rates. We are going back to the version before it.",
        ),
        monitoring: text(
            "monitoring",
            "We have rolled back a recent deployment that caused elevated error rates. All services are operating normally, and we keep watching.",
        ),
        resolved: text(
            "resolved",
            "We have rolled back a recent deployment that caused elevated error rates. All services are now operating normally.",
        ),
        components: fields.texts("components"),
        url: url(fields, "https://api.statuspage.io/v1")?,
        page: fields.read("page")?,
        api_key: key?,
    })
}

fn github(fields: &Fields<'_>, outside: &Outside<'_>) -> Option<GitHubConfig> {
    let token = secrets::token(fields, "token", outside);
    let mut repositories = BTreeMap::new();
    for (service, (at, repository)) in fields.pairs("repositories") {
        let plain = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let named = repository.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name));
        match (ServiceName::parse(service), named) {
            (Err(error), _) => fields.notes.error(at, format!("repositories: {error}")),
            (Ok(_), false) => {
                fields.notes.error(at, "repositories: this is no repository: write it as OWNER/NAME");
            }
            (Ok(service), true) => drop(repositories.insert(service, repository)),
        }
    }
    Some(GitHubConfig {
        environment: fields.read("environment").unwrap_or_else(|| "production".to_string()),
        url: url(fields, "https://api.github.com")?,
        token: token?,
        repositories,
    })
}

fn templates(fields: &Fields<'_>) -> TemplatesConfig {
    let template = |occasion: Occasion| {
        let source = fields.read::<String>(occasion.as_str())?;
        let wrong = |why| {
            let key = occasion.as_str();
            fields.notes.error(fields.at(key), format!("{key}: {why}"));
        };
        Template::parse(&source, occasion).map_err(wrong).ok()
    };
    TemplatesConfig {
        action: template(Occasion::Action),
        complete: template(Occasion::Complete),
        failed: template(Occasion::Failed),
    }
}
