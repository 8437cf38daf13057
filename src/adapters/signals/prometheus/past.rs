//! What a workload did before, from range queries over all the pods it had.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::answer::{self, Data, Unanswered};
use super::query::{self, BAD, PART, TOTAL};
use super::{Place, PrometheusSource};
use crate::adapters::signals::{Measured, Query};
use crate::domain::detect::counter::Counters;
use crate::domain::detect::errors::Counts;
use crate::domain::histogram::Histogram;
use crate::domain::names::RuleName;
use crate::ports::{AskTarget, History};

/// The usual scrape interval: shorter steps would only show its pattern.
const STEP_SECS: i64 = 15;
/// Prometheus refuses more than 11,000 points per series.
const STEPS_MAX: i64 = 10_000;

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
    fn span(self) -> i64 {
        self.to - self.from
    }
    fn index(self, seconds: f64) -> Option<usize> {
        let steps = (seconds - self.from as f64) / self.step as f64;
        // Within the grid by construction, unless the server answers another question.
        (steps > -0.5 && steps < STEPS_MAX as f64).then_some(steps.round() as usize)
    }
}

impl PrometheusSource {
    pub(super) async fn past(&self, about: &AskTarget, from: Timestamp, to: Timestamp) -> History {
        let grid = Grid::new(from, to);
        let step = Duration::from_secs(grid.step.unsigned_abs());
        let mut history = History { step, ..History::default() };
        let Some(place) = self.places.get(&about.target) else {
            history.missing = Some("the namespace and workload of the target are not configured".into());
            return history;
        };
        if grid.span() <= 0 {
            history.missing = Some("the period asked for is empty".into());
            return history;
        }
        for group in &self.groups {
            let rules: Vec<&RuleName> = group.rules_of(&about.target.service).collect();
            if rules.is_empty() {
                continue;
            }
            match self.past_of(&group.query, place, grid).await {
                Ok(Past::Batches(batches)) if batches.is_empty() => {
                    history.missing = Some("no series".into());
                }
                Ok(Past::Batches(batches)) => {
                    history.batches.extend(rules.into_iter().map(|rule| (rule.clone(), batches.clone())));
                }
                Ok(Past::Times(times)) => {
                    let step = vec![times];
                    history.times.extend(rules.into_iter().map(|rule| (rule.clone(), step.clone())));
                }
                Ok(Past::Values(values)) if values.is_empty() => history.missing = Some("no series".into()),
                Ok(Past::Values(values)) => {
                    history.values.extend(rules.into_iter().map(|rule| (rule.clone(), values.clone())));
                }
                Err(why) => history.missing = Some(why.to_string()),
            }
        }
        history
    }

    async fn past_of(&self, query: &Query, place: &Place, grid: Grid) -> Result<Past, Unanswered> {
        match query {
            Query::Errors { .. } => {
                let text = query::of_workload(query, &self.labels, place);
                let request = self.client.query_range(text, grid.from, grid.to, grid.step as f64);
                let body = answer::body(request.timeout(self.timeout_ms()).post_raw().await).await?;
                batches(&body, &self.labels.pod, grid).map(Past::Batches)
            }
            Query::Latency { histogram } => {
                let text = query::bucket_growth(histogram, &self.labels, place, grid.span());
                let request = self.client.query(text).at(grid.to).timeout(self.timeout_ms());
                let body = answer::body(request.post_raw().await).await?;
                answer::bucket_sums(&body).map(times)
            }
            Query::Value(value) => self.past_values(value, place, grid).await.map(Past::Values),
        }
    }
}

enum Past {
    Batches(Vec<Counts>),
    Times(Histogram),
    Values(Vec<f64>),
}

fn times(sums: Option<Measured>) -> Past {
    match sums {
        Some(Measured::Buckets(buckets)) => Past::Times(Histogram::Classic(buckets)),
        Some(Measured::Counts(_) | Measured::Value(_)) | None => Past::Times(Histogram::default()),
    }
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
