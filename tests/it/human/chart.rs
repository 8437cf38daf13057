//! The chart behind a link: drawn from the recording of a watch, with the deploy, the threshold and the decision.
use jiff::SignedDuration;
use rollguard::domain::chart::{Chart, svg};
use rollguard::domain::names::RuleName;
use rollguard::domain::replay::Trace;
use rollguard::domain::runbook::{Rule, RuleKind};
use rollguard::domain::signal::{Reading, Sample};
use rollguard::domain::watch::Baseline;

use crate::http_world::{Doors, World};
use crate::messages::{at, target, version, watched};

/// Five minutes of a release that fails from its second minute on, a batch every 5 seconds.
fn trace() -> Trace {
    let mut spec = watched(Some(version("v1")), None).watch.unwrap().spec;
    let rule = RuleName::parse("error-rate").unwrap();
    spec.rules = vec![Rule::new(rule.clone(), RuleKind::Errors { above: 0.05 })];
    spec.baseline.insert(rule.clone(), Baseline { bad: 3.0, total: 1000.0, ..Baseline::default() });
    let sample = |n: i64| Sample {
        at: spec.opened_at + SignedDuration::from_secs(5 * n),
        service: target().service,
        target: Some(target().target),
        release: Some("v2".into()),
        pod: Some("backend-x1".into()),
        reading: Reading::Counts {
            rule: rule.clone(),
            bad: (0..n).map(|n| if n > 12 { 15.0 } else { 0.0 }).sum(),
            total: 100.0 * n as f64,
        },
    };
    Trace::of(&spec, &(0..60).map(sample).collect::<Vec<_>>())
}

#[test]
fn what_was_recorded_is_drawn_with_deploy_threshold_and_decision() {
    let trace = trace();
    assert_eq!(trace.tracks[0].points.len(), 59, "the first reading only sets the mark");
    let chart = Chart {
        title: "shop/backend v2".into(),
        reason: "15.0 % errors <b>",
        trace: &trace,
        decided: Some((at(250), "roll back".into())),
    };
    let drawn = svg(&chart).unwrap();
    for part in [
        "deploy</text>",
        "class=\"threshold\"",
        "class=\"baseline\"",
        "roll back</text>",
        "15.0 % errors &lt;b&gt;",
    ] {
        assert!(drawn.contains(part), "{part} is missing in {drawn}");
    }
    assert!(!drawn.contains("<b>"));
}

#[tokio::test]
async fn where_nothing_was_recorded_there_is_no_chart_and_readers_only_may_ask() {
    let world = World::start(Doors { open_reads: true, ..Doors::default() }).await;
    for path in ["/api/v1/runs/r-done/chart.svg", "/api/v1/targets/shop/backend/chart.svg"] {
        let (status, body) = world.get(path, None).await;
        assert!(status == 404 && body.contains("nothing that has a course was recorded"), "{body}");
        assert_eq!(World::start(Doors::default()).await.get(path, None).await.0, 401);
    }
}
