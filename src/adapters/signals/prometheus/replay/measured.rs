//! What the pods of a target measured at each step of a range query.
use std::collections::BTreeMap;

use super::super::answer::{self, Data, Shown, Unanswered};
use super::super::query::{BAD, Labels, PART, TOTAL};
use crate::adapters::signals::{Measured, Query};

/// By second and pod; `None` is what belongs to no pod.
pub(super) type Steps = BTreeMap<i64, BTreeMap<Option<String>, Measured>>;

/// What the series of one pod add up to at one step.
#[derive(Default)]
struct Parts {
    total: Option<f64>,
    bad: Option<f64>,
    times: Shown,
    value: Option<f64>,
}

impl Parts {
    fn measured(self, query: &Query) -> Option<Measured> {
        match query {
            Query::Errors { .. } => Measured::counts(self.total, self.bad),
            Query::Latency { .. } => self.times.measured(),
            Query::Value(_) => self.value.filter(|value| value.is_finite()).map(Measured::Value),
        }
    }
}

/// Reads the answer to a range query for the pods of a workload, or for what stands beside it.
pub(super) fn steps(query: &Query, labels: &Labels, body: &[u8]) -> Result<Steps, Unanswered> {
    let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
    let beside = matches!(query, Query::Value(value) if !value.pods);
    let mut parts: BTreeMap<(i64, Option<String>), Parts> = BTreeMap::new();
    for mut one in series {
        let pod = one.metric.remove(&labels.pod);
        if pod.is_none() && !beside {
            continue;
        }
        for point in &one.values {
            let (at, value) = (point.0.round() as i64, point.value());
            let parts = parts.entry((at, pod.clone())).or_default();
            match (query, one.metric.get(PART).map(String::as_str)) {
                (Query::Errors { .. }, Some(TOTAL)) => parts.total = Some(value),
                (Query::Errors { .. }, Some(BAD)) => parts.bad = Some(value),
                (Query::Errors { .. }, _) => return Err(Unanswered::NotNumbers),
                (Query::Latency { .. }, _) => parts.times.take(&one.metric, Some(point), None)?,
                (Query::Value(_), _) => parts.value = Some(value),
            }
        }
        for told in &one.histograms {
            let parts = parts.entry((told.0.round() as i64, pod.clone())).or_default();
            match query {
                Query::Latency { .. } => parts.times.take(&one.metric, None, Some(told))?,
                Query::Errors { .. } | Query::Value(_) => return Err(Unanswered::NotNumbers),
            }
        }
    }
    let mut steps = Steps::new();
    for ((at, pod), parts) in parts {
        if let Some(measured) = parts.measured(query) {
            steps.entry(at).or_default().insert(pod, measured);
        }
    }
    Ok(steps)
}

/// The first second at which each pod of an answer was seen.
pub(super) fn first_seen(labels: &Labels, body: &[u8]) -> Result<BTreeMap<String, i64>, Unanswered> {
    let Data::Matrix(series) = answer::data(body)? else { return Err(Unanswered::NotNumbers) };
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    for mut one in series {
        let moments = one.values.iter().map(|point| point.0).chain(one.histograms.iter().map(|told| told.0));
        let first = moments.map(|at| at.round() as i64).min();
        if let (Some(pod), Some(first)) = (one.metric.remove(&labels.pod), first) {
            let known = seen.entry(pod).or_insert(first);
            *known = first.min(*known);
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn labels() -> Labels {
        Labels { namespace: "namespace".into(), pod: "pod".into() }
    }

    fn body(result: &[(Value, &[(i64, &str)])]) -> Vec<u8> {
        let series = |(metric, values): &(Value, &[(i64, &str)])| {
            let values: Vec<Value> = values.iter().map(|(at, value)| json!([at, value])).collect();
            json!({"metric": metric, "values": values})
        };
        let result: Vec<Value> = result.iter().map(series).collect();
        json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
            .to_string()
            .into_bytes()
    }

    fn read(query: &Query, result: &[(Value, &[(i64, &str)])]) -> Vec<String> {
        let steps = steps(query, &labels(), &body(result)).unwrap();
        let each = steps.iter().flat_map(|(at, pods)| pods.iter().map(move |(pod, m)| (at, pod, m)));
        each.map(|(at, pod, measured)| format!("{at} {} {measured:?}", pod.as_deref().unwrap_or("-")))
            .collect()
    }

    #[test]
    fn errors_need_a_total_and_a_pod() {
        let query = Query::Errors { total: "r".parse().unwrap(), bad: "b".parse().unwrap() };
        let series = |pod: &str, part: &str| json!({"namespace": "shop", "pod": pod, "rg": part});
        let read = read(
            &query,
            &[
                (series("a", "total"), &[(1000, "5"), (1015, "9"), (1030, "NaN")]),
                (series("a", "bad"), &[(1015, "2")]),
                (series("b", "bad"), &[(1000, "2")]),
                (json!({"rg": "total"}), &[(1000, "77")]),
            ],
        );
        assert_eq!(
            read,
            [
                "1000 a Counts(Counts { bad: 0.0, total: 5.0 })",
                "1015 a Counts(Counts { bad: 2.0, total: 9.0 })"
            ]
        );
        let odd = steps(&query, &labels(), &body(&[(json!({"pod": "a"}), &[(1000, "1")])]));
        assert_eq!(odd.err(), Some(Unanswered::NotNumbers));
    }

    #[test]
    fn buckets_are_put_together_and_pods_first_seen() {
        let query = Query::Latency { histogram: "h".parse().unwrap() };
        let series = |le: &str| json!({"pod": "a", "le": le});
        let result: [(Value, &[(i64, &str)]); 2] =
            [(series("+Inf"), &[(1000, "5"), (1015, "9")]), (series("0.5"), &[(1015, "2")])];
        assert_eq!(
            read(&query, &result),
            [
                "1000 a Times(Classic(Buckets([(inf, 5.0)])))",
                "1015 a Times(Classic(Buckets([(0.5, 2.0), (inf, 9.0)])))"
            ]
        );
        let seen = first_seen(&labels(), &body(&result)).unwrap();
        assert_eq!(seen, [("a".to_string(), 1000)].into());
    }
}
