//! Sends the probes of rules, each at its own pace: requests, journeys, and looks at certificates.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::Client;

use super::sample;
use crate::adapters::outbound;
use crate::adapters::probe;
use crate::config::Secrets;
use crate::domain::names::{RuleName, ServiceName};
use crate::domain::probe::Probe;
use crate::domain::signal::{Reading, Sample};
use crate::ports::{Ask, AskTarget, History, SignalSource};

/// A check of a service. It belongs to no pod: all targets of the service are judged by it.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRule {
    pub service: ServiceName,
    pub rule: RuleName,
    pub probe: Probe,
    pub secrets: Secrets,
    pub every: Duration,
}

/// Sends each check at its own interval while a release is fresh, and slowly otherwise, so that it is known whether it
/// passed before.
#[derive(Debug)]
pub struct HttpSource {
    name: String,
    client: Client,
    rules: Vec<HttpRule>,
    /// How often a service without a fresh release is asked.
    at_rest: Duration,
    /// When each rule was last asked, by its place among them.
    asked: Mutex<HashMap<usize, Timestamp>>,
}

/// Requests in flight at a time.
const CONCURRENT: usize = 64;
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

impl HttpSource {
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(name: &str, rules: Vec<HttpRule>, at_rest: Duration) -> Result<Self, outbound::ClientError> {
        let client = outbound::build(outbound::builder(TIMEOUT_MAX))?;
        Ok(Self { name: name.to_string(), client, rules, at_rest, asked: Mutex::default() })
    }

    fn fastest(&self) -> Duration {
        self.rules.iter().map(|rule| rule.every).min().unwrap_or(self.at_rest)
    }

    /// The checks of these targets whose time has come; it is taken as done.
    fn due(&self, ask: &Ask) -> Vec<&HttpRule> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // We are asked at a fixed pace, which need not hit the moment.
        let early = self.fastest().as_secs_f64() / 2.0;
        let mut due = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let elapsed = asked.get(&index).map(|last| ask.at.duration_since(*last).as_secs_f64());
            // A clock that was set back must not stop the checks.
            let waits = elapsed.is_some_and(|secs| (0.0..rule.every.as_secs_f64() - early).contains(&secs));
            if !waits && ask.targets.iter().any(|about| about.target.service == rule.service) {
                asked.insert(index, ask.at);
                due.push(rule);
            }
        }
        due
    }

    async fn check(&self, rule: &HttpRule) -> Reading {
        let found = probe::ask(&self.client, &rule.probe, &rule.secrets).await;
        let ok = found.is_ok();
        let (Ok(detail) | Err(detail)) = found;
        Reading::Check { rule: rule.rule.clone(), ok, detail }
    }
}

#[async_trait]
impl SignalSource for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn intervals(&self) -> (Duration, Option<Duration>) {
        (self.fastest(), Some(self.at_rest))
    }

    async fn read(&self, ask: &Ask) -> Vec<Sample> {
        let jobs = self.due(ask).into_iter().map(|rule| async move { (rule, self.check(rule).await) });
        let jobs: Vec<_> = jobs.collect();
        let checked: Vec<(&HttpRule, Reading)> =
            futures::stream::iter(jobs).buffer_unordered(CONCURRENT).collect().await;
        let of_rule = |(rule, reading): &(&HttpRule, Reading)| -> Vec<Sample> {
            let targets = ask.targets.iter().filter(|about| about.target.service == rule.service);
            targets.map(|about| sample(ask.at, about, None, reading.clone())).collect()
        };
        checked.iter().flat_map(of_rule).collect()
    }

    async fn history(&self, _about: &AskTarget, _from: Timestamp, _to: Timestamp) -> History {
        History { missing: Some("checks keep no past".into()), ..History::default() }
    }
}
