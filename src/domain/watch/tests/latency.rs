//! Response times: new pods against old ones beside, against the time before, and what must not be taken for slowness.
use rand_distr::{Distribution, LogNormal};

use super::*;
use crate::domain::baseline::learn_times;
use crate::domain::histogram::{Buckets, Histogram};

const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
const WARM_UP: i64 = 60;

/// A service that answers in 80 ms as a rule; every pod's cumulative counts.
struct Slow {
    incident: Incident,
    counts: BTreeMap<(String, String), [f64; 12]>,
}

fn draw(rng: &mut StdRng, slower: f64) -> f64 {
    LogNormal::new(0.08_f64.ln(), 0.6).unwrap().sample(rng) * slower
}

fn count(counts: &mut [f64; 12], secs: f64) {
    for (bound, count) in BOUNDS.iter().zip(counts) {
        *count += f64::from(u8::from(secs <= *bound));
    }
}

fn histogram(counts: &[f64; 12]) -> Histogram {
    Histogram::Classic(Buckets::new(BOUNDS.iter().copied().zip(counts.iter().copied()).collect()))
}

fn an_hour_before() -> Baseline {
    let mut rng = StdRng::seed_from_u64(5);
    let minute = |rng: &mut StdRng| {
        let mut counts = [0.0; 12];
        (0..600).for_each(|_| count(&mut counts, draw(rng, 1.0)));
        histogram(&counts)
    };
    let minutes: Vec<Histogram> = (0..60).map(|_| minute(&mut rng)).collect();
    learn_times(&minutes, Duration::from_secs(60))
}

impl Slow {
    fn new(history: bool) -> Self {
        let mut incident = Incident::new(None);
        let mut spec = incident.watch.spec().clone();
        if history {
            spec.baseline.insert(spec.rules[1].name.clone(), an_hour_before());
        }
        incident.watch = Watch::new(spec);
        Self { incident, counts: BTreeMap::new() }
    }

    /// Lets `seconds` pass. Of each version: how many requests per second and pod, and how much slower than usual.
    fn run(&mut self, seconds: i64, versions: &[(&str, u32, f64)]) -> Verdict {
        let mut verdict = None;
        for _ in 0..seconds {
            for (version, requests, slower) in versions {
                for pod in ["a", "b", "c"] {
                    self.incident.serve(version, &format!("{version}-{pod}"), 2, 0.001);
                    self.respond(version, &format!("{version}-{pod}"), *requests, *slower);
                }
            }
            verdict = Some(self.incident.run(1, |_| ()));
        }
        verdict.unwrap()
    }

    fn respond(&mut self, version: &str, pod: &str, requests: u32, slower: f64) {
        let key = (version.to_string(), pod.to_string());
        let counts = self.counts.entry(key).or_insert([0.0; 12]);
        (0..requests).for_each(|_| count(counts, draw(&mut self.incident.rng, slower)));
        let (rule, times) = (RuleName::parse("latency").unwrap(), histogram(counts));
        self.incident.send(Some(version), Some(pod), Reading::Histogram { rule, times });
    }
}

#[test]
fn slower_than_the_old_pods_beside_is_rolled_back_after_the_warm_up() {
    for history in [true, false] {
        let mut slow = Slow::new(history);
        let verdict = slow.run(150, &[("v2", 5, 1.8), ("v1", 10, 1.0)]);
        assert_eq!(
            (verdict.strength, verdict.cause),
            (Strength::Rollback, Cause::Release),
            "{}",
            verdict.reason
        );
        let decided_at = slow.incident.decided_at.unwrap();
        assert!((WARM_UP..WARM_UP + 60).contains(&decided_at), "history {history}: {decided_at}");
        assert!(
            verdict.reason.contains("old pods") && verdict.reason.contains("limit +50 %"),
            "{}",
            verdict.reason
        );
    }
}

#[test]
fn slower_than_before_is_rolled_back_when_no_old_pods_are_left() {
    let mut slow = Slow::new(true);
    slow.run(40, &[("v2", 5, 1.8), ("v1", 5, 1.0)]);
    slow.incident.rollout_ended();
    let verdict = slow.run(120, &[("v2", 10, 1.8)]);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Rollback, Cause::Release), "{}", verdict.reason);
    assert!(verdict.reason.contains("before the release"), "{}", verdict.reason);
}

#[test]
fn slow_starts_shared_slowness_and_a_fifth_more_are_no_reason() {
    let mut start = Slow::new(true);
    let verdict = start.run(55, &[("v2", 10, 3.0), ("v1", 10, 1.0)]);
    assert_eq!(verdict.strength, Strength::Quiet, "{}", verdict.reason);
    let verdict = start.run(300, &[("v2", 10, 1.0), ("v1", 10, 1.0)]);
    assert_eq!(verdict.strength, Strength::Quiet, "{}", verdict.reason);

    let mut shared = Slow::new(true);
    let verdict = shared.run(300, &[("v2", 5, 2.0), ("v1", 5, 2.0)]);
    assert!(verdict.strength < Strength::Rollback && verdict.cause != Cause::Release, "{}", verdict.reason);
    shared.incident.rollout_ended();
    let verdict = shared.run(300, &[("v2", 10, 2.0)]);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Shared), "{}", verdict.reason);

    let mut fifth = Slow::new(true);
    fifth.run(600, &[("v2", 10, 1.2), ("v1", 10, 1.0)]);
    fifth.incident.rollout_ended();
    fifth.run(600, &[("v2", 20, 1.2)]);
    assert_eq!(fifth.incident.decided_at, None);
}

#[test]
fn slowness_that_begins_late_or_with_another_service_is_for_a_person() {
    let settled = |with_other: bool| {
        let mut slow = Slow::new(true);
        slow.run(100, &[("v2", 10, 1.0)]);
        slow.incident.rollout_ended();
        if with_other {
            slow.run(30, &[("v2", 10, 1.0)]);
            let worse_since = Some(at(slow.incident.second));
            let (other, detail) = ("cart/api".to_string(), "p95 2 s".to_string());
            slow.incident.send(None, None, Reading::Control { other, worse_since, crashes: false, detail });
        } else {
            slow.run(600, &[("v2", 10, 1.0)]);
        }
        slow.run(200, &[("v2", 10, 2.0)])
    };
    let (late, shared) = (settled(false), settled(true));
    assert_eq!((late.strength, late.cause), (Strength::Urgent, Cause::Unknown), "{}", late.reason);
    assert_eq!((shared.strength, shared.cause), (Strength::Urgent, Cause::Shared), "{}", shared.reason);
}

#[test]
fn one_slow_pod_of_three_is_that_pods_trouble() {
    let mut slow = Slow::new(true);
    let mut verdict = None;
    for _ in 0..200 {
        slow.respond("v2", "v2-a", 10, 6.0);
        slow.respond("v2", "v2-b", 10, 1.0);
        slow.respond("v2", "v2-c", 10, 1.0);
        verdict = Some(slow.run(1, &[("v1", 10, 1.0)]));
    }
    let verdict = verdict.unwrap();
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::SinglePod), "{}", verdict.reason);
}

#[test]
fn a_release_is_healthy_only_when_it_is_surely_not_slower() {
    let health = |slower: f64| {
        let mut slow = Slow::new(true);
        for _ in 0..700 {
            slow.incident.serve("v2", "v2-d", 20, 0.001);
            slow.run(1, &[("v2", 5, slower)]);
        }
        slow.incident.last.unwrap().verdict
    };
    assert_eq!(health(1.0).health, Health::Healthy);
    let slower = health(1.3);
    assert_eq!(slower.health, Health::Pending, "{}", slower.reason);
}
