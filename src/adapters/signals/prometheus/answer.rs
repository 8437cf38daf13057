//! Reads Prometheus' JSON answers. One with warnings is partial, and a partial answer is never evidence.
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::query::{BAD, Labels, PART, TOTAL};
use super::times::Told;
use crate::adapters::outbound;
use crate::adapters::signals::{Measured, Query};
use crate::domain::histogram::Histogram;

/// Why there is no answer to go by. Read by people as the reason of a `NoData`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("Prometheus: {0}")]
    Unreachable(String),
    #[error("Prometheus answered HTTP {0} without JSON (starting, stopping, or not Prometheus?)")]
    NotJson(u16),
    #[error("Prometheus refuses our credentials (HTTP {0})")]
    Forbidden(u16),
    #[error("Prometheus answered {kind}: {message}")]
    Refused { kind: String, message: String },
    #[error("partial answer, not used: {0}")]
    Partial(String),
    #[error("the answer is not one of Prometheus' query API: check the url")]
    Foreign,
    #[error("the result is not made of numbers: name counters, or a histogram in a latency rule")]
    NotNumbers,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
}

#[derive(Deserialize)]
pub(super) struct Instant {
    metric: BTreeMap<String, String>,
    value: Option<Point>,
    /// Instead of a value, of native histograms.
    histogram: Option<Told>,
}

#[derive(Deserialize)]
pub(super) struct Range {
    pub(super) metric: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) values: Vec<Point>,
    #[serde(default)]
    pub(super) histograms: Vec<Told>,
}

/// Seconds since the epoch, and a number as text: `"NaN"` and `"+Inf"` are no JSON numbers.
#[derive(Deserialize)]
pub(super) struct Point(pub(super) f64, String);

impl Point {
    pub(super) fn value(&self) -> f64 {
        self.1.parse().unwrap_or(f64::NAN)
    }
}

/// Ten thousand pods with a dozen buckets each are about 20 MB.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Releases of Prometheus 2 put remarks on the query among the warnings; newer ones have `infos` for them.
const REMARK: &str = "PromQL info:";

/// The body of an answer, whatever its status: errors come as JSON too.
pub(super) async fn body(
    sent: Result<reqwest::Response, prometheus_http_query::Error>,
) -> Result<Vec<u8>, Unanswered> {
    let response = sent.map_err(|error| Unanswered::Unreachable(reason(&error)))?;
    let status = response.status();
    if matches!(status.as_u16(), 401 | 403) {
        return Err(Unanswered::Forbidden(status.as_u16()));
    }
    let body = outbound::read_body(response, BODY_BYTES_MAX).await;
    let body = body.map_err(|error| Unanswered::Unreachable(error.to_string()))?;
    if body.first() != Some(&b'{') {
        return Err(Unanswered::NotJson(status.as_u16()));
    }
    Ok(body)
}

fn reason(error: &prometheus_http_query::Error) -> String {
    match error {
        prometheus_http_query::Error::Client(client) => {
            client.inner().map_or_else(|| "the request failed".into(), outbound::describe)
        }
        _ => "the request cannot be built".into(),
    }
}

/// What a successful, whole answer holds.
pub(super) fn data(body: &[u8]) -> Result<Data, Unanswered> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| Unanswered::Foreign)?;
    if envelope.status != "success" {
        let message = outbound::shorten(envelope.error.as_deref().unwrap_or("no reason given"));
        let kind = envelope.error_type.unwrap_or_else(|| "an error".into());
        return Err(Unanswered::Refused { kind, message });
    }
    let warnings = envelope.warnings.unwrap_or_default();
    if let Some(warning) = warnings.iter().find(|warning| !warning.starts_with(REMARK)) {
        return Err(Unanswered::Partial(outbound::shorten(warning)));
    }
    envelope.data.ok_or(Unanswered::Foreign)
}

/// What one query measured, by namespace and pod.
#[derive(Default)]
pub(super) struct Measurements(HashMap<String, HashMap<String, Measured>>);

impl Measurements {
    pub(super) fn of(query: &Query, labels: &Labels, body: &[u8]) -> Result<Self, Unanswered> {
        let Data::Vector(series) = data(body)? else { return Err(Unanswered::NotNumbers) };
        match query {
            Query::Errors { .. } => Self::errors(labels, series),
            Query::Latency { .. } => Self::latency(labels, series),
            Query::Value(_) => Self::values(labels, series),
        }
    }

    pub(super) fn of_pod(&self, namespace: &str, pod: &str) -> Option<Measured> {
        self.0.get(namespace)?.get(pod).cloned()
    }

    fn errors(labels: &Labels, series: Vec<Instant>) -> Result<Self, Unanswered> {
        let mut pods: HashMap<(String, String), (Option<f64>, Option<f64>)> = HashMap::new();
        for Instant { mut metric, value, .. } in series {
            let value = value.ok_or(Unanswered::NotNumbers)?.value();
            let Some(pod) = pod_of(labels, &mut metric) else { continue };
            let counts = pods.entry(pod).or_default();
            match metric.get(PART).map(String::as_str) {
                Some(TOTAL) => counts.0 = Some(value),
                Some(BAD) => counts.1 = Some(value),
                Some(_) | None => return Err(Unanswered::NotNumbers),
            }
        }
        Ok(Self::collect(pods, |(total, bad)| Measured::counts(total, bad)))
    }

