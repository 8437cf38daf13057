//! Owners: who is recognised, what stands in the way, how it is held, and what is said of it.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::outcome::Finding;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn map(pairs: Pairs<'_>) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn guess(labels: Pairs<'_>, annotations: Pairs<'_>, rollout: Option<&str>) -> Guess {
    let (labels, annotations) = (map(labels), map(annotations));
    let (labels, annotations) = (&labels, &annotations);
    recognise(Clues { namespace: "shop", labels, annotations, rollout, argocd_namespace: "gitops" })
}

fn argo(namespace: &str, application: &str) -> Controller {
    Controller::ArgoCd { namespace: namespace.into(), application: application.into() }
}

fn kustomization() -> Controller {
    Controller::FluxKustomization { namespace: "flux".into(), name: "apps".into() }
}

const TRACKED: (&str, &str) = ("argocd.argoproj.io/tracking-id", "web:apps/Deployment:shop/web");
const KUSTOMIZED: [(&str, &str); 2] =
    [("kustomize.toolkit.fluxcd.io/name", "apps"), ("kustomize.toolkit.fluxcd.io/namespace", "flux")];

#[test]
fn owners_are_recognised_by_what_they_leave_on_objects() {
    assert_eq!(guess(&[], &[TRACKED], None), Guess::GitOps(argo("gitops", "web")));
    let elsewhere = ("argocd.argoproj.io/tracking-id", "team_web:apps/Deployment:shop/web");
    assert_eq!(guess(&[], &[elsewhere], None), Guess::GitOps(argo("team", "web")));
    let instance = ("argocd.argoproj.io/instance", "web");
    assert_eq!(guess(&[instance], &[], None), Guess::GitOps(argo("gitops", "web")));
    assert_eq!(guess(&KUSTOMIZED, &[], None), Guess::GitOps(kustomization()));
    let release = ("helm.toolkit.fluxcd.io/name", "web");
    let expected = Controller::FluxHelmRelease { namespace: "shop".into(), name: "web".into() };
    assert_eq!(guess(&[release], &[], None), Guess::GitOps(expected), "in the workload's own namespace");
    assert_eq!(guess(&[], &[], None), Guess::Nobody);
    assert_eq!(guess(&[("app.kubernetes.io/managed-by", "Helm")], &[], None), Guess::Nobody);
}

#[test]
fn what_every_chart_sets_is_argo_cd_only_if_the_application_exists() {
    let instance = ("app.kubernetes.io/instance", "web");
    let helm = ("meta.helm.sh/release-name", "web");
    let release = Guess::Helm { namespace: "shop".into(), release: "web".into() };
    assert_eq!(guess(&[], &[helm], None), release);
    let perhaps = |otherwise| Guess::Perhaps(argo("gitops", "web"), Box::new(otherwise));
    assert_eq!(guess(&[instance], &[helm], None), perhaps(release));
    assert_eq!(guess(&[instance], &[], None), perhaps(Guess::Nobody));
}

#[test]
fn the_surest_sign_wins() {
    let all = [&KUSTOMIZED[..], &[("app.kubernetes.io/instance", "web")]].concat();
    let helm = ("meta.helm.sh/release-name", "web");
    assert_eq!(guess(&all, &[TRACKED, helm], Some("web")), Guess::ArgoRollout { name: "web".into() });
    assert_eq!(guess(&all, &[TRACKED, helm], None), Guess::GitOps(argo("gitops", "web")));
    assert_eq!(guess(&all, &[helm], None), Guess::GitOps(kustomization()));
}

#[test]
fn an_object_that_flux_was_told_to_leave_alone_is_left_alone() {
    let disabled = ("kustomize.toolkit.fluxcd.io/reconcile", "disabled");
    assert_eq!(guess(&KUSTOMIZED, &[disabled], None), Guess::Excluded(kustomization()));
    let labels = [&KUSTOMIZED[..], &[disabled]].concat();
    assert_eq!(guess(&labels, &[], None), Guess::Excluded(kustomization()));
    let enabled = ("kustomize.toolkit.fluxcd.io/reconcile", "enabled");
    assert_eq!(guess(&KUSTOMIZED, &[enabled], None), Guess::GitOps(kustomization()));
}

fn automated(setting: Value) -> OwnerState {
    OwnerState::Automated(Automation { uid: "u".into(), setting, reverts: true })
}

fn owner(controller: Controller, state: OwnerState, may_hold: bool) -> Owner {
    Owner::GitOps(GitOps { controller, state, may_hold })
}

fn all_states() -> Vec<OwnerState> {
    vec![
        OwnerState::Manual,
        OwnerState::Suspended,
        automated(json!({})),
        OwnerState::ApplicationSetOwned { set: "all".into() },
        OwnerState::Missing,
        OwnerState::Unreadable { why: "HTTP 403 Forbidden".into() },
    ]
}

#[test]
fn what_is_done_about_an_owner() {
    let table = |may_hold: bool| -> Vec<&str> {
        let decided = |state| match hold(Some(&owner(argo("argocd", "web"), state, may_hold))) {
            Ok(None) => "goes on",
            Ok(Some(_)) => "holds",
            Err(_) => "refuses",
        };
        all_states().into_iter().map(decided).collect()
    };
    assert_eq!(table(false), ["goes on", "goes on", "refuses", "refuses", "refuses", "refuses"]);
    assert_eq!(table(true), ["goes on", "goes on", "holds", "refuses", "refuses", "refuses"]);
    let helm = Owner::Helm { namespace: "shop".into(), release: "web".into() };
    assert_eq!((hold(None), hold(Some(&helm))), (Ok(None), Ok(None)));
    let rollout = Owner::ArgoRollout { namespace: "shop".into(), name: "web".into() };
    assert!(hold(Some(&rollout)).is_err());
}

