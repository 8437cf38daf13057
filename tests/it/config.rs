//! The configuration as its authors meet it: the example, the messages, and whatever else a file may hold.
mod infrastructure;
mod inside;
mod journal;
mod leadership;
mod notify;
mod owners;
mod rails;
mod workloads;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rollguard::config::{
    CloudWatchQuery, Combine, Config, KubernetesConfig, LoadError, Loaded, RuleQuery, Severity, SourceName,
    TokenDigest, json_schema, load, parse,
};
use rollguard::domain::policy::Act;
use rollguard::domain::runbook::{Bound, LateOnset, RuleKind};
use rollguard::domain::verification::CheckKind;
use secrecy::ExposeSecret;

const EXAMPLE: &str = include_str!("../../config/rollguard.yaml");
const ANN: &str = "anns-token-0123456789";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "ROLLGUARD_TOKEN_ANN" => ANN,
        "ROLLGUARD_TOKEN_BEN" => "bens-token-0123456789",
        "PROMETHEUS_TOKEN" => "prometheus-token-xyz",
        "ALERTMANAGER_WEBHOOK_TOKEN" => "alertmanager-token-xyz",
        "SLACK_WEBHOOK_URL" => "https://hooks.slack.example/services/T0/B0/slack-secret",
        "HOOK_URL" => "https://hooks.example.com/in?key=hook-secret",
        "SHOP_CHECK_PASSWORD" => "check-password-xyz",
        "TERRAFORM_DATABASE_PASSWORD" => "database-password-xyz",
        "TERRAFORM_STATE_BUCKET" => "state-bucket-xyz",
        "ROLLGUARD_POSTGRES_URL" => "postgres://rollguard:postgres-secret@db.example.com/rollguard",
        "SLACK_BOT_TOKEN"
        | "PAGERDUTY_ROUTING_KEY"
        | "OPSGENIE_API_KEY"
        | "STATUSPAGE_API_KEY"
        | "GITHUB_TOKEN" => "channel-secret-0123456789",
        "SLACK_SIGNING_SECRET" => "slack-signing-0123456789",
        "SHOP_DATABASE_URL" => "postgres://migrator:database-secret@shop-db.example.com/shop",
        "SHOP_REDIS_PASSWORD" => "redis-secret",
        "HOOK_SECRET" => "signing-secret-0123456789",
        _ => return None,
    };
    Some(value.to_string())
}

fn read(text: &str) -> Result<Loaded, LoadError> {
    parse(text, "config.yaml", Path::new(""), &env)
}

fn problems(text: &str) -> String {
    match read(text) {
        Ok(loaded) => loaded.warnings.iter().map(|p| format!("{p}\n")).collect(),
        Err(error) => format!("{error}\n"),
    }
}

fn example() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rollguard.yaml");
    let loaded = load(&path, &env).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

