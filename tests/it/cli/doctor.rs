//! What `rollguard doctor` prints, and how it ends.
use jiff::SignedDuration;
use rollguard::client::dto::{DaemonCheck, DoctorAnswer, TargetReadiness};
use rollguard::domain::readiness::{Code, Destination, KnownGood, Obstacle, Readiness};

use super::{ANNA, Doors, World, said, start, target};

fn obstacle(code: Code, what: &str, advice: &str) -> Obstacle {
    Obstacle { code, what: what.into(), advice: advice.into() }
}

fn ready() -> Readiness {
    Readiness {
        at: start(),
        from: Some("v7".into()),
        to: Some(Destination { label: "v6".into(), revision: Some(12) }),
        known_good: Some(KnownGood {
            label: "v6".into(),
            since: Some(start() + SignedDuration::from_mins(2)),
        }),
        obstacles: vec![],
        warnings: vec![],
        unchecked: vec!["image shop:v6: it is not in ECR, and no other registry is asked".into()],
    }
}

fn not_ready() -> Readiness {
    let paused = obstacle(
        Code::Paused,
        "deployment/cart -n prod is paused",
        "resume it with `kubectl rollout resume deployment/cart -n prod`, or roll back by hand",
    );
    let budget = obstacle(
        Code::DisruptionBudget,
        "PodDisruptionBudget cart allows no disruption: a rollback goes on, but drains of nodes wait for it",
        "drain no nodes while a rollback is under way",
    );
    let long_ago = Some(start() - SignedDuration::from_hours(50));
    Readiness {
        to: None,
        known_good: Some(KnownGood { label: "v7".into(), since: long_ago }),
        obstacles: vec![paused],
        warnings: vec![budget],
        ..ready()
    }
}

fn of(service: &str, readiness: Option<Readiness>) -> TargetReadiness {
    let mut target = target();
    target.service = service.to_string().try_into().unwrap();
    TargetReadiness { target, ready: readiness.as_ref().map(Readiness::ready), readiness }
}

#[test]
fn one_line_per_target_and_what_to_do_below() {
    let check = |name: &str| DaemonCheck::new(name, true, String::new());
    let mut answer = DoctorAnswer {
        now: start() + SignedDuration::from_hours(1),
        targets: vec![of("cart", Some(not_ready())), of("pay", None), of("shop", Some(ready()))],
        daemon: vec![check("configuration"), check("journal"), check("clock")],
    };
    insta::assert_snapshot!("doctor", rollguard::cli::report(&answer, false));
    let why = "not well since 2026-11-22T10:00:00Z: connection refused";
    answer.daemon[1] = DaemonCheck::new("source prometheus", false, why.into());
    let text = rollguard::cli::report(&answer, false);
    assert!(text.ends_with(&format!("\nrollguard itself\n  source prometheus: {why}\n")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_whether_all_could_be_rolled_back() {
    let world = World::start(Doors::default()).await;
    let show = |readiness: Option<Readiness>| {
        world.picture.change(|s| {
            s.journal = Some(crate::http_world::up(true));
            s.feed = Some(crate::http_world::up(true));
            s.targets.get_mut("shop/backend").unwrap().readiness = readiness;
        });
    };
    for (readiness, code) in [(None, 4), (Some(ready()), 0), (Some(not_ready()), 1)] {
        show(readiness);
        let (actual, out, err) = said(&world, &["doctor", "shop/backend", "-o", "json"], Some(ANNA)).await;
        assert_eq!(actual, code, "{out}{err}");
        let answer: DoctorAnswer = serde_json::from_str(&out).unwrap();
        assert_eq!(answer.targets.len(), 1);
    }
    show(Some(ready()));
    world.picture.change(|s| s.journal = Some(crate::http_world::up(false)));
    let (code, out, _) = said(&world, &["doctor"], Some(ANNA)).await;
    assert_eq!(code, 1);
    assert!(out.contains("journal: not well since 2026-11-22T10:00:00Z: connection refused"), "{out}");
    let (code, _, err) = said(&world, &["doctor", "shop/other"], Some(ANNA)).await;
    assert_eq!(code, 1);
    assert!(err.contains("shop/other is not configured"), "{err}");
}
