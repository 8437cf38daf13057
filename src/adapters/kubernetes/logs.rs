//! Reads the logs of pods under watch: error lines per minute and pod, and what kinds of errors there are.
mod tail;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{AsyncReadExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use regex::Regex;

use super::failure;
use crate::domain::log_patterns::{masked, pattern};
use crate::domain::names::{RuleName, ServiceName, TargetId};
use crate::domain::signal::{Reading, Sample};
use crate::ports::{Ask, AskPod, AskTarget, History, SignalSource};
use tail::{Line, Page, Tail};

/// How often the pods of a fresh release are read.
pub const LOGS_EVERY: Duration = Duration::from_secs(5);
/// Of one pod and reading: what a pod writes beyond this in 5 seconds is passed over.
const BYTES_MAX: usize = 256 * 1024;
/// Of one pod, of the time before a release.
const PAST_BYTES_MAX: usize = 1024 * 1024;
const PAST: SignedDuration = SignedDuration::from_mins(10);
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// Of each version.
const PODS_MAX: usize = 16;
const AT_ONCE: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(4);
/// Kinds of errors that are remembered of one target.
const PATTERNS_MAX: usize = 200;
/// Pods whose place in the log is remembered.
const TAILS_MAX: usize = 5_000;
/// Why a log cannot be read, as people are told.
const WHY_CHARS: usize = 200;

/// What counts as an error line, and of whom.
#[derive(Clone, Debug)]
pub struct LogRule {
    pub service: ServiceName,
    pub rule: RuleName,
    pub error: Regex,
    /// For pods with several.
    pub container: Option<String>,
    /// Show an example of each new kind of error, and not only its pattern.
    pub show_lines: bool,
}

/// See [`LogRule`]. Asked, not followed: what a pod may send is then bounded by the API server, and there is no stream to
/// lose and to take up again.
pub struct LogsSource {
    client: Client,
    namespaces: BTreeMap<TargetId, String>,
    rules: Vec<LogRule>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    tails: BTreeMap<(RuleName, TargetId, String), Tail>,
    known: BTreeMap<(RuleName, TargetId), Known>,
}

/// Kinds of errors of one target.
#[derive(Default)]
struct Known {
    /// There were such before the release already.
    before: BTreeSet<String>,
    /// Told, by version.
    told: BTreeSet<(Option<String>, String)>,
}

enum Unread {
    /// The pod has no log, not yet or no more.
    Nothing,
    Failed(String),
}

impl LogsSource {
    pub(super) fn new(client: Client, namespaces: BTreeMap<TargetId, String>, rules: Vec<LogRule>) -> Self {
        Self { client, namespaces, rules, memory: Mutex::default() }
    }

    fn memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        // Whoever panicked left sets behind that are whole.
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn rules_of<'a>(&'a self, about: &AskTarget) -> impl Iterator<Item = &'a LogRule> {
        let service = about.target.service.clone();
        self.rules.iter().filter(move |rule| rule.service == service)
    }

    async fn page(&self, rule: &LogRule, about: &AskTarget, pod: &str, ask: &Range) -> Result<Page, Unread> {
        let Some(namespace) = self.namespaces.get(&about.target) else { return Err(Unread::Nothing) };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            container: rule.container.clone(),
            // The server knows whole seconds only.
            since_time: Timestamp::from_second(ask.since.as_second()).ok(),
            limit_bytes: i64::try_from(ask.bytes).ok(),
            timestamps: true,
            ..LogParams::default()
        };
        let read = async {
            let stream = api.log_stream(pod, &params).await.map_err(|error| unread(&error, namespace))?;
            let mut bytes = Vec::new();
            let limit = u64::try_from(ask.bytes).unwrap_or(u64::MAX);
            let read = std::pin::pin!(stream.take(limit)).read_to_end(&mut bytes).await;
            read.map_err(|_| Unread::Failed(format!("the log of {pod} broke off")))?;
            Ok(Page::new(&bytes, ask.bytes))
        };
        let late = |_| Unread::Failed(format!("no log of {pod} within {} s", TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, read).await.map_err(late)?
    }

    /// One pod's error lines of the last minute, and the kinds among those that came since the last look.
    async fn look(
        &self,
        at: Timestamp,
        rule: &LogRule,
        about: &AskTarget,
        pod: &AskPod,
    ) -> Result<Vec<Sample>, Unread> {
        let key = (rule.rule.clone(), about.target.clone(), pod.name.clone());
        let known = self.memory(|memory| memory.tails.get(&key).cloned());
        let mut tail = known.unwrap_or_else(|| Tail::new(at.saturating_sub(MINUTE).unwrap_or(at)));
        let page =
            self.page(rule, about, &pod.name, &Range { since: tail.since(), bytes: BYTES_MAX }).await?;
        let errors = tail.take(at, page, |line| rule.error.is_match(line));
        let value = tail.errors_within(at, MINUTE) as f64;
        let told = self.memory(|memory| {
            if memory.tails.len() >= TAILS_MAX {
                memory.tails.clear();
            }
            memory.tails.insert(key, tail);
            memory.kinds(rule, about, pod, &errors)
        });
        let measured = Reading::Value { rule: rule.rule.clone(), value };
        let kinds = told.into_iter().map(|detail| Reading::Remark { rule: rule.rule.clone(), detail });
        Ok(std::iter::once(measured)
            .chain(kinds)
            .map(|reading| sample(at, about, Some(pod), reading))
            .collect())
    }

    /// Error lines of each minute before a release, a pod's on average; its kinds of errors are nothing new afterwards.
    async fn past(
        &self,
        rule: &LogRule,
        about: &AskTarget,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<f64>, Unread> {
        let ask = Range { since: from, bytes: PAST_BYTES_MAX };
        let mut jobs = Vec::new();
        for pod in picked(&about.pods) {
            jobs.push(self.page(rule, about, &pod.name, &ask));
        }
        let pages: Vec<_> = futures::stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
        let mut minutes = tail::Minutes::new(from, to);
        let mut before = BTreeSet::new();
        let mut failure = None;
        for page in pages {
            match page {
                Ok(page) => {
                    let errors = minutes.take(page, |line| rule.error.is_match(line));
                    before.extend(errors.iter().map(|line| pattern(&line.text)).take(PATTERNS_MAX));
                }
                Err(Unread::Nothing) => {}
                Err(unread) => failure = Some(unread),
            }
        }
        let key = (rule.rule.clone(), about.target.clone());
        self.memory(|memory| memory.known.insert(key, Known { before, told: BTreeSet::new() }));
        let means = minutes.means();
        match failure {
            Some(unread) if means.is_empty() => Err(unread),
            Some(_) | None => Ok(means),
        }
    }
}