fn held(controller: Controller, setting: Value) -> HoldOwner {
    hold(Some(&owner(controller, automated(setting), true))).unwrap().unwrap()
}

#[test]
fn a_hold_is_guarded_and_can_be_put_back_exactly() {
    let before = json!({"prune": true, "selfHeal": true});
    let argo = held(argo("argocd", "web"), before.clone());
    let path = "/spec/syncPolicy/automated";
    let guards = [
        json!({"op": "test", "path": "/metadata/uid", "value": "u"}),
        json!({"op": "test", "path": path, "value": before}),
    ];
    for patch in &argo.patches {
        assert_eq!(patch.as_array().unwrap()[..2], guards);
    }
    assert_eq!(argo.patches[0][2], json!({"op": "add", "path": format!("{path}/enabled"), "value": false}));
    assert_eq!(argo.patches[1][2], json!({"op": "remove", "path": path}));
    assert_eq!(
        argo.resume_command(),
        "kubectl patch applications.argoproj.io web -n argocd --type=json \
         -p '[{\"op\":\"add\",\"path\":\"/spec/syncPolicy/automated\",\"value\":{\"prune\":true,\"selfHeal\":true}}]'"
    );
    let flux = held(kustomization(), Value::Null);
    assert_eq!(flux.patches.len(), 1);
    assert_eq!(flux.patches[0][1], json!({"op": "test", "path": "/spec/suspend", "value": null}));
    assert_eq!(flux.patches[0][2], json!({"op": "add", "path": "/spec/suspend", "value": true}));
    assert_eq!(flux.resume_command(), "flux resume kustomization apps -n flux");
}

#[test]
fn a_hold_is_done_only_as_it_was_planned() {
    let step = held(argo("argocd", "web"), json!({}));
    let found = |state: OwnerState| match assess_hold(&step, &state) {
        Finding::Satisfied { .. } => "satisfied",
        Finding::NotYet { .. } => "not yet",
        Finding::Unseen { .. } => "unseen",
        Finding::Conflict { .. } => "conflict",
    };
    let found: Vec<&str> = all_states().into_iter().map(found).collect();
    assert_eq!(found, ["satisfied", "satisfied", "not yet", "conflict", "conflict", "unseen"]);
    let conflict = |state| matches!(assess_hold(&step, &state), Finding::Conflict { .. });
    assert!(conflict(automated(json!({"prune": true}))), "somebody changed it");
    let other = Automation { uid: "other".into(), setting: json!({}), reverts: true };
    assert!(conflict(OwnerState::Automated(other)));
}

#[test]
fn a_hold_ends_when_somebody_resumes_it() {
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    let zero = Timestamp::UNIX_EPOCH;
    let mut held = Held::new(target, "shop-1".into(), held(kustomization(), Value::Null), zero);
    let over = |state| held.is_over(Some(&owner(kustomization(), state, true))).is_some();
    let over: Vec<bool> = all_states().into_iter().map(over).collect();
    assert_eq!(over, [false, false, true, true, true, false]);
    assert!(held.is_over(None).unwrap().contains("does not own it any more"));
    let hours = |n| zero + SignedDuration::from_hours(n);
    assert!(!held.is_forgotten(hours(23)) && held.is_forgotten(hours(24)));
    held.remind(hours(24));
    assert!(!held.is_forgotten(hours(47)) && held.is_forgotten(hours(48)));
}

#[test]
fn everybody_is_told_why_and_what_to_do() {
    let rollout = Owner::ArgoRollout { namespace: "shop".into(), name: "web".into() };
    let text = |owner: &Owner| format!("{}; {}", owner.objection(), owner.advice());
    assert!(text(&rollout).contains("kubectl argo rollouts undo web -n shop"), "{}", text(&rollout));
    assert!(text(&rollout).contains("kubectl argo rollouts abort web -n shop"));
    let argo = |state| text(&owner(argo("argocd", "web"), state, false));
    assert!(argo(automated(json!({}))).contains("`argocd app set web --sync-policy none`"));
    assert!(argo(OwnerState::Missing).contains("kubernetes.argocd_namespace"));
    assert!(argo(OwnerState::ApplicationSetOwned { set: "all".into() }).contains("ApplicationSet all"));
    assert!(argo(OwnerState::Unreadable { why: "HTTP 403".into() }).contains("HTTP 403"));
    let flux = text(&owner(kustomization(), automated(Value::Null), false));
    assert!(flux.contains("`flux suspend kustomization apps -n flux`"), "{flux}");
}

#[test]
fn what_deploys_it_again_is_named_as_exactly_as_it_is_known() {
    let writer = |manager: &str, applies| Some(Writer { manager: manager.into(), applies, at: None });
    let again = |owner, writer| Origin { owner, writer }.comes_again("v2");
    assert!(again(None, writer("kubectl-client-side-apply", false)).contains("next `kubectl apply` of it"));
    assert!(again(None, writer("kubectl", true)).contains("next `kubectl apply` of it"));
    assert!(again(None, writer("ci-deployer", true)).contains("ci-deployer wrote v2"));
    assert!(again(None, None).contains("the next deploy, sync or `kubectl apply`"));
    assert_eq!(again(None, writer(OURSELVES, false)), again(None, None));
    let helm = Owner::Helm { namespace: "shop".into(), release: "web".into() };
    assert!(again(Some(helm), None).contains("next `helm upgrade web` with v2"));
    let flux = owner(kustomization(), OwnerState::Suspended, false);
    assert!(again(Some(flux), None).contains("next sync of Flux Kustomization flux/apps deploys v2"));
}
