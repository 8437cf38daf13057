//! Targets of infrastructure as the configuration names them.
use std::path::Path;
use std::time::Duration;

use rollguard::config::TargetKindConfig;
use rollguard::domain::names::TargetKind;

use super::{minimal, problems, read};

fn with(keys: &str) -> String {
    let kubernetes = "{name: api, kubernetes: {deployment: api}}";
    minimal("", "").replace(kubernetes, &format!("{{name: infra, infrastructure: {{{keys}}}}}"))
}

#[test]
fn a_repository_is_enough() {
    let config = read(&with("repository: /srv/infra")).unwrap().config;
    let TargetKindConfig::Infrastructure(infra) = &config.services[0].targets[0].kind else { panic!() };
    assert_eq!((infra.path.as_path(), infra.tool.as_path()), (Path::new("."), Path::new("terraform")));
    assert_eq!((infra.terms.changes_max, infra.terms.deletes_max), (100, 10));
    assert_eq!(infra.apply_timeout, Duration::from_secs(3600));
    assert_eq!(config.services[0].targets[0].kind.kind(), TargetKind::Infrastructure);
    assert!(config.services[0].checks.is_empty(), "there are no pods, and another plan proves it");
}

#[test]
fn secrets_are_read_by_name_and_never_shown() {
    let config =
        read(&with("repository: /srv/infra, variables: {password_env: TERRAFORM_DATABASE_PASSWORD}"))
            .unwrap()
            .config;
    let TargetKindConfig::Infrastructure(infra) = &config.services[0].targets[0].kind else { panic!() };
    let exposed: Vec<_> = infra.variables.exposed().collect();
    assert_eq!(exposed, [("password", "database-password-xyz")]);
    assert!(!format!("{config:?}").contains("database-password-xyz"));
}

#[test]
fn mistakes_are_told_where_they_are() {
    for (keys, told) in [
        ("path: env", "repository is missing"),
        ("repository: /srv/infra, path: ../other", "path: write a folder within the repository"),
        ("repository: /srv/infra, path: /etc", "path: write a folder within the repository"),
        ("repository: /srv/infra, tol: tofu", "did you mean \"tool\"?"),
        ("repository: /srv/infra, environment: [TF_CLI_ARGS_plan]", "TF_CLI_ARGS"),
        ("repository: /srv/infra, variables: {password_env: NOT_SET}", "NOT_SET is not set"),
        ("repository: /srv/infra, max_deletes: some", "max_deletes"),
    ] {
        let found = problems(&with(keys));
        assert!(found.contains(told), "{keys}: {found}");
    }
}
