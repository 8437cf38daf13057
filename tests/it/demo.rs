//! The demo, scenario by scenario: the real daemon in the embedded world must end each as it should.
use std::process::{Command, Output};

use serde_json::{Value, json};

fn demo(scenario: &str) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_rollguard"))
        .args(["demo", "--scenario", scenario, "-o", "json"])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = out.lines().last().unwrap_or_else(|| panic!("{scenario} printed nothing; stderr:\n{err}"));
    let outcome = serde_json::from_str(last).unwrap_or_else(|e| panic!("{scenario}: {e}: {last}"));
    assert!(output.status.success(), "{scenario}: {}\n{last}\n{err}", output.status);
    (output, outcome)
}

fn rolled_back(scenario: &str) {
    let (_, outcome) = demo(scenario);
    let expected = json!({
        "scenario": scenario, "decision": "rollback", "cause": "release", "rolled_back": true,
        "version_before": "v1", "version_after": "v1", "verification": "passed",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&outcome[key], value, "{scenario}: {key} in {outcome}");
    }
    let times: Vec<jiff::Timestamp> = ["noticed_at", "decided_at", "acted_at", "recovered_at"]
        .iter()
        .map(|key| outcome[key].as_str().unwrap_or_else(|| panic!("{key} in {outcome}")).parse().unwrap())
        .collect();
    assert!(times.is_sorted(), "{scenario}: {outcome}");
    assert!(!outcome["reason"].as_str().unwrap().is_empty());
}

#[test]
fn errors_are_rolled_back() {
    rolled_back("errors");
}

#[test]
fn a_crash_loop_is_rolled_back() {
    rolled_back("crashloop");
}

#[test]
fn failing_probes_are_rolled_back() {
    rolled_back("probes");
}

#[test]
fn a_shared_incident_pages_and_is_not_rolled_back() {
    let (_, outcome) = demo("shared");
    assert_eq!((&outcome["decision"], &outcome["cause"]), (&json!("page"), &json!("shared")), "{outcome}");
    assert_eq!(
        (&outcome["rolled_back"], &outcome["version_after"]),
        (&json!(false), &json!("v2")),
        "{outcome}"
    );
    assert_eq!(outcome["verification"], Value::Null);
}

#[test]
fn a_healthy_release_is_left_alone() {
    let (output, outcome) = demo("healthy");
    assert_eq!((&outcome["decision"], &outcome["cause"]), (&json!("hold"), &Value::Null), "{outcome}");
    assert_eq!(
        (&outcome["rolled_back"], &outcome["version_after"]),
        (&json!(false), &json!("v2")),
        "{outcome}"
    );
    assert_eq!(outcome["noticed_at"].as_str().map(|t| t.is_empty()), Some(false), "it was noticed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Shortened here"), "what is shortened is said:\n{told}");
}
