//! The story of the golden journal: one of every kind of event, with every optional field filled.
use std::collections::BTreeMap;
use std::time::Duration;

use rollguard::domain::answer::{Expect, Wanted};
use rollguard::domain::event::{ApprovalAsk, RunEvent, RunOpened, TargetEvent, WatchEnd};
use rollguard::domain::evidence::{Cause, Evidence, Numbers, Strength};
use rollguard::domain::keepsake::{
    Comparison, Difference, Keepsake, KeptObject, KeyChanges, ObjectKind, ObjectName, Unread,
};
use rollguard::domain::names::{RuleName, ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Call, Finding, Outcome};
use rollguard::domain::owner::{Controller, HoldOwner, Origin};
use rollguard::domain::plan::kubernetes::{AwaitRollout, RestoreTemplate, Workload};
use rollguard::domain::plan::{Action, Change, Plan, PlanDigest, Step};
use rollguard::domain::policy::asking::{Reminder, Then};
use rollguard::domain::policy::{Decided, Decision};
use rollguard::domain::probe::Probe;
use rollguard::domain::release::{Fingerprint, Release, ReleaseKind, Version};
use rollguard::domain::runbook::{ChecklistItem, Item, Judging, standard_rules};
use rollguard::domain::verification::{CheckKind, CheckResult, CheckSpec};
use rollguard::domain::watch::{Baseline, WatchSpec};
use rollguard::domain::workload::WorkloadKind;
use serde_json::json;

use super::at;

const WATCH: &str = "shop/backend.v2.1";

fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

fn version(label: &str) -> Version {
    let fingerprint = Fingerprint::named(format!("{label}-fingerprint"));
    Version { fingerprint, label: label.into(), images: vec![format!("registry.example/shop:{label}")] }
}

fn decided() -> Decided {
    Decided {
        decision: Decision::Ask,
        would: Some(Decision::Rollback),
        reason: "12 of 100 requests of the new pods failed".into(),
        barred: vec!["this target was rolled back a short while ago".into()],
        policy: None,
    }
}

pub(super) fn target_events() -> Vec<TargetEvent> {
    vec![
        TargetEvent::KnownGood { version: version("v1"), why: "its watch ended healthy".into() },
        TargetEvent::WatchOpened(Box::new(watch_spec())),
        TargetEvent::RolloutEnded { watch: WATCH.into(), ended_at: at(70) },
        TargetEvent::MinorTrouble { watch: WATCH.into(), reason: "0.4 % more failures".into(), rule: None },
        TargetEvent::Decided {
            watch: WATCH.into(),
            decided: Decided { would: None, ..decided() },
            cause: Cause::Release,
            rule: None,
            tripped: false,
            together: None,
            evidence: vec![],
        },
        TargetEvent::RolledBack { run: "shop-1".into(), bad: version("v2") },
        TargetEvent::WatchClosed {
            watch: WATCH.into(),
            end: WatchEnd::RolledBack,
            reason: "rolled back".into(),
        },
    ]
}

fn watch_spec() -> WatchSpec {
    let release = Release {
        target: target(),
        kind: ReleaseKind::New,
        from: Some(version("v1")),
        to: version("v2"),
        at: at(0),
    };
    let baseline = Baseline {
        bad: 3.0,
        total: 9000.0,
        dispersion: 1.25,
        seconds: 3600.0,
        p95_ms: Some(180.5),
        ..Baseline::default()
    };
    WatchSpec {
        id: WATCH.into(),
        release,
        known_good: Some(version("v1")),
        opened_at: at(1),
        ends_at: at(1801),
        rules: standard_rules(),
        judging: Judging::standard(Duration::from_secs(1800)),
        baseline: BTreeMap::from([(RuleName::parse("error-rate").unwrap(), baseline)]),
    }
}

fn opened() -> RunOpened {
    let check = |name: &str, kind| CheckSpec { name: name.into(), kind };
    let url = || "http://shop.example/health".to_string();
    let json = Expect::Json { pointer: "/status".into(), equals: json!("up") };
    let expect = vec![Expect::Text("ok".into()), json];
    let item = |item, met| ChecklistItem { item, met, detail: "as configured".into() };
    RunOpened {
        run: "shop-1".into(),
        incident: WATCH.into(),
        service: target().service,
        decided: decided(),
        cause: Cause::Release,
        requested_by: Some("ana".into()),
        released_at: Some(at(0)),
        severity: 2,
        checklist: vec![item(Item::Severity, true), item(Item::Backup, false)],
        plan: plan(),
        digest: PlanDigest::named("0123456789abcdef"),
        approval: Some(ApprovalAsk::until(at(900))),
        checks: vec![
            check("health", CheckKind::Outside(Probe::http(url(), Wanted { expect, ..Wanted::status(200) }))),
            check("version", CheckKind::Version { url: url(), pointer: Some("/version".into()) }),
            check("pods", CheckKind::PodsReady),
            check("errors", CheckKind::ErrorRate { below: 0.01 }),
            check("latency", CheckKind::LatencyP95 { below_ms: 250.0 }),
            check("throughput", CheckKind::Throughput { at_least: 0.5 }),
            check("alerts", CheckKind::NoActiveAlerts),
        ],
        verify_secs: 300,
        watch_secs: 1800,
        status_page: Some("https://status.example".into()),
        kept: vec![],
        changed: vec![],
        configuration: None,
    }
}

