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

/// Answers the reason.
fn rolled_back(scenario: &str) -> String {
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
    let reason = outcome["reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    reason.to_string()
}

#[test]
fn errors_are_rolled_back() {
    rolled_back("errors");
}

#[test]
fn a_slower_release_is_rolled_back() {
    let reason = rolled_back("latency");
    assert!(reason.contains("before the release") && reason.contains("limit +50 %"), "{reason}");
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

fn left_alone(scenario: &str) -> (Output, Value) {
    let (output, outcome) = demo(scenario);
    let expected = json!({
        "scenario": scenario, "decision": "hold", "cause": null, "rolled_back": false,
        "version_before": "v1", "version_after": "v2", "verification": null,
        "decided_at": null, "acted_at": null, "recovered_at": null,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&outcome[key], value, "{scenario}: {key} in {outcome}");
    }
    assert!(outcome["noticed_at"].is_string(), "it was noticed: {outcome}");
    (output, outcome)
}

#[test]
fn one_unlucky_error_at_low_traffic_is_left_alone_and_said_to_be_too_little() {
    let (_, outcome) = left_alone("lowtraffic");
    let reason = outcome["reason"].as_str().unwrap();
    let said =
        reason.starts_with("traffic was too low to judge: ") && reason.ends_with(" 1 failed (error-rate)");
    assert!(said, "{reason}");
}

#[test]
fn a_healthy_release_is_left_alone() {
    let (output, outcome) = left_alone("healthy");
    assert!(outcome["reason"].as_str().unwrap().starts_with("nothing is wrong on "), "{outcome}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Shortened here"), "what is shortened is said:\n{told}");
}
