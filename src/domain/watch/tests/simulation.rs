//! The judge over many simulated watches: how often it is wrong about healthy traffic, and how soon it finds bad releases.
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::release::Fingerprint;
use crate::domain::runbook::standard_rules;

const BATCH_SECS: i64 = 5;
const BATCHES: i64 = 360;

fn at(batch: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + batch * BATCH_SECS).unwrap()
}

/// How the failures of healthy traffic come.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// Each request by itself.
    Independent { ratio: f64 },
    /// In runs of five on average.
    Clusters { ratio: f64 },
    /// Half of the requests of one batch every five minutes.
    Bursts { ratio: f64 },
}

impl Traffic {
    fn failures(self, rng: &mut StdRng, requests: u32) -> u32 {
        let each =
            |rng: &mut StdRng, ratio: f64| (0..requests).filter(|_| rng.random_bool(ratio)).count() as u32;
        match self {
            Traffic::Independent { ratio } => each(rng, ratio),
            Traffic::Clusters { ratio } => {
                let begun = each(rng, ratio / 5.0);
                let lengths =
                    (0..begun).map(|_| 1 + (0..40).take_while(|_| rng.random_bool(0.8)).count() as u32);
                lengths.sum::<u32>().min(requests)
            }
            Traffic::Bursts { ratio } => {
                let burst = rng.random_bool(1.0 / 60.0);
                each(rng, if burst { 0.5 } else { ratio })
            }
        }
    }
}

fn spec() -> WatchSpec {
    let version =
        |label: &str| Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] };
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    let (from, to) = (Some(version("v1")), version("v2"));
    WatchSpec {
        id: "simulated".into(),
        known_good: from.clone(),
        release: Release { target, kind: ReleaseKind::New, from, to, at: at(0) },
        opened_at: at(0),
        ends_at: at(BATCHES),
        rules: standard_rules(),
        judging: Judging::standard(Duration::from_secs(1800)),
        baseline: BTreeMap::new(),
    }
}

/// The batch in which a rollback was first called for. Old pods leave after two minutes.
fn rolled_back(seed: u64, requests: u32, new: Traffic, old: Traffic) -> Option<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut watch = Watch::new(spec());
    let mut counters: BTreeMap<(&str, usize), (f64, f64)> = BTreeMap::new();
    (1..=BATCHES).find(|&batch| {
        for (release, traffic) in [("v2", new), ("v1", old)] {
            if release == "v1" && batch > 24 {
                continue;
            }
            for pod in 0..3 {
                let (bad, total) = counters.entry((release, pod)).or_default();
                *bad += f64::from(traffic.failures(&mut rng, requests));
                *total += f64::from(requests);
                let reading = Reading::Counts {
                    rule: RuleName::parse("error-rate").unwrap(),
                    bad: *bad,
                    total: *total,
                };
                watch.take(&Sample {
                    at: at(batch),
                    service: ServiceName::parse("shop").unwrap(),
                    target: None,
                    release: Some(release.into()),
                    pod: Some(format!("{release}-{pod}")),
                    reading,
                });
            }
        }
        if batch == 25 {
            watch.rollout.end(at(24));
        }
        watch.tick(at(batch)).verdict.strength == Strength::Rollback
    })
}

#[test]
fn healthy_traffic_is_not_rolled_back_however_its_failures_come() {
    let kinds = [
        Traffic::Independent { ratio: 0.01 },
        Traffic::Clusters { ratio: 0.01 },
        Traffic::Bursts { ratio: 0.002 },
    ];
    for traffic in kinds {
        let wrong: Vec<u64> =
            (0..60).filter(|&seed| rolled_back(seed, 20, traffic, traffic).is_some()).collect();
        assert_eq!(wrong, Vec::<u64>::new(), "{traffic:?}");
    }
}

#[test]
fn fifteen_percent_are_found_within_six_batches() {
    let old = Traffic::Independent { ratio: 0.002 };
    for seed in 0..60 {
        let found = rolled_back(seed, 20, Traffic::Independent { ratio: 0.15 }, old);
        assert!(found.is_some_and(|batch| (4..=6).contains(&batch)), "seed {seed}: {found:?}");
    }
}