/// The least that loads, with a place for one more line of the service and for the top level.
fn minimal(service: &str, top: &str) -> String {
    format!(
        "services:\n  - name: shop\n    policy: observe\n    targets: [{{name: api, kubernetes: {{deployment: api}}}}]\n{service}{top}"
    )
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_example_loads_as_it_reads() {
    let config = example();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9095");
    assert_eq!(config.people[0].token, Some(TokenDigest::of(ANN)));
    assert!(
        matches!(&config.kubernetes, KubernetesConfig::Kubeconfig { context: Some(c), .. } if c == "production")
    );
    let prometheus = config.sources.prometheus.as_ref().unwrap();
    assert_eq!(prometheus.url.as_str(), "http://prometheus.monitoring:9090/");
    assert_eq!(prometheus.headers[0].1.expose_secret(), "production");
    assert_eq!(config.sources.scrape.as_ref().unwrap().fresh_interval, Duration::from_secs(1));
    let cloudwatch = config.sources.cloudwatch.as_ref().unwrap();
    assert_eq!((cloudwatch.region.as_str(), cloudwatch.settle), ("eu-central-1", Duration::from_secs(60)));
    let paging = config.alertmanager.as_ref().unwrap().paging.as_ref().unwrap();
    assert_eq!(paging.labels["team"], "platform");
    assert!(config.notify.webhook.as_ref().unwrap().url.expose().ends_with("hook-secret"));
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_examples_service_is_typed() {
    let config = example();
    let shop = &config.services[0];
    assert_eq!((shop.name.as_str(), shop.policy.otherwise), ("shop", Act::Auto));
    assert_eq!((shop.watch, shop.rails.cool_down), (Duration::from_secs(1800), Duration::from_secs(3600)));
    assert_eq!(shop.rules[0].rule.kind, RuleKind::Errors { above: 0.05 });
    assert_eq!(shop.rules[0].source, SourceName::Prometheus);
    assert!(matches!(&shop.rules[0].query, RuleQuery::Errors { bad, .. } if bad.to_string().contains("5..")));
    assert_eq!(shop.rules[1].rule.kind, RuleKind::Latency { increase: 0.5 });
    let RuleQuery::CloudWatch(CloudWatchQuery::Errors { total, bad }) = &shop.rules[6].query else {
        panic!("{:?}", shop.rules[6])
    };
    assert_eq!((total.name.as_str(), bad.name.as_str()), ("RequestCount", "HTTPCode_Target_5XX_Count"));
    assert_eq!((&total.namespace, &total.dimensions), (&bad.namespace, &bad.dimensions));
    assert_eq!(shop.rules[7].rule.kind, RuleKind::Value { bound: Bound::Above(500.0), for_secs: 180.0 });
    let RuleQuery::CloudWatch(CloudWatchQuery::Value { metric, statistic, scale }) = &shop.rules[7].query
    else {
        panic!("{:?}", shop.rules[7])
    };
    assert_eq!((metric.name.as_str(), statistic.as_str(), *scale), ("TargetResponseTime", "p95", 1000.0));
    assert!(shop.alarms[1].matches("shop-rds-deadlocks"));
    assert_eq!(shop.judging, rollguard::domain::runbook::Judging::standard(shop.watch));
    assert_eq!((shop.checks.len(), shop.targets[0].service.as_deref()), (13, Some("blockchain-backend")));
    assert!(config.watch_failed_probes && config.compare.config_maps && !config.compare.secrets);
    assert_eq!(
        shop.checks[3].kind,
        CheckKind::EndpointsReady { targets: vec![shop.targets[0].name.clone()] }
    );
    assert_eq!(shop.checks[6].kind, CheckKind::LatencyP95 { below_ms: 200.0 });
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn the_examples_values_and_checks_are_typed() {
    let config = example();
    let rules = &config.services[0].rules;
    let value = |bound, for_secs| RuleKind::Value { bound, for_secs };
    let (memory, workers, deadlocks, health) = (&rules[2], &rules[3], &rules[4], &rules[5]);
    assert_eq!(memory.rule.kind, value(Bound::Increase(0.5), 120.0));
    assert!(matches!(memory.query, RuleQuery::Value { combine: Combine::Sum, rate: false, pods: true, .. }));
    assert_eq!((&workers.rule.kind, workers.source), (&value(Bound::Below(2.0), 60.0), SourceName::Scrape));
    assert!(matches!(workers.query, RuleQuery::Value { combine: Combine::Min, .. }), "the worst counts");
    assert_eq!(deadlocks.rule.kind, value(Bound::Above(0.1), 60.0));
    assert!(matches!(
        deadlocks.query,
        RuleQuery::Value { combine: Combine::Max, rate: true, pods: false, .. }
    ));
    assert_eq!(health.rule.kind, RuleKind::check(60.0));
}

#[test]
fn a_service_may_judge_late_trouble_and_health_its_own_way() {
    let own = "    judging: {late_onset: rollback, end_when_healthy: true}\n";
    let judging = read(&minimal(own, "")).unwrap().config.services[0].judging.clone();
    assert_eq!((judging.late_onset, judging.end_when_healthy), (LateOnset::Rollback, true));
}

#[test]
fn mistakes_in_rules_on_values_and_checks_are_told() {
    insta::assert_snapshot!(problems(include_str!("config/rules.yaml")));
}

#[test]
fn a_counter_is_judged_by_its_growth() {
    let rule = |rate: &str| {
        let rule = format!("    rules: [{{name: d, value: {{series: deadlocks_total, above: 0{rate}}}}}]\n");
        problems(&minimal(&rule, "sources: {scrape: }\n"))
    };
    assert!(rule("").contains("warning: series: a counter only ever grows"), "{}", rule(""));
    assert_eq!(rule(", rate: true"), "");
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn no_secret_is_shown_by_debug() {
    let shown = format!("{:?}", example());
    let others = "prometheus-token alertmanager-token postgres-secret channel-secret slack-signing hook-secret signing-secret";
    for secret in others.split(' ').chain([ANN]) {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

#[test]
#[cfg_attr(not(feature = "aws"), ignore = "the example names CloudWatch")]
fn alerts_match_by_all_labels_and_a_severity() {
    let alerts = example().services[0].alerts.clone().unwrap();
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    };
    assert!(alerts.matches(&labels(&[("service", "shop"), ("severity", "critical"), ("pod", "x")])));
    assert!(!alerts.matches(&labels(&[("service", "shop"), ("severity", "warning")])));
    assert!(!alerts.matches(&labels(&[("service", "other"), ("severity", "critical")])));
    assert!(!alerts.matches(&labels(&[("service", "shop")])));
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let loaded = read(&minimal("", "")).unwrap();
    let shop = &loaded.config.services[0];
    assert_eq!(shop.checks.len(), 1);
    assert_eq!(shop.verify_deadline, Duration::from_secs(600));
    assert!(problems(&minimal("", "")).contains("warning: shop has no rules"));
}

#[test]
fn a_services_own_key_wins_whole() {
    let text = minimal("    watch: 5m\n", "defaults:\n  watch: 10m\n  cool_down: 2h\n");
    let shop = &read(&text).unwrap().config.services[0];
    assert_eq!((shop.watch, shop.rails.cool_down), (Duration::from_secs(300), Duration::from_secs(7200)));
}

#[test]
fn the_only_source_need_not_be_named() {
    let rules = "    rules: [{name: e, errors: {above: 5%, total: a, bad: b}}]\n";
    let loaded = read(&minimal(rules, "sources: {scrape: }\n")).unwrap();
    assert_eq!(loaded.config.services[0].rules[0].source, SourceName::Scrape);
    assert_eq!(loaded.config.services[0].checks.len(), 2);
    assert!(problems(&minimal(rules, "")).contains("there is no source to measure this"));
}

/// One rule that CloudWatch measures, with something else in place of its source, and the top level beside it.
fn cloudwatch(source: &str, top: &str) -> String {
    let metrics = "namespace: AWS/ApplicationELB, dimensions: {LoadBalancer: a/b}, total: Requests, bad: 5XX";
    let rules = format!("    rules: [{{name: e, errors: {{above: 5%, {source}{metrics}}}}}]\n");
    minimal(&rules, top)
}

#[test]
#[cfg(feature = "aws")]
fn metrics_of_cloudwatch_are_named_not_selected() {
    let top = "sources: {cloudwatch: {region: us-east-1}}\n";
    let loaded = read(&cloudwatch("", top)).unwrap();
    assert_eq!(loaded.config.services[0].rules[0].source, SourceName::CloudWatch);
    let both = "sources: {cloudwatch: {region: us-east-1}, scrape: }\n";
    assert!(problems(&cloudwatch("", both)).contains("so say scrape or cloudwatch"));
    let other = problems(&cloudwatch("source: scrape, ", both));
    assert!(other.contains("namespace: only for source: cloudwatch"), "{other}");
    let without = "    rules: [{name: e, errors: {above: 5%, total: a, bad: b}}]\n";
    assert!(problems(&minimal(without, top)).contains("namespace is missing: CloudWatch needs one"));
    let latency = "    rules: [{name: l, latency: {increase: 50%, histogram: h}}]\n";
    assert!(problems(&minimal(latency, top)).contains("CloudWatch has no histograms"));
    let quick = "sources: {cloudwatch: {region: Frankfurt, interval: 10s}}\n";
    let wrong = problems(&minimal("", quick));
    assert!(
        wrong.contains("interval: 10s is out of range") && wrong.contains("this is no region"),
        "{wrong}"
    );
    let alarms = problems(&minimal("    alarms: [\"*\"]\n", ""));
    assert!(alarms.contains("alarms: write names") && alarms.contains("add sources.cloudwatch"), "{alarms}");
}

#[test]
#[cfg(feature = "aws")]
fn mistakes_in_values_of_cloudwatch_are_told() {
    insta::assert_snapshot!(problems(include_str!("config/cloudwatch.yaml")));
}

#[test]
#[cfg(not(feature = "aws"))]
fn without_aws_a_configuration_with_cloudwatch_is_refused() {
    let refused = problems(&cloudwatch("", "sources: {cloudwatch: {region: us-east-1}}\n"));
    assert!(refused.contains("built without AWS: build it with its default features"), "{refused}");
}

#[test]
fn many_errors_are_told_at_once() {
    insta::assert_snapshot!(problems(include_str!("config/many_errors.yaml")));
}

#[test]
fn rules_across_keys_are_told_at_once() {
    insta::assert_snapshot!(problems(include_str!("config/across_keys.yaml")));
}

#[test]
fn files_that_are_no_configuration() {
    let deep = format!("a: {}", "[".repeat(5000));
    let bomb: String = (1..40).fold("a0: &a0 [x, x]\n".into(), |text, n| {
        let m = n - 1;
        text + &format!("a{n}: &a{n} [*a{m}, *a{m}, *a{m}, *a{m}]\n")
    });
    let texts = [
        "",
        "# only a comment\n",
        "just text",
        "[a, list]",
        "listen: [",
        "a: b: c",
        "\tlisten: x",
        "listen: *nowhere",
        "listen: &a [*a]",
        "listen: !!str x",
        "{}\n---\n{}\n",
        "? [a]\n: b",
        "listen: \u{0}",
        deep.as_str(),
        bomb.as_str(),
    ];
    let all: Vec<String> = texts.iter().map(|text| problems(text)).collect();
    insta::assert_snapshot!(all.concat());
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let message = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        load(&path, &env).unwrap_err().to_string()
    };
    assert!(
        message("latin1.yaml", b"# ok\nlisten: \xe9")
            .contains("latin1.yaml:2:9: error: the file is not UTF-8")
    );
    assert!(message("huge.yaml", &vec![b'#'; 2 << 20]).contains("larger than 1 MiB"));
    assert!(load(&dir.path().join("none.yaml"), &env).unwrap_err().to_string().contains("cannot be read"));
    assert!(load(dir.path(), &env).unwrap_err().to_string().contains("this is a directory"));
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ann.token"), format!("{ANN}\n")).unwrap();
    std::fs::write(
        dir.path().join("rollguard.yaml"),
        minimal("", "api: {people: [{name: ann, token_file: ann.token}]}"),
    )
    .unwrap();
    let loaded = load(&dir.path().join("rollguard.yaml"), &env).unwrap();
    assert_eq!(loaded.config.people[0].token, Some(TokenDigest::of(ANN)));
}

#[test]
fn secrets_in_the_wrong_place_are_not_repeated() {
    let secret = "s3cr3t-Value_0123456789/abc=";
    let url = format!("https://hooks.example.com/{secret}");
    let texts = [
        format!("api: {{people: [{{name: ann, token_file: \"{secret}\"}}]}}\n"),
        format!("api: {{people: [{{name: ann, token_env: \"{secret}\"}}]}}\n"),
        format!("api: {{people: [{{name: ann, token: [\"{secret}\"]}}]}}\n"),
        format!("api: {{people: [{{name: ann, token: \"{secret} with spaces\"}}]}}\n"),
        format!("notify: {{slack: \"{url}\"}}\n"),
        format!("notify: {{slack: {{\"{url}\": }}}}\n"),
        format!("notify: {{slack: {{webhook_url: \"ftp://{secret}\"}}}}\n"),
        format!("notify: {{slack: {{webhook_url_file: \"{url}\"}}}}\n"),
        format!("sources: {{prometheus: {{url: \"http://user:{secret}@prometheus\"}}}}\n"),
        format!("sources: {{prometheus: {{url: \"http://p\", headers: {{Authorization: \"{secret}\"}}}}}}\n"),
        format!(
            "sources: {{prometheus: {{url: \"http://p\", headers: {{\"{secret} x\": \"{secret}é\"}}}}}}\n"
        ),
    ];
    for text in texts {
        let error = read(&minimal("", &text)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cr3t"), "{text}: {shown}");
    }
}

#[test]
fn an_open_port_needs_tokens() {
    let open = "listen: 0.0.0.0:9095\n";
    let missing = problems(&minimal("", open));
    assert!(missing.contains("api.people") && missing.contains("webhook_token_file"), "{missing}");
    let people = "api: {people: [{name: ann, token_env: ROLLGUARD_TOKEN_ANN}]}\n";
    let token = "alertmanager: {webhook_token_env: ALERTMANAGER_WEBHOOK_TOKEN}\n";
    assert!(!problems(&minimal("", &format!("{open}{people}"))).contains("api.people"));
    assert!(read(&minimal("", &format!("{open}{people}{token}"))).is_ok());
}

#[test]
fn defaults_that_nobody_takes_are_read_too() {
    let defaults = "defaults:\n  watch: soon\n  verify: {checks: [{name: x, pods_redy: {}}]}\n";
    let own = "    watch: 10m\n    verify: {deadline: 5m}\n";
    let all = problems(&minimal(own, defaults));
    assert!(all.contains("watch: this is no duration") && all.contains("pods_redy"), "{all}");
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let text: String = (0..300).map(|n| format!("k{n}: 1\n")).collect();
    let error = read(&text).unwrap_err();
    assert_eq!(error.problems.len(), 200);
    assert!(error.to_string().ends_with("(and 101 more problems)"), "{}", error.problems[199]);
}

/// Every key of a value must be in the schema at its place, and every property must have a description.
fn follow(value: &serde_json::Value, schema: &serde_json::Value, path: &str) {
    use serde_json::Value as Json;
    match value {
        Json::Object(map) => {
            let Some(properties) = schema["properties"].as_object() else { return };
            assert_eq!(schema["additionalProperties"], false, "{path}");
            for (key, child) in map {
                let property =
                    properties.get(key).unwrap_or_else(|| panic!("{path}/{key} is not in the schema"));
                assert!(property["description"].is_string(), "{path}/{key}");
                follow(child, property, &format!("{path}/{key}"));
            }
        }
        Json::Array(items) => items.iter().for_each(|item| follow(item, &schema["items"], path)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// All property paths of the schema, a secret by its stem.
fn paths(schema: &serde_json::Value, path: &str, into: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{}", key.trim_end_matches("_file").trim_end_matches("_env"));
        into.push(path.clone());
        paths(property, &path, into);
        paths(&property["items"], &path, into);
    }
}

fn used(value: &serde_json::Value, path: &str, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, child) in map {
                let path = format!("{path}/{}", key.trim_end_matches("_file").trim_end_matches("_env"));
                into.push(path.clone());
                used(child, &path, into);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| used(item, path, into)),
        _ => {}
    }
}

#[test]
fn the_schema_and_the_example_know_the_same_keys() {
    let example: serde_json::Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let schema = json_schema();
    follow(&example, &schema, "");
    let (mut known, mut shown) = (Vec::new(), Vec::new());
    paths(&schema, "", &mut known);
    used(&example, "", &mut shown);
    let per_service = |path: &String| path.starts_with("/defaults/");
    let forgotten: Vec<_> = known.iter().filter(|p| !per_service(p) && !shown.contains(p)).collect();
    // Both are in the example: the one as a comment, the other among the defaults.
    let elsewhere =
        ["/kubernetes/url", "/notify/slack/webhook_url", "/services/alerts", "/services/cool_down"];
    let forgotten: Vec<_> =
        forgotten.iter().filter(|p| !elsewhere.iter().any(|e| p.starts_with(e))).collect();
    assert!(forgotten.is_empty(), "not in config/rollguard.yaml: {forgotten:?}");
}

fn positions_are_inside(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = read(text) else { return Ok(()) };
    prop_assert!(error.problems.iter().any(|p| p.severity == Severity::Error));
    let lines: Vec<&str> = text.lines().collect();
    for problem in &error.problems {
        prop_assert!((1..=lines.len().max(1)).contains(&problem.line), "{problem}");
        let width = lines.get(problem.line - 1).map_or(0, |line| line.chars().count());
        prop_assert!((1..=width + 1).contains(&problem.column), "{problem} in a line of {width}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_configuration_or_errors(text in "(?s).{0,300}") {
        positions_are_inside(&text)?;
    }

    #[test]
    fn any_yaml_like_text_is_a_configuration_or_errors(text in "[a-z:{}\\[\\],&*!|>'\"\\-? \n\r%#0-9]{0,200}") {
        positions_are_inside(&text)?;
    }

    #[test]
    fn the_example_with_something_else_in_it(
        at in 0..EXAMPLE.len(),
        cut in 0usize..60,
        put in "[a-z:{}\\[\\],&*!|>'\"\\-? \n\r%#0-9é]{0,8}",
    ) {
        let floor = |at: usize| (0..=at.min(EXAMPLE.len())).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap();
        let text = format!("{}{put}{}", &EXAMPLE[..floor(at)], &EXAMPLE[floor(at + cut)..]);
        positions_are_inside(&text)?;
    }

    #[test]
    fn any_bytes_are_a_configuration_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = load(&path, &env) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}
