//! What the adapter reads of owners on the real API server, and how it suspends them there.
use std::collections::BTreeSet;
use std::sync::Arc;

use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesTarget, OwnerOptions};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::{Automation, GitOps, HoldOwner, Origin, Owner, OwnerState};
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::plan::{Action, Goal, Plan, Step, draft};
use rollguard::domain::survey::Survey;
use rollguard::domain::workload::WorkloadKind;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use serde_json::{Value, json};

use super::simulated::{application, install, install_crds, kustomization, kustomized, mark, tracked};
use crate::components::deployment;
use crate::kubernetes::world::Place;
use crate::support::cluster::Cluster;

const BEFORE_ENABLED: &str = include_str!("../../../fixtures/owners/application-before-enabled.yaml");

pub(super) fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

/// The Deployment `web` of a namespace, whose owner may be suspended.
pub(super) async fn seen_by(cluster: &Cluster, namespace: &str, token: Option<&str>) -> Kubernetes {
    let path = Some(token.map_or_else(|| cluster.kubeconfig(), |token| cluster.kubeconfig_as(token)));
    let access = ClusterAccess::Kubeconfig { path, context: None };
    let kind = WorkloadKind::Deployment;
    let workload = Workload { kind, namespace: namespace.to_string(), name: "web".into() };
    let one = KubernetesTarget { target: target(), workload };
    let options =
        OwnerOptions { argocd_namespace: namespace.to_string(), may_hold: BTreeSet::from([target()]) };
    Kubernetes::open(&access, vec![one], Arc::new(SystemClock)).await.unwrap().with_owners(options)
}

pub(super) async fn origin(cluster: &Kubernetes) -> Origin {
    let survey = cluster.targets().survey(&target()).await.unwrap();
    survey.workload().unwrap().origin.clone()
}

async fn state(cluster: &Kubernetes) -> Option<OwnerState> {
    match origin(cluster).await.owner {
        Some(Owner::GitOps(GitOps { state, .. })) => Some(state),
        Some(Owner::Helm { .. } | Owner::ArgoRollout { .. }) | None => None,
    }
}

fn automation(state: Option<OwnerState>) -> (Value, bool) {
    let Some(OwnerState::Automated(Automation { setting, reverts, .. })) = state else { panic!("{state:?}") };
    (setting, reverts)
}