fn plan() -> Plan {
    let workload =
        || Workload { kind: WorkloadKind::Deployment, namespace: "default".into(), name: "shop".into() };
    let (from, to) = (version("v2"), version("v1"));
    let restore = RestoreTemplate {
        workload: workload(),
        uid: "11111111-2222-3333-4444-555555555555".into(),
        from: from.fingerprint.clone(),
        to: to.fingerprint.clone(),
        patch: json!([{"op": "test", "path": "/metadata/uid", "value": "1"}]),
        origin: Origin::default(),
    };
    let wait = AwaitRollout { workload: workload(), version: to.fingerprint.clone() };
    let step = |title: &str, deadline_secs, action| Step {
        target: target(),
        title: title.into(),
        deadline_secs,
        action,
    };
    Plan {
        service: target().service,
        changes: vec![Change { target: target(), from, to }],
        steps: vec![
            step("restore the pod template", 120, Action::RestoreTemplate(Box::new(restore))),
            step("await the rollout", 600, Action::AwaitRollout(wait)),
        ],
    }
}

/// Kinds that came later, in the order in which they came: new ones go to the end.
pub(super) fn later_target_events() -> Vec<TargetEvent> {
    let controller = Controller::FluxKustomization { namespace: "flux-system".into(), name: "apps".into() };
    let hold = HoldOwner {
        controller: controller.clone(),
        uid: "2".into(),
        previous: json!(null),
        patches: vec![json!([{"op": "add", "path": "/spec/suspend", "value": true}])],
    };
    vec![
        TargetEvent::Paging { incident: WATCH.into(), on: true },
        TargetEvent::OwnerHeld { target: target(), run: "shop-1".into(), hold: Box::new(hold) },
        TargetEvent::OwnerStillHeld { controller: controller.clone() },
        TargetEvent::OwnerResumed {
            controller,
            why: "Flux Kustomization flux-system/apps acts by itself again".into(),
        },
        TargetEvent::Decided {
            watch: WATCH.into(),
            decided: decided(),
            cause: Cause::Release,
            rule: Some("error-rate".into()),
            tripped: true,
            together: None,
            evidence: vec![evidence()],
        },
    ]
}

fn keepsake() -> Keepsake {
    let object = |kind, name: &str| ObjectName { kind, name: name.into() };
    let hash = |key: &str| [(key.to_string(), "0123456789abcdef".to_string())].into();
    Keepsake {
        version: version("v1").fingerprint,
        at: at(40),
        key: "fedcba9876543210".into(),
        read: [ObjectKind::ConfigMap].into(),
        objects: vec![
            KeptObject { object: object(ObjectKind::ConfigMap, "shop-config"), keys: Some(hash("A")) },
            KeptObject { object: object(ObjectKind::ConfigMap, "shop-extra"), keys: None },
        ],
        images: BTreeMap::from([("app".to_string(), ["sha256:aa".to_string()].into())]).into(),
        unread: vec![Unread { what: "Secrets".into(), why: "kubernetes.compare.secrets is not on".into() }],
    }
}

/// Kinds that came after those of [`later_target_events`].
pub(super) fn kept_events() -> (TargetEvent, RunEvent) {
    let object = || ObjectName { kind: ObjectKind::ConfigMap, name: "shop-config".into() };
    let keys = KeyChanges { differ: vec!["A".into()], added: vec!["B".into()], gone: vec!["C".into()] };
    let comparison = Comparison {
        target: target(),
        version: "v1".into(),
        since: Some(at(40)),
        differences: vec![
            Difference::Changed { object: object(), keys },
            Difference::Gone { object: object() },
            Difference::Made { object: object() },
            Difference::Image {
                container: "app".into(),
                then: vec!["sha256:aa".into()],
                now: vec!["sha256:bb".into()],
            },
        ],
        alike: vec!["1 Secret".into()],
        unread: keepsake().unread,
    };
    (TargetEvent::Kept(Box::new(keepsake())), RunEvent::Compared { comparisons: vec![comparison] })
}

