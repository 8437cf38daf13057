//! Reads raw counters and histograms from a Prometheus, one instant query per rule for everything that is asked for.
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use prometheus_http_query::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use self::answer::{Measurements, Unanswered};
use self::query::{Labels, Wanted};
use super::{Group, Query, SourceRule, by_query, no_data, sample};
use crate::adapters::outbound;
use crate::domain::names::TargetId;
use crate::domain::signal::Sample;
use crate::ports::{Ask, AskTarget, History, SignalSource};

mod answer;
mod past;
mod query;
pub mod replay;
mod times;
mod values;

/// Where a Prometheus is, how to ask it, and what it knows.
#[derive(Clone)]
pub struct PrometheusOptions {
    pub name: String,
    /// Without `/api/v1`, such as `http://prometheus.monitoring:9090`.
    pub url: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub bearer: Option<SecretString>,
    /// Further headers, such as `X-Scope-OrgID`.
    pub headers: Vec<(String, SecretString)>,
    /// The labels that name a pod's namespace and the pod: `namespace` and `pod`, if nobody renamed them.
    pub namespace_label: String,
    pub pod_label: String,
    pub rules: Vec<SourceRule>,
    pub places: BTreeMap<TargetId, Place>,
}

/// Where a target's pods are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub namespace: String,
    /// Name of the workload, with which the names of its pods begin.
    pub workload: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrometheusError {
    #[error("the url of source {source_name} is not valid: write it like http://prometheus.monitoring:9090")]
    Url { source_name: String },
    #[error("{label:?} cannot be a label's name: source {source_name} needs names such as \"namespace\"")]
    Label { source_name: String, label: String },
    #[error(
        "header {header:?} of source {source_name} is not valid: its name or value has forbidden characters"
    )]
    Header { source_name: String, header: String },
    #[error(transparent)]
    Client(#[from] outbound::ClientError),
}

/// See [`PrometheusOptions`].
pub struct PrometheusSource {
    name: String,
    interval: Duration,
    timeout: Duration,
    client: Client,
    labels: Labels,
    groups: Vec<Group>,
    places: BTreeMap<TargetId, Place>,
}

/// Queries in flight at a time.
const CONCURRENT: usize = 4;

impl PrometheusSource {
    /// # Errors
    /// When the options make no client.
    pub fn new(options: PrometheusOptions) -> Result<Self, PrometheusError> {
        let client = client(&options)?;
        let source_name = options.name;
        let labels = Labels { namespace: options.namespace_label, pod: options.pod_label };
        for label in [&labels.namespace, &labels.pod] {
            if !crate::config::selector::is_label_name(label) {
                return Err(PrometheusError::Label { source_name, label: label.clone() });
            }
        }
        Ok(Self {
            name: source_name,
            interval: options.interval,
            timeout: options.timeout,
            client,
            labels,
            groups: by_query(options.rules),
            places: options.places,
        })
    }

    /// Every target and rule of the ask that this source knows, by query.
    fn wanted<'a>(&'a self, ask: &'a Ask) -> impl Iterator<Item = (&'a Query, Vec<Wanted<'a>>)> {
        self.groups.iter().map(move |group| {
            let of_target = |about: &'a AskTarget| {
                let place = self.places.get(&about.target);
                group.rules_of(&about.target.service).map(move |rule| Wanted { about, rule, place })
            };
            (&group.query, ask.targets.iter().flat_map(of_target).collect())
        })
    }

    async fn read_one(&self, at: Timestamp, query: &Query, wanted: Vec<Wanted<'_>>) -> Vec<Sample> {
        if let Query::Value(value) = query
            && !value.pods
        {
            return self.read_beside(at, value, &wanted).await;
        }
        let places: Vec<&Place> = wanted.iter().filter_map(|w| w.place_of_pods().ok()).collect();
        if places.is_empty() {
            let nothing = Measurements::default();
            return wanted.iter().flat_map(|w| w.samples(at, &nothing)).collect();
        }
        let text = query::instant(query, &self.labels, &places);
        let answered = self.ask(&text).await.and_then(|body| Measurements::of(query, &self.labels, &body));
        match answered {
            Ok(measured) => wanted.iter().flat_map(|w| w.samples(at, &measured)).collect(),
            Err(why) => wanted.iter().map(|w| w.missing(at, &why.to_string())).collect(),
        }
    }

    /// Evaluated at the server's own now: its clock need not agree with ours, and counters do not care.
    async fn ask(&self, promql: &str) -> Result<Vec<u8>, Unanswered> {
        let request = self.client.query(promql).timeout(self.timeout_ms());
        answer::body(request.post_raw().await).await
    }

    fn timeout_ms(&self) -> i64 {
        i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX).max(1)
    }
}

