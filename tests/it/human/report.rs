//! The incident report: word for word, and harmless whatever alerts and logs say.
use jiff::SignedDuration;
use rollguard::domain::event::{Record, RunEvent, RunOpened, StreamId, TargetEvent, to_parts};
use rollguard::domain::evidence::{Cause, Evidence, Numbers, Strength};
use rollguard::domain::outcome::{Call, Outcome};
use rollguard::domain::policy::Decision;
use rollguard::domain::report::{Report, report};
use rollguard::domain::verification::CheckResult;

use crate::http_world::{Doors, World};
use crate::messages::{
    all_passed, approved, asking, at, checked, decided, ended, executed, opened, target, verified, version,
    watched,
};

fn records(opened: RunOpened, events: Vec<RunEvent>) -> Vec<Record> {
    let run = opened.run.clone();
    let events = std::iter::once(RunEvent::Opened(Box::new(opened))).chain(events);
    let record = |(seq, event): (u64, RunEvent)| {
        let now = at(150 + 30 * i64::try_from(seq).unwrap());
        let event = match event {
            RunEvent::Verified { passed, .. } => {
                RunEvent::Verified { passed, watch_until: now + SignedDuration::from_mins(30) }
            }
            other => other,
        };
        let (kind, body) = to_parts(&event).unwrap();
        let stream = StreamId::run(&run);
        Record { v: 1, seq: seq + 41, stream, at: now, epoch: 1, kind, body, prev_hash: String::new() }
    };
    (0..).zip(events).map(record).collect()
}

fn found() -> Vec<Evidence> {
    let numbers = Numbers {
        bad: 63.0,
        total: 1412.0,
        estimate: 0.152,
        threshold: 0.05,
        baseline: Some(0.003),
        ..Numbers::default()
    };
    let sentence = "15.2 % errors on 1,412 requests of 3 new pods since 10:01:20".to_string();
    let errors = Evidence {
        rule: "error-rate".into(),
        strength: Strength::Rollback,
        cause: Cause::Release,
        sentence,
        since: Some(at(80)),
        numbers: Some(numbers),
    };
    let alert = "HighErrorRate fires: <img src=x onerror=alert(1)> @channel [click](https://evil.example)";
    vec![Evidence::fact("alert", Strength::Page, Cause::Unknown, None, alert.into()), errors]
}

fn past() -> Vec<(jiff::Timestamp, TargetEvent)> {
    let watch = watched(Some(version("v1")), None).watch.unwrap();
    let made = |decision, barred: &[&str]| TargetEvent::Decided {
        watch: watch.spec.id.clone(),
        decided: decided(decision, barred),
        cause: Cause::Release,
        rule: Some("error-rate".into()),
        tripped: true,
        together: None,
        evidence: found(),
    };
    vec![
        (at(70), TargetEvent::WatchOpened(watch.spec.clone())),
        (at(120), made(Decision::Page, &["automation rests until 10:02:00 UTC | cool_down"])),
        (at(150), made(Decision::Ask, &[])),
    ]
}

fn reported(opened: RunOpened, events: Vec<RunEvent>) -> Report {
    report(&records(opened, events), &[(target(), past())], at(3600)).unwrap()
}

fn recovered() -> Report {
    let call = Call {
        method: "PATCH".into(),
        path: "/apis/apps/v1/namespaces/shop/deployments/backend".into(),
        request_id: "5a1c0e".into(),
        status: Some(200),
    };
    let applied =
        RunEvent::Applied { step: 0, outcome: Outcome::Done { detail: "patched".into() }, calls: vec![call] };
    let mut steps = executed();
    steps.insert(1, applied);
    let end = ended(true, "nothing is wrong on 12345 requests of the new pods");
    reported(asking(), [vec![approved()], steps, all_passed(), vec![verified(true), end]].concat())
}

#[test]
fn a_rollback_that_worked_as_a_review_reads_it() {
    insta::assert_snapshot!(recovered().markdown());
}

#[test]
fn a_rollback_that_did_not_help_says_what_to_look_into() {
    let stuck = RunEvent::Stuck { step: 1, why: "not done in time: backend-x1 (ImagePullBackOff)".into() };
    let resumed = RunEvent::Resumed { by: "alice".into() };
    let mut steps = executed();
    steps.splice(3..3, [stuck, resumed, crate::messages::started(1)]);
    let failing = vec![
        checked(0, CheckResult::failed("HTTP 503 instead of 200")),
        checked(1, CheckResult::passed("3 of 3 ready")),
    ];
    let relapsed = RunEvent::Relapsed { reason: "still 9.0 % errors".into() };
    let end = ended(false, "still 9.0 % errors");
    let report = reported(opened(), [steps, failing, vec![verified(false), relapsed, end]].concat());
    insta::assert_snapshot!(report.markdown());
}

#[test]
fn nothing_in_a_report_takes_effect() {
    let report = recovered();
    let (html, markdown) = (report.html(), report.markdown());
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;") && !html.contains("<img"), "{html}");
    for effect in ["<img", "@channel", "[click]", "://"] {
        assert!(!markdown.contains(effect), "{effect} in {markdown}");
    }
    assert!(markdown.contains("\\| cool\\_down"), "a bar would end the cell");
    for load in ["<script", "<link", "href", "url(", "src=\""] {
        assert!(!html.contains(load), "the page loads nothing: {load} in {html}");
    }
}

#[test]
fn a_report_is_read_back_as_it_was_sent() {
    let report = recovered();
    let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
}

#[tokio::test]
async fn the_api_has_it_in_three_formats_and_for_readers_only() {
    let world = World::start(Doors { open_reads: true, ..Doors::default() }).await;
    let (status, json) = world.get("/api/v1/runs/r-done/report", None).await;
    assert_eq!(status, 200, "{json}");
    assert!(serde_json::from_str::<Report>(&json).is_ok(), "{json}");
    let (_, markdown) = world.get("/api/v1/runs/r-done/report?format=markdown", None).await;
    assert!(markdown.starts_with("# Incident report: shop"), "{markdown}");
    let (_, html) = world.get("/api/v1/runs/r-done/report?format=html", None).await;
    assert!(html.starts_with("<!doctype html>"), "{html}");
    assert_eq!(world.get("/api/v1/runs/r-done/report?format=pdf", None).await.0, 400);
    assert_eq!(world.get("/api/v1/runs/r-none/report", None).await.0, 404);
    let closed = World::start(Doors::default()).await;
    assert_eq!(closed.get("/api/v1/runs/r-done/report", None).await.0, 401);
}
