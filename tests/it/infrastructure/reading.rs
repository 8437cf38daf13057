//! Plans of the real tools as they are read and judged, and plans that nobody has ever made.
use proptest::prelude::*;
use rollguard::domain::plan::infrastructure::reading::{PlanReading, PlanUnreadable, read};
use rollguard::domain::plan::infrastructure::ruling::{Objection, PlanTerms, Ruling, matches, rule};
use rollguard::domain::plan::infrastructure::state::{StateId, compare};
use rollguard::domain::plan::infrastructure::{ApplyPlan, MadePlan, summary};
use rollguard::domain::release::{Fingerprint, Version};
use serde_json::{Value, json};

const PLANS: [(&str, &str); 2] = [
    ("terraform", include_str!("../../fixtures/plans/terraform.json")),
    ("tofu", include_str!("../../fixtures/plans/tofu.json")),
];

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn terms() -> PlanTerms {
    PlanTerms { stateful: vec![], never: vec![], changes_max: 100, deletes_max: 10 }
}

fn told(reading: PlanReading) -> String {
    let Ruling { person, .. } = rule(&reading, &terms());
    let made = MadePlan {
        to: Version { fingerprint: Fingerprint::named("c1"), label: "c1".into(), images: vec![] },
        sha256: "0123456789abcdef".into(),
        base: StateId { lineage: "27e18630-ad8a".into(), serial: 4 },
        tool: "Terraform v1.15.5".into(),
        reading,
    };
    let counts = summary::counts(&made.reading);
    let lines = summary::lines(&ApplyPlan { made, person });
    format!("{counts}\n{}", lines.join("\n"))
}

#[test]
fn plans_of_both_tools_are_told_alike() {
    let [terraform, tofu] = PLANS.map(|(_, text)| told(read(document(text)).unwrap()));
    insta::assert_snapshot!("plan", terraform);
    assert_eq!(terraform, tofu);
}

#[test]
fn nothing_sensitive_is_read() {
    for (tool, text) in PLANS {
        assert!(text.contains("hunter2"), "{tool}: the fixture holds the secret");
        let reading = format!("{:?}", read(document(text)).unwrap());
        assert!(!reading.contains("hunter2"), "{tool}: {reading}");
    }
}

fn change(actions: &[&str], kind: &str) -> Value {
    json!({
        "address": format!("{kind}.x"), "mode": "managed", "type": kind,
        "change": {"actions": actions, "before": {"a": 1}, "after": {"a": 2}},
    })
}

fn ruled(changes: Vec<Value>, terms: &PlanTerms) -> Ruling {
    rule(&read(json!({"format_version": "1.2", "resource_changes": changes})).unwrap(), terms)
}

#[test]
fn actions_are_judged_by_what_they_lose() {
    let verdict = |actions: &[&str], kind: &str| {
        let Ruling { refused, person } = ruled(vec![change(actions, kind)], &terms());
        match (refused.is_empty(), person.is_empty()) {
            (false, _) => "refused",
            (true, false) => "a person",
            (true, true) => "allowed",
        }
    };
    for (actions, plain, stateful) in [
        (&["create"][..], "allowed", "allowed"),
        (&["update"], "allowed", "a person"),
        (&["delete"], "a person", "a person"),
        (&["delete", "create"], "a person", "a person"),
        (&["create", "delete"], "a person", "a person"),
        (&["forget"], "a person", "a person"),
        (&["create", "forget"], "a person", "a person"),
        (&["forget", "create"], "a person", "a person"),
        (&["shred"], "refused", "refused"),
        (&["update", "delete"], "refused", "refused"),
        (&[], "refused", "refused"),
    ] {
        assert_eq!(verdict(actions, "null_resource"), plain, "{actions:?}");
        assert_eq!(verdict(actions, "aws_db_instance"), stateful, "{actions:?}");
    }
    assert_eq!(verdict(&["no-op"], "aws_db_instance"), "allowed");
}

#[test]
fn limits_and_patterns_hold() {
    let two = || vec![change(&["update"], "null_resource"), change(&["delete"], "null_data")];
    let refused = |terms: PlanTerms| ruled(two(), &terms).refused;
    assert_eq!(
        refused(PlanTerms { changes_max: 1, ..terms() }),
        [Objection::TooManyChanges { changes: 2, most: 1 }]
    );
    assert_eq!(
        refused(PlanTerms { deletes_max: 0, ..terms() }),
        [Objection::TooManyDeletes { deletes: 1, most: 0 }]
    );
    for never in ["null_resource.x", "null_res*", "*.x"] {
        let found = refused(PlanTerms { never: vec![never.into()], ..terms() });
        assert!(
            matches!(&found[0], Objection::Never { address, .. } if address == "null_resource.x"),
            "{found:?}"
        );
    }
    let stateful = PlanTerms { stateful: vec!["null_resource".into()], ..terms() };
    assert_eq!(ruled(two(), &stateful).person.len(), 2);
    for (pattern, text, is) in [
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "acd", false),
        ("*b*", "abc", true),
        ("a", "ab", false),
        ("ab*b", "ab", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern, text), is, "{pattern} {text}");
    }
}

