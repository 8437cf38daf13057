//! The sandbox as the real kube client sees it: rollouts, undo, faults, watches and refusals.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config, Error, ResourceExt};
use rollguard::sandbox::{Deploy, Fault, Sandbox, SandboxOptions};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);
const REVISION: &str = "deployment.kubernetes.io/revision";

struct World {
    sandbox: Sandbox,
    client: Client,
}

impl World {
    async fn start() -> Self {
        Self::with(SandboxOptions::default()).await
    }

    async fn with(options: SandboxOptions) -> Self {
        let options = SandboxOptions {
            namespace: "shop".into(),
            deployment: "backend".into(),
            ready_after: Duration::from_millis(200),
            ..options
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let mut config = Config::new(sandbox.kube_url().parse().unwrap());
        config.default_namespace = "shop".into();
        let client = Client::try_from(config).unwrap();
        Self { sandbox, client }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::default_namespaced(self.client.clone())
    }

    fn replica_sets(&self) -> Api<ReplicaSet> {
        Api::default_namespaced(self.client.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    async fn deployment(&self) -> Deployment {
        self.deployments().get("backend").await.unwrap()
    }

    async fn rolled_out(&self) {
        eventually("the rollout is complete", || async {
            is_complete(&self.deployment().await)
        })
        .await;
    }

    /// The ReplicaSet that runs an image with this tag.
    async fn replica_set(&self, version: &str) -> ReplicaSet {
        let all = self
            .replica_sets()
            .list(&ListParams::default())
            .await
            .unwrap();
        let tag = format!(":{version}");
        all.into_iter()
            .find(|replica_set| {
                let template = replica_set.spec.template.as_ref().unwrap();
                image(template.spec.as_ref().unwrap()).ends_with(&tag)
            })
            .unwrap()
    }

    /// What `kubectl rollout undo` sends, guarded by the revision that is to be left.
    async fn undo_to(&self, version: &str) -> Result<Deployment, Error> {
        let target = self.replica_set(version).await;
        let mut template = target.spec.template.unwrap();
        let labels = template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
        labels.remove("pod-template-hash");
        let revision = self.deployment().await.annotations()[REVISION].clone();
        self.patch(&json!([
            {"op": "test", "path": "/metadata/annotations/deployment.kubernetes.io~1revision", "value": revision},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]))
        .await
    }

    async fn patch(&self, operations: &serde_json::Value) -> Result<Deployment, Error> {
        let patch: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
        self.deployments()
            .patch(
                "backend",
                &PatchParams::default(),
                &Patch::Json::<()>(patch),
            )
            .await
    }

    fn ready_versions(&self) -> BTreeMap<String, usize> {
        let mut versions = BTreeMap::new();
        for pod in self.sandbox.ready_pods() {
            *versions.entry(pod.version).or_default() += 1;
        }
        versions
    }

    /// The counter of a pod of this version, read from its own metrics as a scraper reads it.
    async fn requests(&self, version: &str, code: u16) -> f64 {
        let pods = self.pods().list(&ListParams::default()).await.unwrap();
        let tag = format!(":{version}");
        let pod = pods
            .iter()
            .find(|pod| image(pod.spec.as_ref().unwrap()).ends_with(&tag))
            .unwrap();
        let status = pod.status.as_ref().unwrap();
        let address = status.pod_ip.as_ref().unwrap();
        let port = &pod.annotations()["prometheus.io/port"];
        let text = fetch(&format!("http://{address}:{port}/metrics")).await.1;
        let series = format!("http_requests_total{{code=\"{code}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&series))
            .map_or(0.0, |value| value.parse().unwrap())
    }
}

fn image(pod: &k8s_openapi::api::core::v1::PodSpec) -> &str {
    pod.containers[0].image.as_deref().unwrap()
}

/// The decision table of `kubectl rollout status`.
fn is_complete(deployment: &Deployment) -> bool {
    let (spec, status) = (&deployment.spec, deployment.status.as_ref().unwrap());
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == spec.replicas
        && status.replicas == status.updated_replicas
        && status.available_replicas == status.updated_replicas
}

fn reason(deployment: &Deployment, kind: &str) -> String {
    let conditions = deployment
        .status
        .as_ref()
        .unwrap()
        .conditions
        .as_ref()
        .unwrap();
    let condition = conditions
        .iter()
        .find(|condition| condition.type_.as_deref() == Some(kind))
        .unwrap();
    condition.reason.clone().unwrap()
}

async fn fetch(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("in {PATIENCE:?} it never held that {what}"));
}

fn code(error: Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}

#[tokio::test]
async fn the_first_version_was_rolled_out_long_ago() {
    let world = World::start().await;
    let deployment = world.deployment().await;
    assert!(is_complete(&deployment));
    assert_eq!(deployment.annotations()[REVISION], "1");
    assert_eq!(reason(&deployment, "Progressing"), "NewReplicaSetAvailable");
    let age = |at: jiff::Timestamp| jiff::Timestamp::now().duration_since(at).as_secs();
    let conditions = deployment.status.unwrap().conditions.unwrap();
    assert!(
        conditions
            .iter()
            .all(|condition| age(condition.last_update_time.as_ref().unwrap().0) >= 7199)
    );
    for pod in world
        .pods()
        .list(&ListParams::default().labels("app=backend"))
        .await
        .unwrap()
    {
        assert!(age(pod.status.as_ref().unwrap().start_time.as_ref().unwrap().0) >= 7199);
        assert_eq!(pod.owner_references()[0].controller, Some(true));
    }
    let events: Api<KubeEvent> = Api::all(world.client.clone());
    assert_eq!(
        events
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        0
    );
    assert!(
        world
            .client
            .apiserver_version()
            .await
            .unwrap()
            .git_version
            .contains("sandbox")
    );
    world.sandbox.stop().await;
}

#[tokio::test]
async fn a_bad_rollout_and_its_undo() {
    let world = World::start().await;
    let first = world.replica_set("v1").await;
    let bad = Deploy::new("v2", Fault::Errors(0.5)).because("new checkout");
    world.sandbox.deploy(&bad).unwrap();
    eventually("v2 serves", || async {
        world.ready_versions() == BTreeMap::from([("v2".into(), 3)])
    })
    .await;
    world.rolled_out().await;
    let second = world.replica_set("v2").await;
    assert_eq!(
        second.annotations()["kubernetes.io/change-cause"],
        "new checkout"
    );
    assert_eq!(second.annotations()[REVISION], "2");
    eventually("v2 fails half of its requests", || async {
        let (ok, failed) = (
            world.requests("v2", 200).await,
            world.requests("v2", 500).await,
        );
        ok + failed > 60.0 && (0.3..0.7).contains(&(failed / (ok + failed)))
    })
    .await;

    world.undo_to("v1").await.unwrap();
    eventually("v1 serves again", || async {
        world.ready_versions() == BTreeMap::from([("v1".into(), 3)])
    })
    .await;
    world.rolled_out().await;
    let reused = world.replica_set("v1").await;
    assert_eq!(reused.uid(), first.uid());
    assert_eq!(reused.annotations()[REVISION], "3");
    assert_eq!(
        reused.annotations()["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert_eq!(world.deployment().await.annotations()[REVISION], "3");
    assert_eq!(world.replica_set("v2").await.spec.replicas, Some(0));
    assert_eq!(world.sandbox.running_version().unwrap(), "v1");
    let (status, body) = fetch(&format!("{}/version", world.sandbox.front_url())).await;
    assert_eq!((status, body.as_str()), (200, r#"{"version":"v1"}"#));
}

#[tokio::test]
async fn crash_looping_pods_leave_the_old_ones_serving() {
    let world = World::with(SandboxOptions {
        progress_deadline: Duration::from_secs(3),
        ..SandboxOptions::default()
    })
    .await;
    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::CrashLoop))
        .unwrap();
    eventually(
        "a pod of v2 restarts and waits in CrashLoopBackOff",
        || async {
            let pods = world.pods().list(&ListParams::default()).await.unwrap();
            pods.iter().any(|pod| {
                let statuses = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.container_statuses.as_ref());
                statuses.is_some_and(|statuses| {
                    let waiting = statuses[0]
                        .state
                        .as_ref()
                        .and_then(|state| state.waiting.as_ref());
                    let ended = statuses[0]
                        .last_state
                        .as_ref()
                        .and_then(|last| last.terminated.as_ref());
                    statuses[0].restart_count >= 2
                        && waiting.is_some_and(|waiting| {
                            waiting.reason.as_deref() == Some("CrashLoopBackOff")
                        })
                        && ended.is_some_and(|ended| ended.exit_code == 1)
                })
            })
        },
    )
    .await;
    eventually("the deadline is exceeded", || async {
        reason(&world.deployment().await, "Progressing") == "ProgressDeadlineExceeded"
    })
    .await;
    assert_eq!(world.ready_versions(), BTreeMap::from([("v1".into(), 3)]));
    assert_eq!(
        reason(&world.deployment().await, "Available"),
        "MinimumReplicasAvailable"
    );
    world.undo_to("v1").await.unwrap();
    eventually("the crash-looping pod is gone", || async {
        world
            .pods()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
            == 3
    })
    .await;
    world.rolled_out().await;
}

#[tokio::test]
async fn pods_whose_probes_fail_run_and_are_never_ready() {
    let world = World::start().await;
    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::ProbesFail))
        .unwrap();
    eventually("a pod of v2 runs and is not ready", || async {
        let pods = world.pods().list(&ListParams::default()).await.unwrap();
        pods.iter().any(|pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            image(pod.spec.as_ref().unwrap()).ends_with(":v2")
                && statuses
                    .is_some_and(|statuses| !statuses[0].ready && statuses[0].restart_count == 0)
        })
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ready_versions(), BTreeMap::from([("v1".into(), 3)]));
    assert_eq!(
        world
            .deployment()
            .await
            .status
            .unwrap()
            .unavailable_replicas,
        Some(1)
    );
}

#[tokio::test]
async fn a_broken_dependency_hits_old_and_new_pods_side_by_side() {
    let world = World::start().await;
    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::None).paced(Duration::from_secs(60)))
        .unwrap();
    eventually("both serve", || async { world.ready_versions().len() == 2 }).await;
    assert_eq!(
        world.requests("v1", 500).await + world.requests("v2", 500).await,
        0.0
    );
    world.sandbox.break_dependency(0.9);
    eventually("both fail", || async {
        world.requests("v1", 500).await > 0.0 && world.requests("v2", 500).await > 0.0
    })
    .await;
    assert_eq!(
        world.ready_versions(),
        BTreeMap::from([("v1".into(), 3), ("v2".into(), 1)])
    );
}

