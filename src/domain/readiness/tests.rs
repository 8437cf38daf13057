//! Every obstacle and warning once, with its code and what it says.
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::domain::event::TargetEvent;
use crate::domain::names::{ServiceName, TargetName};
use crate::domain::owner::{Automation, Controller, GitOps, Origin, Owner, OwnerState};
use crate::domain::release::{Fingerprint, Release};
use crate::domain::runbook::Judging;
use crate::domain::surroundings::{Image, Rollout};
use crate::domain::watch::WatchSpec;
use crate::domain::workload::WorkloadKind;

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

fn version(label: &str) -> Version {
    Version {
        fingerprint: Fingerprint::named(label),
        label: label.into(),
        images: vec![format!("shop:{label}")],
    }
}

/// Runs the last of these versions, of which the first has revision 1.
fn survey(history: &[&str]) -> KubernetesSurvey {
    let revision = |(revision, label): (u64, &&str)| Revision {
        name: format!("web-{label}"),
        uid: label.to_string(),
        revision,
        version: version(label),
        template: json!({"spec": {}}),
        annotations: BTreeMap::new(),
        created_at: None,
    };
    KubernetesSurvey {
        target: target(),
        kind: WorkloadKind::Deployment,
        namespace: "prod".into(),
        name: "web".into(),
        uid: "uid".into(),
        paused: false,
        update: UpdateStrategy::default(),
        replicas: 3,
        revision: history.len() as u64,
        template: json!({"spec": {}}),
        version: version(history.last().unwrap()),
        annotations: BTreeMap::new(),
        origin: Origin::default(),
        history: (1..).zip(history).map(revision).collect(),
        revision_history_limit: Some(10),
        rollout: None,
    }
}

/// An owner with automated sync.
fn argo_cd() -> Owner {
    let automation = Automation { uid: "uid".into(), setting: json!({"selfHeal": true}), reverts: true };
    Owner::GitOps(GitOps {
        controller: Controller::ArgoCd { namespace: "argocd".into(), application: "shop".into() },
        state: OwnerState::Automated(automation),
        may_hold: false,
    })
}

fn opened(label: &str, kind: ReleaseKind) -> TargetEvent {
    let release = Release { target: target(), kind, from: None, to: version(label), at: now() };
    TargetEvent::WatchOpened(Box::new(WatchSpec {
        id: "w1".into(),
        known_good: None,
        opened_at: now(),
        ends_at: now() + SignedDuration::from_mins(30),
        rules: vec![],
        judging: Judging::standard(Duration::from_secs(1800)),
        baseline: BTreeMap::new(),
        release,
    }))
}

/// What was remembered up to an hour ago.
fn memory(events: &[TargetEvent]) -> TargetMemory {
    let before = now() - SignedDuration::from_hours(1);
    events.iter().fold(TargetMemory::default(), |memory, event| memory.fold(event, before))
}

fn good(label: &str) -> TargetEvent {
    TargetEvent::KnownGood { version: version(label), why: "it ran".into() }
}

/// A release of v2 after v1, which is known good, as it should be; each test spoils one thing of it.
struct Case {
    survey: Result<KubernetesSurvey, Unsurveyed>,
    memory: TargetMemory,
    around: Surroundings,
    open_run: Option<&'static str>,
    killed: Option<Killed>,
}

fn answer_after(spoil: impl FnOnce(&mut Case)) -> Readiness {
    let rollout = Some(Rollout { gives_up: true, surge: 1, unavailable: 0 });
    let mut case = Case {
        survey: Ok(survey(&["v0", "v1", "v2"])),
        memory: memory(&[good("v1"), opened("v2", ReleaseKind::New)]),
        around: Surroundings { rollout, ..Surroundings::default() },
        open_run: None,
        killed: None,
    };
    spoil(&mut case);
    let survey = case.survey.map(|found| Survey::Kubernetes(Box::new(found)));
    readiness(&Question {
        target: &target(),
        memory: &case.memory,
        survey: survey.as_ref(),
        around: &case.around,
        rails: &Rails::default(),
        open_run: case.open_run,
        killed: case.killed.as_ref(),
        now: now(),
    })
}

