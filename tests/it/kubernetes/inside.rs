//! Evidence from inside of the cluster, each behind its own right: what failed probes said, and whom a Service sends requests to.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rollguard::adapters::kubernetes::{ClusterAccess, Extras, Kubernetes, KubernetesFeed, KubernetesTarget};
use rollguard::domain::names::{ServiceName, TargetId, TargetName};
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::{Goal, draft};
use rollguard::domain::workload::{PodView, WorkloadView};
use rollguard::engine::clock::SystemClock;
use rollguard::ports::{FeedEvent, ReleaseFeed, Target};
use serde_json::{Value, json};

use super::world::{Place, SOON};
use crate::support::pod_status::ROUTABLE;
use crate::support::until;

const FAILED_PROBES: &str =
    include_str!("../../../deploy/kubernetes/watched-namespace/optional/failed-probes.yaml");
const ENDPOINTS: &str = include_str!("../../../deploy/kubernetes/watched-namespace/optional/endpoints.yaml");
const PROBE: &str = "Readiness probe failed: HTTP probe failed with statuscode: 503";

fn id() -> TargetId {
    TargetId { service: ServiceName::parse("shop").unwrap(), target: TargetName::parse("backend").unwrap() }
}

/// The Service `web`, which wants its pods to be in front.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web", "tier": "front" }, "ports": [{ "port": 8080 }] },
    })
}

async fn place(purpose: &str) -> Place {
    let in_front = |object: &mut Value| {
        let template = &mut object["spec"]["template"]["metadata"];
        template["labels"]["tier"] = json!("front");
        template["annotations"] = json!({ ROUTABLE: "" });
    };
    let place = Place::with(purpose, in_front).await;
    place.cluster.apply(&place.namespace, &service()).await;
    place
}

async fn adapter(place: &Place, token: &str) -> Kubernetes {
    let target = KubernetesTarget { target: id(), workload: place.workload() };
    let path = Some(place.cluster.kubeconfig_as(token));
    let access = ClusterAccess::Kubeconfig { path, context: None };
    let extras =
        Extras { failed_probes: true, services: [(id(), "web".to_string())].into(), ..Extras::default() };
    Kubernetes::open(&access, vec![target], Arc::new(SystemClock)).await.unwrap().with(extras)
}

async fn await_view(feed: &mut KubernetesFeed, what: &str, wanted: impl Fn(&WorkloadView) -> bool) {
    let search = async {
        loop {
            if let Some(FeedEvent::Changed(view)) = feed.next().await
                && wanted(&view)
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.unwrap_or_else(|_| panic!("not seen: {what}"));
}

fn all(view: &WorkloadView, current: bool, is: impl Fn(&PodView) -> bool) -> bool {
    let of = |pod: &&PodView| (pod.fingerprint.as_ref() == Some(&view.version.fingerprint)) == current;
    let mut pods = view.pods.iter().filter(of).peekable();
    pods.peek().is_some() && pods.all(is)
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn pods_are_told_with_their_failed_probes_and_their_endpoints() {
    let place = place("inside").await;
    let token = place.shipped_role().await;
    let cluster = adapter(&place, &token).await;
    let mut blind = cluster.feed();
    await_view(&mut blind, "the pods", |view| view.pods.len() == 3).await;
    let unknown = |pod: &PodView| pod.reading.endpoint.is_none() && pod.reading.probe.is_none();
    place.deploy("v2-unready").await;
    await_view(&mut blind, "v2 without rights", |view| {
        all(view, true, |pod| unknown(pod) && !pod.reading.ready)
    })
    .await;
    drop(blind);

    place.optional_role(FAILED_PROBES).await;
    place.optional_role(ENDPOINTS).await;
    let mut feed = cluster.feed();
    await_view(&mut feed, "the probe of the new pods, and that only old ones are in the Service", |view| {
        all(view, true, |pod| {
            pod.reading.probe.as_deref() == Some(PROBE) && pod.reading.endpoint == Some(false)
        }) && all(view, false, |pod| pod.reading.probe.is_none() && pod.reading.endpoint == Some(true))
    })
    .await;

    // A rollout that does not get on for its probe is told with it, too.
    place.kubectl("set image deployment/web app=app:v3").await;
    place.rolled_out().await;
    let targets = cluster.targets();
    let survey = targets.survey(&id()).await.unwrap();
    let plan = draft(&survey, &Goal::Revision(2), "r1", 60).unwrap();
    assert!(matches!(targets.apply(&plan.steps[0]).await, Outcome::Done { .. }));
    until("the diagnosis names the probe", SOON, async || match targets.observe(&plan.steps[1]).await {
        Finding::NotYet { diagnosis, .. } => diagnosis.lines().join("\n").contains(PROBE).then_some(()),
        other => panic!("{other:?}"),
    })
    .await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_release_that_its_service_does_not_find_is_rolled_back() {
    let place = place("unreached").await;
    let token = place.shipped_role().await;
    place.optional_role(ENDPOINTS).await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let world = place
        .guarded_through(kubeconfig, |config| {
            config["services"][0]["targets"][0]["kubernetes"]["service"] = json!("web");
            config["services"][0]["watch"] = json!("60s");
            // Nothing listens at the addresses that the pods have here.
            config["services"][0]["rules"] = json!([]);
        })
        .await;
    let template = json!({
        "metadata": { "labels": { "tier": "back" } },
        "spec": { "containers": [{ "name": "app", "image": "app:v2" }] },
    });
    let patch = Patch::Strategic(json!({ "spec": { "template": template } }));
    let api: Api<Deployment> = Api::namespaced(world.cluster.client().await, &world.namespace);
    api.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let what = "a rollback is verified";
    let run = world.daemon.await_run(what, Duration::from_secs(120), |run| run.verified.is_some()).await;
    assert!(run.reason.contains("the Service has 0 of 3 ready endpoints of the new version"), "{run:?}");
    assert_eq!((world.tag().await.as_str(), run.verified), ("v1", Some(true)));
    let complete = world.told("complete", "[COMPLETE] Rollback successful").await;
    assert!(
        complete.contains("✅ endpoints ready: the Service has 3 of 3 pods as ready endpoints"),
        "{complete}"
    );
}