#[test]
fn what_is_not_known_is_refused() {
    for format in ["2.0", "0.2", "", "10.1"] {
        let found = read(json!({"format_version": format}));
        assert!(matches!(found, Err(PlanUnreadable::Format { .. })), "{format}: {found:?}");
    }
    for broken in [
        json!({}),
        json!([]),
        json!({"format_version": 1}),
        json!({"format_version": "1.0", "resource_changes": [{}]}),
    ] {
        assert!(read(broken.clone()).is_err(), "{broken}");
    }
    for incomplete in [json!({"errored": true}), json!({"complete": false}), json!({"deferred_changes": [1]})]
    {
        let mut plan = incomplete.clone();
        plan["format_version"] = json!("1.2");
        let refused = rule(&read(plan).unwrap(), &terms()).refused;
        assert_eq!(refused, [Objection::Incomplete], "{incomplete}");
    }
    let invoked = json!({"format_version": "1.2", "action_invocations": [{}]});
    assert_eq!(rule(&read(invoked).unwrap(), &terms()).person, [Objection::Invokes { actions: 1 }]);
}

#[test]
fn drift_is_told_apart() {
    let plan = json!({"format_version": "1.2", "resource_drift": [change(&["update"], "null_resource")]});
    let reading = read(plan).unwrap();
    assert!(reading.is_empty(), "drift alone is nothing to apply");
    assert!(told(reading).contains("behind the tool's back"));
}

#[test]
fn a_backup_is_compared_and_nothing_more() {
    let state = |serial: u64, lineage: &str, names: &[&str]| {
        let resource = |name: &&str| json!({"mode": "managed", "type": "t", "name": name});
        let resources: Vec<Value> = names.iter().map(resource).collect();
        json!({"serial": serial, "lineage": lineage, "resources": resources}).to_string()
    };
    let lines = compare(state(3, "a", &["x", "y"]).as_bytes(), state(5, "b", &["y", "z"]).as_bytes());
    assert_eq!(
        lines,
        [
            "the backup has serial 3, the state 5",
            "their lineages differ: the backup is that of another state, leave it alone",
            "1 resources only in the backup: t.x",
            "1 resources only in the state: t.z",
        ]
    );
    assert!(compare(b"{", b"{}").is_empty());
}

/// All places of a document, as JSON pointers.
fn places(value: &Value, at: String, into: &mut Vec<String>) {
    into.push(at.clone());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, format!("{at}/{key}"), into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| places(value, format!("{at}/{i}"), into));
        }
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\\-]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["delete"])),
        Just(json!(["shred", "create"])),
        Just(json!({"a": [true, {"b": false}]})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Real plans with places in them replaced: never a panic, never a secret, and no action that is not understood is let through.
    #[test]
    fn mutated_plans_are_read_or_refused(
        which in 0..2_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let mut plan = document(PLANS[which].1);
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&plan["resource_changes"], "/resource_changes".into(), &mut all);
            all.extend(["/format_version", "/output_changes", "/errored", "/complete"].map(String::from));
            if let Some(found) = plan.pointer_mut(place.get::<String>(&all)) {
                *found = value;
            }
        }
        let known = [
            json!(["no-op"]), json!(["create"]), json!(["read"]), json!(["update"]), json!(["delete"]), json!(["delete", "create"]),
            json!(["create", "delete"]), json!(["forget"]), json!(["create", "forget"]), json!(["forget", "create"]),
        ];
        if let Ok(reading) = read(plan.clone()) {
            let ruling = rule(&reading, &terms());
            let understood = |change: &Value| known.contains(&change["change"]["actions"]);
            let all = plan["resource_changes"].as_array().cloned().unwrap_or_default();
            prop_assert!(all.iter().all(understood) || !ruling.refused.is_empty(), "{plan}");
            told(reading);
        }
    }

    /// Whatever is marked as sensitive, in whatever shape, is not read.
    #[test]
    fn marked_values_are_not_read(depth in 0..4_usize, before in any::<bool>(), list in any::<bool>()) {
        let secret = "hunter2";
        let (mut value, mut other, mut marks) = (json!(secret), json!("public"), json!(true));
        for _ in 0..depth {
            let nest = |inner: Value| if list { json!([inner, 1]) } else { json!({"k": inner}) };
            (value, other, marks) = (nest(value), nest(other), if list { json!([marks]) } else { json!({"k": marks}) });
        }
        let (from, to) = if before { (&value, &other) } else { (&other, &value) };
        let nothing = json!({});
        let (marked_before, marked_after) = if before { (&marks, &nothing) } else { (&nothing, &marks) };
        let plan = json!({"format_version": "1.2", "resource_changes": [{
            "address": "a.b", "mode": "managed", "type": "a",
            "change": {"actions": ["update"], "before": {"x": from}, "after": {"x": to},
                "before_sensitive": {"x": marked_before}, "after_sensitive": {"x": marked_after}},
        }]});
        let reading = format!("{:?}", read(plan).unwrap());
        prop_assert!(!reading.contains(secret), "{reading}");
        prop_assert!(reading.contains("(sensitive)"), "{reading}");
    }
}
