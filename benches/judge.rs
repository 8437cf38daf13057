//! What judging costs: one batch through the tests, and one second of a busy service through a whole watch.
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use rollguard::domain::detect::errors::{Absolute, Counts, Relative};
use rollguard::domain::detect::mixture::{Bounds, Enough, Span};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use rollguard::domain::runbook::{Judging, standard_rules};
use rollguard::domain::signal::{Reading, Sample};
use rollguard::domain::watch::{Watch, WatchSpec};

const BOUNDS: Bounds = Bounds {
    alpha: 4e-4,
    enough: Enough { batches: 3, secs: 20.0 },
    batches: 360,
    dispersion: 1.0,
    together: 1,
};
const SPAN: Span = Span { since: Timestamp::UNIX_EPOCH, secs: 5.0, in_rollout: true };
const PODS: usize = 20;

fn tests_of_one_batch(c: &mut Criterion) {
    let (new, old) = (Counts { bad: 1.0, total: 200.0 }, Counts { bad: 2.0, total: 600.0 });
    let mut absolute = Absolute::rollback(0.05, BOUNDS);
    c.bench_function("absolute test, one batch", |b| {
        b.iter(|| absolute.update(SPAN, black_box(new)));
    });
    let mut relative = Relative::new(BOUNDS);
    c.bench_function("relative test, one batch", |b| {
        b.iter(|| relative.update(SPAN, black_box(new), black_box(old)));
    });
}

fn version(label: &str) -> Version {
    Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
}

fn spec() -> Option<WatchSpec> {
    let target =
        TargetId { service: ServiceName::parse("shop").ok()?, target: TargetName::parse("backend").ok()? };
    let at = Timestamp::UNIX_EPOCH;
    let release =
        Release { target, kind: ReleaseKind::New, from: Some(version("v1")), to: version("v2"), at };
    let length = std::time::Duration::from_secs(1800);
    Some(WatchSpec {
        id: WatchSpec::id_of(&release),
        release,
        known_good: Some(version("v1")),
        opened_at: at,
        ends_at: at + length,
        rules: standard_rules(),
        judging: Judging::standard(length),
        baseline: Default::default(),
    })
}

fn one_second_of_a_watch(c: &mut Criterion) {
    let Some((spec, rule)) = spec().zip(RuleName::parse("error-rate").ok()) else { return };
    let (service, target) = (spec.release.target.service.clone(), spec.release.target.target.clone());
    let mut watch = Watch::new(spec);
    let mut second = 0_i64;
    c.bench_function("watch, one second of 20 pods", |b| {
        b.iter(|| {
            second += 1;
            let at = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(second.unsigned_abs());
            for pod in 0..PODS {
                let total = second as f64 * 50.0;
                watch.take(&Sample {
                    at,
                    service: service.clone(),
                    target: Some(target.clone()),
                    release: Some(if pod % 2 == 0 { "v2" } else { "v1" }.to_string()),
                    pod: Some(format!("pod-{pod}")),
                    reading: Reading::Counts { rule: rule.clone(), bad: (total / 1000.0).floor(), total },
                });
            }
            black_box(watch.tick(at))
        });
    });
}

criterion_group!(judge, tests_of_one_batch, one_second_of_a_watch);
criterion_main!(judge);