    fn latency(labels: &Labels, series: Vec<Instant>) -> Result<Self, Unanswered> {
        let mut pods: HashMap<(String, String), Shown> = HashMap::new();
        for Instant { mut metric, value, histogram } in series {
            let Some(pod) = pod_of(labels, &mut metric) else { continue };
            let shown = pods.entry(pod).or_default();
            shown.take(&metric, value.as_ref(), histogram.as_ref())?;
        }
        Ok(Self::collect(pods, Shown::measured))
    }

    fn values(labels: &Labels, series: Vec<Instant>) -> Result<Self, Unanswered> {
        let mut pods: HashMap<(String, String), f64> = HashMap::new();
        for Instant { mut metric, value, .. } in series {
            let value = value.ok_or(Unanswered::NotNumbers)?.value();
            pods.extend(pod_of(labels, &mut metric).map(|pod| (pod, value)));
        }
        Ok(Self::collect(pods, number))
    }

    fn collect<T>(pods: HashMap<(String, String), T>, measure: impl Fn(T) -> Option<Measured>) -> Self {
        let mut by_namespace: HashMap<String, HashMap<String, Measured>> = HashMap::new();
        for ((namespace, pod), values) in pods {
            if let Some(measured) = measure(values) {
                by_namespace.entry(namespace).or_default().insert(pod, measured);
            }
        }
        Self(by_namespace)
    }
}

/// The series of one histogram: classic buckets, a native one, or both.
#[derive(Default)]
pub(super) struct Shown {
    pairs: Vec<(f64, f64)>,
    native: Option<Histogram>,
}

impl Shown {
    /// A number without a bound is of another metric, whose name a native histogram would have.
    pub(super) fn take(
        &mut self,
        metric: &BTreeMap<String, String>,
        value: Option<&Point>,
        histogram: Option<&Told>,
    ) -> Result<(), Unanswered> {
        if let (Some(le), Some(point)) = (metric.get("le"), value) {
            self.pairs.push((le.parse().map_err(|_| Unanswered::NotNumbers)?, point.value()));
        }
        if let Some(told) = histogram {
            self.native = Some(told.times().ok_or(Unanswered::NotNumbers)?);
        }
        Ok(())
    }

    /// Where there are both, the native one says more.
    pub(super) fn measured(self) -> Option<Measured> {
        self.native.map(Measured::Times).or_else(|| Measured::buckets(self.pairs))
    }
}

fn number(value: f64) -> Option<Measured> {
    value.is_finite().then_some(Measured::Value(value))
}

/// The only number of an answer.
pub(super) fn single(body: &[u8]) -> Result<Option<f64>, Unanswered> {
    let Data::Vector(series) = data(body)? else { return Err(Unanswered::NotNumbers) };
    let value = series.first().map(|one| one.value.as_ref().ok_or(Unanswered::NotNumbers)).transpose()?;
    Ok(value.map(Point::value).filter(|value| value.is_finite()))
}

/// The histogram of an answer that is summed over pods.
pub(super) fn summed(body: &[u8]) -> Result<Option<Histogram>, Unanswered> {
    let Data::Vector(series) = data(body)? else { return Err(Unanswered::NotNumbers) };
    let mut shown = Shown::default();
    for one in &series {
        shown.take(&one.metric, one.value.as_ref(), one.histogram.as_ref())?;
    }
    Ok(shown.measured().and_then(Measured::times))
}

/// Series that lack either label belong to no pod.
fn pod_of(labels: &Labels, metric: &mut BTreeMap<String, String>) -> Option<(String, String)> {
    Some((metric.remove(&labels.namespace)?, metric.remove(&labels.pod)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Data, Unanswered> {
        data(text.as_bytes())
    }

    #[test]
    fn only_a_whole_success_counts() {
        let whole = r#"{"status":"success","data":{"resultType":"vector","result":[]},"infos":["x"]}"#;
        assert!(answer(whole).is_ok());
        let remark = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["PromQL info: x"]}"#;
        assert!(answer(remark).is_ok());
        let partial = r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a store\nis down"]}"#;
        assert_eq!(answer(partial).err(), Some(Unanswered::Partial("a store is down".into())));
        let refused = r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
        let why = answer(refused).err().map(|e| e.to_string());
        assert_eq!(why.as_deref(), Some("Prometheus answered timeout: query timed out"));
        for odd in
            ["{}", "{\"status\":\"success\"}", "{\"status\":\"success\",\"data\":{\"resultType\":\"x\"}}"]
        {
            assert!(answer(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn native_histograms_are_no_counters_but_response_times() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"namespace":"shop","pod":"a"},"histogram":[1.5,{"count":"3","sum":"2","buckets":[[0,"1","2","3"]]}]},
            {"metric":{"namespace":"shop","pod":"a","le":"+Inf"},"value":[1.5,"9"]},
            {"metric":{"namespace":"shop","pod":"b","le":"+Inf"},"value":[1.5,"7"]},
            {"metric":{"namespace":"shop","pod":"b"},"value":[1.5,"5"]}]}}"#;
        let labels = Labels { namespace: "namespace".into(), pod: "pod".into() };
        let errors = Query::Errors { total: "r".parse().unwrap(), bad: "b".parse().unwrap() };
        assert_eq!(Measurements::of(&errors, &labels, body).err(), Some(Unanswered::NotNumbers));
        let latency = Query::Latency { histogram: "h".parse().unwrap() };
        let measured = Measurements::of(&latency, &labels, body).unwrap();
        let count = |pod: &str| measured.of_pod("shop", pod).and_then(Measured::times).map(|t| t.count());
        assert_eq!((count("a"), count("b"), count("c")), (Some(3.0), Some(7.0), None));
    }
}
