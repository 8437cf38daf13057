//! Metrics come back as counters since the release: each minute once, when it has settled, and late ones when they come.
use super::{BAD, MINUTE, TOTAL, World, about, errors, line, metric, rule};
use jiff::Timestamp;
use rollguard::config::{CloudWatchMetric, CloudWatchQuery};
use rollguard::domain::names::{ServiceName, TargetId};
use rollguard::ports::{Ask, AskTarget, SignalSource};

use crate::support::cloudwatch::Fault;

#[tokio::test]
#[ignore = "tests/run aws"]
async fn minutes_become_a_counter_that_begins_with_the_release() {
    let world = World::start().await;
    let source = world.source(vec![errors()], &[]);
    for minute in -3..3 {
        world.publish(minute, 100.0, Some(50.0)).await;
    }
    world.release(&source, 2 * MINUTE + 30).await;
    // The release's own minute was half the old version's.
    assert_eq!(world.read(&source, 4 * MINUTE + 1).await, ["error-rate 0 of 0"]);
    world.publish(3, 200.0, Some(7.0)).await;
    assert_eq!(world.read(&source, 5 * MINUTE - 1).await, ["error-rate 0 of 0"], "it still grows");
    assert_eq!(world.read(&source, 5 * MINUTE).await, ["error-rate 7 of 200"]);
    assert_eq!(world.read(&source, 5 * MINUTE + 30).await, ["error-rate 7 of 200"], "once");
    // What nobody failed has no datapoint.
    world.publish(4, 300.0, None).await;
    assert_eq!(world.read(&source, 6 * MINUTE).await, ["error-rate 7 of 500"]);

    world.release(&source, 5 * MINUTE).await;
    world.publish(5, 10.0, Some(1.0)).await;
    assert_eq!(world.read(&source, 7 * MINUTE).await, ["error-rate 1 of 10"], "another release");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn a_datapoint_that_comes_late_is_counted_when_it_comes() {
    let world = World::start().await;
    let source = world.source(vec![errors()], &[]);
    world.release(&source, 0).await;
    world.publish(0, 100.0, Some(1.0)).await;
    world.publish(2, 100.0, Some(2.0)).await;
    assert_eq!(world.read(&source, 4 * MINUTE).await, ["error-rate 3 of 200"]);
    world.publish(1, 1000.0, Some(5.0)).await;
    assert_eq!(world.read(&source, 5 * MINUTE).await, ["error-rate 8 of 1200"]);
    // What is added to a minute that was counted came too late to be trusted.
    world.publish(0, 50.0, Some(50.0)).await;
    assert_eq!(world.read(&source, 6 * MINUTE).await, ["error-rate 8 of 1200"]);
    assert_eq!(world.read(&source, 17 * MINUTE).await, ["error-rate 8 of 1200"]);
    let silent = world.read(&source, 40 * MINUTE).await;
    assert!(
        silent[0].starts_with("error-rate: RequestCount of AWS/ApplicationELB had no requests"),
        "{silent:?}"
    );
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn a_plain_value_is_the_last_settled_minute_scaled() {
    let world = World::start().await;
    let p95 = |name: &str, metric: CloudWatchMetric| {
        let statistic = "p95".parse().unwrap();
        rule(name, CloudWatchQuery::Value { metric, statistic, scale: 1000.0 })
    };
    let rules = vec![p95("p95-ms", metric("TargetResponseTime")), p95("nothing", metric("Unheard"))];
    let source = world.source(rules, &[]);
    world.release(&source, 0).await;
    world.moto.put("TargetResponseTime", world.began - MINUTE, 9.0).await;
    let nothing = "nothing: Unheard of AWS/ApplicationELB has no recent datapoint";
    // The minute before the release says nothing about it.
    assert_eq!(world.read(&source, MINUTE).await, [nothing]);
    world.moto.put("TargetResponseTime", world.began, 0.25).await;
    assert_eq!(world.read(&source, 2 * MINUTE).await, ["p95-ms 250", nothing]);
    let asked = world.cloudwatch.seen("GetMetricData");
    let stat = &asked.last().unwrap()["MetricDataQueries"][0]["MetricStat"];
    assert_eq!((&stat["Stat"], &stat["Period"]), (&"p95".into(), &60.into()));
    let gone = world.read(&source, 8 * MINUTE).await;
    assert_eq!(gone[0], "p95-ms: TargetResponseTime of AWS/ApplicationELB has no recent datapoint");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn everything_is_asked_in_one_request_and_an_answer_of_several_pages_is_put_together() {
    let world = World::start().await;
    let other = |service: &str| {
        let mut rule = errors();
        rule.service = ServiceName::parse(service).unwrap();
        rule
    };
    let rules: Vec<_> = (0..300).map(|n| other(&format!("service{n}"))).chain([errors()]).collect();
    let source = world.source(rules, &[]);
    let target = |service: &str| {
        let service = ServiceName::parse(service).unwrap();
        AskTarget { target: TargetId { service, ..about().target }, ..about() }
    };
    let names: Vec<String> = (0..300).map(|n| format!("service{n}")).collect();
    let targets: Vec<AskTarget> = names.iter().map(|name| target(name)).chain([about()]).collect();
    for minute in 0..10 {
        world.publish(minute, 10.0, Some(1.0)).await;
    }
    for about in &targets[298..] {
        source.history(about, Timestamp::UNIX_EPOCH, world.at(0)).await;
    }
    let before = world.cloudwatch.seen("GetMetricData").len();
    world.cloudwatch.plan(Fault::HalfAPage, 2, "GetMetricData");
    let samples = source.read(&Ask { at: world.at(11 * MINUTE), targets }).await;
    assert_eq!(samples.len(), 301);
    // The first were never released here: what comes from now on is theirs.
    assert_eq!(line(&samples[0]), "error-rate 0 of 0");
    assert_eq!(line(&samples[300]), "error-rate 10 of 100");
    let asked = &world.cloudwatch.seen("GetMetricData")[before..];
    assert_eq!(asked.len(), 2, "two pages of one request");
    // 301 rules about the same load balancer are two metrics.
    assert_eq!(asked[0]["MetricDataQueries"].as_array().unwrap().len(), 2);
    assert_eq!(asked[1]["NextToken"], "the-rest");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn more_metrics_than_a_request_holds_are_asked_in_several() {
    let world = World::start().await;
    let of = |n: usize| {
        let dimensions = [("LoadBalancer".to_owned(), format!("app/shop/{n}"))].into();
        let metric = |name: &str| CloudWatchMetric { dimensions, ..metric(name) };
        let (total, bad) = (metric.clone()(TOTAL), metric(BAD));
        rule(&format!("errors-{n}"), CloudWatchQuery::Errors { total, bad })
    };
    let source = world.source((1..=260).map(of).collect(), &[]);
    world.publish(0, 40.0, Some(4.0)).await;
    let samples = source.read(&Ask { at: world.at(2 * MINUTE), targets: vec![about()] }).await;
    assert_eq!(samples.len(), 260);
    let sizes = world.cloudwatch.seen("GetMetricData");
    let mut sizes: Vec<usize> =
        sizes.iter().map(|r| r["MetricDataQueries"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [20, 500]);
}