/// What came with several approvers, and with pages that somebody acknowledges.
pub(super) fn asked_events() -> (Vec<TargetEvent>, Vec<RunEvent>) {
    let (incident, by) = (|| "shop/backend.v2.1".to_string(), || "ana".to_string());
    let digest = || PlanDigest::named("0123456789abcdef");
    let reminder = |second, then| Reminder { at: at(second), then };
    let ask = ApprovalAsk {
        needed: 2,
        from: vec!["ana".into(), "ben".into()],
        reminders: vec![reminder(300, Then::PageAgain), reminder(600, Then::Escalate)],
        ..ApprovalAsk::until(at(900))
    };
    let policy = Some("line 2 of the policy (latency: approval)".to_string());
    let decided = Decided { policy, ..decided() };
    let target = vec![
        TargetEvent::Paging { incident: incident(), on: true },
        TargetEvent::Acknowledged { target: target(), incident: incident(), by: by() },
        TargetEvent::Escalated { target: target(), incident: incident(), level: 1 },
    ];
    let run = vec![
        RunEvent::Opened(Box::new(RunOpened { approval: Some(ask), decided, ..opened() })),
        RunEvent::Unanswered { then: Then::PageAgain },
        RunEvent::Acknowledged { by: by() },
        RunEvent::Approved { by: by(), digest: digest(), break_glass: None },
        RunEvent::Approved {
            by: "eve".into(),
            digest: digest(),
            break_glass: Some("nobody is awake".into()),
        },
    ];
    (target, run)
}

/// Run events whose bodies grew, likewise.
pub(super) fn later_run_events() -> Vec<RunEvent> {
    let configuration = Some("c0ffee".repeat(10) + "c0ff");
    let call = Call {
        method: "PATCH".into(),
        path: "/apis/apps/v1/namespaces/shop/deployments/web".into(),
        request_id: "rollguard-0123456789abcdef0123456789abcdef".into(),
        status: Some(200),
    };
    let outcome = Outcome::Done { detail: "the template of deployment/web was put back".into() };
    vec![
        RunEvent::Opened(Box::new(RunOpened { configuration, ..opened() })),
        RunEvent::Applied { step: 0, outcome, calls: vec![call] },
    ]
}

fn evidence() -> Evidence {
    let numbers =
        Numbers { e_value: 5000.0, e_needed: 1000.0, bad: 60.0, total: 400.0, ..Numbers::default() };
    Evidence {
        rule: "error-rate".into(),
        strength: Strength::Rollback,
        cause: Cause::Release,
        sentence: "errors at 15.0 % > 5 %".into(),
        since: Some(at(30)),
        numbers: Some(numbers),
    }
}

/// In an order that folds through every phase; after the first end only the kinds of end that are left.
pub(super) fn run_events() -> Vec<RunEvent> {
    let detail = || "as planned".to_string();
    let why = || "connection refused".to_string();
    let by = || "ana".to_string();
    vec![
        RunEvent::Opened(Box::new(opened())),
        RunEvent::Adopted { epoch: 1 },
        RunEvent::Approved { by: by(), digest: PlanDigest::named("0123456789abcdef"), break_glass: None },
        RunEvent::StepStarted { step: 0, attempt: 1, epoch: 1, deadline: at(220) },
        RunEvent::Observed { step: 0, finding: Finding::not_yet(detail()) },
        RunEvent::Applied { step: 0, outcome: Outcome::Unknown { why: why() }, calls: vec![] },
        RunEvent::Observed { step: 0, finding: Finding::Unseen { why: why() } },
        RunEvent::Applied { step: 0, outcome: Outcome::Refused { why: why() }, calls: vec![] },
        RunEvent::Observed { step: 0, finding: Finding::Conflict { why: why() } },
        RunEvent::Stuck { step: 0, why: why() },
        RunEvent::Resumed { by: by() },
        RunEvent::StepStarted { step: 0, attempt: 2, epoch: 1, deadline: at(420) },
        RunEvent::Applied { step: 0, outcome: Outcome::Done { detail: detail() }, calls: vec![] },
        RunEvent::Observed { step: 0, finding: Finding::Satisfied { detail: detail() } },
        RunEvent::StepDone { step: 0 },
        RunEvent::Skipped { by: by(), step: 1 },
        RunEvent::Checked { check: 0, result: CheckResult::passed("200") },
        RunEvent::Checked { check: 1, result: CheckResult::failed("503") },
        RunEvent::Checked { check: 2, result: CheckResult::no_data("timeout") },
        RunEvent::Verified { passed: true, watch_until: at(2400) },
        RunEvent::Relapsed { reason: "errors at 9.0 %".into() },
        RunEvent::WatchEnded { healthy: false, blind: false, reason: "errors at 9.0 %".into() },
        RunEvent::Superseded { by: "v3".into() },
        RunEvent::Denied { by: by(), reason: "a hot-fix is on its way".into() },
        RunEvent::ApprovalExpired,
        RunEvent::Aborted { by: by(), reason: "rolled back by hand".into() },
    ]
}
