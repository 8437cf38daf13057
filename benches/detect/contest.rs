//! The peers side by side over one watch: each asks its own query at its own interval.
use super::cells::{Old, Signal};
use super::peers::alert::Alert;
use super::peers::argo::{self, Argo};
use super::peers::flagger::{self, Flagger};
use super::peers::kayenta;
use super::times::{Grid, MEDIAN_SECS, SIGMA};
use super::track::Track;
use super::world::Arm;

/// The peers, in the order of the columns.
pub(crate) const PEERS: [&str; 6] =
    ["Flagger", "Flagger strict", "Argo Rollouts", "alert for 5m", "alert for 1m", "Kayenta"];

const ERRORS_ABOVE: f64 = 0.05;
/// The success rate of Flagger's documentation is 99 %.
const ERRORS_STRICT: f64 = 0.01;
const P99_MAX_SECS: f64 = 0.5;
const SLOWER: f64 = 1.5;
const MINUTE: u32 = 60;
/// Normal quantile of 95 %, for the alert's fixed threshold.
const Z_95: f64 = 1.644_854;

/// Whether a peer can judge this at all: some compare with pods that are gone after a rolling update.
pub(crate) fn applies(peer: usize, signal: Signal, old: Old) -> bool {
    match (PEERS[peer], signal, old) {
        ("Kayenta", _, Old::Leave) | ("Argo Rollouts", Signal::Latency { .. }, Old::Leave) => false,
        // There is one threshold for response times.
        ("Flagger strict", Signal::Latency { .. }, _) => false,
        (_, _, _) => true,
    }
}

pub(crate) struct Contest {
    signal: Signal,
    old: Old,
    scrape_secs: u32,
    flagger: Flagger,
    strict: Flagger,
    argo: Argo,
    slow_alert: Alert,
    fast_alert: Alert,
    /// When each decided.
    pub decided: [Option<u32>; 6],
}

impl Contest {
    pub(crate) fn new(signal: Signal, old: Old, scrape_secs: u32) -> Self {
        Self {
            signal,
            old,
            scrape_secs,
            flagger: Flagger::new(flagger::THRESHOLD),
            strict: Flagger::new(flagger::THRESHOLD),
            argo: Argo::new(argo::FAILURE_LIMIT),
            slow_alert: Alert::new(5 * MINUTE),
            fast_alert: Alert::new(MINUTE),
            decided: [None; 6],
        }
    }

    pub(crate) fn all_decided(&self) -> bool {
        let mut open = self.decided.iter().enumerate().filter(|(_, decided)| decided.is_none());
        open.all(|(peer, _)| !applies(peer, self.signal, self.old))
    }

    /// One moment of the watch; each peer looks if it is its time.
    pub(crate) fn look(&mut self, track: &Track, grid: &Grid, now: u32) {
        let every = |secs: u32| now > 0 && now.is_multiple_of(secs);
        let mut fired = [false; 6];
        if every(flagger::INTERVAL_SECS) {
            fired[0] = self.flagger.tick(self.flagger_passes(track, grid, now, ERRORS_ABOVE));
            fired[1] = self.strict.tick(self.flagger_passes(track, grid, now, ERRORS_STRICT));
        }
        if every(argo::INTERVAL_SECS) {
            fired[2] = self.argo.measure(self.argo_succeeds(track, grid, now));
        }
        if every(self.scrape_secs.max(15)) {
            let holds = |window| self.alert_holds(track, grid, now, window);
            let (slow, fast) = (holds(5 * MINUTE), holds(MINUTE));
            fired[3] = self.slow_alert.evaluate(now, slow);
            fired[4] = self.fast_alert.evaluate(now, fast);
        }
        if every(5 * MINUTE) && self.decided[5].is_none() {
            fired[5] = self.kayenta_is_high(track, grid, now);
        }
        for (peer, (decided, fired)) in self.decided.iter_mut().zip(fired).enumerate() {
            let fired = fired && applies(peer, self.signal, self.old);
            *decided = decided.or(fired.then_some(now));
        }
    }

    /// `request-success-rate` or `request-duration` over one minute.
    fn flagger_passes(&self, track: &Track, grid: &Grid, now: u32, errors: f64) -> Option<bool> {
        match self.signal {
            Signal::Errors(_) => track.error_ratio(Arm::New, now, MINUTE).map(|r| r <= errors),
            Signal::Latency { .. } => {
                track.quantile(grid, Arm::New, now, MINUTE, 0.99).map(|p99| p99 <= P99_MAX_SECS)
            }
        }
    }

    /// Success rate ≥ 95 %, or p95 at most half as much again as the stable pods', over five minutes.
    fn argo_succeeds(&self, track: &Track, grid: &Grid, now: u32) -> Option<bool> {
        match self.signal {
            Signal::Errors(_) => track.error_ratio(Arm::New, now, 5 * MINUTE).map(|r| r <= ERRORS_ABOVE),
            Signal::Latency { .. } => {
                let p95 = |arm| track.quantile(grid, arm, now, 5 * MINUTE, 0.95);
                Some(p95(Arm::New)? <= p95(Arm::Old)? * SLOWER)
            }
        }
    }

    /// More than 5 % errors, or a p95 above a threshold that somebody set at half as much again as usual.
    fn alert_holds(&self, track: &Track, grid: &Grid, now: u32, window: u32) -> Option<bool> {
        match self.signal {
            Signal::Errors(_) => track.error_ratio(Arm::New, now, window).map(|r| r > ERRORS_ABOVE),
            Signal::Latency { .. } => {
                let usual = MEDIAN_SECS * (SIGMA * Z_95).exp();
                track.quantile(grid, Arm::New, now, window, 0.95).map(|p95| p95 > usual * SLOWER)
            }
        }
    }

    /// All minutes since the release, new against old; a minute without requests is left out.
    fn kayenta_is_high(&self, track: &Track, grid: &Grid, now: u32) -> bool {
        let series = |arm| -> Vec<f64> {
            let minutes = 1..=now / MINUTE;
            let value = |minute: u32| match self.signal {
                Signal::Errors(_) => track.error_ratio(arm, minute * MINUTE, MINUTE),
                Signal::Latency { .. } => track.quantile(grid, arm, minute * MINUTE, MINUTE, 0.95),
            };
            minutes.filter_map(value).collect()
        };
        kayenta::is_high(&series(Arm::Old), &series(Arm::New))
    }
}
