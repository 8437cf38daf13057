//! Golden transcripts: every message that people can be sent, word for word.
mod compared;
mod owners;

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use rollguard::domain::code::Code;
use rollguard::domain::diagnosis::{Diagnosis, PodState, Stall, StalledPod, diagnose};
use rollguard::domain::event::{ApprovalAsk, RunEvent, RunOpened, TargetEvent, WatchEnd};
use rollguard::domain::evidence::Cause;
use rollguard::domain::memory::TargetMemory;
use rollguard::domain::message::{Message, MessageKind, of_run, paging as paging_of};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::Finding;
use rollguard::domain::plan::kubernetes::{AwaitRollout, Workload};
use rollguard::domain::plan::{Action, Change, Plan, Step};
use rollguard::domain::policy::{Decided, Decision};
use rollguard::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use rollguard::domain::run::{Run, evolve};
use rollguard::domain::runbook::{Checked, ChecklistItem, Item, Judging, Rule, RuleKind};
use rollguard::domain::verification::{CheckKind, CheckResult, CheckSpec};
use rollguard::domain::watch::WatchSpec;
use rollguard::domain::workload::WorkloadKind;

const REASON: &str = "15.2 % errors on 412 requests of 3 new pods since 10:01:20, threshold 5.0 %, old pods 0.3 %; \
    it began with the rollout; a release with a true error rate of up to 2.5 % would cause this in fewer than 1 of 2,500 watches";

pub(crate) fn at(secs: i64) -> Timestamp {
    let zero: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    zero + SignedDuration::from_secs(secs)
}

pub(crate) fn target() -> TargetId {
    let (service, target) = (ServiceName::parse("shop").unwrap(), TargetName::parse("backend").unwrap());
    TargetId { service, target }
}

pub(crate) fn version(label: &str) -> Version {
    let fingerprint = Fingerprint::named(format!("{label}-0123456789abcdef"));
    Version { fingerprint, label: label.into(), images: vec![format!("shop:{label}")] }
}

pub(crate) fn decided(decision: Decision, barred: &[&str]) -> Decided {
    let barred = barred.iter().map(ToString::to_string).collect();
    Decided { decision, would: None, reason: REASON.into(), barred, policy: None }
}

pub(crate) fn plan() -> Plan {
    let step = |title: &str, deadline_secs| {
        let workload =
            Workload { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "backend".into() };
        let action = Action::AwaitRollout(AwaitRollout { workload, version: version("v1").fingerprint });
        Step { target: target(), title: title.into(), deadline_secs, action }
    };
    Plan {
        service: target().service,
        changes: vec![Change { target: target(), from: version("v2"), to: version("v1") }],
        steps: vec![
            step("restore the pod template of backend-7f (v1)", 120),
            step("await the rollout of v1", 600),
        ],
    }
}

/// A rollback that the policy decided.
pub(crate) fn opened() -> RunOpened {
    let item = |item, met, detail: &str| ChecklistItem { item, met, detail: detail.into() };
    let check = |name: &str| CheckSpec { name: name.into(), kind: CheckKind::PodsReady };
    let plan = plan();
    RunOpened {
        run: "shop-20261122-100230".into(),
        incident: "shop/backend.v2.1795341600".into(),
        service: target().service,
        decided: decided(Decision::Rollback, &[]),
        cause: Cause::Release,
        requested_by: None,
        released_at: Some(at(70)),
        severity: 2,
        checklist: vec![
            item(Item::Severity, true, "SEV 2"),
            item(Item::Target, true, "v1 is in the history"),
            item(Item::StatusPage, false, "none is configured"),
        ],
        digest: plan.digest(),
        plan,
        approval: None,
        checks: ["API health", "Pods", "Alerts"].map(check).to_vec(),
        verify_secs: 600,
        watch_secs: 1800,
        status_page: Some("https://status.example.com".into()),
        kept: vec![],
        changed: vec![],
        configuration: None,
    }
}

