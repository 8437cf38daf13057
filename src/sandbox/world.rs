//! What makes the sandbox go: a beat that runs the controllers, the kubelet and the simulated traffic.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::kubelet::Kubelet;
use super::random::Random;
use super::store::Store;
use super::{replicas, rollout};

const BEAT: Duration = Duration::from_millis(100);

/// After a pause of the whole machine, the requests of the pause are not made up for.
const MAX_TRAFFIC_STEP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Arc<Store>,
    pub(super) kubelet: Kubelet,
    pub(super) ready_after: Duration,
    pub(super) traffic: Traffic,
}

#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) requests_per_second: f64,
    pub(super) random: Random,
    pub(super) until: Timestamp,
}

impl World {
    /// Takes everything one step further, as of `now`.
    pub(super) fn step(&mut self, ready_after: Duration, now: Timestamp) {
        self.kubelet.sync(&self.store, ready_after, now);
        replicas::sync(&self.store, now);
        rollout::sync(&self.store, now);
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            let now = clock::now();
            self.step(self.ready_after, now);
            self.send_requests(now);
        }
    }

    fn send_requests(&mut self, now: Timestamp) {
        let ready = self.kubelet.floor.ready();
        let elapsed = now.duration_since(self.traffic.until).unsigned_abs();
        self.traffic.until = now;
        let expected =
            self.traffic.requests_per_second * elapsed.min(MAX_TRAFFIC_STEP).as_secs_f64();
        for pod in &ready {
            for _ in 0..self.traffic.random.poisson(expected / ready.len() as f64) {
                pod.answer();
            }
        }
    }
}
