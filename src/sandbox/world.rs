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
use super::workload::Workload;
use super::{replicas, rollout};

const BEAT: Duration = Duration::from_millis(100);

/// Fewer requests than this in a second come evenly: in a world of one minute, chance could leave none.
const EVEN_BELOW: f64 = 1.0;

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
    /// The part of a request that is due by now, where they come evenly.
    pub(super) owed: f64,
    pub(super) turn: usize,
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
        let expected = self.traffic.requests_per_second * elapsed.min(MAX_TRAFFIC_STEP).as_secs_f64();
        if self.traffic.requests_per_second < EVEN_BELOW {
            return self.traffic.send_evenly(expected, &ready);
        }
        for pod in &ready {
            for _ in 0..self.traffic.random.poisson(expected / ready.len() as f64) {
                pod.answer();
            }
        }
    }
}

impl Traffic {
    /// To one pod after the other.
    fn send_evenly(&mut self, expected: f64, ready: &[Arc<Workload>]) {
        self.owed += expected;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            self.turn += 1;
            if let Some(pod) = ready.get(self.turn % ready.len().max(1)) {
                pod.answer();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;
    use tokio_util::task::TaskTracker;

    use super::super::kubelet::Floor;
    use super::super::object::{self, Key, Kind};
    use super::super::store::Commit;
    use super::super::workload::Fault;
    use super::super::{Deploy, SandboxOptions, template};
    use super::*;

    const READY_AFTER: Duration = Duration::from_secs(2);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key() -> Key {
        Key::new(Kind::Deployment, "default", "shop")
    }

    /// A world whose first version was rolled out at second 0.
    fn world() -> World {
        let kubelet = Kubelet {
            floor: Arc::new(Floor::default()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            random: Random::seeded(2),
            processes: HashMap::new(),
        };
        let traffic = Traffic {
            requests_per_second: 60.0,
            random: Random::seeded(3),
            until: at(0),
            owed: 0.0,
            turn: 0,
        };
        let mut world = World {
            store: Arc::new(Store::new(Random::seeded(1))),
            kubelet,
            ready_after: READY_AFTER,
            traffic,
        };
        let deployment = template::deployment(&SandboxOptions::default());
        world.store.create(Kind::Deployment, deployment, at(0)).unwrap();
        for _ in 0..3 {
            world.step(Duration::ZERO, at(0));
        }
        world
    }

    fn deploy(world: &World, version: &str, fault: Fault) {
        world.kubelet.floor.set_fault(version, fault);
        let deploy = Deploy::new(version, fault);
        world
            .store
            .update(&key(), Commit::Durable, |deployment| {
                template::set_version(deployment, &deploy);
                Ok(())
            })
            .unwrap();
    }

    fn status(world: &World, count: &str) -> i64 {
        object::number(&world.store.get(&key()).unwrap(), &format!("/status/{count}"))
    }

    fn versions(world: &World) -> Vec<String> {
        let ready = world.kubelet.floor.ready();
        ready.iter().map(|pod| pod.version.clone()).collect()
    }

    #[tokio::test]
    async fn a_rolling_update_never_has_a_pod_too_few_or_too_many() {
        let mut world = world();
        deploy(&world, "v2", Fault::None);
        for second in 1..30 {
            world.step(READY_AFTER, at(second));
            let (all, available) = (status(&world, "replicas"), status(&world, "availableReplicas"));
            assert!(available >= 3 && all <= 4, "second {second}: {available} of {all}");
            assert!(versions(&world).len() >= 3, "second {second}");
        }
        assert_eq!(versions(&world), ["v2", "v2", "v2"]);
        assert_eq!(status(&world, "updatedReplicas"), 3);
    }

    #[tokio::test]
    async fn when_nothing_happens_nothing_is_written() {
        let mut world = world();
        let before = world.store.list(Kind::Pod, None).version;
        for second in 1..100 {
            world.step(READY_AFTER, at(second));
        }
        assert_eq!(world.store.list(Kind::Pod, None).version, before);
    }

    #[tokio::test]
    async fn a_crash_loop_backs_off_longer_each_time() {
        let mut world = world();
        deploy(&world, "v2", Fault::CrashLoop);
        let mut restarted_at = Vec::new();
        for second in 1..40 {
            world.step(READY_AFTER, at(second));
            let restarts = restarts(&world);
            if restarts > restarted_at.len() as i64 {
                restarted_at.push(second);
            }
        }
        let gaps: Vec<i64> = restarted_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [3, 5, 9, 9], "one second of running, then 2, 4, 8 and 8 of waiting");
        assert_eq!(versions(&world), ["v1", "v1", "v1"]);
    }

    fn restarts(world: &World) -> i64 {
        let pods = world.store.list(Kind::Pod, None).objects;
        let count = |pod: &Value| object::number(pod, "/status/containerStatuses/0/restartCount");
        pods.iter().map(|pod| count(pod)).max().unwrap_or_default()
    }

    #[tokio::test]
    async fn traffic_is_spread_over_the_ready_pods() {
        let mut world = world();
        for second in 1..=60 {
            world.send_requests(at(second));
        }
        for pod in world.kubelet.floor.ready() {
            let served = pod.requests_served();
            assert!((1_000..1_400).contains(&served), "{served} of 1200 expected");
        }
    }

    #[tokio::test]
    async fn little_traffic_comes_evenly() {
        let mut world = world();
        world.traffic.requests_per_second = 0.1;
        let mut served = Vec::new();
        for second in 1..=61 {
            world.send_requests(at(second));
            let each = world.kubelet.floor.ready();
            served.push(each.iter().map(|pod| pod.requests_served()).sum::<u64>());
        }
        assert_eq!([9, 19, 29, 60].map(|i: usize| served[i]), [0, 1, 2, 6], "{served:?}");
        assert!(world.kubelet.floor.ready().iter().all(|pod| pod.requests_served() == 2));
    }
}