pub(crate) fn asking() -> RunOpened {
    let changed = ["container app: image shop:v1 → shop:v2", "container app: environment CACHE_URL changed"];
    RunOpened {
        approval: Some(ApprovalAsk::until(at(1050))),
        status_page: None,
        changed: changed.map(String::from).to_vec(),
        ..opened()
    }
}

fn ordered() -> RunOpened {
    let decided = Decided { reason: "checkout is broken".into(), ..decided(Decision::Rollback, &[]) };
    let requested_by = Some("alice".to_string());
    RunOpened { decided, requested_by, released_at: None, checks: vec![], checklist: vec![], ..opened() }
}

fn show(transcript: &mut String, message: &Message) {
    let Message { key, incident, kind, service, title, lines, targets, code, level: _, facts: _ } = message;
    assert!(targets.iter().all(|target| target.service == *service) && !targets.is_empty());
    let (kind, code) = (kind.as_str(), code.unwrap());
    let head = format!("── {kind} · {} · {service} · {incident} · {key}", code.name());
    writeln!(transcript, "{head}\n{title}\n{}\n", lines.join("\n")).unwrap();
}

/// The messages of a run: half a minute between its events, from 10:02:30 on.
fn transcript(opened: RunOpened, events: Vec<RunEvent>) -> String {
    let (mut run, mut text) = (Run::default(), String::new());
    let events = std::iter::once(RunEvent::Opened(Box::new(opened))).chain(events);
    for (mut event, now) in events.zip((150..).step_by(30).map(at)) {
        if let RunEvent::Verified { watch_until, .. } = &mut event {
            *watch_until = now + SignedDuration::from_mins(30);
        }
        run = evolve(run, &event, now);
        of_run(&event, &run, now).iter().for_each(|message| show(&mut text, message));
    }
    text
}

pub(crate) fn started(step: usize) -> RunEvent {
    RunEvent::StepStarted { step, attempt: 1, epoch: 1, deadline: at(900) }
}

pub(crate) fn approved() -> RunEvent {
    RunEvent::Approved { by: "bob".into(), digest: plan().digest(), break_glass: None }
}

pub(crate) fn checked(check: usize, result: CheckResult) -> RunEvent {
    RunEvent::Checked { check, result }
}

pub(crate) fn executed() -> Vec<RunEvent> {
    vec![started(0), RunEvent::StepDone { step: 0 }, started(1), RunEvent::StepDone { step: 1 }]
}

pub(crate) fn all_passed() -> Vec<RunEvent> {
    vec![
        checked(0, CheckResult::passed("200, /status is \"healthy\"")),
        checked(1, CheckResult::passed("3 of 3 ready, no restarts")),
        checked(2, CheckResult::passed("no alert is active")),
    ]
}

pub(crate) fn verified(passed: bool) -> RunEvent {
    RunEvent::Verified { passed, watch_until: at(0) }
}

pub(crate) fn ended(healthy: bool, reason: &str) -> RunEvent {
    RunEvent::WatchEnded { healthy, blind: false, reason: reason.into() }
}

#[test]
fn a_rollback_by_policy_that_works() {
    let end = ended(true, "nothing is wrong on 12345 requests of the new pods");
    let events = [executed(), all_passed(), vec![verified(true), end]].concat();
    insta::assert_snapshot!(transcript(opened(), events));
}

#[test]
fn a_rollback_that_a_person_ordered_and_that_has_no_checks() {
    insta::assert_snapshot!(transcript(ordered(), [executed(), vec![verified(true)]].concat()));
}

#[test]
fn a_rollback_that_somebody_is_asked_about() {
    insta::assert_snapshot!(transcript(asking(), vec![approved()]));
}

#[test]
fn a_rollback_that_is_denied() {
    let denied = RunEvent::Denied { by: "bob".into(), reason: "the fix is on its way".into() };
    insta::assert_snapshot!(transcript(asking(), vec![denied]));
}

#[test]
fn a_rollback_that_nobody_approved() {
    insta::assert_snapshot!(transcript(asking(), vec![RunEvent::ApprovalExpired]));
}

