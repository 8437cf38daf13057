//! Plain values from a real Prometheus: the pods' own, their growth, what belongs to no pod, and the hour before.
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::signals::values::ValueQuery;
use rollguard::adapters::signals::{Query, SourceRule};
use rollguard::config::Combine;
use rollguard::domain::names::RuleName;
use rollguard::domain::signal::Reading;
use rollguard::ports::{Ask, SignalSource};

use super::{NAMESPACE, about, read, rule, source};
use crate::support::prometheus::{Prometheus, Setup};

const STEP_SECS: i64 = 15;
const STEPS: i64 = 240;
const ONE: &str = "shop-web-5d8f7c9b4-bbbbb";
const TWO: &str = "shop-web-5d8f7c9b4-ccccc";

/// Memory of 100 + 20 on one pod and 300 on the other; jobs that grow by 30 and 60 each step, with a restart; and a
/// database beside them that belongs to no pod of the workload.
fn an_hour(from: i64) -> String {
    let steps = || (0..=STEPS).map(|step| (step, from + step * STEP_SECS));
    let mut text = String::from("# TYPE memory gauge\n");
    for (pod, kind, value) in
        [(ONE, "heap", 100), (ONE, "stack", 20), (TWO, "heap", 300), ("shop-web-admin-0", "heap", 9999)]
    {
        for (_, at) in steps() {
            let labels = format!("namespace=\"{NAMESPACE}\",pod=\"{pod}\",kind=\"{kind}\"");
            writeln!(text, "memory{{{labels}}} {value} {at}").unwrap();
        }
    }
    text.push_str("# TYPE jobs counter\n");
    for (pod, each) in [(ONE, 30), (TWO, 60)] {
        for (step, at) in steps() {
            let since_start = if step < STEPS / 2 { step } else { step - STEPS / 2 + 1 };
            let labels = format!("namespace=\"{NAMESPACE}\",pod=\"{pod}\"");
            writeln!(text, "jobs_total{{{labels}}} {} {at}", since_start * each).unwrap();
        }
    }
    text.push_str("# TYPE deadlocks gauge\n");
    for (database, value) in [("a", 4), ("b", 3)] {
        for (_, at) in steps() {
            writeln!(text, "deadlocks{{pod=\"postgres-0\",database=\"{database}\"}} {value} {at}").unwrap();
        }
    }
    text.push_str("# EOF\n");
    text
}

fn value(name: &str, series: &str, combine: Combine, rate: Option<u64>, pods: bool) -> SourceRule {
    let (series, rate) = (series.parse().unwrap(), rate.map(Duration::from_secs));
    rule("shop", name, Query::Value(ValueQuery { series, combine, rate, pods }))
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn values_are_read_per_pod_beside_the_pods_and_from_the_past() {
    let to = Timestamp::now().as_second() / STEP_SECS * STEP_SECS;
    let from = to - STEPS * STEP_SECS;
    let prometheus = Prometheus::start_with_past(&Setup::default(), &an_hour(from)).await;
    let rules = vec![
        value("memory", "memory", Combine::Sum, None, true),
        value("largest", "memory", Combine::Max, None, true),
        value("deadlocks", "deadlocks", Combine::Sum, None, false),
        value("nothing", "no_such_series", Combine::Max, None, true),
        value("nowhere", "no_such_series", Combine::Max, None, false),
    ];
    let source_of_values = source(prometheus.url(), rules);
    assert_eq!(
        read(&source_of_values, &[about("shop", &[ONE, TWO])]).await,
        [
            "shop - deadlocks 7".into(),
            "shop - nothing: no series".into(),
            "shop - nowhere: no series".into(),
            format!("shop {ONE} largest 100"),
            format!("shop {ONE} memory 120"),
            format!("shop {TWO} largest 300"),
            format!("shop {TWO} memory 300"),
        ]
    );
    let at = |second| Timestamp::from_second(second).unwrap();
    let past = source_of_values.history(&about("shop", &[]), at(from), at(to)).await;
    let steps = usize::try_from(STEPS).unwrap() + 1;
    let of = |name: &str| past.values.get(&RuleName::parse(name).unwrap());
    assert_eq!(of("memory"), Some(&vec![210.0; steps]), "the mean of the pods");
    assert_eq!(of("deadlocks"), Some(&vec![7.0; steps]));
    assert_eq!((of("nothing"), past.missing.as_deref()), (None, Some("no series")));
}

#[tokio::test]
#[ignore = "tests/run metrics"]
async fn counters_are_read_as_their_growth_across_restarts() {
    let to = Timestamp::now().as_second() / STEP_SECS * STEP_SECS;
    let from = to - STEPS * STEP_SECS;
    let prometheus = Prometheus::start_with_past(&Setup::default(), &an_hour(from)).await;
    let source = source(prometheus.url(), vec![value("jobs", "jobs_total", Combine::Max, Some(60), true)]);
    let at = |second| Timestamp::from_second(second).unwrap();
    let samples = source.read(&Ask { at: at(to), targets: vec![about("shop", &[ONE, TWO])] }).await;
    let rates: Vec<f64> = samples
        .iter()
        .map(|sample| match sample.reading {
            Reading::Value { value, .. } => value,
            ref other => panic!("{other:?}"),
        })
        .collect();
    // Prometheus extends what it saw to the whole minute only as far as it has reason to.
    assert!(
        rates.len() == 2 && (1.0..2.1).contains(&rates[0]) && (2.0..4.2).contains(&rates[1]),
        "{rates:?}"
    );
    let past = source.history(&about("shop", &[]), at(from + 120), at(to)).await;
    let rates = &past.values[&RuleName::parse("jobs").unwrap()];
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    assert!((mean - 3.0).abs() < 0.05, "2 and 4 a second: {mean}");
    assert!(rates.iter().all(|rate| (2.0..4.0).contains(rate)), "the restart shows: {rates:?}");
}
