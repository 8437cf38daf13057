//! Reads CloudWatch: the metrics of every rule in one batched request, counted up from the release on, and alarms.
//!
//! A load balancer's metric covers old and new pods together, so its samples name neither pod nor version: they are
//! judged against the time before. CloudWatch publishes one datapoint a minute, which grows for a minute or two. Each
//! minute is therefore counted once, when it has been over for `settle`; one that has no datapoint by then is counted
//! when it gets one, for a quarter of an hour. The minute in which the release fell belongs to neither side.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use jiff::Timestamp;
use tokio::sync::OnceCell;

use self::fetch::{Answers, Series, Span, fetch};
use self::running::Running;
use super::{no_data, sample};
use crate::adapters::aws::AwsAccess;
use crate::config::{AlarmPattern, CloudWatchMetric, CloudWatchQuery, Statistic};
use crate::domain::detect::errors::Counts;
use crate::domain::names::{RuleName, ServiceName};
use crate::domain::signal::{Reading, Sample};
use crate::ports::{Ask, AskTarget, History, SignalSource};

mod alarms;
mod fetch;
mod past;
mod running;

/// What to read, how often, and from where.
#[derive(Clone, Debug)]
pub struct CloudWatchOptions {
    pub name: String,
    pub access: AwsAccess,
    pub interval: Duration,
    /// How long a minute must be over before its datapoint counts.
    pub settle: Duration,
    pub rules: Vec<CloudWatchRule>,
    /// Which alarms are about which service.
    pub alarms: BTreeMap<ServiceName, Vec<AlarmPattern>>,
}

/// A rule of a service that CloudWatch measures.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudWatchRule {
    pub service: ServiceName,
    pub rule: RuleName,
    pub query: CloudWatchQuery,
}

/// See [`CloudWatchOptions`].
pub struct CloudWatchSource {
    options: CloudWatchOptions,
    sum: Statistic,
    client: OnceCell<Client>,
    running: Running,
}

/// All datapoints are of this length, in seconds.
const PERIOD: i64 = 60;
/// How far back a datapoint may be and still be counted when it comes.
const LOOK_BACK_PERIODS: i64 = 15;
/// A plain value that is older says nothing about now.
const VALUE_PERIODS: i64 = 5;
/// An answer to [`SignalSource::read`] takes no longer than this.
const READ_MAX: Duration = Duration::from_secs(25);

impl CloudWatchSource {
    /// Asks nobody yet: credentials are looked up with the first request.
    pub fn new(options: CloudWatchOptions) -> Self {
        Self { options, sum: Statistic::sum(), client: OnceCell::new(), running: Running::default() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(&self.options.access.load().await)).await
    }

