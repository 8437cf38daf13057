//! Checks after a rollback that ask a database and a Redis.
use std::process::Command;
use std::time::Duration;

use rollguard::adapters::checks::OutsideChecks;
use rollguard::adapters::postgres::Access;
use rollguard::adapters::tls::TlsMode;
use rollguard::config::Secrets;
use rollguard::domain::plan::database::{Runner, SchemaQuery};
use rollguard::domain::verification::{CheckKind, CheckOutcome, CheckResult, CheckSpec, RedisServer};
use rollguard::ports::{CheckContext, Checks};

use super::stage::{Stage, target};
use crate::support::process::{Process, free_port};
use crate::support::{binary, until};

fn checks() -> OutsideChecks {
    OutsideChecks::new(reqwest::Client::new(), None)
}

async fn asked(checks: &OutsideChecks, kind: CheckKind) -> CheckResult {
    let about = CheckContext { target: target(), version: "1".into() };
    checks.check(&CheckSpec { name: "it".into(), kind }, &about).await
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_query_tells_whether_the_data_is_as_it_should_be() {
    let stage = Stage::shop(Runner::Rollguard).await;
    let access = Access::new(&stage.url.clone().into(), &TlsMode::Disable).unwrap();
    let checks = checks().with_databases([(target(), access)].into());
    let ask = async |sql: &str, expect: Option<&str>| {
        let query = SchemaQuery { name: "it".into(), sql: sql.into(), expect: expect.map(str::to_string) };
        asked(&checks, CheckKind::Sql { target: target().target, query }).await
    };
    assert_eq!(ask("SELECT 1", None).await.outcome, CheckOutcome::Passed);
    assert_eq!(ask("SELECT count(*) FROM users", Some("0")).await.outcome, CheckOutcome::Passed);
    assert_eq!(ask("SELECT count(*) FROM users", Some("1")).await, CheckResult::failed("it: 0, and not 1"));
    assert_eq!(ask("SELECT count(*) > 0 FROM users", None).await, CheckResult::failed("it: f"));
    assert_eq!(ask("SELECT id FROM users", None).await, CheckResult::failed("it: no row"));
    let changing = ask("DELETE FROM users", None).await;
    assert!(changing.detail.contains("read-only transaction"), "{changing:?}");
    let missing = ask("SELECT 1 FROM nowhere", None).await;
    assert!(missing.detail.contains("\"nowhere\" does not exist"), "{missing:?}");
}

#[tokio::test]
#[ignore = "tests/run database"]
async fn a_redis_answers_ping_and_no_password_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(binary("redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--requirepass", "hush-redis"]);
    let _redis = Process::start(dir.path(), &command);
    let kind = || CheckKind::Redis(RedisServer { address: format!("127.0.0.1:{port}"), tls: None });
    let with = |password: &str| {
        let secrets = Secrets::new([("password".to_string(), password.to_string().into())]);
        checks().with_secrets([(target().service, [("it".to_string(), secrets)].into())].into())
    };
    let right = with("hush-redis");
    until("Redis answers", Duration::from_secs(20), async || {
        (asked(&right, kind()).await.outcome == CheckOutcome::Passed).then_some(())
    })
    .await;
    assert_eq!(asked(&right, kind()).await, CheckResult::passed("PONG"));
    assert_eq!(asked(&with("hush-wrong"), kind()).await, CheckResult::failed("AUTH: -WRONGPASS"));
    let without = asked(&checks(), kind()).await;
    assert!(without.detail.contains("NOAUTH"), "{without:?}");
    let nobody = CheckKind::Redis(RedisServer { address: format!("127.0.0.1:{}", free_port()), tls: None });
    assert_eq!(asked(&right, nobody).await.outcome, CheckOutcome::Failed);
}