#[async_trait]
impl SignalSource for PrometheusSource {
    fn name(&self) -> &str {
        &self.name
    }

    /// Prometheus keeps the past itself, so targets without a fresh release need no reading.
    fn intervals(&self) -> (Duration, Option<Duration>) {
        (self.interval, None)
    }

    async fn read(&self, ask: &Ask) -> Vec<Sample> {
        let mut jobs = Vec::new();
        for (query, wanted) in self.wanted(ask) {
            let parts = query::split(query, wanted);
            if parts.len() > 1 {
                tracing::debug!(source = %self.name, parts = parts.len(), "a rule's query is too long for one request");
            }
            jobs.extend(parts.into_iter().map(|part| self.read_one(ask.at, query, part)));
        }
        let samples: Vec<Vec<Sample>> = futures::stream::iter(jobs).buffered(CONCURRENT).collect().await;
        samples.into_iter().flatten().collect()
    }

    async fn history(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        self.past(about, from, to).await
    }
}

impl Wanted<'_> {
    fn missing(&self, at: Timestamp, reason: &str) -> Sample {
        no_data(at, self.about, None, self.rule, reason)
    }

    /// A sample for each pod that has series; when none has, one `NoData` for the target.
    fn samples(&self, at: Timestamp, measured: &Measurements) -> Vec<Sample> {
        let place = match self.place_of_pods() {
            Ok(place) => place,
            Err(why) => return vec![self.missing(at, why)],
        };
        let pods = self.about.pods.iter().filter_map(|pod| {
            let found = measured.of_pod(&place.namespace, &pod.name)?;
            Some(sample(at, self.about, Some(pod), found.reading(self.rule)))
        });
        let samples: Vec<Sample> = pods.collect();
        if samples.is_empty() { vec![self.missing(at, "no series")] } else { samples }
    }
}

fn client(options: &PrometheusOptions) -> Result<Client, PrometheusError> {
    let mut headers = HeaderMap::new();
    let given =
        options.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret().to_string()));
    let bearer =
        options.bearer.iter().map(|t| (AUTHORIZATION.as_str(), format!("Bearer {}", t.expose_secret())));
    for (header, value) in given.chain(bearer) {
        let name = HeaderName::try_from(header).ok();
        let (Some(name), Ok(mut value)) = (name, HeaderValue::try_from(value)) else {
            let source_name = options.name.clone();
            return Err(PrometheusError::Header { source_name, header: header.to_string() });
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    // The server gives up at the timeout and says so; only if it does not, we do.
    let patience = options.timeout + Duration::from_millis(500);
    let http = outbound::build(outbound::builder(patience).default_headers(headers))?;
    let base = options.url.trim_end_matches('/');
    let web = base.starts_with("http://") || base.starts_with("https://");
    let client = web.then(|| Client::from(http, base).ok()).flatten();
    client.ok_or_else(|| PrometheusError::Url { source_name: options.name.clone() })
}

impl fmt::Debug for PrometheusSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusSource").field("name", &self.name).finish_non_exhaustive()
    }
}
