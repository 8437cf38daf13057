//! What is read inside of the cluster: logs, the Service in front, failed probes.
use super::{minimal, problems, read};
use regex::Regex;
use rollguard::config::{Changes, Config, RuleQuery, SourceName};
use rollguard::domain::runbook::{Bound, RuleKind};
use rollguard::domain::verification::CheckKind;

fn rule(body: &str) -> String {
    minimal(&format!("    rules: [{{name: lines, logs: {{{body}}}}}]\n"), "")
}

fn config(text: &str) -> Config {
    read(text).unwrap().config
}

#[test]
fn the_usual_error_lines_are_found_and_others_not() {
    let config = config(&rule("above: 30"));
    let lines = &config.services[0].rules[0];
    assert_eq!(lines.rule.kind, RuleKind::Value { bound: Bound::Above(30.0), for_secs: 60.0 });
    let RuleQuery::Logs(logs) = &lines.query else { panic!("{lines:?}") };
    assert_eq!((lines.source, logs.show_lines, logs.container.as_deref()), (SourceName::Logs, false, None));
    let error = Regex::new(&logs.error).unwrap();
    for line in [
        "2026-11-22 10:00:00 ERROR cannot connect",
        "[ERROR] cannot connect",
        "FATAL: out of memory",
        r#"{"level":"error","msg":"cannot connect"}"#,
        r#"{"severity": "CRITICAL", "message": "x"}"#,
        r#"{"log.level":"fatal"}"#,
        "ts=1 level=error msg=x",
        "panic: runtime error: index out of range",
        "Traceback (most recent call last):",
        "Exception in thread \"main\" java.lang.NullPointerException",
        "E1122 10:00:00.000000       1 main.go:1] cannot connect",
    ] {
        assert!(error.is_match(line), "{line}");
    }
    for line in [
        "INFO no errors found",
        "GET /errors/ERRORS 200",
        r#"{"level":"info","error_count":0}"#,
        "level=info msg=\"error budget is fine\"",
        "WARN slow",
    ] {
        assert!(!error.is_match(line), "{line}");
    }
}

#[test]
fn mistakes_in_rules_on_logs_are_told() {
    let told = |body: &str| problems(&rule(body));
    assert!(told("for: 1m").contains("one of above, increase is missing"), "{}", told("for: 1m"));
    assert!(told("above: 1, increase: 50%").contains("exclude each other"));
    assert!(told("above: 1, error: \"(\"").contains("error: this is no regular expression"));
    assert!(told("above: 1, for: 2h").contains("for: not shorter than the watch"));
    assert!(told("above: 1, source: scrape").contains("unknown key \"source\""));
}

#[test]
fn a_service_in_front_is_verified_unless_the_checks_say_otherwise() {
    let kinds = |text: &str| -> Vec<CheckKind> {
        config(text).services[0].checks.iter().map(|check| check.kind.clone()).collect()
    };
    let plain = minimal("", "");
    let is_ready =
        |kind: &CheckKind| matches!(kind, CheckKind::EndpointsReady { targets } if targets.len() == 1);
    assert!(!kinds(&plain).iter().any(is_ready));
    let in_front = plain.replacen("deployment: ", "service: web, deployment: ", 1);
    assert_ne!(in_front, plain);
    assert!(kinds(&in_front).iter().any(is_ready));
    let check = minimal("    verify: {checks: [{name: e, endpoints_ready: {}}]}\n", "");
    assert!(problems(&check).contains("endpoints_ready: nothing measures this"), "{}", problems(&check));
}

#[test]
fn what_is_read_inside_takes_part_in_a_reload() {
    let plain = minimal("", "");
    let changes = |text: &str| Changes::between(&config(&plain), &config(text));
    let probes = changes(&minimal("", "kubernetes: {failed_probes: true}\n"));
    assert_eq!(probes.settings, ["kubernetes.failed_probes"]);
    assert!(probes.workloads && !probes.measuring);
    let compared = changes(&minimal("", "kubernetes: {compare: {secrets: true}}\n"));
    assert_eq!(compared.settings, ["kubernetes.compare"]);
    assert!(!compared.workloads && !compared.measuring);
    assert!(changes(&plain.replacen("deployment: ", "service: web, deployment: ", 1)).workloads);
    let logs = changes(&rule("above: 30"));
    assert!(logs.measuring && !logs.workloads);
    let other = Changes::between(&config(&rule("above: 30")), &config(&rule("above: 30, error: FATAL")));
    assert!(other.measuring && other.remeasured.len() == 1);
}
