//! Policies on the command line: what `check` prints, what `policy test` answers, and files of cases.
use std::fs;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "\
api: {people: [{name: ann, token_sha256: HASH, groups: [payments]}, {name: ben, token_sha256: OTHER}]}
notify: {slack: {webhook_url_env: SLACK}}
sources: {scrape: }
services:
  - name: shop
    policy:
      lines:
        - {evidence: crash-loop, then: auto}
        - {evidence: latency, hours: inside, then: approval}
        - {severity: 3, then: approval}
      otherwise: page
      hours: {from: '09:00', to: '18:00', time_zone: Europe/Berlin}
      severities: [{evidence: lag, severity: 3}]
      approvals: {needed: 2, from: [payments, ben]}
      nobody_answers: [{after: 3m, then: page_again}, {after: 6m, then: rollback}]
      escalate_after: 15m
    freeze: [{cron: 0 0 24 12 *, duration: 72h, reason: Christmas}]
    targets: [{name: api, kubernetes: {deployment: api}}]
    rules:
      - {name: slow, latency: {increase: 50%, histogram: h}}
      - {name: lag, value: {above: 5, series: lag}}
  - name: plain
    policy: observe
    targets: [{name: web, kubernetes: {deployment: web}}]
    rules: [{name: e, errors: {above: 5%, total: a, bad: b}}]
";

const CASES: &str = "\
config: rollguard.yaml
tests:
  - name: a crash loop is rolled back at any time
    service: shop
    evidence: [slow, crash-loop]
    at: 2026-11-22T03:00:00Z
    expect: {decision: rollback, severity: 2, because: line 1}
  - name: slowness asks in business hours
    service: shop
    target: api
    evidence: slow
    at: 2026-11-23T08:00:00Z
    expect: {decision: ask, because: line 2}
  - name: and pages at night
    service: shop
    evidence: slow
    at: 2026-11-23T03:00:00Z
    expect: {decision: page, because: no line fits}
  - name: a freeze asks
    service: shop
    evidence: crash-loop
    at: 2026-12-25T03:00:00Z
    expect: {decision: ask, because: Christmas}
  - name: who only observes does nothing
    service: plain
    evidence: e
    at: 2026-11-23T03:00:00Z
    expect: {decision: hold}
";

fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("HASH", &"0a".repeat(32)).replace("OTHER", &"0b".repeat(32));
    fs::write(dir.path().join("rollguard.yaml"), config).unwrap();
    fs::write(dir.path().join("shop.test.yaml"), CASES).unwrap();
    dir
}

fn rollguard(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollguard"));
    command.args(args).current_dir(dir).env_clear().env("SLACK", "https://hooks.example.com/x");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_table_is_shown_as_it_is_read() {
    let dir = world();
    let (code, shown, said) = rollguard(dir.path(), &["policy", "show", "--config", "rollguard.yaml"]);
    assert_eq!(code, 0, "{said}");
    insta::assert_snapshot!(shown);
    let (_, checked, _) = rollguard(dir.path(), &["check", "--config", "rollguard.yaml"]);
    assert!(checked.contains(shown.trim()), "{checked}");
    let (_, json, _) = rollguard(dir.path(), &["check", "--config", "rollguard.yaml", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["policies"][0]["policy"][0]["then"], "auto");
}

#[test]
fn a_case_is_answered_with_who_is_asked_and_what_comes_next() {
    let dir = world();
    let base = ["policy", "test", "--config", "rollguard.yaml", "--service", "shop", "--at"];
    let ask = |at: &str, more: &[&str]| {
        let (code, shown, said) = rollguard(dir.path(), &[&base[..], &[at], more].concat());
        assert_eq!(code, 0, "{said}");
        shown
    };
    let day = "2026-11-23T08:00:00Z";
    let told = [
        ask(day, &["--evidence", "slow"]),
        ask(day, &["--evidence", "lag"]),
        ask(day, &["--verdict", "page"]),
        ask("2026-12-25T03:00:00Z", &["--evidence", "crash-loop"]),
    ];
    insta::assert_snapshot!(told.join("\n"));
    let json: serde_json::Value =
        serde_json::from_str(&ask(day, &["--evidence", "slow", "-o", "json"])).unwrap();
    assert_eq!((json["decision"].as_str(), json["severity"].as_u64()), (Some("ask"), Some(2)));
    assert_eq!(json["asked"]["from"], serde_json::json!(["ann", "ben"]));
    let (code, _, said) = rollguard(dir.path(), &[&base[..], &[day, "--target", "nowhere"]].concat());
    assert_eq!((code, said.contains("shop has no target nowhere")), (1, true), "{said}");
}

#[test]
fn cases_hold_or_say_what_is_otherwise() {
    let dir = world();
    let (code, shown, said) = rollguard(dir.path(), &["policy", "test", "shop.test.yaml"]);
    assert_eq!(code, 0, "{shown}{said}");
    let wrong = CASES.replace("{decision: hold}", "{decision: page, severity: 1, because: line 9}");
    fs::write(dir.path().join("shop.test.yaml"), wrong).unwrap();
    let (code, shown, _) = rollguard(dir.path(), &["policy", "test", "shop.test.yaml"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(shown);
    let (code, json, _) = rollguard(dir.path(), &["policy", "test", "shop.test.yaml", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["ok"].as_bool(), json["cases"][4]["ok"].as_bool()), (1, Some(false), Some(false)));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let dir = world();
    let told = |file: &str, text: &str, args: &[&str]| {
        fs::write(dir.path().join(file), text).unwrap();
        let (code, _, said) = rollguard(dir.path(), args);
        assert_ne!(code, 0);
        said
    };
    let cases = "tests:\n  - {name: x, service: shop, at: noon, verdict: bad, expect: {}}\n";
    let test = told("bad.test.yaml", cases, &["policy", "test", "bad.test.yaml"]);
    let wrong = CONFIG
        .replace("HASH", "abc")
        .replace("OTHER", &"0b".repeat(32))
        .replace("evidence: crash-loop", "evidence: crashes")
        .replace("      hours: {from: '09:00', to: '18:00', time_zone: Europe/Berlin}\n", "")
        .replace("from: [payments, ben]", "from: [ben, sales]")
        .replace("{after: 6m, then: rollback}", "{after: 2m, then: rollback}, {after: 20m, then: hold}")
        .replace("otherwise: page", "otherwise: observe");
    let config = told("wrong.yaml", &wrong, &["check", "--config", "wrong.yaml"]);
    insta::assert_snapshot!(format!("{test}{config}"));
}