    fn rules_of<'a>(&'a self, about: &AskTarget) -> impl Iterator<Item = &'a CloudWatchRule> {
        let service = about.target.service.clone();
        self.options.rules.iter().filter(move |rule| rule.service == service)
    }

    /// The series that a rule needs.
    fn series<'a>(&'a self, query: &'a CloudWatchQuery) -> Vec<Series<'a>> {
        match query {
            CloudWatchQuery::Errors { total, bad } => vec![self.sum_of(total), self.sum_of(bad)],
            CloudWatchQuery::Value { metric, statistic, .. } => vec![Series { metric, statistic }],
        }
    }

    fn sum_of<'a>(&'a self, metric: &'a CloudWatchMetric) -> Series<'a> {
        Series { metric, statistic: &self.sum }
    }

    /// The minutes that count at this moment.
    fn settled(&self, at: Timestamp) -> Span {
        let to = before(at.as_second() - seconds(self.options.settle));
        Span { from: to - LOOK_BACK_PERIODS * PERIOD, to }
    }

    async fn measure(&self, ask: &Ask) -> Vec<Sample> {
        let rules = || ask.targets.iter().flat_map(|about| self.rules_of(about).map(move |r| (about, r)));
        let wanted: BTreeSet<Series<'_>> = rules().flat_map(|(_, rule)| self.series(&rule.query)).collect();
        if wanted.is_empty() {
            return vec![];
        }
        let span = self.settled(ask.at);
        let answers = fetch(self.client().await, wanted, span, READ_MAX).await;
        let reading = |(about, rule): (&AskTarget, &CloudWatchRule)| {
            let read = self.reading(ask.at, about, rule, span, &answers).transpose()?;
            Some(match read {
                Ok(reading) => sample(ask.at, about, None, reading),
                Err(why) => no_data(ask.at, about, None, &rule.rule, why),
            })
        };
        rules().filter_map(reading).collect()
    }

    /// `None` as long as no minute since the release can have been measured.
    fn reading(
        &self,
        at: Timestamp,
        about: &AskTarget,
        rule: &CloudWatchRule,
        span: Span,
        answers: &Answers<'_>,
    ) -> Result<Option<Reading>, String> {
        let name = rule.rule.clone();
        match &rule.query {
            CloudWatchQuery::Errors { total, bad } => {
                let minutes = counts(answers, self.sum_of(total), self.sum_of(bad))?;
                if minutes.is_empty() {
                    let quiet = "had no requests in a quarter of an hour, or has other dimensions";
                    return Err(format!("{} of {} {quiet}", total.name, total.namespace));
                }
                let Counts { bad, total } = self.running.count(&about.target, &name, at, minutes, span.from);
                Ok(Some(Reading::Counts { rule: name, bad, total }))
            }
            CloudWatchQuery::Value { metric, statistic, scale } => {
                let points = answers.points(Series { metric, statistic })?;
                let Some((minute, value)) = points.range(span.to - VALUE_PERIODS * PERIOD..).next_back()
                else {
                    return Err(format!("{} of {} has no recent datapoint", metric.name, metric.namespace));
                };
                let ours = *minute >= self.running.first_minute(&about.target, at);
                Ok(ours.then(|| Reading::Value { rule: name, value: value * scale }))
            }
        }
    }
}

/// Requests by minute. CloudWatch publishes nothing where nothing happened, so a minute without failures has no datapoint
/// of them; a minute without requests is no minute.
fn counts(
    answers: &Answers<'_>,
    total: Series<'_>,
    bad: Series<'_>,
) -> Result<BTreeMap<i64, Counts>, String> {
    let (total, bad) = (answers.points(total)?, answers.points(bad)?);
    let of = |(minute, total): (&i64, &f64)| {
        let bad = bad.get(minute).copied().unwrap_or(0.0);
        (*minute, Counts { bad: bad.clamp(0.0, total.max(0.0)), total: total.max(0.0) })
    };
    Ok(total.iter().map(of).collect())
}

/// The whole minute before or at this second.
fn before(second: i64) -> i64 {
    second.div_euclid(PERIOD) * PERIOD
}

/// The whole minute at or after this second.
fn after(second: i64) -> i64 {
    before(second + PERIOD - 1)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[async_trait]
impl SignalSource for CloudWatchSource {
    fn name(&self) -> &str {
        &self.options.name
    }

    /// CloudWatch keeps the past itself, and each metric that is asked for is billed: idle targets are left alone.
    fn intervals(&self) -> (Duration, Option<Duration>) {
        (self.options.interval, None)
    }

    fn serves_controls(&self) -> bool {
        false
    }

    async fn read(&self, ask: &Ask) -> Vec<Sample> {
        let (mut samples, alarms) = tokio::join!(self.measure(ask), self.alarms(ask));
        samples.extend(alarms);
        samples
    }

    /// Asked for when a release is noticed, at `to`: from then on its requests are counted.
    async fn history(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        self.running.begin(&about.target, to);
        self.past(about, from, to).await
    }
}

impl fmt::Debug for CloudWatchSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchSource").field("options", &self.options).finish_non_exhaustive()
    }
}