#[tokio::test]
async fn a_guarded_patch_that_comes_too_late_is_422_and_changes_nothing() {
    let world = World::start().await;
    let before = world.deployment().await;
    let late = json!([
        {"op": "test", "path": "/metadata/annotations/deployment.kubernetes.io~1revision", "value": "7"},
        {"op": "replace", "path": "/spec/replicas", "value": 9},
    ]);
    assert_eq!(
        code(world.patch(&late).await.unwrap_err()),
        (422, "Invalid".into())
    );
    assert_eq!(
        world.deployment().await.resource_version(),
        before.resource_version()
    );
}

#[tokio::test]
async fn dry_runs_conflicts_and_missing_objects_answer_like_an_api_server() {
    let world = World::start().await;
    let api = world.deployments();
    let image = json!({"spec": {"template": {"metadata": {"annotations": {"tried": "yes"}}}}});
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let answer = api
        .patch("backend", &dry, &Patch::Merge(&image))
        .await
        .unwrap();
    assert_eq!(answer.metadata.generation, Some(2));
    let stored = world.deployment().await;
    assert_eq!(stored.metadata.generation, Some(1));

    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::None))
        .unwrap();
    let conflict = api
        .replace("backend", &PostParams::default(), &stored)
        .await
        .unwrap_err();
    assert_eq!(code(conflict), (409, "Conflict".into()));
    assert_eq!(
        code(api.get("nobody").await.unwrap_err()),
        (404, "NotFound".into())
    );
    let odd = ListParams::default().labels("app in (a,b)");
    assert_eq!(
        code(api.list(&odd).await.unwrap_err()),
        (400, "BadRequest".into())
    );
    let ssa = api
        .patch(
            "backend",
            &PatchParams::apply("test"),
            &Patch::Apply(&image),
        )
        .await;
    assert_eq!(code(ssa.unwrap_err()), (415, "UnsupportedMediaType".into()));
}