#[test]
fn a_rollback_that_is_stuck_at_its_first_step_and_aborted() {
    let why = "backend runs v3 now, not v2: somebody deployed meanwhile".to_string();
    let aborted = RunEvent::Aborted { by: "alice".into(), reason: "v3 is the fix".into() };
    let events = vec![started(0), RunEvent::Stuck { step: 0, why }, aborted];
    insta::assert_snapshot!(transcript(opened(), events));
}

fn hindered() -> Diagnosis {
    let (reason, message) = ("ImagePullBackOff".to_string(), "shop:v1: not found".to_string());
    let state = PodState::CannotStart { reason, message };
    let pods = vec![StalledPod { name: "backend-x1".into(), state }];
    let workload =
        Workload { kind: WorkloadKind::Deployment, namespace: "shop".into(), name: "backend".into() };
    diagnose(&Stall { workload, pods, refused: None }, at(200))
}

#[test]
fn a_rollback_that_is_stuck_at_its_rollout_and_goes_on() {
    let stuck = RunEvent::Stuck {
        step: 1,
        why: "not done in time: 2 of 3 pods updated, backend-x1 (ImagePullBackOff)".into(),
    };
    let observed =
        RunEvent::Observed { step: 1, finding: Finding::not_yet("no new pods").because(hindered()) };
    let first = vec![started(0), RunEvent::StepDone { step: 0 }, started(1), observed, stuck.clone()];
    let resumed = RunEvent::Resumed { by: "alice".into() };
    let skipped = RunEvent::Skipped { by: "alice".into(), step: 1 };
    insta::assert_snapshot!(transcript(
        opened(),
        [first, vec![resumed, started(1), stuck, skipped]].concat()
    ));
}

fn two_checks_open() -> Vec<RunEvent> {
    vec![
        checked(0, CheckResult::failed("HTTP 503 instead of 200")),
        checked(1, CheckResult::passed("3 of 3 ready, no restarts")),
        checked(2, CheckResult::no_data("1 silenced or inhibited alert: HighErrorRate")),
    ]
}

#[test]
fn a_rollback_that_is_not_verified_and_whose_watch_is_quiet() {
    let end = ended(true, "nothing is wrong on 12345 requests of the new pods");
    let events = [executed(), two_checks_open(), vec![verified(false), end]].concat();
    insta::assert_snapshot!(transcript(opened(), events));
}

#[test]
fn a_rollback_after_which_it_is_bad_again() {
    let relapsed = RunEvent::Relapsed { reason: REASON.into() };
    let after = |events: Vec<RunEvent>| {
        let all = transcript(opened(), [executed(), all_passed(), vec![verified(true)], events].concat());
        let (_, last) = all.split_once("/resolve-verified").expect("the rollback was verified first");
        last.to_string()
    };
    let quiet = after(vec![relapsed.clone(), ended(true, "nothing is wrong any more")]);
    let bad = after(vec![relapsed, ended(false, REASON)]);
    let late = after(vec![ended(false, REASON)]);
    insta::assert_snapshot!([quiet, bad, late].join("\n"));
}

#[test]
fn a_rollback_that_could_not_be_seen_at_the_end_is_no_failure() {
    let reason = "error-rate has had no data since 10:20:00: the release is not being judged on it";
    let end = RunEvent::WatchEnded { healthy: false, blind: true, reason: reason.into() };
    let all = transcript(opened(), [executed(), all_passed(), vec![verified(true), end.clone()]].concat());
    let last = all.find("── note").expect("a last message");
    insta::assert_snapshot!(&all[last..]);
    let unverified =
        transcript(opened(), [executed(), two_checks_open(), vec![verified(false), end]].concat());
    assert!(unverified.contains("[FAILED] The rollback did not restore the service"), "{unverified}");
}

#[test]
fn a_rollback_that_a_newer_release_overtakes() {
    let newer = RunEvent::Superseded { by: "backend v3".into() };
    let events = [executed(), all_passed(), vec![verified(true), newer]].concat();
    let all = transcript(opened(), events);
    let last = all.find("── note").expect("a last message");
    insta::assert_snapshot!(&all[last..]);
}

