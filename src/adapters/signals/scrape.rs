//! Reads each pod's own metrics page, for clusters without a Prometheus and for speed while a release is fresh.
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, Url};

use self::page::{Found, Page};
use super::exposition::protobuf::{self, Listener};
use super::exposition::{Broken, Reader, Series};
use super::values::{Rates, Reading};
use super::{Query, SourceRule, no_data, sample};
use crate::adapters::outbound;
use crate::domain::names::RuleName;
use crate::domain::signal::Sample;
use crate::ports::{Ask, AskPod, AskTarget, History, SignalSource};

mod page;

/// What to scrape and how often.
#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    pub name: String,
    /// How often, while no release is fresh: this becomes the history.
    pub interval: Duration,
    /// How often, while one is.
    pub fresh_interval: Duration,
    /// Of one pod, from connecting to the last byte.
    pub timeout: Duration,
    /// Pods that are read at a time.
    pub concurrent: usize,
    pub rules: Vec<SourceRule>,
}

impl ScrapeOptions {
    /// The usual settings.
    pub fn standard(rules: Vec<SourceRule>) -> Self {
        Self {
            name: "scrape".into(),
            interval: Duration::from_secs(15),
            fresh_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            concurrent: 64,
            rules,
        }
    }
}

/// See [`ScrapeOptions`].
#[derive(Debug)]
pub struct ScrapeSource {
    options: ScrapeOptions,
    client: Client,
    rates: Rates,
}

/// OpenMetrics is understood, but the simpler format is asked for first.
const TEXT_FORMATS: &str = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.1";

/// What one pod's page showed, rule by rule; or why there is no page.
type Scraped<'a> = Result<Vec<(&'a RuleName, Found)>, String>;

impl ScrapeSource {
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(options: ScrapeOptions) -> Result<Self, outbound::ClientError> {
        // Pods are neighbours: a proxy that is meant for the internet has no business here.
        let client = outbound::build(outbound::builder(options.timeout).no_proxy())?;
        Ok(Self { options, client, rates: Rates::default() })
    }

    fn rules_of<'a>(&'a self, about: &AskTarget) -> Vec<&'a SourceRule> {
        self.options.rules.iter().filter(|rule| rule.service == about.target.service).collect()
    }

    async fn scrape<'a>(
        &self,
        at: Timestamp,
        about: &AskTarget,
        pod: &AskPod,
        rules: &[&'a SourceRule],
    ) -> Scraped<'a> {
        let url = address(pod)?;
        let sent = self.client.get(url).header(ACCEPT, formats(rules)).send().await;
        let response = sent.map_err(|error| outbound::describe(&error))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("its metrics answered HTTP {}", response.status().as_u16()));
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut page = Page::new(rules);
        if content_type.is_some_and(protobuf::is_protobuf) {
            read_protobuf(response, &mut page).await?;
        } else {
            read_text(response, &mut page, &pod.name).await?;
        }
        Ok(page.found(Reading { at, target: &about.target, pod: &pod.name }, &self.rates))
    }
}

#[async_trait]
impl SignalSource for ScrapeSource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn intervals(&self) -> (Duration, Option<Duration>) {
        (self.options.fresh_interval, Some(self.options.interval))
    }

    async fn read(&self, ask: &Ask) -> Vec<Sample> {
        let rules: Vec<Vec<&SourceRule>> = ask.targets.iter().map(|about| self.rules_of(about)).collect();
        let mut jobs = Vec::new();
        for (target, (about, rules)) in ask.targets.iter().zip(&rules).enumerate() {
            let pods = about.pods.iter().filter(|_| !rules.is_empty());
            let scrape = |pod| async move { (target, pod, self.scrape(ask.at, about, pod, rules).await) };
            jobs.extend(pods.map(scrape));
        }
        let mut scraped: Vec<Vec<(&AskPod, Scraped<'_>)>> = vec![Vec::new(); ask.targets.len()];
        let mut answers = futures::stream::iter(jobs).buffer_unordered(self.options.concurrent.max(1));
        while let Some((target, pod, answer)) = answers.next().await {
            scraped[target].push((pod, answer));
        }
        let each = ask.targets.iter().zip(&rules).zip(&scraped);
        each.flat_map(|((about, rules), pods)| {
            rules.iter().flat_map(move |rule| samples(ask.at, about, &rule.rule, pods))
        })
        .collect()
    }

    async fn history(&self, _about: &AskTarget, _from: Timestamp, _to: Timestamp) -> History {
        History { missing: Some("the scrape source keeps no past".into()), ..History::default() }
    }
}