fn found(case: &mut Case) -> &mut KubernetesSurvey {
    case.survey.as_mut().unwrap()
}

/// The one thing in the way: its code and its sentence with the advice.
fn only(obstacles: &[Obstacle]) -> (&'static str, String) {
    let [one] = obstacles else { panic!("{obstacles:?}") };
    (one.code.as_str(), format!("{}; {}", one.what, one.advice))
}

#[test]
fn nothing_in_the_way_is_ready() {
    let answer = answer_after(|_| {});
    assert!(answer.ready() && answer.warnings.is_empty(), "{answer:?}");
    assert_eq!(answer.from.as_deref(), Some("v2"));
    assert_eq!(answer.to, Some(Destination { label: "v1".into(), revision: Some(2) }));
    let since = Some(now() - SignedDuration::from_hours(1));
    assert_eq!(answer.known_good, Some(KnownGood { label: "v1".into(), since }));
}

#[test]
fn what_is_known_good_and_runs_is_left_for_the_newest_revision_that_is_not_bad() {
    let bad = TargetEvent::RolledBack { run: "shop-1".into(), bad: version("v1") };
    let answer = answer_after(|case| {
        case.memory = memory(&[bad.clone(), good("v2")]);
        case.memory.rollbacks.clear();
    });
    assert_eq!(answer.to, Some(Destination { label: "v0".into(), revision: Some(1) }));
    assert!(answer.ready(), "{answer:?}");
    let needed =
        needed(&memory(&[bad, good("v2")]), &Survey::Kubernetes(Box::new(survey(&["v0", "v1", "v2"]))));
    let labels: Vec<&str> = needed.iter().map(|v| v.label.as_str()).collect();
    assert_eq!(labels, ["v0", "v2"], "what runs is what the next release is taken back to");
}

type Spoil = fn(&mut Case);

/// Each case has one obstacle, with this code, and words of its sentence and of what to do.
fn each_is_an_obstacle(cases: &[(&str, &str, Spoil)]) {
    for (code, sentence, spoil) in cases {
        let answer = answer_after(spoil);
        let (actual, told) = only(&answer.obstacles);
        assert_eq!(actual, *code, "{told}");
        assert!(told.contains(sentence), "{code}: {told}");
        assert!(!answer.ready());
    }
}

#[test]
fn without_a_version_to_go_to_it_is_not_ready() {
    let cases: [(&str, &str, Spoil); 7] = [
        ("not_seen", "so that no release would be noticed", |case| case.memory.current = None),
        ("unreadable", "HTTP 403; see whether", |case| {
            case.survey = Err(Unsurveyed::Unreadable { why: "HTTP 403".into() });
        }),
        ("target_missing", "deployment/web -n prod does not exist; check the namespace", |case| {
            case.survey = Err(Unsurveyed::Missing { what: "deployment/web -n prod".into() });
        }),
        (
            "no_known_good",
            "no version is known to be good yet; v2 will be if its watch ends well, at 10:30:00 UTC; wait, or name a \
             revision: `rollguard rollback shop/backend --to-revision 2` goes to v1",
            |case| case.memory.known_good = None,
        ),
        ("no_known_good", "yet; wait for the end of its watch", |case| {
            case.memory = memory(&[opened("v2", ReleaseKind::New)]);
            case.memory.watch = None;
            case.survey = Ok(survey(&["v2"]));
        }),
        (
            "no_earlier_revision",
            "deployment/web -n prod has no earlier revision; nothing now: the next release can be taken back to v2",
            |case| {
                case.memory = memory(&[good("v2")]);
                case.survey = Ok(survey(&["v2"]));
            },
        ),
        ("no_earlier_revision", "the earlier revisions of deployment/web -n prod were rolled back", |case| {
            let bad = |label| TargetEvent::RolledBack { run: "shop-1".into(), bad: version(label) };
            case.memory = memory(&[bad("v0"), bad("v1"), good("v2")]);
            case.memory.rollbacks.clear();
        }),
    ];
    each_is_an_obstacle(&cases);
}

