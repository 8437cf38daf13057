//! A release under watch, second by second: pods of two versions with their cumulative counters, and what is thought of it.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use rollguard::domain::runbook::{Judging, standard_rules};
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::watch::{Assessment, Watch, WatchSpec};

use super::traffic::{CLASSIC, at, failures, times};
use rollguard::domain::histogram::{Buckets, Histogram};

fn version(label: &str) -> Version {
    Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
}

pub(super) fn watch() -> Watch {
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    let (from, length) = (Some(version("v1")), Duration::from_secs(1800));
    let release =
        Release { target, kind: ReleaseKind::New, from: from.clone(), to: version("v2"), at: at(0) };
    Watch::new(WatchSpec {
        id: WatchSpec::id_of(&release),
        release,
        known_good: from,
        opened_at: at(0),
        ends_at: at(1800),
        rules: standard_rules(),
        judging: Judging::standard(length),
        baseline: BTreeMap::new(),
    })
}

pub(super) fn sample(second: i64, release: &str, pod: &str, reading: Reading) -> Sample {
    Sample {
        at: at(second),
        service: ServiceName::parse("shop").unwrap(),
        target: None,
        release: Some(release.into()),
        pod: Some(pod.into()),
        reading,
    }
}

pub(super) fn counts(bad: f64, total: f64) -> Reading {
    Reading::Counts { rule: RuleName::parse("error-rate").unwrap(), bad, total }
}

/// One pod of a service with the rate of its failures and how slow it is.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) release: &'static str,
    pub(super) name: String,
    pub(super) ratio: f64,
    pub(super) slower: f64,
    /// The seconds in which it is there.
    pub(super) there: std::ops::Range<i64>,
}

/// Three new and three old pods; `new` is the new ones' failure ratio and slowness.
pub(super) fn pods(new: (f64, f64)) -> Vec<Pod> {
    let of = |release: &'static str, (ratio, slower): (f64, f64)| {
        let name = move |k| format!("{release}-{k}");
        (0..3).map(move |k| Pod { release, name: name(k), ratio, slower, there: 0..i64::MAX })
    };
    of("v2", new).chain(of("v1", (0.004, 1.0))).collect()
}

/// What is read of the pods in each second; counters and buckets are cumulative.
pub(super) fn readings(rng: &mut StdRng, pods: &[Pod], seconds: i64) -> Vec<Vec<Sample>> {
    let mut sums = vec![(0.0, 0.0, Buckets::default()); pods.len()];
    let ready = PodReading { ready: true, ..PodReading::default() };
    let mut second = |second: i64| {
        let mut samples = Vec::new();
        for (pod, (bad, total, sum)) in pods.iter().zip(&mut sums) {
            if !pod.there.contains(&second) {
                continue;
            }
            let came = failures(rng, 10, pod.ratio);
            (*bad, *total) = (*bad + came.bad, *total + came.total);
            sum.add(&times(rng, &CLASSIC, 6, pod.slower));
            let state = PodReading { ready_since: Some(at(pod.there.start)), ..ready.clone() };
            let times = Histogram::Classic(sum.clone());
            let histogram = Reading::Histogram { rule: RuleName::parse("latency").unwrap(), times };
            let all = [Reading::Pod(state), counts(*bad, *total), histogram];
            samples.extend(all.map(|reading| sample(second, pod.release, &pod.name, reading)));
        }
        samples
    };
    (0..seconds).map(&mut second).collect()
}

/// What is thought after each second.
pub(super) fn judged(seconds: &[Vec<Sample>]) -> Vec<Assessment> {
    let mut watch = watch();
    let each = seconds.iter().zip(0..).map(|(samples, second)| {
        samples.iter().for_each(|sample| watch.take(sample));
        watch.tick(at(second))
    });
    each.collect()
}

/// Seconds since the epoch of the tests.
pub(super) fn shifted(at: Timestamp, millis: i64) -> Timestamp {
    at + jiff::SignedDuration::from_millis(millis)
}
