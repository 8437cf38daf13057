//! What a backtest costs: lines of counts read from memory, judged through whole watches, per second.
use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use rollguard::domain::replay::{Options, Policies, Replay};
use rollguard::domain::signal::line::LineReader;

const SERVICES: usize = 4;
const PODS: usize = 10;
/// Batches of five seconds before and after the release.
const BATCHES: i64 = 120;

/// An hour of healthy services, each with a release in the middle.
fn recording() -> String {
    let mut text = String::new();
    let start = Timestamp::UNIX_EPOCH;
    for batch in -BATCHES..BATCHES {
        let at = start + SignedDuration::from_secs((batch + 1000) * 5);
        for service in 0..SERVICES {
            if batch == 0 {
                let release = r#""kind":"release","target":"backend","release":"v2","previous":"v1""#;
                line(&mut text, &format!(r#"{{"at":"{at}","service":"shop-{service}",{release}}}"#));
            }
            for pod in 0..PODS {
                let label = if batch > 0 && pod % 2 == 0 { "v2" } else { "v1" };
                let (total, bad) = ((batch + 1000) * 240, (batch + 1000) / 5);
                line(
                    &mut text,
                    &format!(
                        r#"{{"at":"{at}","kind":"counts","service":"shop-{service}","target":"backend","rule":"error-rate","release":"{label}","pod":"backend-7f9c{service}-{pod}","bad":{bad},"total":{total}}}"#
                    ),
                );
            }
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").ok();
}

fn backtest(c: &mut Criterion) {
    let text = recording();
    let lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    let mut group = c.benchmark_group("backtest");
    group.throughput(Throughput::Elements(lines.len() as u64)).sample_size(20);
    group.bench_function("lines of counts read", |b| {
        b.iter(|| {
            let mut reader = LineReader::default();
            lines.iter().filter(|line| reader.read(black_box(line)).is_ok()).count()
        });
    });
    group.bench_function("lines of counts read and judged", |b| {
        b.iter(|| {
            let mut reader = LineReader::default();
            let mut replay = Replay::new(Policies::new([]), Options::default());
            let samples = lines.iter().filter_map(|line| reader.read(black_box(line)).ok());
            let judged = samples.map(|sample| replay.take(&sample).len()).sum::<usize>();
            judged + replay.finish().len()
        });
    });
    group.finish();
}

criterion_group!(benches, backtest);
criterion_main!(benches);
