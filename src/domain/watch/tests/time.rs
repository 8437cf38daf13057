//! How long a watch lasts, and what counts of that.
use super::*;

#[test]
fn time_in_which_nobody_looked_proves_nothing_and_is_not_blindness() {
    let mut incident = Incident::new(history());
    incident.run(300, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.001)));
    incident.second += 1200;
    let verdict =
        incident.run(60, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.001)));
    assert_eq!((verdict.health, verdict.strength), (Health::Pending, Strength::Quiet), "{}", verdict.reason);
    assert!((350.0..=365.0).contains(&incident.watch.watched_secs()), "{}", incident.watch.watched_secs());
}

#[test]
fn only_a_new_version_may_end_its_watch_early() {
    let ended = |kind| {
        let mut incident = Incident::of(kind, history());
        incident.watch.spec.judging.end_when_healthy = true;
        incident.rollout_ended();
        incident.run(900, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 20, 0.001)));
        let last = incident.last.unwrap();
        (last.verdict.health, last.ended)
    };
    assert_eq!(ended(ReleaseKind::New), (Health::Healthy, true));
    let ours = ReleaseKind::OurRollback { run: "shop-1".into() };
    assert_eq!(ended(ours), (Health::Healthy, false), "as long as was promised");
    assert_eq!(ended(ReleaseKind::Undo), (Health::Healthy, false));
}
