//! A CloudWatch that throttles, answers in part, slowly or not at all gives no numbers; nothing is lost by it.
use std::time::{Duration, Instant};

use super::{MINUTE, World, errors};
use crate::support::cloudwatch::Fault;

const GET: &str = "GetMetricData";

#[tokio::test]
#[ignore = "tests/run aws"]
async fn an_answer_in_part_is_not_used_and_nothing_is_lost() {
    let world = World::start().await;
    let source = world.source(vec![errors()], &[]);
    world.release(&source, 0).await;
    world.publish(0, 100.0, Some(10.0)).await;
    for status in ["PartialData", "InternalError", "Forbidden"] {
        world.cloudwatch.plan(Fault::Status(status), 1, GET);
        let told = world.read(&source, 2 * MINUTE).await;
        assert_eq!(told, [format!("error-rate: CloudWatch: {status} for this metric, not used")]);
    }
    world.cloudwatch.plan(Fault::Message("MaxMetricsExceeded"), 1, GET);
    let told = world.read(&source, 2 * MINUTE).await;
    let partial = "partial answer, not used: MaxMetricsExceeded: planned by the test";
    assert_eq!(told, [format!("error-rate: CloudWatch: {partial}")]);
    world.publish(1, 100.0, Some(10.0)).await;
    assert_eq!(world.read(&source, 3 * MINUTE).await, ["error-rate 20 of 200"]);
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn throttling_is_waited_out_and_said_when_it_lasts() {
    let world = World::start().await;
    let source = world.source(vec![errors()], &[]);
    world.publish(0, 100.0, Some(10.0)).await;
    world.release(&source, 0).await;
    world.cloudwatch.plan(Fault::Throttle, 2, GET);
    assert_eq!(world.read(&source, 2 * MINUTE).await, ["error-rate 10 of 100"], "the third attempt");
    world.cloudwatch.plan(Fault::Refuse(503), 1, GET);
    assert_eq!(world.read(&source, 2 * MINUTE).await, ["error-rate 10 of 100"], "the second");

    let before = world.cloudwatch.seen(GET).len();
    world.cloudwatch.plan(Fault::Throttle, 100, GET);
    let told = world.read(&source, 2 * MINUTE).await;
    assert_eq!(told, ["error-rate: CloudWatch: ThrottlingException: Rate exceeded"]);
    assert_eq!(world.cloudwatch.seen(GET).len() - before, 3);
    world.cloudwatch.calm();
    assert_eq!(world.read(&source, 2 * MINUTE).await, ["error-rate 10 of 100"]);
}

#[tokio::test]
#[ignore = "tests/run aws"]
async fn a_silent_or_absent_cloudwatch_is_no_data_within_its_time() {
    let mut world = World::start().await;
    world.patience = Duration::from_secs(1);
    let source = world.source(vec![errors()], &[]);
    world.publish(0, 100.0, Some(10.0)).await;
    world.release(&source, 0).await;
    world.cloudwatch.plan(Fault::Delay(Duration::from_secs(30)), 100, GET);
    let began = Instant::now();
    assert_eq!(world.read(&source, 2 * MINUTE).await, ["error-rate: CloudWatch: timed out"]);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    world.cloudwatch.calm();

    world.moto.stop();
    let told = world.read(&source, 2 * MINUTE).await;
    assert_eq!(told, ["error-rate: CloudWatch: InternalFailure: moto is gone"]);
    drop(world.cloudwatch);
}
