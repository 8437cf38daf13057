//! Snapshots of RDS before anything is changed: taken once whatever happens to the answers, and waited for.
use std::time::Duration;

use rollguard::adapters::aws::AwsAccess;
use rollguard::adapters::database::RdsOptions;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::database::{DatabaseRefusal, Runner};
use rollguard::ports::Target;

use super::stage::{Stage, carry_out, step_done};
use crate::support::moto::Moto;
use crate::support::rds::{Fault, Rds};

const SNAPSHOT: &str = "rollguard-shop-ab12cd";

async fn instance(rds: &Rds, id: &str, engine: &str) {
    let class = ("DBInstanceClass", "db.t3.micro");
    let parameters =
        [("Action", "CreateDBInstance"), ("DBInstanceIdentifier", id), ("Engine", engine), class];
    rds.order(
        &[
            &parameters[..],
            &[("AllocatedStorage", "20"), ("MasterUsername", "a"), ("MasterUserPassword", "b-c-d-e-f")],
        ]
        .concat(),
    )
    .await;
}

async fn staged() -> (Moto, Rds, Stage) {
    let moto = Moto::start().await;
    let rds = Rds::start(&moto).await;
    instance(&rds, "prod", "postgres").await;
    let mut stage = Stage::shop(Runner::Rollguard).await;
    stage.rds = Some(options(&rds, "prod"));
    (moto, rds, stage)
}

fn options(rds: &Rds, instance: &str) -> RdsOptions {
    let access = AwsAccess {
        region: "eu-central-1".into(),
        profile: None,
        endpoint: Some(rds.url()),
        timeout: Duration::from_secs(5),
    };
    RdsOptions { access, instance: instance.into() }
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn the_snapshot_is_there_before_anything_is_changed() {
    let (_moto, rds, stage) = staged().await;
    let plan = stage.plan(1).await.unwrap();
    let databases = stage.databases();
    rds.plan(Fault::Status("creating"), 4, "DescribeDBSnapshots");
    step_done(&databases, &plan.steps[0]).await.unwrap();
    let Finding::NotYet { detail, .. } = databases.observe(&plan.steps[1]).await else { panic!() };
    assert_eq!(detail, "the snapshot is creating, 40%");
    assert!(stage.end_state().await.contains(&"version 3 false".to_string()));
    carry_out(&databases, &plan).await.unwrap();
    assert!(stage.end_state().await.contains(&"version 1 false".to_string()));
    assert_eq!(rds.seen("CreateDBSnapshot"), 1);
    let told = rds.order(&[("Action", "DescribeDBSnapshots"), ("DBSnapshotIdentifier", SNAPSHOT)]).await;
    assert!(told.contains("rollguard:run") && told.contains("shop-ab12cd"), "{told}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn answers_that_are_lost_and_throttling_make_no_second_snapshot() {
    let (_moto, rds, stage) = staged().await;
    let plan = stage.plan(2).await.unwrap();
    let (databases, take) = (stage.databases(), &plan.steps[0]);
    rds.plan(Fault::Throttle, 1, "CreateDBSnapshot");
    assert!(matches!(databases.apply(take).await, Outcome::Unknown { .. }), "throttled");
    assert!(matches!(databases.observe(take).await, Finding::NotYet { .. }));
    rds.plan(Fault::LoseAnswer, 1, "CreateDBSnapshot");
    assert!(matches!(databases.apply(take).await, Outcome::Unknown { .. }), "its answer is lost");
    assert!(matches!(databases.observe(take).await, Finding::Satisfied { .. }), "it is looked up");
    assert!(matches!(databases.apply(take).await, Outcome::Done { .. }), "taken already, and ours");
    rds.plan(Fault::Throttle, 1, "DescribeDBSnapshots");
    assert!(matches!(databases.observe(take).await, Finding::Satisfied { .. }), "reading is tried again");
    assert_eq!(rds.seen("CreateDBSnapshot"), 3, "the SDK repeats no change by itself");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_snapshot_that_failed_or_is_somebody_elses_stops_everything() {
    let (_moto, rds, stage) = staged().await;
    let plan = stage.plan(2).await.unwrap();
    let databases = stage.databases();
    let taken = [("DBSnapshotIdentifier", SNAPSHOT), ("DBInstanceIdentifier", "prod")];
    rds.order(&[&[("Action", "CreateDBSnapshot")], &taken[..]].concat()).await;
    let why = carry_out(&databases, &plan).await.unwrap_err();
    assert!(why.contains("is not this run's"), "{why}");
    rds.order(&[("Action", "DeleteDBSnapshot"), taken[0]]).await;
    rds.plan(Fault::Status("failed"), 9, "DescribeDBSnapshots");
    let why = carry_out(&databases, &plan).await.unwrap_err();
    assert!(why.contains("has failed"), "{why}");
    assert!(stage.end_state().await.contains(&"version 3 false".to_string()));
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn other_engines_are_refused() {
    let (_moto, rds, mut stage) = staged().await;
    instance(&rds, "other", "mysql").await;
    stage.rds = Some(options(&rds, "other"));
    let refused = stage.plan(2).await.unwrap_err();
    assert!(matches!(refused, DatabaseRefusal::OtherEngine { .. }), "{refused}");
}
