//! How a migration is noticed: while it runs, when it is over, and when it failed.
use std::time::Duration;

use rollguard::adapters::database::{DatabaseOptions, Databases, Versions};
use rollguard::domain::plan::database::{DatabaseRefusal, Runner};
use rollguard::domain::plan::{Goal, Refusal, draft};
use rollguard::domain::workload::{RolloutState, WorkloadView};
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{FeedEvent, ReleaseFeed, Target};

use super::stage::{Stage, target};

async fn next(feed: &mut Box<dyn ReleaseFeed>) -> WorkloadView {
    let next = tokio::time::timeout(Duration::from_secs(20), feed.next()).await;
    match next.expect("nothing is noticed") {
        Some(FeedEvent::Changed(view)) => *view,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/run database"]
async fn a_migration_is_seen_from_its_beginning_to_its_end() {
    let stage = Stage::shop(Runner::Rollguard).await;
    let mut feed = stage.databases().feed();
    let first = next(&mut feed).await;
    assert_eq!((first.version.label.as_str(), first.pods.len()), ("3", 0));
    assert!(matches!(first.rollout, RolloutState::Ended { .. }));
    stage.write(&[("4_slow.up.sql", "SELECT pg_sleep(2)")]);
    stage.up();
    let running = next(&mut feed).await;
    assert_eq!((running.version.label.as_str(), &running.rollout), ("4", &RolloutState::Rolling));
    let done = next(&mut feed).await;
    assert!(matches!(done.rollout, RolloutState::Ended { .. }));
    assert_eq!(done.current_since, running.current_since);
    stage.write(&[("5_bad.up.sql", "DROP TABLE nowhere")]);
    assert_eq!(stage.migrate(&["up"]).0, Some(1));
    let mut failed = next(&mut feed).await;
    if failed.rollout == RolloutState::Rolling {
        failed = next(&mut feed).await;
    }
    let RolloutState::GaveUp { detail } = failed.rollout else { panic!("{failed:?}") };
    assert_eq!(detail, "the migration to 5 failed: the schema is dirty");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_version_that_a_query_tells_is_watched_and_has_no_way_back() {
    let stage = Stage::shop(Runner::Rollguard).await;
    let client = stage.client().await;
    client.batch_execute("CREATE TABLE changelog AS SELECT 'r7' AS tag").await.unwrap();
    let versions = Versions::Query("SELECT max(tag) FROM changelog".into());
    let options = DatabaseOptions { versions, ..stage.options() };
    let databases = Databases::new(vec![options], std::sync::Arc::new(SystemClock));
    let mut feed = databases.feed();
    assert_eq!(next(&mut feed).await.version.label, "r7");
    client.batch_execute("INSERT INTO changelog VALUES ('r8')").await.unwrap();
    assert_eq!(next(&mut feed).await.version.label, "r8");
    let survey = databases.survey(&target()).await.unwrap();
    let refused = draft(&survey, &Goal::Revision(1), "run", 60).unwrap_err();
    assert!(matches!(refused, Refusal::Database(DatabaseRefusal::NoMigrations { .. })), "{refused}");
}
