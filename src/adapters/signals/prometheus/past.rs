//! What a workload did before, from range queries over all the pods it had.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;

use super::answer::{self, Data, Shown, Unanswered};
use super::query::{self, BAD, PART, TOTAL};
use super::{CONCURRENT, Place, PrometheusSource};
use crate::adapters::signals::{Measured, Query};
use crate::config::Selector;
use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::Counts;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;
use crate::domain::watch::Earlier;
use crate::ports::{AskTarget, History};

/// The usual scrape interval: shorter steps would only show its pattern.
const STEP_SECS: i64 = 15;
/// Prometheus refuses more than 11,000 points per series.
const STEPS_MAX: i64 = 10_000;
/// Growth needs two readings in each step, and a minute between scrapes is Prometheus' default.
const TIMES_STEP_SECS: i64 = 120;
/// A native histogram is a hundred times as large as a number.
const TIMES_STEPS_MAX: i64 = 500;
/// How many earlier days are compared with, and for how long on each: a usual watch.
const DAYS: i64 = 3;
const DAY_SECS: i64 = 86_400;
const WATCH_SECS: i64 = 1800;

/// The moments of a range query, in seconds since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) step: i64,
}

impl Grid {
    fn new(from: Timestamp, to: Timestamp) -> Self {
        let (from, to) = (from.as_second(), to.as_second());
        let step = STEP_SECS.max((to - from) / STEPS_MAX + 1);
        Self { from, to, step }
    }
    /// Whole steps, of which the last ends with the period; a period that is shorter is one step.
    fn of_times(from: Timestamp, to: Timestamp) -> Self {
        let (from, to) = (from.as_second(), to.as_second());
        let step = TIMES_STEP_SECS.max((to - from) / TIMES_STEPS_MAX + 1).min(to - from).max(1);
        Self { from: to - (to - from) / step * step, to, step }
    }
    fn span(self) -> i64 {
        self.to - self.from
    }
    fn step(self) -> Duration {
        Duration::from_secs(self.step.unsigned_abs())
    }
    fn index(self, seconds: f64) -> Option<usize> {
        let steps = (seconds - self.from as f64) / self.step as f64;
        // Within the grid by construction, unless the server answers another question.
        (steps > -0.5 && steps < STEPS_MAX as f64).then_some(steps.round() as usize)
    }
}

/// A query and the rules of the target that it measures.
type Asked<'a> = (&'a Query, Vec<&'a RuleName>);

impl PrometheusSource {
    pub(super) async fn past(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        let (grid, times_grid) = (Grid::new(from, to), Grid::of_times(from, to));
        let mut history =
            History { step: grid.step(), times_step: Some(times_grid.step()), ..History::default() };
        let Some(place) = self.places.get(&about.target) else {
            history.missing = Some("the namespace and workload of the target are not configured".into());
            return history;
        };
        if grid.span() <= 0 {
            history.missing = Some("the period asked for is empty".into());
            return history;
        }
        let mut asked: Vec<Asked<'_>> = Vec::new();
        for group in &self.groups {
            asked.push((&group.query, group.rules_of(&about.target.service).collect()));
        }
        asked.retain(|(_, rules)| !rules.is_empty());
        let mut before = Vec::new();
        for (query, _) in &asked {
            before.push(self.past_of(query, place, grid, times_grid));
        }
        let before = futures::stream::iter(before).buffered(CONCURRENT).collect::<Vec<_>>();
        let (before, days) = tokio::join!(before, self.days(&asked, place, to));
        for ((_, rules), past) in asked.iter().zip(before) {
            keep(&mut history, rules, past);
        }
        for (rules, day) in days {
            keep_day(&mut history, rules, day);
        }
        history
    }

    async fn past_of(
        &self,
        query: &Query,
        place: &Place,
        grid: Grid,
        times_grid: Grid,
    ) -> Result<Past, Unanswered> {
        match query {
            Query::Errors { .. } => self.counted(query, place, grid).await.map(Past::Batches),
            Query::Latency { histogram } => self.timed(histogram, place, times_grid).await.map(Past::Times),
            Query::Value(value) => self.past_values(value, place, grid).await.map(Past::Values),
        }
    }