struct Range {
    since: Timestamp,
    bytes: usize,
}

impl Memory {
    /// The kinds of errors of this version that are told for the first time: a pattern, and an example if it may be shown.
    fn kinds(&mut self, rule: &LogRule, about: &AskTarget, pod: &AskPod, errors: &[Line]) -> Vec<String> {
        let known = self.known.entry((rule.rule.clone(), about.target.clone())).or_default();
        let mut told = Vec::new();
        for line in errors {
            let kind = pattern(&line.text);
            let mine = (pod.release.clone(), kind.clone());
            if known.before.contains(&kind) || known.told.len() >= PATTERNS_MAX || !known.told.insert(mine) {
                continue;
            }
            let example = if rule.show_lines { format!("\n{}", masked(&line.text)) } else { String::new() };
            told.push(kind + &example);
        }
        told
    }
}

#[async_trait]
impl SignalSource for LogsSource {
    fn name(&self) -> &str {
        "logs"
    }

    /// Only pods under watch are read: nobody needs the others' logs.
    fn intervals(&self) -> (Duration, Option<Duration>) {
        (LOGS_EVERY, None)
    }

    fn serves_controls(&self) -> bool {
        false
    }

    async fn read(&self, ask: &Ask) -> Vec<Sample> {
        let mut samples = Vec::new();
        for about in &ask.targets {
            for rule in self.rules_of(about) {
                let mut jobs = Vec::new();
                for pod in picked(&about.pods) {
                    jobs.push(self.look(ask.at, rule, about, pod));
                }
                let looks: Vec<_> = futures::stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
                let why = looks.iter().find_map(|look| match look {
                    Err(Unread::Failed(why)) => Some(why.clone()),
                    Err(Unread::Nothing) | Ok(_) => None,
                });
                let found: Vec<Sample> = looks.into_iter().filter_map(Result::ok).flatten().collect();
                if let Some(reason) = why.filter(|_| found.is_empty()) {
                    samples.push(sample(
                        ask.at,
                        about,
                        None,
                        Reading::NoData { rule: rule.rule.clone(), reason },
                    ));
                }
                samples.extend(found);
            }
        }
        samples
    }

    async fn history(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        let from = to.saturating_sub(PAST).unwrap_or(from).max(from);
        let mut history = History { step: MINUTE.unsigned_abs(), ..History::default() };
        for rule in self.rules_of(about) {
            match self.past(rule, about, from, to).await {
                Ok(values) => drop(history.values.insert(rule.rule.clone(), values)),
                Err(Unread::Failed(why)) => history.missing = Some(why),
                Err(Unread::Nothing) => {}
            }
        }
        history
    }
}

/// So many of each version, so that a large old one leaves room for the new.
fn picked(pods: &[AskPod]) -> Vec<&AskPod> {
    let mut of_version: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut picked = Vec::new();
    for pod in pods {
        let count = of_version.entry(pod.release.as_deref()).or_default();
        *count += 1;
        if *count <= PODS_MAX {
            picked.push(pod);
        }
    }
    picked
}

fn unread(error: &kube::Error, namespace: &str) -> Unread {
    let kube::Error::Api(status) = error else { return Unread::Failed(failure::reason(error)) };
    match status.code {
        404 => Unread::Nothing,
        400 if status.message.contains("waiting to start") => Unread::Nothing,
        // A log endpoint's own words hold nothing but names: which containers there are to choose from.
        400 => Unread::Failed(status.message.chars().take(WHY_CHARS).collect()),
        403 => Unread::Failed(format!(
            "the logs of pods in namespace {namespace} may not be read: allow get on pods/log there"
        )),
        _ => Unread::Failed(failure::reason(error)),
    }
}

fn sample(at: Timestamp, about: &AskTarget, pod: Option<&AskPod>, reading: Reading) -> Sample {
    Sample {
        at,
        service: about.target.service.clone(),
        target: Some(about.target.target.clone()),
        release: pod.and_then(|pod| pod.release.clone()),
        pod: pod.map(|pod| pod.name.clone()),
        reading,
    }
}
