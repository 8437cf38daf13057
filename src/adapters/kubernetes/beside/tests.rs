//! Which endpoints count, and which failed probes are told.
use serde_json::{Value, json};

use super::super::fixtures::minute;
use super::*;

fn slice_of(name: &str, service: &str, endpoints: Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {SERVICE_LABEL: service}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [],
    }))
    .unwrap()
}

fn endpoint(pod: &str, conditions: Value) -> Value {
    json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod}})
}

fn event(name: &str, pod: &str, minutes: i64, message: &str) -> ClusterEvent {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": pod},
        "reason": "Unhealthy", "message": message, "count": 3, "lastTimestamp": minute(minutes),
    }))
    .unwrap()
}

#[test]
fn a_service_has_several_slices_and_unknown_means_ready() {
    let mut place = Place::default();
    assert_eq!(place.endpoints("web"), None, "nothing was listed");
    let first = slice_of(
        "web-1",
        "web",
        json!([
            endpoint("plain", json!({})),
            endpoint("ready", json!({"ready": true, "serving": true, "terminating": false})),
            endpoint("unready", json!({"ready": false, "serving": false})),
            {"addresses": ["192.0.2.1"], "conditions": {"ready": true}},
        ]),
    );
    let second = slice_of(
        "web-2",
        "web",
        json!([
            endpoint("leaving", json!({"ready": true, "serving": true, "terminating": true})),
            endpoint("far", json!({"ready": null}))
        ]),
    );
    let other = slice_of("api-1", "api", json!([endpoint("unready", json!({"ready": true}))]));
    let touched = place.take_slice(Change::Listed(vec![first, second, other]));
    assert_eq!(touched.len(), 6, "{touched:?}");
    let serving: Vec<&str> = place.endpoints("web").unwrap().into_iter().collect();
    assert_eq!(serving, ["far", "plain", "ready"]);
    assert_eq!(place.endpoints("gone"), None, "there is no such Service");
    let emptied = slice_of("web-2", "web", json!([]));
    assert_eq!(place.take_slice(Change::Applied(emptied)).len(), 2);
    let same = slice_of("web-2", "web", json!([]));
    assert!(place.take_slice(Change::Applied(same)).is_empty(), "nothing changed");
    assert!(!place.take_slice(Change::Failed).is_empty());
    assert_eq!(place.endpoints("web"), None, "what cannot be read is not known");
}

#[test]
fn the_latest_failure_of_a_probe_is_told_while_it_matters() {
    let mut place = Place::default();
    let readiness = "Readiness probe failed: HTTP probe failed with statuscode: 503\nbody";
    assert_eq!(place.take_probe(Change::Applied(event("e1", "a", 5, readiness))).len(), 1);
    assert!(place.take_probe(Change::Applied(event("e1", "a", 6, readiness))).is_empty(), "the same again");
    assert!(place.take_probe(Change::Applied(event("e2", "a", 4, "older"))).is_empty());
    let text = place.probe("a", minute(1), false).unwrap();
    assert_eq!(text, "Readiness probe failed: HTTP probe failed with statuscode: 503");
    assert_eq!(place.probe("a", minute(1), true), None, "it is ready again");
    assert_eq!(place.probe("a", minute(7), false), None, "a namesake before it");
    assert_eq!(place.probe("b", minute(1), false), None, "another pod's");
    place.take_probe(Change::Applied(event("e3", "b", 5, "Liveness probe failed: timeout")));
    assert!(place.probe("b", minute(1), true).is_some(), "it was restarted for that");
    assert_eq!(place.take_probe(Change::Removed(event("e1", "a", 6, readiness))).len(), 1);
    assert_eq!(place.probe("a", minute(1), false), None, "expired");
    let mut other = event("e4", "c", 5, "x");
    other.reason = Some("BackOff".into());
    assert!(place.take_probe(Change::Applied(other)).is_empty());
}

#[test]
fn probes_are_remembered_for_so_many_pods_only() {
    let mut place = Place::default();
    for n in 0..=PROBES_MAX {
        place.take_probe(Change::Applied(event("e", &format!("p{n}"), n as i64, "failed")));
    }
    assert_eq!(place.probes.len(), PROBES_MAX);
    assert_eq!(place.probe("p0", minute(0), false), None);
}