#[test]
fn what_keeps_a_known_good_version_from_coming_back_is_an_obstacle() {
    let cases: [(&str, &str, Spoil); 8] = [
        (
            "no_history",
            "revisionHistoryLimit is 0, so deployment/web -n prod keeps nothing to go back to; set it to 10: `kubectl \
             patch deployment/web -n prod -p '{\"spec\":{\"revisionHistoryLimit\":10}}'`",
            |case| {
                case.memory = memory(&[good("v2")]);
                case.survey = Ok(survey(&["v2"]));
                found(case).revision_history_limit = Some(0);
            },
        ),
        (
            "no_history",
            "v1 is no longer in the history of deployment/web -n prod; revisionHistoryLimit is 0",
            |case| {
                case.survey = Ok(survey(&["v2"]));
                found(case).revision_history_limit = Some(0);
            },
        ),
        (
            "revision_gone",
            "v1 is no longer in the history of deployment/web -n prod; deploy the earlier",
            |case| {
                case.survey = Ok(survey(&["v2"]));
            },
        ),
        ("paused", "deployment/web -n prod is paused; resume it with `kubectl rollout resume", |case| {
            found(case).paused = true;
        }),
        ("gitops_owner", "belongs to Argo CD application shop", |case| {
            found(case).origin.owner = Some(argo_cd());
        }),
        ("missing_permission", "rollguard may not patch deployments.apps/web; grant it", |case| {
            case.around.denied = vec!["patch deployments.apps/web".into()];
        }),
        ("image_gone", "image shop:v1 is gone from its registry", |case| {
            case.around.images = vec![Image { name: "shop:v1".into(), presence: Presence::Gone }];
        }),
        ("quota_full", "no room for one more pod: quota pods: 3 of 3 used; raise the quota", |case| {
            case.around.full_quotas = vec!["quota pods: 3 of 3 used".into()];
        }),
    ];
    each_is_an_obstacle(&cases);
}

#[test]
fn guard_rails_are_obstacles_too() {
    let minute_ago = now() - SignedDuration::from_mins(1);
    let answer = answer_after(|case| case.memory.rollbacks.push_back(("shop-1".into(), minute_ago)));
    let (code, told) = only(&answer.obstacles);
    assert_eq!(code, "cooling_down");
    assert!(
        told.contains(
            "rests until 10:59:00 UTC; roll it back by hand with `rollguard rollback shop/backend`"
        ),
        "{told}"
    );
    let killed = Killed { by: "ann".into(), at: now(), reason: String::new() };
    let answer = answer_after(|case| case.killed = Some(killed));
    let (code, told) = only(&answer.obstacles);
    assert_eq!(code, "kill_switch");
    assert!(
        told.ends_with("nothing is changed; turn it off with `rollguard kill off` when it is time"),
        "{told}"
    );
    let answer = answer_after(|case| case.open_run = Some("shop-7"));
    let (code, told) = only(&answer.obstacles);
    assert_eq!(code, "run_open");
    assert!(told.ends_with("follow it with `rollguard show shop-7`"), "{told}");
}

#[test]
fn all_that_stands_in_the_way_is_told_and_not_only_the_first() {
    let answer = answer_after(|case| {
        found(case).paused = true;
        found(case).origin.owner = Some(argo_cd());
        case.around.denied = vec!["patch deployments.apps/web".into()];
    });
    let codes: Vec<Code> = answer.obstacles.iter().map(|o| o.code).collect();
    assert_eq!(codes, [Code::Paused, Code::GitopsOwner, Code::MissingPermission]);
    assert!(answer.to.is_some(), "where it would go is known all the same");
}

