//! `/metrics`: what rollguard measures about itself, in Prometheus' text format.
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use jiff::Timestamp;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::HttpState;
use crate::telemetry::Metric;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PROCESS_START: &str = "process_start_time_seconds";
const BUILD_INFO: &str = "rollguard_build_info";
/// From a synced write of a millisecond to a run of half an hour.
const BUCKETS_SECS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0, 1800.0];

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be set up: they are set up once per process")]
pub struct InstallError(#[from] BuildError);

/// Sets the recorder of this process up, once, and describes every metric. `started` is when the process began.
///
/// # Errors
/// When a recorder is there already.
pub fn install(started: Timestamp) -> Result<PrometheusHandle, InstallError> {
    let seconds = Matcher::Suffix("_seconds".to_string());
    let handle =
        PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS_SECS)?.install_recorder()?;
    Metric::ALL.into_iter().for_each(describe);
    describe_gauge!(PROCESS_START, "When this process began, in seconds since 1970.");
    gauge!(PROCESS_START).set(started.as_duration().as_secs_f64());
    describe_gauge!(BUILD_INFO, "1, with the version as a label.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// The kind follows from the name, as Prometheus' conventions want it.
fn describe(metric: Metric) {
    let (name, help) = metric.describe();
    if name.ends_with("_total") {
        describe_counter!(name, help);
    } else if name.ends_with("_seconds") && !name.ends_with("_timestamp_seconds") {
        describe_histogram!(name, help);
    } else {
        describe_gauge!(name, help);
    }
}

pub(super) async fn show(State(state): State<HttpState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.0.metrics.render())
}
