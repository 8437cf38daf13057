//! The hour before a release and the same clock time of earlier days, which CloudWatch keeps itself.
use std::time::{Duration, Instant};

use super::{BAD, MINUTE, TOTAL, World, about, errors, metric, rule};
use crate::support::cloudwatch::Fault;
use rollguard::config::CloudWatchQuery;
use rollguard::domain::detect::errors::Counts;
use rollguard::domain::names::RuleName;
use rollguard::domain::watch::Earlier;
use rollguard::ports::{History, SignalSource};

const DAY: i64 = 86_400;

async fn an_hour(world: &World, source: &impl SignalSource) -> History {
    source.history(&about(), world.at(-3600), world.at(0)).await
}

fn name(rule: &str) -> RuleName {
    RuleName::parse(rule).unwrap()
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn the_hour_before_and_the_same_time_of_earlier_days_come_back() {
    let world = World::start().await;
    let connections = metric("DatabaseConnections");
    let statistic = "Average".parse().unwrap();
    let value = CloudWatchQuery::Value { metric: connections, statistic, scale: 0.5 };
    let source = world.source(vec![errors(), rule("connections", value)], &[]);
    let mut points = Vec::new();
    // Nothing in the first half, nor in minute 10 before the release; the last minute has not settled.
    for minute in (1..=30).filter(|minute| *minute != 10) {
        let second = world.began - minute * MINUTE;
        points.extend([(TOTAL, second, 100.0), (BAD, second, 2.0)]);
        points.push(("DatabaseConnections", second, 80.0));
    }
    // Yesterday all of the half hour, and more that is outside; two days ago one minute; nothing before.
    for minute in -5..35 {
        points.extend([(TOTAL, world.began - DAY + minute * MINUTE, 10.0)]);
    }
    points.extend([(TOTAL, world.began - 2 * DAY, 50.0), (BAD, world.began - 2 * DAY, 5.0)]);
    world.moto.put_many(&points).await;

    let past = an_hour(&world, &source).await;
    assert_eq!((past.missing.as_deref(), past.step), (None, Duration::from_secs(60)));
    let batches = &past.batches[&name("error-rate")];
    assert_eq!(batches.len(), 29, "{batches:?}");
    assert_eq!(batches[20], Counts::default(), "a minute without requests");
    assert!(batches.iter().filter(|b| **b == Counts { bad: 2.0, total: 100.0 }).count() == 28);
    assert_eq!(past.values[&name("connections")], vec![40.0; 28]);
    let day = |bad, total| Earlier { counts: Counts { bad, total }, times: None };
    assert_eq!(past.earlier[&name("error-rate")], [day(0.0, 300.0), day(5.0, 50.0)]);
    assert_eq!(world.cloudwatch.seen("GetMetricData").len(), 4, "an hour and three days");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn a_past_that_cannot_be_read_is_missing_with_a_reason_and_in_time() {
    let world = World::start().await;
    let source = world.source(vec![errors()], &[]);
    let none = an_hour(&world, &source).await;
    assert_eq!((none.batches.len(), none.missing.as_deref()), (0, Some("no datapoints")));

    world.publish(-5, 100.0, None).await;
    world.cloudwatch.plan(Fault::Throttle, 3, "GetMetricData");
    let waited = an_hour(&world, &source).await;
    assert_eq!(waited.missing, None, "throttling is waited out");

    world.cloudwatch.plan(Fault::Throttle, 100, "GetMetricData");
    let began = Instant::now();
    let refused = an_hour(&world, &source).await;
    assert!(refused.batches.is_empty() && began.elapsed() < Duration::from_secs(9));
    assert_eq!(refused.missing.as_deref(), Some("CloudWatch: ThrottlingException: Rate exceeded"));
}
