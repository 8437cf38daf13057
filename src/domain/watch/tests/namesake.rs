//! Pods of a StatefulSet keep their names: the next one is another pod all the same.
use super::*;

fn reading(created: i64, restarts: u32, reason: Option<&str>) -> PodReading {
    PodReading {
        ready: reason.is_none(),
        created_at: Some(at(created)),
        ready_since: None,
        restarts,
        reason: reason.map(str::to_string),
        probe: None,
        endpoint: None,
        gone: false,
    }
}

#[test]
fn a_pod_of_the_new_version_under_an_old_name_is_judged() {
    let mut incident = Incident::new(None);
    for ordinal in 0..3 {
        let pod = format!("web-{ordinal}");
        incident.send(Some("v1"), Some(&pod), Reading::Pod(reading(-1000, 7, None)));
    }
    // That the old one went was not seen.
    incident.second = 20;
    incident.send(Some("v2"), Some("web-2"), Reading::Pod(reading(15, 2, Some("CrashLoopBackOff"))));
    let verdict = incident.watch.tick(at(20)).verdict;
    assert_eq!((verdict.strength, verdict.cause), (Strength::Rollback, Cause::Release), "{}", verdict.reason);
    assert!(verdict.reason.starts_with("1 of 1 new pod"), "{}", verdict.reason);
}
