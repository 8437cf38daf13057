//! Rollguard's own runner and golang-migrate's program beside the program as people run it: the same scripts, the same end.
use std::time::Duration;

use rollguard::domain::plan::database::{DatabaseRefusal, Runner};

use super::stage::{SHOP, Stage, carry_out};

const RUNNERS: [Runner; 2] = [Runner::Rollguard, Runner::Migrate];

/// What comes of going back to `to`, by each of the two runners and by `migrate goto`: whether it worked, and the end state.
async fn all_three(
    prepare: impl Fn(&mut Stage),
    files: &[(&str, &str)],
    to: u64,
) -> [(bool, Vec<String>); 3] {
    let mut ends = Vec::new();
    for runner in RUNNERS {
        let mut stage = Stage::new(runner).await;
        prepare(&mut stage);
        stage.write(files);
        stage.up();
        let plan = stage.plan(to).await.unwrap();
        let worked = carry_out(&stage.databases(), &plan).await;
        let half_done = worked.as_ref().err().is_none_or(|why| why.contains("Rollguard forces nothing"));
        assert!(half_done, "{runner:?}: {worked:?}");
        ends.push((worked.is_ok(), stage.end_state().await));
    }
    let mut stage = Stage::new(Runner::Migrate).await;
    prepare(&mut stage);
    stage.write(files);
    stage.up();
    let (code, _) = match to {
        0 => stage.migrate(&["down", "-all"]),
        to => stage.migrate(&["goto", &to.to_string()]),
    };
    ends.push((code == Some(0), stage.end_state().await));
    ends.try_into().unwrap()
}

async fn alike(files: &[(&str, &str)], to: u64) -> (bool, Vec<String>) {
    let [ours, program, people] = all_three(|_| {}, files, to).await;
    assert_eq!(ours, people, "rollguard's own runner");
    assert_eq!(program, people, "golang-migrate as rollguard runs it");
    people
}