#[tokio::test]
async fn a_paused_deployment_does_not_roll_out_until_it_is_resumed() {
    let world = World::start().await;
    world
        .patch(&json!([{"op": "add", "path": "/spec/paused", "value": true}]))
        .await
        .unwrap();
    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::None))
        .unwrap();
    eventually("the pause is noticed", || async {
        reason(&world.deployment().await, "Progressing") == "DeploymentPaused"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world
            .replica_sets()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    world
        .patch(&json!([{"op": "remove", "path": "/spec/paused"}]))
        .await
        .unwrap();
    eventually("v2 serves", || async {
        world.ready_versions() == BTreeMap::from([("v2".into(), 3)])
    })
    .await;
}

#[tokio::test]
async fn a_version_that_is_too_old_is_410() {
    let world = World::start().await;
    let watch = world
        .pods()
        .watch(&WatchParams::default(), "1")
        .await
        .unwrap();
    match watch.boxed().try_next().await.unwrap() {
        Some(WatchEvent::Error(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"))
        }
        other => panic!("no error but {other:?}"),
    }
}

#[tokio::test]
async fn watchers_follow_a_rollout_and_recover_from_lost_history() {
    let world = World::start().await;
    let mut deployments = watcher::watcher(world.deployments(), watcher::Config::default()).boxed();
    let mut replica_sets =
        watcher::watcher(world.replica_sets(), watcher::Config::default()).boxed();
    let v1_pods = watcher::Config::default().labels("app=backend");
    let mut pods = watcher::watcher(world.pods(), v1_pods).boxed();
    assert_eq!(initial(&mut deployments).await, 1);
    assert_eq!(initial(&mut replica_sets).await, 1);
    assert_eq!(initial(&mut pods).await, 3);

    world
        .sandbox
        .deploy(&Deploy::new("v2", Fault::None))
        .unwrap();
    until(&mut deployments, |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "2" && is_complete(seen))).await;
    until(
        &mut replica_sets,
        |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "2"),
    )
    .await;
    for _ in 0..3 {
        until(&mut pods, |event| matches!(event, Event::Delete(_))).await;
    }

    world.sandbox.expire_watches();
    assert_eq!(initial(&mut deployments).await, 1);
    assert_eq!(initial(&mut replica_sets).await, 2);
    assert_eq!(initial(&mut pods).await, 3);
    world.undo_to("v1").await.unwrap();
    until(&mut deployments, |event| matches!(event, Event::Apply(seen) if seen.annotations()[REVISION] == "3" && is_complete(seen))).await;
}

#[tokio::test]
async fn a_stopped_world_leaves_nothing_listening() {
    let world = World::start().await;
    let (kube, front) = (world.sandbox.kube_url(), world.sandbox.front_url());
    let watch = world
        .pods()
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, world.sandbox.stop())
        .await
        .unwrap();
    assert_eq!(watch.count().await, 3);
    assert!(reqwest::get(kube).await.is_err());
    assert!(reqwest::get(front).await.is_err());
}

type Events<K> = futures::stream::BoxStream<'static, watcher::Result<Event<K>>>;

/// Waits for a whole listing, and counts its objects.
async fn initial<K>(events: &mut Events<K>) -> usize {
    until(events, |event| matches!(event, Event::Init)).await;
    let mut count = 0;
    until(events, |event| {
        count += usize::from(matches!(event, Event::InitApply(_)));
        matches!(event, Event::InitDone)
    })
    .await;
    count
}

/// Reads on, over errors as a watcher's user does, until an event is the one.
async fn until<K>(events: &mut Events<K>, mut is_it: impl FnMut(&Event<K>) -> bool) {
    let reading = async {
        loop {
            if let Ok(event) = events.next().await.unwrap()
                && is_it(&event)
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
}