#[test]
fn warnings_do_not_keep_it_from_being_ready() {
    let cases: [(&str, &str, Spoil); 10] = [
        ("only_by_hand", "v2 is somebody's own undo, which is never undone", |case| {
            case.memory = memory(&[good("v1"), opened("v2", ReleaseKind::Undo)]);
        }),
        ("only_by_hand", "v2 was rolled back before and deployed again", |case| {
            case.memory = memory(&[good("v1"), opened("v2", ReleaseKind::KnownBad)]);
        }),
        ("only_by_hand", "v2 was put back by run shop-1", |case| {
            let kind = ReleaseKind::OurRollback { run: "shop-1".into() };
            case.memory = memory(&[good("v1"), opened("v2", kind)]);
        }),
        (
            "history_short",
            "revisionHistoryLimit is 1: with the next release v1 is gone from the history of deployment/web -n prod",
            |case| found(case).revision_history_limit = Some(1),
        ),
        ("quota_tight", "a rollback goes on with fewer pods", |case| {
            case.around.full_quotas = vec!["quota pods: 3 of 3 used".into()];
            case.around.rollout = Some(Rollout { gives_up: true, surge: 1, unavailable: 1 });
        }),
        ("quota_tight", "quota pods: 3 of 3 used", |case| {
            case.around.full_quotas = vec!["quota pods: 3 of 3 used".into()];
            case.around.rollout = None;
        }),
        ("no_progress_deadline", "never says that a rollout is stuck; set it to 600", |case| {
            case.around.rollout = Some(Rollout { gives_up: false, surge: 1, unavailable: 0 });
        }),
        ("disruption_budget", "PodDisruptionBudget web allows no disruption", |case| {
            case.around.spent_budgets = vec!["web".into()];
        }),
        ("autoscaler_at_max", "HorizontalPodAutoscaler web (10 of 10) is at its maximum", |case| {
            case.around.autoscalers_at_max = vec!["web (10 of 10)".into()];
        }),
        ("not_all_seen", "rollguard may not get pods/log, so it does not see all", |case| {
            case.around.unseen = vec!["get pods/log".into()];
        }),
    ];
    for (code, sentence, spoil) in cases {
        let answer = answer_after(spoil);
        let (actual, told) = only(&answer.warnings);
        assert_eq!(actual, code, "{told}");
        assert!(told.contains(sentence), "{code}: {told}");
        assert!(answer.ready(), "{answer:?}");
    }
}

#[test]
fn what_is_not_known_is_said_and_counts_for_nothing() {
    let unknown = Presence::Unknown { why: "not in ECR, and no other registry is asked".into() };
    let answer = answer_after(|case| {
        case.around.unchecked = vec!["quotas: not granted".into()];
        case.around.images = vec![Image { name: "shop:v1".into(), presence: unknown }];
    });
    assert!(answer.ready() && answer.warnings.is_empty());
    let told = ["quotas: not granted", "image shop:v1: not in ECR, and no other registry is asked"];
    assert_eq!(answer.unchecked, told);
}

#[test]
fn a_quota_is_no_matter_where_pods_go_first() {
    let answer = answer_after(|case| {
        case.around.full_quotas = vec!["quota pods: 3 of 3 used".into()];
        case.around.rollout = Some(Rollout { gives_up: true, surge: 0, unavailable: 1 });
    });
    assert!(answer.ready() && answer.warnings.is_empty(), "{answer:?}");
}

/// Labels of metrics are these, so JSON must say the same.
#[test]
fn codes_are_written_the_same_everywhere() {
    for code in [Code::NoKnownGood, Code::GitopsOwner, Code::AutoscalerAtMax, Code::QuotaFull, Code::RunOpen]
    {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
