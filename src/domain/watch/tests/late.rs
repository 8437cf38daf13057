//! What a source publishes late, and dates by when it was read: a load balancer's minutes, of no pod in particular.
use super::*;

const LAG: f64 = 180.0;

/// A watch whose error rule shows trouble so late. Its rollout ended after a minute.
fn balancer(kind: ReleaseKind, lag_secs: f64) -> Incident {
    let mut incident = Incident::of(kind, history());
    let mut spec = incident.watch.spec().clone();
    spec.rules.truncate(1);
    spec.rules[0].lag_secs = lag_secs;
    incident.watch = Watch::new(spec);
    incident.run(60, |_| {});
    incident.rollout_ended();
    incident
}

/// Once a minute what one minute had: `bad` of 600 requests.
fn minutes(incident: &mut Incident, minutes: i64, bad: f64) -> Verdict {
    let rule = RuleName::parse("error-rate").unwrap();
    incident.run(minutes * 60, |i| {
        if i.second % 60 == 0 {
            let sum = i.counters.entry((String::new(), String::new())).or_default();
            *sum = (sum.0 + bad, sum.1 + 600.0);
            let (bad, total) = *sum;
            i.send(None, None, Reading::Counts { rule: rule.clone(), bad, total });
        }
    })
}

#[test]
fn trouble_that_shows_late_began_with_the_rollout() {
    let judged = |lag: f64| {
        let mut incident = balancer(ReleaseKind::New, lag);
        minutes(&mut incident, 3, 1.0);
        let verdict = minutes(&mut incident, 6, 200.0);
        (verdict.strength, verdict.cause)
    };
    assert_eq!(judged(LAG), (Strength::Rollback, Cause::Release));
    assert_eq!(judged(0.0), (Strength::Urgent, Cause::Unknown), "it was not late");
}

#[test]
fn trouble_that_shows_late_is_shared_with_what_got_worse_before() {
    let mut incident = balancer(ReleaseKind::New, LAG);
    let control = Reading::Control {
        other: "pay/api".into(),
        worse_since: Some(at(70)),
        crashes: false,
        detail: "8 % errors".into(),
    };
    incident.send(None, None, control);
    minutes(&mut incident, 3, 1.0);
    assert_eq!(minutes(&mut incident, 6, 200.0).cause, Cause::Shared);
}

#[test]
fn a_late_source_is_silent_for_longer_before_somebody_is_paged() {
    let silent = |secs| balancer(ReleaseKind::New, LAG).run(secs, |_| {}).strength;
    assert_eq!([silent(230), silent(250)], [Strength::Quiet, Strength::Urgent]);
}

#[test]
fn the_minutes_before_a_restored_version_was_rolled_out_are_not_its_own() {
    let kind = ReleaseKind::OurRollback { run: "r".into() };
    let mut incident = balancer(kind.clone(), LAG);
    minutes(&mut incident, 2, 200.0);
    assert_eq!(minutes(&mut incident, 6, 1.0).strength, Strength::Quiet);
    assert!(minutes(&mut incident, 8, 200.0).strength > Strength::Page, "afterwards they are");
    assert!(minutes(&mut balancer(kind, 0.0), 8, 200.0).strength > Strength::Page);
}
