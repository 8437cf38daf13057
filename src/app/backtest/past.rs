//! Backtests over the past of a Prometheus: the samples that it gives instead of a recording's.
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::{Bench, News, Order, Tally};
use crate::adapters::signals::prometheus::replay::{PastError, PastOrder, STEP_SECS};
use crate::app::{AppError, build};
use crate::config::{Config, PrometheusConfig};
use crate::engine::clock::SystemClock;
use crate::ports::Clock;

pub use crate::adapters::signals::prometheus::replay::GivenRelease;

/// A query over the past may take longer than one that is asked every few seconds.
const TIMEOUT_MIN: Duration = Duration::from_secs(60);

/// Which past is judged.
#[derive(Clone, Debug)]
pub struct PastSource {
    pub url: Url,
    /// Says which services there are, what measures them, and how Prometheus is asked.
    pub config: Config,
    /// Releases that began in here are looked for, unless some are given.
    pub from: Timestamp,
    /// Now, if missing.
    pub to: Option<Timestamp>,
    pub given: Vec<GivenRelease>,
}

/// Why a past could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum PastFailure {
    #[error("Prometheus cannot be asked")]
    Setup(#[from] AppError),
    #[error(transparent)]
    Past(#[from] PastError),
}

/// The configuration as it judges a past: a batch is never shorter than the steps in which the past is read.
pub fn paced(mut config: Config) -> Config {
    let step = Duration::from_secs(STEP_SECS.unsigned_abs());
    if let Some(prometheus) = &mut config.sources.prometheus {
        prometheus.interval = prometheus.interval.max(step);
    }
    if let Some(scrape) = &mut config.sources.scrape {
        scrape.fresh_interval = scrape.fresh_interval.max(step);
    }
    config
}

/// Judges every release of the past, and tells of each when its watch is over.
///
/// # Errors
/// When Prometheus does not answer, or a release that was given is not in it. What was told before stands.
pub async fn run_past(
    past: &PastSource,
    order: &Order,
    tell: &mut dyn FnMut(News),
) -> Result<Tally, PastFailure> {
    let prometheus = build::prometheus_of_all(&past.config, &access(past))?;
    let now = SystemClock.now();
    let services = past.config.services.iter();
    let wanted = services.filter(|service| order.only.as_ref().is_none_or(|only| *only == service.name));
    let found = prometheus
        .past_releases(&PastOrder {
            from: past.from,
            to: past.to.unwrap_or(now),
            now,
            given: past.given.clone(),
            watches: wanted.map(|service| (service.name.clone(), service.watch)).collect(),
            together: order.options.fleet,
        })
        .await?;
    if !found.unknown.is_empty() {
        tell(News::Unknown(found.unknown));
    }
    let mut tally = Tally::default();
    for mut replay in found.replays {
        let mut bench = Bench::new(order);
        while let Some(samples) = replay.next().await? {
            tally.lines += samples.len() as u64;
            samples.iter().for_each(|sample| bench.take(sample, &mut tally, tell));
        }
        bench.finish(&mut tally, tell);
    }
    Ok(tally)
}

/// As the configuration asks its Prometheus, but this one.
fn access(past: &PastSource) -> PrometheusConfig {
    let url = past.url.clone();
    match &past.config.sources.prometheus {
        Some(known) => PrometheusConfig { url, timeout: known.timeout.max(TIMEOUT_MIN), ..known.clone() },
        None => PrometheusConfig {
            url,
            interval: Duration::from_secs(STEP_SECS.unsigned_abs()),
            timeout: TIMEOUT_MIN,
            bearer_token: None,
            headers: vec![],
            namespace_label: "namespace".into(),
            pod_label: "pod".into(),
        },
    }
}
