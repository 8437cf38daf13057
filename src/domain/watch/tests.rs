//! The judge over small made-up incidents: each says what happened, and what must be thought of it.
mod late;
mod latency;
mod namesake;
mod simulation;
mod time;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::release::{Fingerprint, ReleaseKind};
use crate::domain::runbook::standard_rules;
use crate::domain::signal::{AlertStatus, PodReading};
use crate::domain::verdict::Health;

const RELEASED: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(RELEASED + second).unwrap()
}

fn version(label: &str) -> Version {
    Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] }
}

/// A watch with cumulative counters per pod, fed second by second.
struct Incident {
    watch: Watch,
    rng: StdRng,
    counters: BTreeMap<(String, String), (f64, f64)>,
    second: i64,
    last: Option<Assessment>,
    decided_at: Option<i64>,
}

impl Incident {
    fn now(&self) -> Timestamp {
        at(self.second)
    }

    fn new(baseline: Option<Baseline>) -> Self {
        Self::of(ReleaseKind::New, baseline)
    }

    fn of(kind: ReleaseKind, baseline: Option<Baseline>) -> Self {
        let target = TargetId {
            service: ServiceName::parse("shop").unwrap(),
            target: TargetName::parse("backend").unwrap(),
        };
        let release = Release { target, kind, from: Some(version("v1")), to: version("v2"), at: at(0) };
        let length = Duration::from_secs(1800);
        let rules = standard_rules();
        let baseline = baseline.into_iter().map(|b| (rules[0].name.clone(), b)).collect();
        let spec = WatchSpec {
            id: WatchSpec::id_of(&release),
            release,
            known_good: Some(version("v1")),
            opened_at: at(0),
            ends_at: at(1800),
            rules,
            judging: Judging::standard(length),
            baseline,
        };
        let watch = Watch::new(spec);
        Self {
            watch,
            rng: StdRng::seed_from_u64(11),
            counters: BTreeMap::new(),
            second: 0,
            last: None,
            decided_at: None,
        }
    }

    fn send(&mut self, release: Option<&str>, pod: Option<&str>, reading: Reading) {
        let spec = self.watch.spec();
        let sample = Sample {
            at: at(self.second),
            service: spec.release.target.service.clone(),
            target: Some(spec.release.target.target.clone()),
            release: release.map(str::to_string),
            pod: pod.map(str::to_string),
            reading,
        };
        self.watch.take(&sample);
    }

    fn serve(&mut self, release: &str, pod: &str, requests: u32, error_ratio: f64) {
        let bad = (0..requests).filter(|_| self.rng.random_bool(error_ratio)).count() as f64;
        let key = (release.to_string(), pod.to_string());
        let counter = self.counters.entry(key).or_insert((0.0, 0.0));
        *counter = (counter.0 + bad, counter.1 + f64::from(requests));
        let (bad, total) = *counter;
        let rule = RuleName::parse("error-rate").unwrap();
        self.send(Some(release), Some(pod), Reading::Counts { rule, bad, total });
    }

    fn pod(&mut self, release: &str, pod: &str, ready: bool, restarts: u32, reason: Option<&str>) {
        let reason = reason.map(str::to_string);
        let reading = PodReading { ready, restarts, reason, ..PodReading::default() };
        self.send(Some(release), Some(pod), Reading::Pod(reading));
    }

    fn rollout_ended(&mut self) {
        let rollout_ended = Some(at(self.second));
        self.send(Some("v2"), None, Reading::Release { previous: None, rollout_ended });
    }

    /// Lets `seconds` pass; `each` says what happens in each of them.
    fn run(&mut self, seconds: i64, mut each: impl FnMut(&mut Self)) -> Verdict {
        for _ in 0..seconds {
            self.second += 1;
            each(self);
            let assessment = self.watch.tick(at(self.second));
            if assessment.verdict.strength == Strength::Rollback && self.decided_at.is_none() {
                self.decided_at = Some(self.second);
            }
            self.last = Some(assessment);
        }
        self.last.clone().unwrap().verdict
    }
}

fn history() -> Option<Baseline> {
    Some(Baseline { bad: 36.0, total: 36_000.0, dispersion: 1.0, seconds: 3600.0, ..Baseline::default() })
}

#[test]
fn a_bad_release_beside_healthy_old_pods_is_rolled_back_within_half_a_minute() {
    let mut incident = Incident::new(history());
    let verdict = incident.run(40, |i| {
        (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.15));
        (0..3).for_each(|pod| i.serve("v1", &format!("old-{pod}"), 10, 0.002));
    });
    assert_eq!((verdict.strength, verdict.cause), (Strength::Rollback, Cause::Release), "{}", verdict.reason);
    assert!(incident.decided_at.unwrap() <= 30, "{:?}", incident.decided_at);
    assert!(
        verdict.reason.contains("threshold 5.0 %") && verdict.reason.contains("old pods"),
        "{}",
        verdict.reason
    );
}