/// Native histograms are shown only in protobuf, which costs both sides more than text.
fn formats(rules: &[&SourceRule]) -> String {
    let latency = rules.iter().any(|rule| matches!(rule.query, Query::Latency { .. }));
    let protobuf = if latency { format!("{},", protobuf::CONTENT_TYPE) } else { String::new() };
    protobuf + TEXT_FORMATS
}

async fn read_text(mut response: Response, page: &mut Page<'_>, pod: &str) -> Result<(), String> {
    let mut reader = Reader::default();
    let mut each = |line: Result<Series<'_>, Broken<'_>>| page.take(line);
    while let Some(chunk) = outbound::next_chunk(&mut response).await.map_err(|e| e.to_string())? {
        reader.feed(&chunk, &mut each).map_err(|e| e.to_string())?;
    }
    reader.finish(&mut each).map_err(|e| e.to_string())?;
    if reader.broken() > 0 {
        tracing::debug!(pod, lines = reader.broken(), "lines of the metrics cannot be read");
    }
    Ok(())
}

async fn read_protobuf(mut response: Response, page: &mut Page<'_>) -> Result<(), String> {
    let mut reader = protobuf::Reader::default();
    while let Some(chunk) = outbound::next_chunk(&mut response).await.map_err(|e| e.to_string())? {
        reader.feed(&chunk, page).map_err(|e| e.to_string())?;
    }
    reader.finish().map_err(|e| e.to_string())
}

/// A reading for each pod that has one and the reason for each that could not be read. When no pod has a reading, one
/// `NoData` for the target says why.
fn samples(
    at: Timestamp,
    about: &AskTarget,
    rule: &RuleName,
    pods: &[(&AskPod, Scraped<'_>)],
) -> Vec<Sample> {
    let (mut readings, mut failures) = (Vec::new(), Vec::new());
    for (pod, scraped) in pods {
        let found = scraped.as_ref().map(|found| found.iter().find(|(name, _)| *name == rule));
        match found {
            Ok(Some((_, Found::Measured(measured)))) => {
                readings.push(sample(at, about, Some(pod), measured.clone().reading(rule)));
            }
            Ok(Some((_, Found::Unreadable(why)))) => failures.push((*pod, why)),
            Ok(Some((_, Found::Absent)) | None) => {}
            Err(why) => failures.push((*pod, why)),
        }
    }
    if readings.is_empty() {
        let reason = match failures.first() {
            Some((pod, why)) => format!("no pod could be read, {}: {why}", pod.name),
            None if pods.is_empty() => "the target has no pods".into(),
            None => "no series".into(),
        };
        return vec![no_data(at, about, None, rule, reason)];
    }
    readings.extend(failures.into_iter().map(|(pod, why)| no_data(at, about, Some(pod), rule, why)));
    readings
}

/// Only addresses are contacted, never names: a pod's annotation must not send us anywhere else.
fn address(pod: &AskPod) -> Result<Url, String> {
    let text = pod.metrics_url.as_deref().ok_or("no address or port for metrics")?;
    let url = Url::parse(text).map_err(|_| "the address of its metrics is not valid")?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let plain = url.username().is_empty() && url.password().is_none();
    if host.parse::<IpAddr>().is_ok() && plain {
        return Ok(url);
    }
    Err("the address of its metrics is not an IP address".into())
}
