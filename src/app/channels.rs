//! The channels that the configuration names, each told in the user's own words where there are some.
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use super::build::setup;
use crate::adapters::notify::alertmanager::{Alertmanager, AlertmanagerConfig};
use crate::adapters::notify::github::{GitHub, GitHubConfig};
use crate::adapters::notify::opsgenie::{Opsgenie, OpsgenieConfig};
use crate::adapters::notify::pagerduty::{PagerDuty, PagerDutyConfig};
use crate::adapters::notify::slack::Slack;
use crate::adapters::notify::slack::bot::{self, SlackBot, SlackBotConfig};
use crate::adapters::notify::statuspage::{self, PublicTexts, Statuspage, StatuspageConfig};
use crate::adapters::notify::webhook::Webhook;
use crate::adapters::outbound::{self, HttpClient};
use crate::config::{Config, SlackConfig};
use crate::domain::message::Wording;
use crate::ports::Notifier;

/// A message takes no longer than this.
const OUTBOUND_MAX: Duration = Duration::from_secs(5);

type Channels = Vec<Arc<dyn Notifier>>;

pub(super) fn notifiers(config: &Config) -> Result<Channels, AppError> {
    let client = outbound::build(outbound::builder(OUTBOUND_MAX)).map_err(setup("HTTP"))?;
    let templates = config.notify.templates.clone();
    let wording = Arc::new(Wording {
        action: templates.action,
        complete: templates.complete,
        failed: templates.failed,
        external_url: config.external_url.clone(),
    });
    let mut channels = pagers(config, &wording, &client)?;
    channels.extend(slack(config, &wording, &client)?);
    channels.extend(public(config, &wording, &client)?);
    if let Some(webhook) = &config.notify.webhook {
        let url = webhook.url.expose().to_string().into();
        let channel = Webhook::new("webhook", &url, &webhook.secret, client);
        channels.push(Arc::new(channel.map_err(setup("the webhook"))?));
    }
    Ok(channels)
}

fn pagers(config: &Config, wording: &Arc<Wording>, client: &HttpClient) -> Result<Channels, AppError> {
    let mut channels: Channels = Vec::new();
    if let Some(paging) = config.alertmanager.as_ref().and_then(|a| a.paging.as_ref()) {
        let options = AlertmanagerConfig {
            url: paging.url.to_string().into(),
            token: None,
            labels: paging.labels.clone(),
        };
        let channel = Alertmanager::new("alertmanager", options, client.clone());
        channels.push(Arc::new(channel.map_err(setup("paging through Alertmanager"))?));
    }
    if let Some(own) = &config.notify.pagerduty {
        let options = PagerDutyConfig { url: own.url.to_string(), routing_key: own.routing_key.clone() };
        let channel = PagerDuty::new("pagerduty", options, wording.clone(), client.clone());
        channels.push(Arc::new(channel.map_err(setup("PagerDuty"))?));
    }
    if let Some(own) = &config.notify.opsgenie {
        let options = OpsgenieConfig { url: own.url.to_string(), api_key: own.api_key.clone() };
        let channel = Opsgenie::new("opsgenie", options, wording.clone(), client.clone());
        channels.push(Arc::new(channel.map_err(setup("Opsgenie"))?));
    }
    Ok(channels)
}

fn slack(config: &Config, wording: &Arc<Wording>, client: &HttpClient) -> Result<Channels, AppError> {
    Ok(match &config.notify.slack {
        None => Vec::new(),
        Some(SlackConfig::Webhook(url)) => {
            let url = url.expose().to_string().into();
            let channel = Slack::new("slack", &url, client.clone()).map_err(setup("Slack"))?;
            vec![Arc::new(channel.worded(wording.clone()))]
        }
        Some(SlackConfig::Bot { token, channel, url }) => {
            let options = SlackBotConfig {
                url: url.to_string(),
                token: token.clone(),
                place: channel.clone(),
                pace: bot::PACE,
            };
            let bot = SlackBot::new("slack", options, wording.clone(), client.clone());
            vec![Arc::new(bot.map_err(setup("Slack"))?)]
        }
    })
}

/// Where others than the team look.
fn public(config: &Config, wording: &Arc<Wording>, client: &HttpClient) -> Result<Channels, AppError> {
    let mut channels: Channels = Vec::new();
    if let Some(own) = config.notify.statuspage.clone() {
        let options = StatuspageConfig {
            url: own.url.to_string(),
            page: own.page,
            api_key: own.api_key,
            components: own.components,
            texts: PublicTexts {
                title: own.title,
                identified: own.identified,
                monitoring: own.monitoring,
                resolved: own.resolved,
            },
            pace: statuspage::PACE,
        };
        let channel = Statuspage::new("statuspage", options, client.clone());
        channels.push(Arc::new(channel.map_err(setup("the status page"))?));
    }
    if let Some(own) = config.notify.github.clone() {
        let options = GitHubConfig {
            url: own.url.to_string(),
            token: own.token,
            environment: own.environment,
            repositories: own.repositories,
        };
        let channel = GitHub::new("github", options, wording.clone(), client.clone());
        channels.push(Arc::new(channel.map_err(setup("GitHub"))?));
    }
    Ok(channels)
}