#[test]
fn trouble_on_both_sides_is_shared_and_never_rolled_back() {
    let mut incident = Incident::new(history());
    let verdict = incident.run(300, |i| {
        (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.2));
        (0..3).for_each(|pod| i.serve("v1", &format!("old-{pod}"), 10, 0.2));
    });
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Shared), "{}", verdict.reason);
    assert_eq!(incident.decided_at, None);
}

#[test]
fn without_old_pods_the_onset_decides() {
    let early = |onset: i64| {
        let mut incident = Incident::new(history());
        incident.run(10, |i| i.serve("v2", "new-0", 20, 0.0));
        incident.rollout_ended();
        incident.run(600, |i| {
            let ratio = if i.second >= onset { 0.15 } else { 0.001 };
            (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, ratio));
        })
    };
    let verdict = early(30);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Rollback, Cause::Release), "{}", verdict.reason);
    let verdict = early(300);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Unknown), "{}", verdict.reason);
}

#[test]
fn a_service_that_always_fails_a_little_is_compared_with_its_own_past() {
    let usual = Some(Baseline {
        bad: 2880.0,
        total: 36_000.0,
        dispersion: 1.0,
        seconds: 3600.0,
        ..Baseline::default()
    });
    let mut incident = Incident::new(usual);
    incident.rollout_ended();
    let verdict =
        incident.run(600, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.08)));
    assert_eq!(incident.decided_at, None, "{}", verdict.reason);
    assert_eq!(verdict.strength, Strength::Page, "{}", verdict.reason);
}

#[test]
fn one_bad_pod_of_three_is_that_pods_problem() {
    let mut incident = Incident::new(history());
    let verdict = incident.run(120, |i| {
        i.serve("v2", "new-0", 10, 0.6);
        (1..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.0));
        i.serve("v1", "old-0", 10, 0.0);
    });
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::SinglePod), "{}", verdict.reason);
    assert_eq!(incident.decided_at, None);
}

#[test]
fn what_a_pod_served_before_the_watch_is_not_the_releases() {
    let mut incident = Incident::new(None);
    let made = |created_at| PodReading { ready: true, created_at, ..PodReading::default() };
    incident.send(Some("v2"), Some("aged"), Reading::Pod(made(Some(at(-3600)))));
    incident.send(Some("v2"), Some("young"), Reading::Pod(made(Some(at(1)))));
    for pod in ["aged", "young"] {
        incident.serve("v2", pod, 1000, 0.5);
    }
    incident.run(6, |_| {});
    let counted = incident.watch.figures().recent.values().map(|c| c.total).sum::<f64>();
    assert_eq!(counted, 1000.0, "only the young pod's requests");
}

#[test]
fn one_unlucky_request_at_low_traffic_is_nothing() {
    let mut incident = Incident::new(None);
    incident.rollout_ended();
    let verdict = incident.run(1800, |i| {
        if i.second % 10 == 0 {
            i.serve("v2", "new-0", 1, if i.second == 100 { 1.0 } else { 0.0 });
        }
    });
    assert_eq!(incident.decided_at, None);
    assert_eq!(verdict.health, Health::Inconclusive, "{}", verdict.reason);
    assert!(verdict.reason.contains("180 requests"), "{}", verdict.reason);
}

#[test]
fn a_healthy_release_is_called_healthy_after_the_settling_time_only() {
    let mut incident = Incident::new(history());
    let serve = |i: &mut Incident| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.001));
    assert_eq!(incident.run(590, serve).health, Health::Pending);
    assert_eq!(incident.run(30, serve).health, Health::Healthy);
    assert_eq!(incident.decided_at, None);
}

#[test]
fn lost_data_pages_and_proves_nothing() {
    let mut incident = Incident::new(history());
    incident.run(10, |i| i.serve("v2", "new-0", 20, 0.0));
    let verdict = incident.run(130, |i| {
        let rule = RuleName::parse("error-rate").unwrap();
        i.send(None, None, Reading::NoData { rule, reason: "timeout".into() });
    });
    assert_eq!(
        (verdict.strength, verdict.health),
        (Strength::Urgent, Health::Inconclusive),
        "{}",
        verdict.reason
    );
    assert!(verdict.reason.contains("timeout"), "{}", verdict.reason);
    assert_eq!(incident.run(10, |i| i.serve("v2", "new-0", 20, 0.0)).strength, Strength::Quiet);
}