pub(crate) fn watched(known_good: Option<Version>, reached: Option<Decision>) -> TargetMemory {
    let release = Release {
        target: target(),
        kind: ReleaseKind::New,
        from: Some(version("v1")),
        to: version("v2"),
        at: at(70),
    };
    let spec = WatchSpec {
        id: "shop/backend.v2.1795341600".into(),
        release,
        known_good,
        opened_at: at(70),
        ends_at: at(1870),
        rules: vec![],
        judging: Judging::standard(std::time::Duration::from_secs(1800)),
        baseline: Default::default(),
    };
    let memory = TargetMemory::default().fold(&TargetEvent::WatchOpened(Box::new(spec)), at(70));
    let decided = |decision| paging(Cause::Unknown, decided(decision, &[]));
    reached.map_or(memory.clone(), |decision| memory.fold(&decided(decision), at(200)))
}

pub(crate) fn paging(cause: Cause, decided: Decided) -> TargetEvent {
    let watch = "shop/backend.v2.1795341600".into();
    TargetEvent::Decided {
        watch,
        decided,
        cause,
        rule: None,
        tripped: false,
        together: None,
        evidence: vec![],
    }
}

/// What people are told at once, without the target's own story.
fn of_target(event: &TargetEvent, before: &TargetMemory) -> Vec<Message> {
    let messages = rollguard::domain::message::of_target(event, before).into_iter();
    messages.filter(|message| message.kind != MessageKind::Trace).collect()
}

fn told(cases: Vec<(TargetEvent, TargetMemory)>) -> String {
    let mut text = String::new();
    for (event, before) in cases {
        of_target(&event, &before).iter().for_each(|message| show(&mut text, message));
    }
    text
}

#[test]
fn pages_about_a_release() {
    let good = || watched(Some(version("v1")), None);
    let page = |barred: &[&str]| decided(Decision::Page, barred);
    let cooling = "this target was rolled back a short while ago: automation rests until 10:30:00 UTC";
    let none = "no version is known to be good, so there is nothing to go back to";
    insta::assert_snapshot!(told(vec![
        (paging(Cause::Release, page(&[cooling])), good()),
        (paging(Cause::Release, page(&[none])), watched(None, None)),
        (paging(Cause::Shared, page(&[])), good()),
        (paging(Cause::SinglePod, page(&[])), good()),
        (paging(Cause::Unknown, page(&[])), good()),
    ]));
}

#[test]
fn small_trouble_is_told_with_the_alternatives() {
    let reason = "0.4 % errors on 20,000 requests of 3 new pods, threshold 5.0 %, old pods 0.1 %; \
                  more than the old pods";
    let reason = reason.to_string();
    let watch = || "shop/backend.v2.1795341600".to_string();
    let minor = TargetEvent::MinorTrouble { watch: watch(), reason, rule: Some("error-rate".into()) };
    insta::assert_snapshot!(told(vec![(minor, watched(Some(version("v1")), None))]));
}

#[test]
fn a_certificate_that_ends_is_a_note_about_nobody() {
    let kind = RuleKind::Check { failing_for_secs: 150.0, about: Checked::Certificate };
    let certificate = Rule::new(RuleName::parse("certificate").unwrap(), kind);
    let memory = watched(Some(version("v1")), None);
    let watch = memory.watch.map(|mut watch| {
        watch.spec.rules.push(certificate);
        watch
    });
    let reason = "certificate fails since 10:00:05, 4 times in a row: its certificate expires in 9 days, on 2026-12-01 \
                  (CN=shop.example, issued by CN=R11); no release causes that, so it is held against none";
    let note = TargetEvent::MinorTrouble {
        watch: "shop/backend.v2.1795341600".into(),
        reason: reason.into(),
        rule: Some("certificate".into()),
    };
    insta::assert_snapshot!(told(vec![(note, TargetMemory { watch, ..memory })]));
}

fn closed(end: WatchEnd) -> TargetEvent {
    TargetEvent::WatchClosed {
        watch: "shop/backend.v2.1795341600".into(),
        end,
        reason: "nothing is wrong on 12345 requests of the new pods".into(),
    }
}

