//! What is said of who owns a workload: Helm's record, a manual sync, a hold, a reminder, and a rollback that was undone.
use rollguard::domain::guardrails::Bar;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::{
    Automation, Controller, GitOps, HoldOwner, Origin, Owner, OwnerState, Writer, hold,
};
use rollguard::domain::plan::kubernetes::RestoreTemplate;
use rollguard::domain::run::{Next, next};
use rollguard::domain::workload::WorkloadKind;
use serde_json::{Value, json};

use super::*;

fn gitops(controller: Controller, state: OwnerState) -> Owner {
    Owner::GitOps(GitOps { controller, state, may_hold: true })
}

fn application() -> Controller {
    Controller::ArgoCd { namespace: "argocd".into(), application: "shop".into() }
}

fn kustomization() -> Controller {
    Controller::FluxKustomization { namespace: "flux-system".into(), name: "apps".into() }
}

fn automated(setting: Value) -> OwnerState {
    OwnerState::Automated(Automation { uid: "u".into(), setting, reverts: true })
}

fn written_by(manager: &str) -> Option<Writer> {
    Some(Writer { manager: manager.into(), applies: false, at: Some(at(90)) })
}

/// The usual rollback of a workload that comes from there.
fn from(owner: Option<Owner>, manager: &str) -> RunOpened {
    let holding: Option<HoldOwner> = hold(owner.as_ref()).unwrap();
    let mut opened = opened();
    let restore = RestoreTemplate {
        workload: Workload {
            kind: WorkloadKind::Deployment,
            namespace: "shop".into(),
            name: "backend".into(),
        },
        uid: "1".into(),
        from: version("v2").fingerprint,
        to: version("v1").fingerprint,
        patch: json!([]),
        origin: Origin { owner, writer: written_by(manager) },
    };
    opened.plan.steps[0].action = Action::RestoreTemplate(Box::new(restore));
    let step = |hold: HoldOwner| Step {
        target: target(),
        title: format!("suspend {}", hold.controller.title()),
        deadline_secs: 120,
        action: Action::HoldOwner(hold),
    };
    opened.plan.steps.splice(0..0, holding.map(step));
    opened.digest = opened.plan.digest();
    opened
}

fn done(opened: &RunOpened) -> Vec<RunEvent> {
    (0..opened.plan.steps.len()).flat_map(|step| [started(step), RunEvent::StepDone { step }]).collect()
}

/// A rollback that works, to its end.
fn works(opened: RunOpened) -> String {
    let end = ended(true, "nothing is wrong on 12345 requests of the new pods");
    let events = [done(&opened), all_passed(), vec![verified(true), end]].concat();
    transcript(opened, events)
}