    /// The same clock time on earlier days, as far as it is answered within the time of one request: nothing waits for it.
    async fn days<'a>(
        &self,
        asked: &'a [Asked<'a>],
        place: &Place,
        to: Timestamp,
    ) -> Vec<(&'a [&'a RuleName], Result<Earlier, Unanswered>)> {
        let mut jobs = Vec::new();
        for (query, rules) in asked {
            jobs.extend(
                (1..=DAYS).map(|day| async move { (day, rules, self.day(query, place, to, day).await) }),
            );
        }
        let wanted = jobs.len();
        let enough = tokio::time::sleep(self.timeout);
        let answers = futures::stream::iter(jobs).buffer_unordered(CONCURRENT).take_until(enough);
        let mut days: Vec<_> = answers.collect().await;
        days.sort_by_key(|(day, _, _)| *day);
        let late = (days.len() < wanted).then(|| Unanswered::Unreachable("timed out".into()));
        let answered = days.into_iter().map(|(_, rules, day)| (rules.as_slice(), day));
        answered.chain(late.map(|why| ([].as_slice(), Err(why)))).collect()
    }

    async fn day(
        &self,
        query: &Query,
        place: &Place,
        to: Timestamp,
        day: i64,
    ) -> Result<Earlier, Unanswered> {
        let from = to.as_second() - day * DAY_SECS;
        let grid = Grid { from, to: from + WATCH_SECS, step: 60 };
        match query {
            Query::Errors { .. } => {
                let mut counts = Counts::default();
                self.counted(query, place, grid).await?.into_iter().for_each(|batch| counts.add(batch));
                Ok(Earlier { counts, times: None })
            }
            Query::Latency { histogram } => {
                let text = query::growth(histogram, &self.labels, place, WATCH_SECS);
                let request = self.client.query(text).at(grid.to).timeout(self.timeout_ms());
                let body = answer::body(request.post_raw().await).await?;
                Ok(Earlier { counts: Counts::default(), times: answer::summed(&body)? })
            }
            // A plain value is held against the time just before the release only.
            Query::Value(_) => Ok(Earlier::default()),
        }
    }

    async fn counted(&self, query: &Query, place: &Place, grid: Grid) -> Result<Vec<Counts>, Unanswered> {
        let text = query::of_workload(query, &self.labels, place);
        batches(&self.range(text, grid).await?, &self.labels.pod, grid)
    }

    /// Prometheus itself adds the pods up: raw histograms of many pods would be a hundred times as much to send.
    async fn timed(
        &self,
        histogram: &Selector,
        place: &Place,
        grid: Grid,
    ) -> Result<Vec<Histogram>, Unanswered> {
        let text = query::growth(histogram, &self.labels, place, grid.step);
        let grid = Grid { from: grid.from + grid.step, ..grid };
        histograms(&self.range(text, grid).await?, grid)
    }

    pub(super) async fn range(&self, text: String, grid: Grid) -> Result<Vec<u8>, Unanswered> {
        let request = self.client.query_range(text, grid.from, grid.to, grid.step as f64);
        answer::body(request.timeout(self.timeout_ms()).post_raw().await).await
    }
}

enum Past {
    Batches(Vec<Counts>),
    Times(Vec<Histogram>),
    Values(Vec<f64>),
}

fn keep(history: &mut History, rules: &[&RuleName], past: Result<Past, Unanswered>) {
    let rules = rules.iter().map(|rule| (*rule).clone());
    match past {
        Ok(Past::Batches(batches)) if !batches.is_empty() => {
            history.batches.extend(rules.map(|rule| (rule, batches.clone())));
        }
        Ok(Past::Times(times)) if !times.is_empty() => {
            history.times.extend(rules.map(|rule| (rule, times.clone())));
        }
        Ok(Past::Values(values)) if !values.is_empty() => {
            history.values.extend(rules.map(|rule| (rule, values.clone())));
        }
        Ok(Past::Batches(_) | Past::Times(_) | Past::Values(_)) => history.missing = Some("no series".into()),
        Err(why) => history.missing = Some(why.to_string()),
    }
}

/// A day on which nothing was stored is no reason for concern, one that cannot be read is.
fn keep_day(history: &mut History, rules: &[&RuleName], day: Result<Earlier, Unanswered>) {
    match day {
        Ok(day) if day.counts.total > 0.0 || day.times.as_ref().is_some_and(|t| t.count() > 0.0) => {
            for rule in rules {
                history.earlier.entry((*rule).clone()).or_default().push(day.clone());
            }
        }
        Ok(_) => {}
        Err(why) => {
            history.missing.get_or_insert_with(|| format!("of earlier days: {why}"));
        }
    }
}