#[test]
fn nobody_is_paged_for_data_that_nobody_asked_for() {
    let mut late = Incident::new(history());
    late.second = 900;
    assert_eq!(late.run(119, |_| {}).strength, Strength::Quiet, "a daemon that starts late");
    assert_eq!(late.run(10, |_| {}).strength, Strength::Urgent);

    let mut down = Incident::new(history());
    down.run(10, |i| i.serve("v2", "new-0", 20, 0.0));
    down.second += 900;
    assert_eq!(down.run(119, |_| {}).strength, Strength::Quiet, "a daemon that was down");
    assert_eq!(down.run(10, |_| {}).strength, Strength::Urgent);
}

#[test]
fn a_version_that_is_put_back_is_not_judged_by_what_its_pods_did_before() {
    let run = "shop-1".to_string();
    let mut incident = Incident::of(ReleaseKind::OurRollback { run }, history());
    let rule = RuleName::parse("error-rate").unwrap();
    let recent = |i: &Incident| i.watch.figures().recent[&rule];
    incident.pod("v2", "kept", true, 0, None);
    incident.run(5, |i| i.serve("v2", "kept", 1_000_000, 0.1));
    let first = recent(&incident);
    assert_eq!(first.total, 4_000_000.0, "all but the first reading");
    incident.pod("v2", "came", true, 0, None);
    incident.run(5, |i| i.serve("v2", "came", 10, 0.0));
    assert_eq!(recent(&incident).total - first.total, 50.0, "all of it");
}

#[test]
fn a_crash_loop_of_the_new_pods_is_rolled_back_at_once_unless_old_ones_crash_too() {
    let crash = |old_too: bool| {
        let mut incident = Incident::new(None);
        incident.pod("v1", "old-0", true, 0, None);
        incident.pod("v2", "new-0", false, 0, None);
        incident.run(3, |_| {});
        incident.pod("v2", "new-0", false, 2, Some("CrashLoopBackOff"));
        if old_too {
            incident.pod("v1", "old-0", false, 3, Some("CrashLoopBackOff"));
        }
        incident.run(2, |_| {})
    };
    let verdict = crash(false);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Rollback, Cause::Release), "{}", verdict.reason);
    let verdict = crash(true);
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Shared), "{}", verdict.reason);
}

#[test]
fn one_crash_looping_pod_of_four_is_paged() {
    let mut incident = Incident::new(None);
    (0..4).for_each(|pod| incident.pod("v2", &format!("new-{pod}"), true, 0, None));
    incident.pod("v2", "new-0", false, 3, Some("CrashLoopBackOff"));
    let verdict = incident.run(2, |_| {});
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::SinglePod), "{}", verdict.reason);
}

#[test]
fn pods_that_never_become_ready_are_the_releases_fault_but_pods_without_room_are_not() {
    let waiting = |reason: Option<&str>| {
        let mut incident = Incident::new(None);
        incident.pod("v1", "old-0", true, 0, None);
        incident.pod("v2", "new-0", false, 0, reason);
        let rule = RuleName::parse("error-rate").unwrap();
        let quiet = |i: &mut Incident| {
            i.send(Some("v1"), Some("old-0"), Reading::Counts { rule: rule.clone(), bad: 0.0, total: 0.0 });
        };
        incident.run(301, quiet)
    };
    assert_eq!(waiting(None).strength, Strength::Rollback);
    assert_eq!(waiting(Some("Unschedulable")).strength, Strength::Quiet);
}

#[test]
fn an_alert_needs_a_signal_of_our_own() {
    let alert = |i: &mut Incident| {
        let labels = BTreeMap::from([("severity".to_string(), "critical".to_string())]);
        i.send(
            None,
            None,
            Reading::Alert { alert: "HighErrorRate".into(), status: AlertStatus::Firing, labels },
        );
    };
    let mut alone = Incident::new(history());
    alone.rollout_ended();
    alert(&mut alone);
    let verdict = alone.run(60, |i| i.serve("v2", "new-0", 30, 0.001));
    assert_eq!(
        (verdict.strength, verdict.rule.as_deref()),
        (Strength::Page, Some("alert")),
        "{}",
        verdict.reason
    );

    let mut confirmed = Incident::new(history());
    confirmed.rollout_ended();
    alert(&mut confirmed);
    let verdict = confirmed.run(120, |i| i.serve("v2", "new-0", 30, 0.035));
    assert_eq!(
        (verdict.strength, verdict.rule.as_deref()),
        (Strength::Rollback, Some("alert")),
        "{}",
        verdict.reason
    );
}

#[test]
fn two_percent_of_errors_page_and_never_roll_back() {
    let mut incident = Incident::new(history());
    incident.rollout_ended();
    let verdict =
        incident.run(600, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.02)));
    assert_eq!(verdict.strength, Strength::Page, "{}", verdict.reason);
    assert_eq!(incident.decided_at, None);
}