#[test]
fn pages_end_with_their_watch_unless_the_release_is_still_bad() {
    let paged = || watched(Some(version("v1")), Some(Decision::Page));
    let ends = [WatchEnd::Healthy, WatchEnd::Inconclusive, WatchEnd::RolledBack, WatchEnd::Superseded];
    let told_of = |end| (closed(end), paged());
    insta::assert_snapshot!(told(ends.into_iter().chain([WatchEnd::Gone]).map(told_of).collect()));
    assert_eq!(told(vec![told_of(WatchEnd::Degraded)]), "");
    assert_eq!(told(vec![told_of(WatchEnd::Blind)]), "", "it was in trouble when it was last seen");
}

#[test]
fn a_newer_release_ends_what_still_pages_and_our_own_rollback_does_not() {
    let newer = |kind| {
        let mut spec = *watched(Some(version("v1")), None).watch.unwrap().spec;
        (spec.id, spec.release.to, spec.release.kind) = ("shop/backend.v3.1".into(), version("v3"), kind);
        TargetEvent::WatchOpened(Box::new(spec))
    };
    let incident = "shop/backend.v2.1795341600".to_string();
    let before = TargetMemory { paging: Some(incident.clone()), ..TargetMemory::default() };
    let told = |kind| of_target(&newer(kind), &before);
    let [message] = &told(ReleaseKind::New)[..] else { panic!("one message") };
    assert_eq!((message.kind, &message.incident), (MessageKind::Resolve, &incident));
    assert_eq!(message.title, "[RESOLVED] shop/backend v3 was released");
    assert_eq!(paging_of(std::slice::from_ref(message)), [TargetEvent::Paging { incident, on: false }]);
    assert_eq!(told(ReleaseKind::Undo).len(), 1);
    assert_eq!(told(ReleaseKind::OurRollback { run: "shop-1".into() }), []);
    assert_eq!(of_target(&newer(ReleaseKind::New), &TargetMemory::default()), []);
}

#[test]
fn nobody_is_told_what_nobody_asked_for() {
    let quiet = watched(Some(version("v1")), None);
    let observed = Decided { would: Some(Decision::Rollback), ..decided(Decision::Hold, &[]) };
    assert_eq!(
        told(vec![
            (closed(WatchEnd::Healthy), quiet.clone()),
            (paging(Cause::Release, observed), quiet.clone()),
            (paging(Cause::Release, decided(Decision::Rollback, &[])), quiet),
        ]),
        ""
    );
}

#[test]
fn the_same_message_has_the_same_key_and_different_ones_differ() {
    let events = [executed(), two_checks_open(), vec![verified(false), ended(false, REASON)]].concat();
    let keys = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.starts_with("──")).map(str::to_string).collect()
    };
    let (first, second) = (transcript(asking(), events.clone()), transcript(asking(), events));
    assert_eq!(keys(&first), keys(&second));
    let mut unique = keys(&first);
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), keys(&first).len());
}

#[test]
fn the_story_of_a_target_is_told_to_whoever_looks_at_it() {
    let story = |event: &TargetEvent, before: &TargetMemory| {
        let messages = rollguard::domain::message::of_target(event, before).into_iter();
        let traces = messages.filter(|message| message.kind == MessageKind::Trace);
        traces.map(|message| (message.code.unwrap(), message.title)).collect::<Vec<_>>()
    };
    let before = watched(Some(version("v1")), None);
    let spec = before.watch.as_ref().unwrap().spec.clone();
    let opened = story(&TargetEvent::WatchOpened(spec.clone()), &TargetMemory::default());
    assert_eq!(opened, [(Code::ReleaseNoticed, "shop/backend v2 was released".to_string())]);
    let closed = |end| TargetEvent::WatchClosed { watch: spec.id.clone(), end, reason: "it is over".into() };
    let over = |end| story(&closed(end), &before);
    assert_eq!(over(WatchEnd::Healthy), [(Code::WatchHealthy, "shop/backend v2 is healthy".to_string())]);
    assert_eq!(over(WatchEnd::RolledBack), [(Code::WatchEnded, "shop/backend v2 was rolled back".into())]);
}
