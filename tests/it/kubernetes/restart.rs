//! A restart as a step of a plan leaves a workload as the real `kubectl rollout restart` leaves its twin.

use std::sync::Arc;

use jiff::Timestamp;
use rollguard::adapters::kubernetes::{ClusterAccess, Kubernetes, KubernetesTarget};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::kubernetes::{Restart, Workload, restart};
use rollguard::domain::plan::{Action, Refusal, Step};
use rollguard::domain::survey::KubernetesSurvey;
use rollguard::domain::workload::WorkloadKind;
use rollguard::engine::clock::SystemClock;
use rollguard::ports::Target;
use serde_json::Value;

use super::world::{Place, SOON};
use crate::support::until;

const STAMP: &str = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";

fn target() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

async fn open(place: &Place) -> Kubernetes {
    let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
    let kind = kinds.into_iter().find(|kind| kind.noun() == place.kind).unwrap();
    let workload = Workload { kind, namespace: place.namespace.clone(), name: "web".into() };
    let access = ClusterAccess::Kubeconfig { path: Some(place.cluster.kubeconfig()), context: None };
    let guarded = vec![KubernetesTarget { target: target(), workload }];
    Kubernetes::open(&access, guarded, Arc::new(SystemClock)).await.unwrap()
}

async fn surveyed(cluster: &Kubernetes) -> KubernetesSurvey {
    cluster.targets().survey(&target()).await.unwrap().workload().unwrap().clone()
}

async fn object(place: &Place) -> Value {
    let text = place.kubectl(&format!("get {} web -o json", place.kind)).await;
    serde_json::from_str(&text.replace(&place.namespace, "NAMESPACE")).unwrap()
}

async fn carried_out(cluster: &Kubernetes, steps: &[Step]) {
    let targets = cluster.targets();
    let [stamp, wait] = steps else { panic!("{steps:?}") };
    assert!(matches!(targets.observe(stamp).await, Finding::NotYet { .. }));
    // A repetition is the same restart.
    for _ in 0..2 {
        assert!(matches!(targets.apply(stamp).await, Outcome::Done { .. }));
        assert!(matches!(targets.observe(stamp).await, Finding::Satisfied { .. }));
    }
    until("it is rolled out", SOON, async || {
        matches!(targets.observe(wait).await, Finding::Satisfied { .. }).then_some(())
    })
    .await;
}

async fn is_restarted_as_by_kubectl(kind: &'static str) {
    let (ours, theirs) = (format!("restart-{kind}"), format!("restart-{kind}-twin"));
    let (ours, theirs) = tokio::join!(Place::of(kind, &ours, |_| {}), Place::of(kind, &theirs, |_| {}));
    let cluster = open(&ours).await;
    let before = surveyed(&cluster).await;
    let steps = restart(&before, Timestamp::now(), 60).unwrap();
    carried_out(&cluster, &steps).await;
    theirs.kubectl(&format!("rollout restart {kind}/web")).await;
    theirs.rolled_out().await;
    let (mut ours_now, mut theirs_now) = (object(&ours).await, object(&theirs).await);
    for left in [&mut ours_now, &mut theirs_now] {
        let stamp = left.pointer_mut(STAMP).unwrap();
        let text = stamp.as_str().unwrap().to_owned();
        assert_eq!(
            (text.len(), text.parse::<Timestamp>().is_ok()),
            ("2026-11-22T10:00:00Z".len(), true),
            "{text}"
        );
        *stamp = "then".into();
    }
    for part in ["/spec", "/metadata/annotations", "/metadata/generation"] {
        assert_eq!(ours_now.pointer(part), theirs_now.pointer(part), "{kind} {part}");
    }
    let after = surveyed(&cluster).await;
    assert_eq!(after.version, before.version, "a restart is no release");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_restart_leaves_what_kubectl_leaves() {
    tokio::join!(
        is_restarted_as_by_kubectl("deployment"),
        is_restarted_as_by_kubectl("statefulset"),
        is_restarted_as_by_kubectl("daemonset"),
    );
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn neither_a_namesake_nor_a_paused_workload_is_restarted() {
    let place = Place::new("restart-refused").await;
    let cluster = open(&place).await;
    let survey = surveyed(&cluster).await;
    let mut steps = restart(&survey, Timestamp::now(), 60).unwrap();
    place.kubectl("rollout pause deployment/web").await;
    let refusal = restart(&surveyed(&cluster).await, Timestamp::now(), 60).unwrap_err();
    assert!(matches!(refusal, Refusal::Paused { .. }), "{refusal}");
    let targets = cluster.targets();
    assert!(matches!(targets.observe(&steps[0]).await, Finding::Conflict { .. }));
    let Action::Restart(stamp) = steps[0].action.clone() else { panic!("{steps:?}") };
    steps[0].action = Action::Restart(Restart { uid: "another".into(), ..stamp });
    let outcome = targets.apply(&steps[0]).await;
    assert!(matches!(&outcome, Outcome::Refused { why } if why.contains("metadata.uid")), "{outcome:?}");
}
