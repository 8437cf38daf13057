//! What unreleased services tell about a release: nothing while they are well, and soon when they are not.
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::domain::histogram::{Buckets, Histogram};
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::runbook::standard_rules;
use crate::domain::signal::PodReading;

fn cart() -> TargetId {
    TargetId { service: ServiceName::parse("cart").unwrap(), target: TargetName::parse("api").unwrap() }
}

struct World {
    controls: Controls,
    rng: StdRng,
    second: i64,
    counts: (f64, f64),
    times: (f64, f64),
    news: Vec<(i64, ControlNews)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (controls, rng) = (Controls::default(), StdRng::seed_from_u64(seed));
        Self { controls, rng, second: 0, counts: (0.0, 0.0), times: (0.0, 0.0), news: vec![] }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_second(1_000_000 + self.second).unwrap()
    }

    fn take(&mut self, pod: &str, reading: Reading) {
        let target = cart();
        let sample = Sample {
            at: self.at(),
            service: target.service.clone(),
            target: Some(target.target.clone()),
            release: None,
            pod: Some(pod.into()),
            reading,
        };
        self.controls.take(&target, &standard_rules(), &sample);
    }

    /// Serves 20 requests a second, this share of them failing and this share slow.
    fn run(&mut self, seconds: i64, failing: f64, slow: f64) {
        for _ in 0..seconds {
            self.second += 1;
            for _ in 0..20 {
                self.counts.0 += f64::from(u8::from(self.rng.random_bool(failing)));
                self.times.0 += f64::from(u8::from(!self.rng.random_bool(slow)));
            }
            self.counts.1 += 20.0;
            self.times.1 += 20.0;
            let rules = standard_rules();
            let (bad, total) = self.counts;
            self.take("a", Reading::Counts { rule: rules[0].name.clone(), bad, total });
            let (fast, all) = self.times;
            let bounds = vec![(0.05, fast), (0.1, fast), (0.5, all), (f64::INFINITY, all)];
            let buckets = Buckets::new(bounds);
            self.take(
                "a",
                Reading::Histogram { rule: rules[1].name.clone(), times: Histogram::Classic(buckets) },
            );
            let now = self.at();
            let second = self.second;
            self.news.extend(self.controls.tick(now).into_iter().map(|news| (second, news)));
        }
    }
}

#[test]
fn a_service_that_is_well_is_no_news_for_hours() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.run(3 * 3600, 0.01, 0.1);
        assert_eq!(world.news, vec![], "seed {seed}");
    }
}

#[test]
fn errors_are_news_within_twenty_seconds_and_so_is_their_end() {
    let mut world = World::new(1);
    world.run(900, 0.002, 0.1);
    world.run(60, 0.2, 0.1);
    let (second, news) = world.news.first().cloned().expect("news");
    assert!(second <= 920, "{second}");
    let onset = news.worse_since.unwrap().as_second() - 1_000_000;
    assert!((890..=910).contains(&onset), "{onset}");
    assert!(news.detail.contains("errors") && !news.crashes, "{news:?}");
    assert_eq!(world.controls.worse().count(), 1);
    world.run(300, 0.002, 0.1);
    assert_eq!(world.news.last().map(|(_, n)| n.worse_since), Some(None));
    assert_eq!(world.controls.worse().count(), 0);
}

#[test]
fn slowness_and_crashes_are_news_too() {
    let mut slow = World::new(2);
    slow.run(900, 0.002, 0.05);
    slow.run(40, 0.002, 0.5);
    let news = &slow.news.first().expect("news").1;
    assert!(news.detail.contains("slower"), "{news:?}");

    let mut crashing = World::new(3);
    crashing.run(60, 0.0, 0.05);
    for restarts in 0..3 {
        let reading = PodReading { ready: true, restarts, ..PodReading::default() };
        crashing.take("a", Reading::Pod(reading));
        crashing.run(10, 0.0, 0.05);
    }
    assert!(crashing.news.iter().any(|(_, n)| n.crashes && n.worse_since.is_some()), "{:?}", crashing.news);
    crashing.run(Duration::from_secs(400).as_secs() as i64, 0.0, 0.05);
    assert_eq!(crashing.news.last().map(|(_, n)| n.worse_since), Some(None));
}

fn pod(ready: bool, restarts: u32) -> Reading {
    Reading::Pod(PodReading { ready, restarts, ..PodReading::default() })
}

#[test]
fn each_trouble_is_told_even_if_another_one_lasts() {
    let mut world = World::new(4);
    world.run(900, 0.002, 0.1);
    world.run(60, 0.2, 0.1);
    for restarts in 0..3 {
        world.take("a", pod(true, restarts));
        world.run(10, 0.2, 0.1);
    }
    let told: Vec<bool> = world.news.iter().map(|(_, news)| news.crashes).collect();
    assert_eq!(told, [false, true]);
    assert_eq!(world.controls.worse().count(), 2);
}

#[test]
fn pods_that_crash_all_day_are_no_news() {
    let mut world = World::new(5);
    let mut restarts = 7;
    world.take("a", pod(false, restarts));
    world.take("b", pod(false, restarts));
    for _ in 0..20 {
        world.run(300, 0.0, 0.05);
        restarts += 1;
        world.take("a", pod(false, restarts));
        world.take("b", pod(false, restarts));
    }
    assert_eq!(world.news, vec![]);
}

#[test]
fn what_an_earlier_life_knew_shows_trouble_at_once() {
    let usual = |world: &mut World| {
        let rules = standard_rules();
        let past = [(rules[0].name.clone(), Counts { bad: 10.0, total: 5000.0 })];
        world.controls.know(&cart(), &rules, past);
    };
    let mut world = World::new(6);
    usual(&mut world);
    world.run(20, 0.2, 0.1);
    assert!(world.news.iter().any(|(_, news)| news.worse_since.is_some()), "{:?}", world.news);
    let mut ignorant = World::new(6);
    ignorant.run(20, 0.2, 0.1);
    assert_eq!(ignorant.news, vec![]);
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut controls = Controls::default();
    for n in 0..10_000 {
        let target = TargetId { service: ServiceName::parse(format!("s{n}")).unwrap(), ..cart() };
        let sample = Sample {
            at: Timestamp::from_second(1).unwrap(),
            service: target.service.clone(),
            target: Some(target.target.clone()),
            release: None,
            pod: Some("a".into()),
            reading: pod(true, 0),
        };
        controls.take(&target, &standard_rules(), &sample);
    }
    assert_eq!(controls.targets.len(), TARGETS_MAX);
}