async fn placed(purpose: &str) -> (Place, Kubernetes) {
    let place = Place::new(purpose).await;
    install(place.cluster).await;
    let cluster = seen_by(place.cluster, &place.namespace, None).await;
    (place, cluster)
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_application_is_read_with_its_sync_policy_and_its_set() {
    let (place, cluster) = placed("argo-states").await;
    mark(&place, json!({}), tracked(&place, "web")).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::Missing));
    application(&place, "web", &json!({})).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::Manual));
    application(&place, "web", &json!({ "automated": {} })).await;
    assert_eq!(automation(state(&cluster).await), (json!({}), false));
    let healing = json!({ "prune": true, "selfHeal": true });
    application(&place, "web", &json!({ "automated": healing })).await;
    assert_eq!(automation(state(&cluster).await), (healing.clone(), true));

    let set = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": { "name": "all" }, "spec": {} });
    place.cluster.apply(&place.namespace, &set).await;
    let uid = place.kubectl("get applicationset all -o jsonpath={.metadata.uid}").await;
    let patch = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet", "name": "all", "uid": uid }] } });
    place.kubectl(&format!("patch application web --type=merge -p {patch}")).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::ApplicationSetOwned { set: "all".into() }));
    assert!(planned(&place, &cluster).await.unwrap_err().contains("ApplicationSet all"));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_every_chart_sets_is_an_application_only_if_there_is_one() {
    let (place, cluster) = placed("argo-label").await;
    let helm = json!({ "meta.helm.sh/release-name": "chart" });
    mark(&place, json!({ "app.kubernetes.io/instance": "chart" }), helm).await;
    let namespace = place.namespace.clone();
    let expected = Owner::Helm { namespace, release: "chart".into() };
    assert_eq!(origin(&cluster).await.owner, Some(expected));
    application(&place, "chart", &json!({ "automated": {} })).await;
    assert_eq!(automation(state(&cluster).await), (json!({}), false));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn flux_is_read_in_both_its_kinds() {
    let (place, cluster) = placed("flux-states").await;
    mark(&place, kustomized(&place), json!({})).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::Missing));
    kustomization(&place).await;
    assert_eq!(automation(state(&cluster).await), (Value::Null, true));
    place.kubectl(r#"patch kustomization apps --type=merge -p {"spec":{"suspend":true}}"#).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::Suspended));
    place.kubectl(r#"patch kustomization apps --type=merge -p {"spec":{"suspend":false}}"#).await;
    assert_eq!(automation(state(&cluster).await), (json!(false), true));
    mark(&place, json!({}), json!({ "kustomize.toolkit.fluxcd.io/reconcile": "disabled" })).await;
    assert_eq!(state(&cluster).await, Some(OwnerState::Suspended), "for this one object");

    release(&place).await;
    assert_eq!(automation(state(&cluster).await), (Value::Null, false));
    place
        .kubectl(r#"patch helmrelease web --type=merge -p {"spec":{"driftDetection":{"mode":"enabled"}}}"#)
        .await;
    assert_eq!(automation(state(&cluster).await), (Value::Null, true));
}

/// Makes the Deployment one of a HelmRelease.
async fn release(place: &Place) {
    let object = json!({ "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": { "name": "web" }, "spec": { "interval": "10m" } });
    place.cluster.apply(&place.namespace, &object).await;
    let labels =
        json!({ "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": place.namespace });
    mark(place, labels, json!({})).await;
}

/// The plan back from v2, which is deployed if it is not there yet.
async fn planned(place: &Place, cluster: &Kubernetes) -> Result<Plan, String> {
    if place.tag().await == "v1" {
        place.deploy("v2").await;
        place.rolled_out().await;
    }
    back(cluster).await
}

async fn back(cluster: &Kubernetes) -> Result<Plan, String> {
    let survey = cluster.targets().survey(&target()).await.unwrap();
    let Survey::Kubernetes(found) = &survey else { panic!("{survey:?}") };
    let good = found.history[0].version.clone();
    draft(&survey, &Goal::Version(good), "r1", 60)
        .map_err(|refusal| format!("{refusal}; {}", refusal.advice()))
}

pub(super) async fn holding_step(place: &Place, cluster: &Kubernetes) -> Step {
    planned(place, cluster).await.unwrap().steps.remove(0)
}

fn hold_of(step: &Step) -> &HoldOwner {
    let Action::HoldOwner(hold) = &step.action else { panic!("{step:?}") };
    hold
}

/// Carries the step out as a driver does.
async fn carry_out(cluster: &Kubernetes, step: &Step) {
    let targets = cluster.targets();
    let before = targets.observe(step).await;
    assert!(matches!(before, Finding::NotYet { .. }), "{before:?}");
    let applied = targets.apply(step).await;
    assert!(matches!(applied, Outcome::Done { .. }), "{applied:?}");
    let after = targets.observe(step).await;
    assert!(matches!(after, Finding::Satisfied { .. }), "{after:?}");
    let twice = targets.apply(step).await;
    assert!(matches!(twice, Outcome::Refused { .. }), "its guard refuses it: {twice:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn each_kind_of_owner_is_suspended_by_one_guarded_patch() {
    let (place, cluster) = placed("holds").await;
    mark(&place, kustomized(&place), json!({})).await;
    kustomization(&place).await;
    let step = holding_step(&place, &cluster).await;
    assert_eq!(hold_of(&step).previous, Value::Null, "it was not written");
    carry_out(&cluster, &step).await;
    assert!(matches!(back(&cluster).await.unwrap().steps[0].action, Action::RestoreTemplate(_)));

    place.kubectl("label deployment web kustomize.toolkit.fluxcd.io/name-").await;
    release(&place).await;
    place.kubectl(r#"patch helmrelease web --type=merge -p {"spec":{"suspend":false}}"#).await;
    let step = holding_step(&place, &cluster).await;
    assert_eq!(hold_of(&step).previous, json!(false));
    carry_out(&cluster, &step).await;

    let healing = json!({ "prune": true, "selfHeal": true });
    application(&place, "web", &json!({ "automated": healing })).await;
    mark(&place, json!({}), tracked(&place, "web")).await;
    let step = holding_step(&place, &cluster).await;
    assert_eq!(hold_of(&step).previous, healing);
    place
        .kubectl(
            r#"patch application web --type=merge -p {"spec":{"syncPolicy":{"automated":{"prune":false}}}}"#,
        )
        .await;
    assert!(
        matches!(cluster.targets().observe(&step).await, Finding::Conflict { .. }),
        "somebody changed it"
    );
    assert!(matches!(cluster.targets().apply(&step).await, Outcome::Refused { .. }));
    application(&place, "web", &json!({ "automated": healing })).await;
    let step = holding_step(&place, &cluster).await;
    carry_out(&cluster, &step).await;
    let policy = "get application web -o jsonpath={.spec.syncPolicy.automated}";
    let stored: Value = serde_json::from_str(&place.kubectl(policy).await).unwrap();
    assert_eq!(stored, json!({ "enabled": false, "prune": true, "selfHeal": true }));
    assert_eq!(resumed(&place, &step).await, healing);
}

/// What the sync policy is once the command of the messages was run as it stands there.
async fn resumed(place: &Place, step: &Step) -> Value {
    let command = hold_of(step).resume_command();
    let (line, patch) = command.split_once(" -p ").unwrap();
    let line = line.trim_start_matches("kubectl ");
    place.kubectl(&format!("{line} -p {}", patch.trim_matches('\''))).await;
    let policy = place.kubectl("get application web -o jsonpath={.spec.syncPolicy.automated}").await;
    serde_json::from_str(&policy).unwrap()
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn where_enabled_is_dropped_the_automation_goes_as_a_whole() {
    // The CRD is the cluster's, so it needs a cluster of its own.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().await));
    install_crds(cluster, BEFORE_ENABLED).await;
    let place = Place::on(cluster, "deployment", "old-argo", |_| {}).await;
    let seen = seen_by(cluster, &place.namespace, None).await;
    let healing = json!({ "prune": true, "selfHeal": true });
    application(&place, "web", &json!({ "automated": healing, "retry": { "limit": 3 } })).await;
    mark(&place, json!({}), tracked(&place, "web")).await;
    let step = holding_step(&place, &seen).await;
    carry_out(&seen, &step).await;
    let stored = place.kubectl("get application web -o jsonpath={.spec.syncPolicy}").await;
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), json!({ "retry": { "limit": 3 } }));
    assert_eq!(resumed(&place, &step).await, healing);
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_deployment_that_an_argo_rollout_took_over_is_left_to_it() {
    let (place, cluster) = placed("rollouts").await;
    let rollout = |reference: &str| {
        json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "canary" },
            "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": reference } } })
    };
    place.cluster.apply(&place.namespace, &rollout("other")).await;
    place.deploy("v2").await;
    place.rolled_out().await;
    place.kubectl("scale deployment web --replicas=0").await;
    assert_eq!(origin(&cluster).await.owner, None, "scaled to 0 by somebody");
    place.cluster.apply(&place.namespace, &rollout("web")).await;
    let why = back(&cluster).await.unwrap_err();
    let namespace = &place.namespace;
    assert!(why.contains(&format!("`kubectl argo rollouts undo canary -n {namespace}`")), "{why}");
    assert!(why.contains(&format!("`kubectl argo rollouts abort canary -n {namespace}`")), "{why}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn the_last_who_changed_the_template_is_known() {
    let (place, cluster) = placed("writers").await;
    let writer = async || origin(&cluster).await.writer.unwrap();
    let first = writer().await;
    assert_eq!((first.manager.as_str(), first.applies), ("kubectl-client-side-apply", false));
    assert!(origin(&cluster).await.comes_again("v1").contains("next `kubectl apply`"));
    // Times are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    place.deploy("v2").await;
    assert_eq!(writer().await.manager, "kubectl-set");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    place.kubectl("scale deployment web --replicas=2").await;
    assert_eq!(writer().await.manager, "kubectl-set", "a scaling is no deploy");
    place.cluster.apply(&place.namespace, &deployment("v3")).await;
    assert_eq!(writer().await.manager, "kubectl-client-side-apply");
}
