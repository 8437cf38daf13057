//! Alarms: by name and by beginning, firing and over, and nothing where CloudWatch is not sure.
use std::time::Duration;

use super::{World, about, line};
use crate::support::cloudwatch::{CloudWatch, Fault};
use jiff::Timestamp;
use rollguard::adapters::signals::cloudwatch::CloudWatchSource;
use rollguard::config::AlarmPattern;
use rollguard::ports::{Ask, SignalSource};

fn names(names: &[&str]) -> Vec<AlarmPattern> {
    names.iter().map(|name| AlarmPattern::Name((*name).to_owned())).collect()
}

/// Alarms change at the time of moto's clock.
async fn read(source: &CloudWatchSource) -> Vec<String> {
    let ask = Ask { at: Timestamp::now(), targets: vec![about()] };
    source.read(&ask).await.iter().map(line).collect()
}

async fn release(source: &CloudWatchSource) {
    let now = Timestamp::now();
    source.history(&about(), now - Duration::from_secs(3600), now).await;
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn alarms_fire_and_resolve() {
    let world = World::start().await;
    let source = world.source(vec![], &names(&["shop-5xx", "shop-slow"]));
    world.moto.set_alarm("shop-5xx", "OK").await;
    world.moto.set_alarm("shop-slow", "INSUFFICIENT_DATA").await;
    world.moto.set_alarm("pay-5xx", "ALARM").await;
    release(&source).await;
    assert_eq!(read(&source).await, ["shop-5xx Resolved"], "too little data is no evidence");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.moto.set_alarm("shop-5xx", "ALARM").await;
    assert_eq!(read(&source).await, ["shop-5xx Firing"]);
    world.moto.set_alarm("shop-5xx", "OK").await;
    assert_eq!(read(&source).await, ["shop-5xx Resolved"]);
    assert_eq!(world.cloudwatch.seen("DescribeAlarms").len(), 3, "all names are one request");
    assert!(world.cloudwatch.seen("GetMetricData").is_empty(), "no rule, no metric to pay for");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn what_fires_since_before_the_release_is_not_its_doing() {
    let world = World::start().await;
    let source = world.source(vec![], &names(&["shop-5xx"]));
    world.moto.set_alarm("shop-5xx", "ALARM").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    release(&source).await;
    assert!(read(&source).await.is_empty());
    world.moto.set_alarm("shop-5xx", "OK").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.moto.set_alarm("shop-5xx", "ALARM").await;
    assert_eq!(read(&source).await, ["shop-5xx Firing"], "again, and since the release");
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn prefixes_and_composite_alarms_are_found_and_missing_names_are_said() {
    let world = World::start().await;
    let mut patterns = names(&["shop-all", "shop-gone"]);
    patterns.push(AlarmPattern::Prefix("team-".into()));
    let source = world.source(vec![], &patterns);
    release(&source).await;
    world.moto.set_alarm("team-a", "OK").await;
    world.moto.set_alarm("teapot", "OK").await;
    world.cloudwatch.add_composite("shop-all", "ALARM");
    let mut told = read(&source).await;
    told.sort();
    let gone = "alarms: there is no alarm shop-gone in eu-central-1";
    assert_eq!(told, [gone, "shop-all Firing", "team-a Resolved"]);
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn alarms_that_cannot_be_read_are_said_and_neither_fire_nor_resolve() {
    let world = World::start().await;
    let source = world.source(vec![], &names(&["shop-5xx"]));
    world.moto.set_alarm("shop-5xx", "ALARM").await;
    let cloudwatch: &CloudWatch = &world.cloudwatch;
    cloudwatch.plan(Fault::Throttle, 100, "DescribeAlarms");
    assert_eq!(read(&source).await, ["alarms: CloudWatch: ThrottlingException: Rate exceeded"]);
}
