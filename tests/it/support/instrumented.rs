//! A service whose client library exposes native histograms, by protobuf to those who ask for it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prost::Message;

use super::workload::{Served, serve};

/// Shows native buckets and classic ones.
pub(crate) const BOTH: &str = "http_request_duration_seconds";
/// Shows classic buckets only.
pub(crate) const CLASSIC: &str = "rpc_duration_seconds";
/// Shows native buckets of floats only.
pub(crate) const FLOATS: &str = "job_duration_seconds";

pub(crate) const SCHEMA: i32 = 3;
pub(crate) const ZERO_THRESHOLD: f64 = 1.0 / 1024.0;
/// Upper bounds of the classic buckets; above is `+Inf`.
const BOUNDS: [f64; 5] = [0.005, 0.05, 0.25, 1.0, 5.0];

const PROTOBUF: &str = "application/vnd.google.protobuf";

#[derive(Clone, PartialEq, prost::Message)]
struct Family {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "4")]
    sample_count_float: Option<f64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(double, optional, tag = "8")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(double, repeated, tag = "14")]
    positive_count: Vec<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Span {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// What one histogram observed, and how many times.
type Observed = BTreeMap<u64, u64>;

#[derive(Default)]
struct Shared {
    requests: f64,
    /// By path, in microseconds.
    observed: BTreeMap<&'static str, Observed>,
}

/// Serves /metrics; every observation is in all three histograms and in `http_requests_total{code="200"}`.
pub(crate) struct Instrumented {
    shared: Arc<Mutex<Shared>>,
    served: Served,
}

impl Instrumented {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let router = Router::new().route("/metrics", get(metrics)).with_state(shared.clone());
        let served = serve(SocketAddr::from(([127, 0, 0, 1], 0)), router).await;
        Self { shared, served }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.served.address()
    }

    pub(crate) fn observe(&self, path: &'static str, micros: u64, times: u64) {
        let mut shared = self.shared.lock().unwrap();
        shared.requests += times as f64;
        *shared.observed.entry(path).or_default().entry(micros).or_default() += times;
    }

    /// Counts from zero again, as a process does that was started anew.
    pub(crate) fn restart(&self) {
        *self.shared.lock().unwrap() = Shared::default();
    }
}

async fn metrics(State(shared): State<Arc<Mutex<Shared>>>, headers: HeaderMap) -> Response {
    let shared = shared.lock().unwrap();
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accepts.contains(PROTOBUF) {
        return text(&shared).into_response();
    }
    let families =
        [requests(&shared), family(&shared, BOTH), family(&shared, CLASSIC), family(&shared, FLOATS)];
    let body: Vec<u8> = families.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
    let content_type = format!("{PROTOBUF}; proto=io.prometheus.client.MetricFamily; encoding=delimited");
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

fn label(name: &str, value: &str) -> Label {
    Label { name: Some(name.into()), value: Some(value.into()) }
}

fn requests(shared: &Shared) -> Family {
    let counter = Some(Counter { value: Some(shared.requests) });
    let metric = vec![Metric { label: vec![label("code", "200")], counter, histogram: None }];
    Family { name: Some("http_requests_total".into()), help: Some("Requests.".into()), kind: Some(0), metric }
}

fn family(shared: &Shared, name: &str) -> Family {
    let metric = shared.observed.iter().map(|(path, observed)| Metric {
        label: vec![label("path", path)],
        counter: None,
        histogram: Some(histogram(observed, name)),
    });
    Family { name: Some(name.into()), help: Some("Seconds.".into()), kind: Some(4), metric: metric.collect() }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn histogram(observed: &Observed, name: &str) -> Histogram {
    let count: u64 = observed.values().sum();
    let mut histogram = Histogram {
        sample_sum: Some(observed.iter().map(|(micros, n)| seconds(*micros) * *n as f64).sum()),
        ..Histogram::default()
    };
    if name != FLOATS {
        histogram.sample_count = Some(count);
        histogram.bucket = classic(observed)
            .map(|(le, n)| Bucket { cumulative_count: Some(n), upper_bound: Some(le) })
            .collect();
    }
    if name != CLASSIC {
        add_native(&mut histogram, observed, name == FLOATS);
    }
    histogram
}

fn classic(observed: &Observed) -> impl Iterator<Item = (f64, u64)> {
    let below = |le: f64| observed.iter().filter(|(micros, _)| seconds(**micros) <= le).map(|(_, n)| n).sum();
    BOUNDS.iter().map(move |le| (*le, below(*le)))
}

fn add_native(histogram: &mut Histogram, observed: &Observed, floats: bool) {
    let (mut zero, mut counts) = (0, BTreeMap::<i32, u64>::new());
    for (micros, n) in observed {
        if seconds(*micros) <= ZERO_THRESHOLD {
            zero += n;
        } else {
            let index = (seconds(*micros).log2() * 2f64.powi(SCHEMA)).ceil() as i32;
            *counts.entry(index).or_default() += n;
        }
    }
    histogram.schema = Some(SCHEMA);
    histogram.zero_threshold = Some(ZERO_THRESHOLD);
    let mut next = 0;
    for index in counts.keys() {
        match histogram.positive_span.last_mut() {
            Some(span) if next == *index => span.length = span.length.map(|length| length + 1),
            _ => histogram.positive_span.push(Span { offset: Some(index - next), length: Some(1) }),
        }
        next = index + 1;
    }
    if floats {
        histogram.zero_count_float = Some(zero as f64);
        histogram.positive_count = counts.values().map(|n| *n as f64).collect();
        histogram.sample_count_float = Some((zero + counts.values().sum::<u64>()) as f64);
    } else {
        histogram.zero_count = Some(zero);
        let mut last = 0;
        let delta = |n: &u64| {
            let now = i64::try_from(*n).unwrap();
            now - std::mem::replace(&mut last, now)
        };
        histogram.positive_delta = counts.values().map(delta).collect();
    }
}

/// What those see who cannot read protobuf: classic buckets only.
fn text(shared: &Shared) -> String {
    let mut text = format!(
        "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {}\n",
        shared.requests
    );
    for name in [BOTH, CLASSIC] {
        writeln!(text, "# TYPE {name} histogram").unwrap();
        for (path, observed) in &shared.observed {
            let all: u64 = observed.values().sum();
            for (le, n) in classic(observed) {
                writeln!(text, "{name}_bucket{{path=\"{path}\",le=\"{le}\"}} {n}").unwrap();
            }
            writeln!(text, "{name}_bucket{{path=\"{path}\",le=\"+Inf\"}} {all}").unwrap();
            writeln!(text, "{name}_count{{path=\"{path}\"}} {all}").unwrap();
        }
    }
    text
}
