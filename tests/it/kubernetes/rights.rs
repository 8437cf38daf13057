//! The shipped Role is enough for a whole rollback, and each right in it is needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesTarget};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::plan::{Goal, Plan, draft};
use rollguard::domain::release::Version;
use rollguard::domain::workload::WorkloadKind;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{FeedEvent, ReleaseFeed, Target};
use serde_json::{Value, json};

use super::world::{Place, SOON, shipped_role};
use crate::support::until;

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_rollback_needs_no_more_than_the_shipped_role() {
    is_enough(Place::new("role").await).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn other_kinds_need_no_more_than_their_shipped_roles() {
    let parallel = |object: &mut Value| object["spec"]["podManagementPolicy"] = json!("Parallel");
    is_enough(Place::of("daemonset", "role-daemons", |_| {}).await).await;
    every_right_is_needed(Place::of("statefulset", "rights-stateful", parallel).await).await;
    every_right_is_needed(Place::of("daemonset", "rights-daemons", |_| {}).await).await;
}

async fn is_enough(place: Place) {
    let token = place.shipped_role().await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let world = place.guarded_through(kubeconfig, |_| {}).await;
    world.deploy("v2-crashloop").await;
    world.verified().await;
    assert_eq!(world.tag().await, "v1");
}

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq)]
struct Right {
    group: Value,
    resource: String,
    names: Value,
    verb: String,
}

fn rights(role: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            rights.extend(rule["verbs"].as_array().unwrap().iter().map(|verb| Right {
                group: rule["apiGroups"].clone(),
                resource: resource.as_str().unwrap().to_owned(),
                names: rule["resourceNames"].clone(),
                verb: verb.as_str().unwrap().to_owned(),
            }));
        }
    }
    rights
}

/// An account of its own with a Role of these rights, as an adapter sees the cluster.
async fn with_rights(place: &Place, name: &str, rights: &[Right]) -> Kubernetes {
    let rule = |right: &Right| {
        let mut rule =
            json!({ "apiGroups": right.group, "resources": [right.resource], "verbs": [right.verb] });
        if !right.names.is_null() {
            rule["resourceNames"] = right.names.clone();
        }
        rule
    };
    let token = place.cluster.service_account(&place.namespace, name).await;
    let subject = json!({ "kind": "ServiceAccount", "name": name, "namespace": place.namespace });
    let api = "rbac.authorization.k8s.io";
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": { "name": name },
          "rules": rights.iter().map(rule).collect::<Value>() },
        { "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": { "name": name },
          "roleRef": { "apiGroup": api, "kind": "Role", "name": name }, "subjects": [subject] },
    ]});
    place.cluster.apply(&place.namespace, &list).await;
    let last = rights.last().unwrap();
    let ask = format!(
        "auth can-i {} {}/web --as=system:serviceaccount:{}:{name}",
        last.verb, last.resource, place.namespace
    );
    until("the role counts", SOON, async || {
        place.cluster.try_kubectl(&place.namespace, &ask).await.status.success().then_some(())
    })
    .await;
    cluster_as(place, place.cluster.kubeconfig_as(&token)).await
}

/// The cluster as the adapter sees it with this kubeconfig.
pub(super) async fn cluster_as(place: &Place, kubeconfig: PathBuf) -> Kubernetes {
    let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
    let kind = kinds.into_iter().find(|kind| kind.noun() == place.kind).unwrap();
    let workload = Workload { kind, namespace: place.namespace.clone(), name: "web".into() };
    let target = KubernetesTarget { target: target(), workload };
    let path = Some(kubeconfig);
    let access = ClusterAccess::Kubeconfig { path, context: None };
    Kubernetes::open(&access, vec![target], Arc::new(SystemClock)).await.unwrap()
}

pub(super) fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

/// Follows the cluster for a few seconds; the lists may be allowed and the watches that follow them not.
async fn follow(cluster: &Kubernetes) -> Result<(), String> {
    let mut feed = cluster.feed();
    let mut complete = false;
    let refusal = async {
        loop {
            match feed.next().await.unwrap() {
                FeedEvent::Interrupted { why } => return why,
                FeedEvent::Restored => complete = true,
                FeedEvent::Changed(_) | FeedEvent::Gone(_) => {}
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(5), refusal).await {
        Ok(why) => Err(why),
        Err(_) if complete => Ok(()),
        Err(_) => Err("not everything was listed".into()),
    }
}

async fn drafted(cluster: &Kubernetes, good: &Version) -> Result<Plan, String> {
    let survey = cluster.targets().survey(&target()).await.map_err(|e| e.to_string())?;
    draft(&survey, &Goal::Version(good.clone()), "r1", 60).map_err(|e| e.to_string())
}

/// All that the daemon ever asks of the cluster; the error is the first refusal.
async fn guard(cluster: &Kubernetes, good: &Version) -> Result<(), String> {
    follow(cluster).await?;
    let plan = drafted(cluster, good).await?;
    let targets = cluster.targets();
    let [restore, wait] = plan.steps.as_slice() else { panic!("{plan:?}") };
    for step in [restore, wait] {
        if let Finding::Unseen { why } = targets.observe(step).await {
            return Err(why);
        }
    }
    match targets.apply(restore).await {
        Outcome::Done { .. } => {}
        Outcome::Refused { why } | Outcome::Unknown { why } => return Err(why),
    }
    // While it rolls out, the pods that are waited for are named.
    match targets.observe(wait).await {
        Finding::NotYet { .. } => Ok(()),
        Finding::Unseen { why } => Err(why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn without_any_one_right_of_the_role_it_does_not_work() {
    every_right_is_needed(Place::new("rights").await).await;
}

/// What the first Role grants for Deployments, only they need.
async fn every_right_is_needed(place: Place) {
    let all: Vec<Right> = place.roles().iter().flat_map(|name| rights(&shipped_role(name))).collect();
    let of_others = |right: &Right| ["deployments", "replicasets"].contains(&right.resource.as_str());
    let all: Vec<Right> =
        all.into_iter().filter(|right| place.kind == "deployment" || !of_others(right)).collect();
    let everything = with_rights(&place, "everything", &all).await;
    let good = {
        let mut feed = everything.feed();
        loop {
            if let Some(FeedEvent::Changed(view)) = feed.next().await {
                break view.version;
            }
        }
    };
    assert_eq!(good.label, "v1");
    place.deploy("v2-crashloop").await;
    let lacking = all.iter().enumerate().map(|(n, right)| {
        let rest: Vec<Right> = all.iter().filter(|other| *other != right).cloned().collect();
        let (place, good) = (&place, &good);
        async move {
            let cluster = with_rights(place, &format!("lacking-{n}"), &rest).await;
            let denied = cluster.targets().surroundings(&target(), None, &[]).await.denied;
            (right, denied, guard(&cluster, good).await)
        }
    });
    for (right, denied, outcome) in futures::future::join_all(lacking).await {
        let why = outcome.expect_err(&format!("{right:?} is granted and not needed"));
        assert!(why.contains("403"), "without {right:?}: {why}");
        let said = format!("{} {}", right.verb, right.resource);
        assert!(denied.len() == 1 && denied[0].starts_with(&said), "without {right:?}: {denied:?}");
    }
    assert!(everything.targets().surroundings(&target(), None, &[]).await.denied.is_empty());
    guard(&everything, &good).await.unwrap();
}
