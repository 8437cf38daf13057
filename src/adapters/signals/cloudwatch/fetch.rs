//! Any number of series over one span of time: batched, page by page, and used only where CloudWatch says they are whole.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, MessageData, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode,
};
use futures::StreamExt;

use super::PERIOD;
use crate::adapters::aws::describe;
use crate::adapters::outbound::shorten;
use crate::config::{CloudWatchMetric, Statistic};
use crate::telemetry;

/// A metric and one statistic of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series<'a> {
    pub(super) metric: &'a CloudWatchMetric,
    pub(super) statistic: &'a Statistic,
}

/// Whole minutes in seconds since the epoch, without the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Values by the second at which their minute begins.
pub(super) type Points = BTreeMap<i64, f64>;

/// What became of each series: whole, or why not.
#[derive(Debug, Default)]
pub(super) struct Answers<'a>(BTreeMap<Series<'a>, Result<Points, String>>);

impl Answers<'_> {
    pub(super) fn points<'s>(&'s self, series: Series<'s>) -> Result<&'s Points, String> {
        match self.0.get(&series) {
            Some(Ok(points)) => Ok(points),
            Some(Err(why)) => Err(format!("CloudWatch: {why}")),
            None => Err(format!("CloudWatch: {NO_ANSWER}")),
        }
    }
}

/// What one request may hold, by CloudWatch's limits.
const QUERIES_MAX: usize = 500;
/// Requests in flight at a time.
const CONCURRENT: usize = 4;
const NO_ANSWER: &str = "no answer about this metric";

pub(super) async fn fetch<'a>(
    client: &Client,
    wanted: BTreeSet<Series<'a>>,
    span: Span,
    limit: Duration,
) -> Answers<'a> {
    let wanted: Vec<Series<'a>> = wanted.into_iter().collect();
    let mut asked = Vec::new();
    for batch in wanted.chunks(QUERIES_MAX) {
        asked.push(read_batch(client, batch.to_vec(), span, limit));
    }
    let answers: Vec<Vec<Answer<'a>>> = futures::stream::iter(asked).buffered(CONCURRENT).collect().await;
    Answers(answers.into_iter().flatten().collect())
}

type Answer<'a> = (Series<'a>, Result<Points, String>);

async fn read_batch<'a>(
    client: &Client,
    batch: Vec<Series<'a>>,
    span: Span,
    limit: Duration,
) -> Vec<Answer<'a>> {
    let read = tokio::time::timeout(limit, read_pages(client, &batch, span)).await;
    match read.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs()))) {
        Ok(points) => batch.into_iter().zip(points).collect(),
        Err(why) => batch.into_iter().map(|series| (series, Err(why.clone()))).collect(),
    }
}

/// What all pages together say about each series of the batch, in its order.
async fn read_pages(
    client: &Client,
    batch: &[Series<'_>],
    span: Span,
) -> Result<Vec<Result<Points, String>>, String> {
    let request = client
        .get_metric_data()
        .set_metric_data_queries(Some(batch.iter().enumerate().map(query).collect()))
        .start_time(DateTime::from_secs(span.from))
        .end_time(DateTime::from_secs(span.to));
    let mut pages = request.into_paginator().send();
    let mut read: Vec<Found> = batch.iter().map(|_| Found::default()).collect();
    while let Some(page) = pages.next().await {
        telemetry::Metric::CloudWatchMetricsRequestedTotal.add(batch.len() as u64, vec![]);
        take_page(page.map_err(|error| describe(&error))?, &mut read)?;
    }
    Ok(read.into_iter().map(Found::whole).collect())
}

fn take_page(page: GetMetricDataOutput, read: &mut [Found]) -> Result<(), String> {
    if let Some(why) = told(page.messages()) {
        return Err(format!("partial answer, not used: {why}"));
    }
    for result in page.metric_data_results() {
        let index = result.id().and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
        if let Some(found) = index.and_then(|index| read.get_mut(index)) {
            found.take(result);
        }
    }
    Ok(())
}

/// One series as far as it has been read. Pages before the last one say `PartialData` of what they go on with.
#[derive(Default)]
struct Found {
    points: Points,
    status: Option<StatusCode>,
    why: Option<String>,
}

impl Found {
    fn take(&mut self, result: &MetricDataResult) {
        let points = result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied());
        self.points.extend(points.filter(|(_, value)| value.is_finite()));
        self.status = result.status_code().cloned();
        self.why = told(result.messages());
    }

    fn whole(self) -> Result<Points, String> {
        match self.status {
            Some(StatusCode::Complete) => Ok(self.points),
            Some(status) => {
                let why = self.why.map_or(String::new(), |why| format!(" ({why})"));
                Err(format!("{} for this metric, not used{why}", status.as_str()))
            }
            None => Err(NO_ANSWER.into()),
        }
    }
}

fn told(messages: &[MessageData]) -> Option<String> {
    let message = messages.first()?;
    let (code, value) = (message.code().unwrap_or("?"), message.value().unwrap_or_default());
    Some(shorten(&format!("{code}: {value}")))
}

/// Without a unit: a wrong one would find nothing, silently.
fn query((index, series): (usize, &Series<'_>)) -> MetricDataQuery {
    let dimensions = series.metric.dimensions.iter();
    let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
    let metric = Metric::builder()
        .namespace(&series.metric.namespace)
        .metric_name(&series.metric.name)
        .set_dimensions(Some(dimensions.collect()))
        .build();
    let period = i32::try_from(PERIOD).unwrap_or(i32::MAX);
    let stat = MetricStat::builder().metric(metric).period(period).stat(series.statistic.as_str()).build();
    MetricDataQuery::builder().id(format!("m{index}")).metric_stat(stat).return_data(true).build()
}