fn changed<'a>(name: &str, text: &'a str) -> Vec<(&'static str, &'a str)> {
    let mut files: Vec<(&'static str, &'a str)> = SHOP.to_vec();
    files.iter_mut().filter(|(file, _)| *file == name).for_each(|(_, old)| *old = text);
    files
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn several_versions_one_after_the_other() {
    let (worked, end) = alike(&SHOP, 1).await;
    assert!(worked && end.contains(&"version 1 false".to_string()), "{end:?}");
    let (worked, end) = alike(&SHOP, 2).await;
    assert!(worked && end.contains(&"column orders.id bigint".to_string()), "{end:?}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn down_to_the_empty_schema_and_nothing_is_left_in_the_table() {
    let (worked, end) = alike(&SHOP, 0).await;
    let kept = ["column schema_migrations.dirty boolean", "column schema_migrations.version bigint"];
    assert!(worked);
    assert_eq!(end, [kept[0], kept[1], "index schema_migrations_pkey"]);
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_failing_script_leaves_the_schema_dirty_at_its_goal() {
    let files = changed("2_orders.down.sql", "ALTER TABLE users ADD COLUMN x int; DROP TABLE nowhere;");
    let (worked, end) = alike(&files, 1).await;
    assert!(!worked && end.contains(&"version 1 true".to_string()), "{end:?}");
    assert!(!end.contains(&"column users.x integer".to_string()), "one file is one transaction");
    let first = changed("1_users.down.sql", "SELECT 1/0");
    let (worked, end) = alike(&first, 0).await;
    assert!(!worked && end.contains(&"version -1 true".to_string()), "{end:?}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn several_statements_by_themselves_keep_what_they_did_before_one_fails() {
    let files = changed("2_orders.down.sql", "ALTER TABLE users ADD COLUMN x int; DROP TABLE nowhere;");
    let [ours, program, people] = all_three(|stage| stage.multi_statement = true, &files, 1).await;
    assert_eq!(ours, people);
    assert_eq!(program, people);
    assert!(people.1.contains(&"column users.x integer".to_string()), "{people:?}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn an_index_is_dropped_and_made_concurrently() {
    let files = changed("3_index.down.sql", "DROP INDEX CONCURRENTLY orders_user;");
    let (worked, end) = alike(&files, 2).await;
    assert!(worked && !end.iter().any(|line| line.contains("orders_user")), "{end:?}");
    let files = changed("3_index.down.sql", "CREATE INDEX CONCURRENTLY users_name ON users (name)");
    assert!(alike(&files, 2).await.0);
    let two = "DROP INDEX CONCURRENTLY orders_user; SELECT 1;";
    let (worked, end) = alike(&changed("3_index.down.sql", two), 2).await;
    assert!(
        !worked && end.contains(&"version 2 true".to_string()),
        "in one transaction it cannot be: {end:?}"
    );
    let multi = |stage: &mut Stage| stage.multi_statement = true;
    let [ours, program, people] = all_three(multi, &changed("3_index.down.sql", two), 2).await;
    assert!(people.0 && ours == people && program == people, "{ours:?} {program:?} {people:?}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_transaction_that_is_left_open_is_a_failure() {
    let (worked, end) = alike(&changed("3_index.down.sql", "BEGIN; DROP INDEX orders_user;"), 2).await;
    assert!(!worked && end.contains(&"index orders_user".to_string()), "{end:?}");
    assert!(end.contains(&"version 2 true".to_string()), "{end:?}");
    assert!(alike(&changed("3_index.down.sql", "BEGIN; DROP INDEX orders_user; COMMIT;"), 2).await.0);
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn what_golang_migrate_would_pass_over_is_refused() {
    let stage = Stage::shop(Runner::Rollguard).await;
    stage.remove("3_index.down.sql");
    stage.write(&[("2_orders.down.sql", "-- nothing to do\n\n")]);
    let refused = stage.plan(1).await.unwrap_err();
    let DatabaseRefusal::NoDownScript { missing, empty, .. } = &refused else { panic!("{refused}") };
    assert_eq!(
        (missing.as_slice(), empty.as_slice()),
        (&["3".to_string()][..], &["2_orders.down.sql".to_string()][..])
    );
    let (code, said) = stage.migrate(&["down", "1"]);
    assert_eq!(
        code,
        Some(0),
        "golang-migrate itself takes a missing script for one that does nothing: {said}"
    );

    let stage = Stage::shop(Runner::Rollguard).await;
    stage.remove("3_index.down.sql");
    stage.remove("3_index.up.sql");
    let refused = stage.plan(1).await.unwrap_err();
    assert!(matches!(refused, DatabaseRefusal::OtherRelease { .. }), "{refused}");

    let stage = Stage::shop(Runner::Rollguard).await;
    stage.write(&[("4_bad.up.sql", "DROP TABLE nowhere"), ("4_bad.down.sql", "SELECT 1")]);
    assert_eq!(stage.migrate(&["up"]).0, Some(1));
    let refused = stage.plan(1).await.unwrap_err();
    assert!(matches!(refused, DatabaseRefusal::Dirty { .. }), "{refused}");
}

/// The lock of golang-migrate's program: the CRC of its names, times its salt.
fn program_lock(url: &str) -> u32 {
    let path = &url[url.rfind('/').unwrap()..];
    let mut hash = flate2::Crc::new();
    hash.update(format!("public\0schema_migrations\0{path}").as_bytes());
    hash.sum().wrapping_mul(1_486_364_155)
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_migrators_lock_is_waited_for_and_not_for_ever() {
    for runner in RUNNERS {
        let stage = Stage::shop(runner).await;
        let plan = stage.plan(2).await.unwrap();
        let other = stage.client().await;
        let lock = program_lock(&stage.url);
        other.batch_execute(&format!("SELECT pg_advisory_lock({lock})")).await.unwrap();
        let started = std::time::Instant::now();
        let why = carry_out(&stage.databases(), &plan).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(20), "{why}");
        assert!(why.contains("the schema is at 3"), "nothing was done: {why}");
        assert!(stage.end_state().await.contains(&"version 3 false".to_string()), "{runner:?}: {why}");
        other.batch_execute(&format!("SELECT pg_advisory_unlock({lock})")).await.unwrap();
        carry_out(&stage.databases(), &plan).await.unwrap();
        assert!(stage.end_state().await.contains(&"version 2 false".to_string()));
    }
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_lock_of_the_application_is_waited_for_and_not_for_ever() {
    for runner in RUNNERS {
        let stage = Stage::shop(runner).await;
        let plan = stage.plan(2).await.unwrap();
        let other = stage.client().await;
        other.batch_execute("BEGIN; LOCK TABLE orders").await.unwrap();
        let why = carry_out(&stage.databases(), &plan).await.unwrap_err();
        assert!(why.contains("lock timeout") && why.contains("marked dirty at 2"), "{runner:?}: {why}");
    }
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn another_migrator_is_waited_for_and_only_the_planned_version_is_taken_back() {
    for runner in RUNNERS {
        let stage = Stage::shop(runner).await;
        let plan = stage.plan(2).await.unwrap();
        stage.write(&[("4_slow.up.sql", "SELECT pg_sleep(4)"), ("4_slow.down.sql", "SELECT 1")]);
        let (going, both) = (&stage, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            carry_out(&stage.databases(), &plan).await
        });
        let (said, refused) = tokio::join!(
            tokio::task::spawn_blocking({
                let url = going.url.clone();
                let scripts = going.scripts.path().to_path_buf();
                move || {
                    let url = format!("{url}?sslmode=disable");
                    let mut command = std::process::Command::new(crate::support::binary("migrate"));
                    command.arg("-path").arg(scripts).args(["-database", &url, "up"]);
                    command.output().unwrap()
                }
            }),
            both
        );
        assert!(said.unwrap().status.success());
        let why = refused.unwrap_err();
        assert!(why.contains("the schema is at 4"), "{runner:?}: {why}");
        assert!(stage.end_state().await.contains(&"version 4 false".to_string()), "{runner:?}");
    }
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_changed_script_and_a_slow_one_are_stopped() {
    for runner in RUNNERS {
        let mut stage = Stage::shop(runner).await;
        let plan = stage.plan(2).await.unwrap();
        stage.write(&[("3_index.down.sql", "DROP TABLE users;")]);
        let why = carry_out(&stage.databases(), &plan).await.unwrap_err();
        assert!(why.contains("was changed since the plan was made"), "{why}");
        assert!(stage.end_state().await.contains(&"version 3 false".to_string()));
        stage.write(&[("3_index.down.sql", "DROP INDEX orders_user; SELECT pg_sleep(60);")]);
        stage.script_secs = 2;
        let plan = stage.plan(2).await.unwrap();
        let started = std::time::Instant::now();
        let why = carry_out(&stage.databases(), &plan).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(30), "{runner:?}");
        assert!(why.contains("marked dirty at 2") && why.contains("`migrate force 3`"), "{why}");
        let end = stage.end_state().await;
        assert!(
            end.contains(&"index orders_user".to_string()) && end.contains(&"version 2 true".to_string())
        );
    }
}
