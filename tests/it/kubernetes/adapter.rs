//! The Kubernetes adapter against the sandbox and against a real control plane: noticing, surveying, putting back.
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesFeed, KubernetesTarget};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::plan::{Goal, Plan, draft};
use rollguard::domain::survey::Survey;
use rollguard::domain::workload::{RolloutState, WorkloadKind, WorkloadView};
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{FeedEvent, ReleaseFeed, SurveyError, Target};
use rollguard::sandbox::{Deploy, Fault, Sandbox, SandboxOptions};

use crate::components::deployment;
use crate::support::cluster::Cluster;
use crate::support::faulty::{Fault as WireFault, Faulty};

const PATIENCE: Duration = Duration::from_secs(30);

fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

async fn open(access: ClusterAccess, namespace: &str, name: &str) -> Kubernetes {
    let kind = WorkloadKind::Deployment;
    let workload = Workload { kind, namespace: namespace.into(), name: name.into() };
    let target = KubernetesTarget { target: target(), workload };
    Kubernetes::open(&access, vec![target], Arc::new(SystemClock)).await.unwrap()
}

/// Reads events until one is as wanted.
async fn await_event(
    feed: &mut KubernetesFeed,
    what: &str,
    wanted: impl Fn(&FeedEvent) -> bool,
) -> FeedEvent {
    let search = async {
        loop {
            let event = feed.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("not seen: {what}"))
}

async fn await_view(
    feed: &mut KubernetesFeed,
    what: &str,
    wanted: impl Fn(&WorkloadView) -> bool,
) -> WorkloadView {
    let matches = |event: &FeedEvent| matches!(event, FeedEvent::Changed(view) if wanted(view));
    match await_event(feed, what, matches).await {
        FeedEvent::Changed(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn ended(view: &WorkloadView, label: &str) -> bool {
    view.version.label == label && matches!(view.rollout, RolloutState::Ended { .. })
}

async fn plan_back(cluster: &Kubernetes, view: &WorkloadView) -> Plan {
    let survey = cluster.targets().survey(&target()).await.unwrap();
    let Survey::Kubernetes(found) = &survey else { panic!("{survey:?}") };
    assert_eq!(found.version, view.version, "the survey and the watch agree");
    let mut versions: Vec<_> = found.history.iter().map(|r| r.version.clone()).collect();
    versions.dedup();
    assert_eq!(versions, view.history.iter().map(|g| g.version.clone()).collect::<Vec<_>>());
    let good = view.history[view.history.len() - 2].version.clone();
    draft(&survey, &Goal::Version(good), "r1", 60).unwrap()
}

async fn carry_out(cluster: &Kubernetes, plan: &Plan) {
    let targets = cluster.targets();
    let [restore, wait] = plan.steps.as_slice() else { panic!("{plan:?}") };
    assert!(matches!(targets.observe(restore).await, Finding::NotYet { .. }));
    assert!(matches!(targets.apply(restore).await, Outcome::Done { .. }));
    assert!(matches!(targets.observe(restore).await, Finding::Satisfied { .. }));
    assert!(matches!(targets.apply(restore).await, Outcome::Refused { .. }), "applied twice");
    assert!(matches!(targets.apply(wait).await, Outcome::Done { .. }));
    let rolled_out = async {
        while !matches!(targets.observe(wait).await, Finding::Satisfied { .. }) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rolled_out).await.unwrap();
}

#[tokio::test]
async fn the_sandbox_is_followed_and_put_back() {
    let options = SandboxOptions { ready_after: Duration::from_millis(200), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let cluster = open(ClusterAccess::Url(sandbox.kube_url()), "default", "shop").await;
    let mut feed = cluster.feed();
    let first = await_view(&mut feed, "the first version", |v| ended(v, "v1")).await;
    let age = Timestamp::now().duration_since(first.current_since).as_secs();
    assert!((7_000..7_400).contains(&age), "{age}");
    assert!(matches!(feed.next().await, Some(FeedEvent::Restored)));
    assert_eq!(first.pods.len(), 3);
    assert!(first.pods.iter().all(|p| p.reading.ready && p.metrics_url.is_some()));

    sandbox.deploy(&Deploy::new("v2", Fault::None)).unwrap();
    let released = await_view(&mut feed, "the release", |v| v.version.label == "v2").await;
    assert!(Timestamp::now().duration_since(released.current_since).as_secs() <= 3);
    let second = await_view(&mut feed, "the end of the rollout", |v| ended(v, "v2")).await;
    sandbox.expire_watches();
    let plan = plan_back(&cluster, &second).await;
    carry_out(&cluster, &plan).await;
    let back = await_view(&mut feed, "the version before", |v| ended(v, "v1")).await;
    assert_eq!(back.version.fingerprint, first.version.fingerprint);
    assert!(back.current_since > second.current_since);
    sandbox.stop().await;
    await_event(&mut feed, "the interruption", |e| matches!(e, FeedEvent::Interrupted { .. })).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_real_control_plane_is_followed_and_put_back() {
    let control = Cluster::shared().await;
    let namespace = control.namespace("adapter").await;
    control.apply(&namespace, &deployment("v1")).await;
    let access = ClusterAccess::Kubeconfig { path: Some(control.kubeconfig()), context: None };
    let cluster = open(access, &namespace, "web").await;
    let mut feed = cluster.feed();
    let first = await_view(&mut feed, "v1", |v| ended(v, "v1") && v.pods.len() == 3).await;
    assert!(first.pods.iter().all(|p| p.fingerprint.as_ref() == Some(&first.version.fingerprint)));

    control.kubectl(&namespace, "set image deployment/web app=app:v2").await;
    let second = await_view(&mut feed, "v2", |v| ended(v, "v2")).await;
    control.kubectl(&namespace, "rollout restart deployment/web").await;
    control.kubectl(&namespace, "rollout status deployment/web --timeout=30s").await;
    let plan = plan_back(&cluster, &second).await;
    carry_out(&cluster, &plan).await;
    let back = await_view(&mut feed, "v1 again", |v| ended(v, "v1")).await;
    assert_eq!(back.version.fingerprint, first.version.fingerprint);
    assert!(back.current_since > second.current_since);
    let labels: Vec<_> = back.history.iter().map(|g| (g.version.label.as_str(), g.revision)).collect();
    assert_eq!(labels, [("v2", 3), ("v1", 4)]);

    control.kubectl(&namespace, "delete deployment web").await;
    await_event(&mut feed, "the deletion", |e| matches!(e, FeedEvent::Gone(_))).await;
    let missing = cluster.targets().survey(&target()).await.unwrap_err();
    assert!(matches!(missing, SurveyError::Missing { .. }), "{missing}");
    assert!(matches!(cluster.targets().observe(&plan.steps[0]).await, Finding::Conflict { .. }));
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn cut_watches_and_lost_answers_are_told_and_repaired() {
    let control = Cluster::shared().await;
    let namespace = control.namespace("adapter-faults").await;
    control.apply(&namespace, &deployment("v1")).await;
    let token = control.service_account(&namespace, "guard").await;
    let account = format!("--serviceaccount={namespace}:guard");
    control.kubectl(&namespace, &format!("create rolebinding guard --clusterrole=edit {account}")).await;
    let faulty = Faulty::start(control).await;
    let access =
        ClusterAccess::Kubeconfig { path: Some(faulty.kubeconfig_as(control, &token)), context: None };
    let cluster = open(access, &namespace, "web").await;
    let mut feed = cluster.feed();
    await_view(&mut feed, "v1", |v| ended(v, "v1")).await;

    faulty.cut_watches();
    control.kubectl(&namespace, "set image deployment/web app=app:v2").await;
    let second = await_view(&mut feed, "v2", |v| ended(v, "v2")).await;

    let plan = plan_back(&cluster, &second).await;
    let targets = cluster.targets();
    faulty.plan(WireFault::Refuse(503), 1, axum::http::Method::GET, "/deployments/web");
    assert!(matches!(targets.observe(&plan.steps[0]).await, Finding::Unseen { .. }));
    faulty.plan(WireFault::Refuse(429), 1, axum::http::Method::PATCH, "/deployments/web");
    assert!(matches!(targets.apply(&plan.steps[0]).await, Outcome::Unknown { .. }));
    assert!(matches!(targets.observe(&plan.steps[0]).await, Finding::NotYet { .. }));
    faulty.plan(WireFault::LoseAnswer, 1, axum::http::Method::PATCH, "/deployments/web");
    assert!(matches!(targets.apply(&plan.steps[0]).await, Outcome::Unknown { .. }));
    assert!(matches!(targets.observe(&plan.steps[0]).await, Finding::Satisfied { .. }));
    assert_eq!(faulty.still_planned(), 0, "nothing was sent twice");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_may_not_be_read_is_told_with_what_to_allow() {
    let control = Cluster::shared().await;
    let namespace = control.namespace("adapter-rbac").await;
    control.apply(&namespace, &deployment("v1")).await;
    let token = control.service_account(&namespace, "nobody").await;
    let access = ClusterAccess::Kubeconfig { path: Some(control.kubeconfig_as(&token)), context: None };
    let cluster = open(access, &namespace, "web").await;
    let event = cluster.feed().next().await;
    let Some(FeedEvent::Interrupted { why }) = event else { panic!("{event:?}") };
    assert!(why.contains("HTTP 403") && why.contains("allow list and watch on"), "{why}");
    let error = cluster.targets().survey(&target()).await.unwrap_err().to_string();
    assert!(error.contains("403"), "{error}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_bad_release_is_seen_pod_by_pod() {
    let control = Cluster::shared().await;
    let namespace = control.namespace("adapter-bad").await;
    control.apply(&namespace, &deployment("v1")).await;
    let access = ClusterAccess::Kubeconfig { path: Some(control.kubeconfig()), context: None };
    let cluster = open(access, &namespace, "web").await;
    let mut feed = cluster.feed();
    await_view(&mut feed, "v1", |v| ended(v, "v1")).await;
    control.kubectl(&namespace, "set image deployment/web app=app:v2-crashloop").await;
    let has = |view: &WorkloadView, reason: &str| {
        let current = Some(&view.version.fingerprint);
        let mut new = view.pods.iter().filter(|p| p.fingerprint.as_ref() == current);
        new.any(|p| p.reading.reason.as_deref() == Some(reason))
    };
    await_view(&mut feed, "a crash loop", |v| {
        v.version.label == "v2-crashloop" && has(v, "CrashLoopBackOff")
    })
    .await;
    let gave_up = await_view(&mut feed, "the deadline", |v| {
        v.version.label == "v2-crashloop" && matches!(v.rollout, RolloutState::GaveUp { .. })
    })
    .await;
    let plan = plan_back(&cluster, &gave_up).await;
    carry_out(&cluster, &plan).await;
    await_view(&mut feed, "v1 again", |v| ended(v, "v1")).await;
}
