//! The shipped roles about owners: with each of them one thing more works, and without any nothing is touched.
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::owner::{GitOps, Owner, OwnerState};
use rollguard::ports::Target;
use serde_json::{Value, json};

use super::simulated::{application, install, kustomization, kustomized, mark, tracked};
use super::states::{holding_step, origin, seen_by};
use crate::kubernetes::world::{Place, SOON};
use crate::support::until;

const READ_ARGOCD: &str = include_str!("../../../../deploy/kubernetes/owners/read-argocd.yaml");
const SUSPEND_ARGOCD: &str = include_str!("../../../../deploy/kubernetes/owners/suspend-argocd.yaml");
const READ_FLUX: &str = include_str!("../../../../deploy/kubernetes/owners/read-flux.yaml");
const SUSPEND_FLUX: &str = include_str!("../../../../deploy/kubernetes/owners/suspend-flux.yaml");
const READ_ROLLOUTS: &str = include_str!("../../../../deploy/kubernetes/owners/read-rollouts.yaml");

/// Applies a shipped manifest in the place's namespace, for its account.
async fn grant(place: &Place, yaml: &str, asks: &str) {
    let mut items: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    for item in &mut items {
        item["metadata"]["namespace"] = json!(place.namespace);
        if item["kind"] == "RoleBinding" {
            item["subjects"][0]["namespace"] = json!(place.namespace);
            item["subjects"][0]["name"] = json!("guard");
        }
    }
    place
        .cluster
        .apply(&place.namespace, &json!({ "apiVersion": "v1", "kind": "List", "items": items }))
        .await;
    let ask = format!("auth can-i {asks} --as=system:serviceaccount:{}:guard", place.namespace);
    until("the role counts", SOON, async || {
        place.cluster.try_kubectl(&place.namespace, &ask).await.status.success().then_some(())
    })
    .await;
}

/// One owner from no right to all of them. `read` and `suspend` are manifests and what they allow.
async fn step_by_step(place: &Place, read: (&str, &str), suspend: (&str, &str)) {
    let token = place.shipped_role().await;
    let seen = seen_by(place.cluster, &place.namespace, Some(&token)).await;
    let Some(Owner::GitOps(GitOps { state: OwnerState::Unreadable { why }, .. })) = origin(&seen).await.owner
    else {
        panic!("it can be read without a right")
    };
    assert!(why.contains("HTTP 403"), "{why}");
    grant(place, read.0, read.1).await;
    let step = holding_step(place, &seen).await;
    let refused = seen.targets().apply(&step).await;
    assert!(matches!(&refused, Outcome::Refused { why } if why.contains("HTTP 403")), "{refused:?}");
    assert!(matches!(seen.targets().observe(&step).await, Finding::NotYet { .. }));
    grant(place, suspend.0, suspend.1).await;
    assert!(matches!(seen.targets().apply(&step).await, Outcome::Done { .. }));
    assert!(matches!(seen.targets().observe(&step).await, Finding::Satisfied { .. }));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn argo_cd_needs_one_right_to_be_read_and_one_to_be_suspended() {
    let place = Place::new("rights-argo").await;
    install(place.cluster).await;
    application(&place, "shop", &json!({ "automated": {} })).await;
    mark(&place, json!({}), tracked(&place, "shop")).await;
    let read = (READ_ARGOCD, "get applications.argoproj.io/shop");
    step_by_step(&place, read, (SUSPEND_ARGOCD, "patch applications.argoproj.io/shop")).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn flux_needs_one_right_to_be_read_and_one_to_be_suspended() {
    let place = Place::new("rights-flux").await;
    install(place.cluster).await;
    kustomization(&place).await;
    mark(&place, kustomized(&place), json!({})).await;
    let read = (READ_FLUX, "get kustomizations.kustomize.toolkit.fluxcd.io/apps");
    let suspend = (SUSPEND_FLUX, "patch kustomizations.kustomize.toolkit.fluxcd.io/apps");
    step_by_step(&place, read, suspend).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_rollout_is_found_with_the_right_to_list_them() {
    let place = Place::new("rights-rollouts").await;
    install(place.cluster).await;
    let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "web" },
        "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } });
    place.cluster.apply(&place.namespace, &rollout).await;
    place.kubectl("scale deployment web --replicas=0").await;
    let token = place.shipped_role().await;
    let seen = seen_by(place.cluster, &place.namespace, Some(&token)).await;
    assert_eq!(origin(&seen).await.owner, None, "it cannot be known");
    grant(&place, READ_ROLLOUTS, "list rollouts.argoproj.io").await;
    let expected = Owner::ArgoRollout { namespace: place.namespace.clone(), name: "web".into() };
    assert_eq!(origin(&seen).await.owner, Some(expected));
}