#[test]
fn every_message_about_a_helm_release_says_that_helm_records_the_bad_one() {
    let helm = Owner::Helm { namespace: "shop".into(), release: "web".into() };
    let text = works(from(Some(helm), "helm"));
    let messages = text.matches("── ").count();
    assert_eq!((messages, text.matches("helm rollback web -n shop").count()), (5, 5), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn an_owner_that_does_not_act_by_itself_is_mentioned() {
    insta::assert_snapshot!(works(from(
        Some(gitops(application(), OwnerState::Manual)),
        "argocd-controller"
    )));
}

#[test]
fn an_owner_that_is_suspended_is_told_with_the_way_to_resume_it() {
    let flux = gitops(kustomization(), automated(Value::Null));
    insta::assert_snapshot!(works(from(Some(flux), "kustomize-controller")));
}

#[test]
fn whoever_stops_a_rollback_is_told_what_it_has_suspended() {
    let argo = gitops(application(), automated(json!({"prune": true, "selfHeal": true})));
    let opened = from(Some(argo), "argocd-controller");
    let stuck = RunEvent::Stuck { step: 1, why: "somebody deployed v2".into() };
    let aborted = RunEvent::Aborted { by: "alice".into(), reason: "I do it by hand".into() };
    let events = vec![started(0), RunEvent::StepDone { step: 0 }, started(1), stuck, aborted];
    let all = transcript(opened, events);
    let first = all.find("── page").expect("it is stuck");
    insta::assert_snapshot!(&all[first..]);
}

#[test]
fn a_hold_that_may_have_been_made_is_told_and_one_that_was_not_is_not() {
    let ends_with = |event: RunEvent| {
        let opened = from(Some(gitops(kustomization(), automated(Value::Null))), "kustomize-controller");
        let aborted = RunEvent::Aborted { by: "alice".into(), reason: "enough".into() };
        transcript(opened, vec![started(0), event, aborted]).contains("flux resume kustomization apps")
    };
    let why = || "HTTP 409".to_string();
    let applied = |outcome| RunEvent::Applied { step: 0, outcome, calls: vec![] };
    assert!(ends_with(applied(Outcome::Unknown { why: why() })));
    assert!(ends_with(applied(Outcome::Refused { why: why() })), "it is tried again, and may just have been");
    assert!(!ends_with(RunEvent::Stuck { step: 0, why: why() }));
}

#[test]
fn a_right_that_is_missing_is_in_the_page_about_the_step() {
    let flux = gitops(kustomization(), automated(Value::Null));
    let opened = RunEvent::Opened(Box::new(from(Some(flux), "kustomize-controller")));
    let why = "HTTP 403 Forbidden".to_string();
    let mut events = vec![opened, RunEvent::Adopted { epoch: 1 }, started(0)];
    for _ in 0..5 {
        events.push(RunEvent::Applied {
            step: 0,
            outcome: Outcome::Refused { why: why.clone() },
            calls: vec![],
        });
        let finding = Finding::not_yet("it still acts by itself");
        events.push(RunEvent::Observed { step: 0, finding });
    }
    let run = events.iter().fold(Run::default(), |run, event| evolve(run, event, at(150)));
    let Next::Record(RunEvent::Stuck { why, .. }) = next(&run, at(200), 1) else { panic!("{run:?}") };
    let expected = "5 attempts had no effect: it still acts by itself; the last answer: HTTP 403 Forbidden";
    assert_eq!(why, expected);
}

#[test]
fn a_manifest_that_was_applied_with_kubectl_is_named() {
    let text = works(from(None, "kubectl-client-side-apply"));
    let again = "the next `kubectl apply` of it deploys v2 again";
    assert_eq!(text.matches(again).count(), 3, "verified, over, and resolved: {text}");
}

#[test]
fn a_rollback_that_somebody_undid_is_not_a_newer_release() {
    let back = RunEvent::Superseded { by: "v2".into() };
    let events = [executed(), all_passed(), vec![verified(true), back]].concat();
    let all = transcript(opened(), events);
    let last = all.find("── note").expect("a last message");
    insta::assert_snapshot!(&all[last..]);
}

#[test]
fn who_brought_it_back_is_named_in_the_page() {
    let mut memory = watched(Some(version("v1")), None);
    let watch = memory.watch.as_mut().unwrap();
    watch.spec.release.kind = ReleaseKind::KnownBad;
    let again = "this version was rolled back before and somebody deployed it again";
    let page = |owner: Option<Owner>, held: &TargetMemory| {
        let writer = written_by("argocd-controller");
        let by = Bar::Undone { by: Origin { owner, writer }.undone_by(&held.held) }.to_string();
        (paging(Cause::Unknown, decided(Decision::Page, &[again, &by])), memory.clone())
    };
    let argo = || gitops(application(), automated(json!({})));
    let nobody = TargetMemory::default();
    insta::assert_snapshot!(told(vec![
        page(None, &nobody),
        page(Some(argo()), &nobody),
        page(Some(argo()), &holding(argo())),
    ]));
}

fn holding(owner: Owner) -> TargetMemory {
    let hold = Box::new(hold(Some(&owner)).unwrap().unwrap());
    let held = TargetEvent::OwnerHeld { target: target(), run: "shop-1".into(), hold };
    TargetMemory::default().fold(&held, at(160))
}

#[test]
fn people_are_reminded_of_a_hold_and_told_when_it_is_over() {
    let controller = application();
    let still = TargetEvent::OwnerStillHeld { controller: controller.clone() };
    let why = "Argo CD application shop acts by itself again".to_string();
    let resumed = TargetEvent::OwnerResumed { controller, why };
    let memory = holding(gitops(application(), automated(json!({"selfHeal": true}))));
    let reminded = memory.clone().fold(&still, at(86_560));
    let told =
        told(vec![(still.clone(), memory.clone()), (still, reminded.clone()), (resumed.clone(), reminded)]);
    insta::assert_snapshot!(told);
    assert_eq!(memory.fold(&resumed, at(200)).held, []);
}
