//! Where the journal is: the example, what holds where nothing is said, what is wrong, and what needs a restart.
use rollguard::config::{Changes, JournalConfig, PostgresTls};

use super::{example, minimal, problems, read};

fn of(postgres: &str) -> String {
    minimal("", &format!("journal: {{postgres: {{{postgres}}}}}\nleadership: {{lease: {{}}}}\n"))
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_examples_postgres_is_typed() {
    let JournalConfig::Postgres(postgres) = example().journal else { panic!("it is in Postgres") };
    assert_eq!(postgres.schema, "rollguard");
    assert_eq!(postgres.tls, PostgresTls::VerifyFull { ca_file: "/etc/rollguard/postgres-ca.pem".into() });
}

#[test]
fn without_a_word_it_is_in_the_state_directory() {
    assert!(matches!(read(&minimal("", "")).unwrap().config.journal, JournalConfig::StateDir));
}

#[test]
fn mistakes_are_told_with_what_to_write() {
    let url = "url_env: ROLLGUARD_POSTGRES_URL";
    for (postgres, told) in [
        ("tls: {mode: disable}".to_string(), "url_file or url_env or url is missing"),
        ("url_env: HOOK_URL, tls: {mode: disable}".into(), "url_env: this does not begin with postgres://"),
        (url.into(), "tls: ca_file is missing: name the certificates"),
        (
            format!("{url}, tls: {{ca_file: ca.pem, mode: require}}"),
            "ca_file: this mode verifies no certificate",
        ),
        (format!("{url}, tls: {{mode: prefer}}"), "mode: this is none of the choices"),
        (
            format!("{url}, schema: Roll Guard, tls: {{mode: disable}}"),
            "schema: this is no name that needs no quotes",
        ),
        (
            format!("{url}, schema: pg_journal, tls: {{mode: disable}}"),
            "schema: this is no name that needs no quotes",
        ),
    ] {
        let all = problems(&of(&postgres));
        assert!(all.contains(told) && all.contains("config.yaml:5:"), "{postgres}: {all}");
        assert!(!all.contains("hook-secret") && !all.contains("postgres-secret"), "{all}");
    }
    assert!(read(&of(&format!("{url}, tls: {{mode: require}}"))).is_ok());
}

#[test]
fn another_journal_needs_a_restart_and_so_does_another_password() {
    let config = |url: &str| {
        let text = of(&format!("url: \"postgres://{url}@db/x\", tls: {{mode: disable}}"));
        read(&text).unwrap().config
    };
    let (one, other, file) = (config("u:one"), config("u:other"), read(&minimal("", "")).unwrap().config);
    assert_eq!(Changes::between(&one, &other).needs_restart, ["journal"]);
    assert_eq!(Changes::between(&file, &one).needs_restart, ["journal", "leadership"]);
    assert!(Changes::between(&one, &one).needs_restart.is_empty());
}

#[test]
fn the_example_of_the_deployment_loads() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("postgres-url"), "postgres://u:p@db/x\n").unwrap();
    let deployed = include_str!("../../../deploy/postgres.yaml").split("\n---\n").next().unwrap();
    let here = deployed.replace("/etc/rollguard-secrets", dir.path().to_str().unwrap());
    let config = read(&minimal("", &here)).unwrap().config;
    let JournalConfig::Postgres(postgres) = config.journal else { panic!("it is in Postgres") };
    assert_eq!(postgres.tls, PostgresTls::VerifyFull { ca_file: dir.path().join("postgres-ca.pem") });
}