#[test]
fn trouble_after_the_old_pods_left_is_not_blamed_by_an_earlier_comparison() {
    let mut incident = Incident::new(history());
    incident.run(60, |i| {
        let blip = if (5..25).contains(&i.second) { 0.12 } else { 0.0 };
        (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 3, blip));
        (0..3).for_each(|pod| i.serve("v1", &format!("old-{pod}"), 10, 0.0));
    });
    incident.rollout_ended();
    incident.decided_at = None;
    incident.run(600, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.0)));
    let verdict = incident.run(120, |i| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.4)));
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Unknown), "{}", verdict.reason);
    assert_eq!(incident.decided_at, None);
}

#[test]
fn an_alert_makes_surer_but_blames_nobody() {
    let alert = |i: &mut Incident| {
        let alert = "HighErrorRate".to_string();
        i.send(None, None, Reading::Alert { alert, status: AlertStatus::Firing, labels: BTreeMap::new() });
    };
    let serve = |ratio: f64| {
        move |i: &mut Incident| (0..3).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, ratio))
    };
    let mut late = Incident::new(history());
    late.rollout_ended();
    late.run(600, serve(0.001));
    alert(&mut late);
    let verdict = late.run(120, serve(0.3));
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Unknown), "{}", verdict.reason);

    let usual =
        Baseline { bad: 1080.0, total: 36_000.0, dispersion: 1.0, seconds: 3600.0, ..Baseline::default() };
    let mut chronic = Incident::new(Some(usual));
    chronic.rollout_ended();
    alert(&mut chronic);
    let verdict = chronic.run(600, serve(0.07));
    assert_eq!((verdict.strength, verdict.cause), (Strength::Urgent, Cause::Unknown), "{}", verdict.reason);
    assert_eq!((late.decided_at, chronic.decided_at), (None, None));
}

#[test]
fn pods_that_fail_long_after_the_rollout_are_for_a_person() {
    let quiet = |i: &mut Incident| (0..4).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.0));
    let rolled_out = || {
        let mut incident = Incident::new(history());
        (0..4).for_each(|pod| incident.pod("v2", &format!("new-{pod}"), true, 0, None));
        incident.run(20, quiet);
        incident.rollout_ended();
        incident.run(600, quiet);
        incident
    };
    let mut scaled = rolled_out();
    ["new-4", "new-5"].iter().for_each(|pod| scaled.pod("v2", pod, false, 0, Some("ImagePullBackOff")));
    assert_eq!(scaled.run(400, quiet).strength, Strength::Urgent);

    assert_eq!(scaled.decided_at, None);
}

#[test]
fn crashes_long_after_the_rollout_are_the_versions_own_unless_others_crash_too() {
    let quiet = |i: &mut Incident| (0..4).for_each(|pod| i.serve("v2", &format!("new-{pod}"), 10, 0.0));
    let crash = |others_crash: bool| {
        let mut incident = Incident::new(history());
        (0..4).for_each(|pod| incident.pod("v2", &format!("new-{pod}"), true, 0, None));
        incident.run(20, quiet);
        incident.rollout_ended();
        incident.run(600, quiet);
        if others_crash {
            let worse_since = Some(incident.now());
            let other = "cart/api".to_string();
            let control = Reading::Control { other, worse_since, crashes: true, detail: String::new() };
            incident.send(None, None, control);
        }
        (0..4).for_each(|pod| {
            incident.pod("v2", &format!("new-{pod}"), false, 1, Some("CrashLoopBackOff"));
        });
        incident.run(5, quiet)
    };
    let (own, shared) = (crash(false), crash(true));
    assert_eq!((own.strength, own.cause), (Strength::Rollback, Cause::Release), "{}", own.reason);
    assert_eq!((shared.strength, shared.cause), (Strength::Urgent, Cause::Shared), "{}", shared.reason);
}

#[test]
fn what_pods_of_a_restored_version_counted_before_is_neither_evidence_nor_proof() {
    let mut incident = Incident::of(ReleaseKind::OurRollback { run: "shop-1".into() }, history());
    incident.counters.insert(("v2".into(), "survivor".into()), (90_000.0, 1_000_000.0));
    incident.pod("v2", "survivor", true, 7, None);
    let verdict = incident.run(20, |i| i.serve("v2", "survivor", 10, 0.5));
    let figures = incident.watch.figures();
    assert!(figures.recent.values().all(|c| c.total <= 200.0), "{figures:?}");
    assert_eq!(figures.restarts, 0);
    assert!(!incident.watch.troubled());
    assert!(verdict.strength >= Strength::Suspect, "{}", verdict.reason);
}