/// What came in each step that has any series.
fn histograms(body: &[u8], grid: Grid) -> Result<Vec<Histogram>, Unanswered> {
    let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
    let mut steps: BTreeMap<usize, Shown> = BTreeMap::new();
    for one in &series {
        for point in &one.values {
            let Some(index) = grid.index(point.0) else { continue };
            steps.entry(index).or_default().take(&one.metric, Some(point), None)?;
        }
        for told in &one.histograms {
            let Some(index) = grid.index(told.0) else { continue };
            steps.entry(index).or_default().take(&one.metric, None, Some(told))?;
        }
    }
    Ok(steps.into_values().filter_map(|shown| shown.measured().and_then(Measured::times)).collect())
}

/// One pod's raw counters at each moment.
type Readings = BTreeMap<usize, (Option<f64>, Option<f64>)>;

/// What came between neighbouring moments, summed over pods. A moment at which no pod was seen again makes no batch: the
/// next one covers the gap.
fn batches(body: &[u8], pod_label: &str, grid: Grid) -> Result<Vec<Counts>, Unanswered> {
    let mut pods = readings(body, pod_label, grid)?;
    let last = pods.values().filter_map(|r| r.last_key_value()).map(|(index, _)| *index).max();
    let mut counters = Counters::default();
    let mut seen = BTreeSet::new();
    let mut batches = Vec::new();
    for index in 0..=last.unwrap_or_default() {
        let (mut sum, mut again) = (Counts::default(), false);
        for (pod, readings) in &mut pods {
            let Some((total, bad)) = readings.remove(&index) else { continue };
            let Some(Measured::Counts(now)) = Measured::counts(total, bad) else { continue };
            again |= !seen.insert(pod.clone());
            // Never fresh: a pod that appears may also be one that Prometheus could not see before.
            sum.add(counters.advance(pod, now, false));
        }
        if again {
            batches.push(sum);
        }
    }
    Ok(batches)
}

fn readings(body: &[u8], pod_label: &str, grid: Grid) -> Result<BTreeMap<String, Readings>, Unanswered> {
    let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
    let mut pods: BTreeMap<String, Readings> = BTreeMap::new();
    for mut one in series {
        let Some(pod) = one.metric.remove(pod_label) else { continue };
        let part = one.metric.remove(PART);
        let readings = pods.entry(pod).or_default();
        for point in one.values {
            let Some(index) = grid.index(point.0) else { continue };
            let reading = readings.entry(index).or_default();
            match part.as_deref() {
                Some(TOTAL) => reading.0 = Some(point.value()),
                Some(BAD) => reading.1 = Some(point.value()),
                Some(_) | None => return Err(Unanswered::NotNumbers),
            }
        }
    }
    Ok(pods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const GRID: Grid = Grid { from: 1000, to: 1060, step: 15 };

    fn series(pod: &str, part: &str, values: &[(i64, f64)]) -> Value {
        let values: Vec<Value> = values.iter().map(|(t, v)| json!([t, v.to_string()])).collect();
        json!({"metric": {"namespace": "shop", "pod": pod, "rg": part}, "values": values})
    }

    fn past(result: Vec<Value>) -> Vec<(f64, f64)> {
        let body = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
        let batches = batches(body.to_string().as_bytes(), "pod", GRID).unwrap();
        batches.into_iter().map(|c| (c.bad, c.total)).collect()
    }

    #[test]
    fn pods_are_added_up_and_resets_are_new_requests() {
        let a = [(1000, 100.0), (1015, 110.0), (1030, 4.0), (1045, 10.0), (1060, 10.0)];
        let b = [(1030, 50.0), (1045, 57.0)];
        let bad = [(1000, 5.0), (1015, 6.0), (1030, 1.0), (1045, 1.0), (1060, 1.0)];
        let all = vec![series("a", "total", &a), series("a", "bad", &bad), series("b", "total", &b)];
        assert_eq!(past(all), [(1.0, 10.0), (1.0, 4.0), (0.0, 13.0), (0.0, 0.0)]);
    }

    #[test]
    fn a_gap_makes_one_longer_batch() {
        let readings = [(1000, 100.0), (1045, 130.0), (1060, 140.0)];
        assert_eq!(past(vec![series("a", "total", &readings)]), [(0.0, 30.0), (0.0, 10.0)]);
        assert_eq!(past(vec![]), []);
        assert_eq!(past(vec![series("a", "bad", &[(1000, 1.0), (1015, 2.0)])]), [], "no total");
    }

    #[test]
    fn long_periods_get_longer_steps() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(Grid::new(at(0), at(3600)).step, 15);
        let week = Grid::new(at(0), at(7 * 86_400));
        assert!(week.span() / week.step < 11_000);
    }
}
