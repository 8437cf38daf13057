//! What is drafted and what is refused, and what each sight of a database means for a step.
use super::*;
use crate::domain::names::{ServiceName, TargetId, TargetName};

pub(crate) fn target() -> TargetId {
    let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("database").unwrap());
    TargetId { service, target }
}

/// At version 3 of 3.
pub(crate) fn survey() -> DatabaseSurvey {
    let migration = |version: u64| Migration {
        version,
        down: Down::Script { file: format!("{version}_x.down.sql"), sha256: format!("hash of {version}") },
    };
    DatabaseSurvey {
        target: target(),
        place: "the database shop on db:5432".into(),
        version: Version::of_schema(Some(3)),
        schema: SchemaState::clean(Some(3)),
        table: "schema_migrations".into(),
        migrations: Migrations::Listed { directory: "/srv/3".into(), all: (1..=3).map(migration).collect() },
        terms: Terms {
            runner: Runner::Rollguard,
            multi_statement: false,
            script_secs: 600,
            lock_secs: 15,
            snapshot_secs: 7200,
        },
        instance: Some(Instance {
            id: "prod".into(),
            engine: "postgres".into(),
            status: "available".into(),
            cluster: None,
        }),
        queries: vec![],
    }
}

fn back_to(survey: &DatabaseSurvey, version: u64) -> Result<Vec<String>, String> {
    let plan =
        draft(survey, &Goal::Revision(version), "shop-ab12cd").map_err(|refusal| refusal.to_string())?;
    Ok(plan.steps.into_iter().map(|step| step.title).collect())
}

#[test]
fn the_snapshot_comes_first_and_each_version_by_itself() {
    let titles = back_to(&survey(), 1).unwrap();
    let expected = [
        "take the snapshot rollguard-shop-ab12cd of the RDS instance prod",
        "await the snapshot rollguard-shop-ab12cd",
        "migrate 3 down to 2 with 3_x.down.sql",
        "migrate 2 down to 1 with 2_x.down.sql",
        "check that the schema is at 1",
    ];
    assert_eq!(titles, expected);
    let without = DatabaseSurvey { instance: None, ..survey() };
    assert_eq!(back_to(&without, 2).unwrap(), [expected[2], "check that the schema is at 2"]);
    let empty = back_to(&without, 0).unwrap();
    assert_eq!(
        empty[2..],
        [
            "migrate 1 down to the empty schema with 1_x.down.sql",
            "check that the schema is at the empty schema"
        ]
    );
    let plan = draft(&survey(), &Goal::Version(Version::of_schema(Some(1))), "shop-ab12cd").unwrap();
    assert_eq!(plan.summary(), "database 3 → 1");
}

#[test]
fn what_is_not_safe_is_refused() {
    let with = |change: &dyn Fn(&mut DatabaseSurvey)| {
        let mut survey = survey();
        change(&mut survey);
        back_to(&survey, 1).unwrap_err()
    };
    let dirty = with(&|s| s.schema.dirty = true);
    assert_eq!(
        dirty,
        "the schema of the database shop on db:5432 is at 3 (dirty): a migration failed or is under way"
    );
    assert!(with(&|s| s.schema = SchemaState::clean(Some(4))).contains("/srv/3 does not know version 4"));
    assert!(with(&|s| s.schema = SchemaState::clean(Some(1))).contains("1 is not before that"));
    assert!(with(&|s| s.schema = SchemaState::clean(None)).contains("is at the empty schema"));
    assert!(with(&|s| s.migrations = Migrations::Unknown).contains("only watched"));
    let cluster = |s: &mut DatabaseSurvey| s.instance.as_mut().unwrap().cluster = Some("c".into());
    assert!(with(&cluster).contains("Aurora cluster c"));
    assert!(with(&|s| s.instance.as_mut().unwrap().engine = "mysql".into()).contains("runs mysql"));
    assert!(with(&|s| s.instance.as_mut().unwrap().status = "modifying".into()).contains("is modifying"));
    assert!(back_to(&survey(), 9).unwrap_err().contains("does not know version 9"));
    assert!(back_to(&survey(), 3).unwrap_err().contains("3 is not before that"));
}

#[test]
fn a_migration_is_seen_as_it_is() {
    let plan = draft(&survey(), &Goal::Revision(1), "shop-ab12cd").unwrap();
    let Action::Database(DatabaseAction::MigrateDown(second)) = &plan.steps[3].action else { panic!() };
    assert_eq!((second.from, second.to, second.before.as_slice()), (2, Some(1), &[3][..]));
    let seen = |version, dirty: bool, migrating| {
        let failure = dirty.then(|| "division by zero".to_string());
        assess_down(second, &SchemaFacts { state: SchemaState { version, dirty }, migrating, failure })
    };
    assert!(matches!(seen(Some(1), false, false), Finding::Satisfied { .. }));
    assert!(matches!(seen(Some(2), false, false), Finding::NotYet { .. }));
    assert!(matches!(seen(Some(3), false, false), Finding::NotYet { .. }), "an earlier step takes it back");
    assert!(matches!(seen(Some(1), true, true), Finding::Unseen { .. }));
    assert!(matches!(seen(Some(4), false, false), Finding::Conflict { .. }));
    let Finding::Conflict { why } = seen(Some(1), true, false) else { panic!() };
    for told in [
        "2_x.down.sql failed: division by zero",
        "Taken back: 3; not taken back: 2;",
        "rollguard-shop-ab12cd",
        "`migrate force 2`",
    ] {
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn only_our_own_snapshot_counts() {
    let step = TakeSnapshot { instance: "prod".into(), snapshot: "rollguard-a".into(), run: "a".into() };
    let facts = |status: &str, run: Option<&str>| SnapshotFacts {
        status: status.into(),
        run: run.map(str::to_string),
        instance: "prod".into(),
        percent: Some(40),
    };
    assert!(matches!(assess_taken(&step, None), Finding::NotYet { .. }));
    assert!(matches!(assess_taken(&step, Some(&facts("creating", Some("a")))), Finding::Satisfied { .. }));
    assert!(matches!(assess_taken(&step, Some(&facts("available", None))), Finding::Conflict { .. }));
    assert!(matches!(assess_available(&step, Some(&facts("creating", Some("a")))), Finding::NotYet { .. }));
    assert!(matches!(
        assess_available(&step, Some(&facts("available", Some("a")))),
        Finding::Satisfied { .. }
    ));
    assert!(matches!(assess_available(&step, Some(&facts("failed", Some("a")))), Finding::Conflict { .. }));
    assert!(matches!(assess_available(&step, None), Finding::Conflict { .. }));
    assert_eq!(snapshot_id("My_shop.web--x-ab12"), "rollguard-my-shop-web-x-ab12");
}
