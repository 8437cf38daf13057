//! One test's corner of the cluster: a Deployment that has run for a whole watch, the daemon beside it, and who is told.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rollguard::client::dto::RunStatus;
use rollguard::domain::plan::kubernetes::Workload;
use rollguard::domain::workload::WorkloadKind;
use serde_json::{Value, json};

use crate::components::workload;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, FIRST_WATCH, config};
use crate::support::pod_status::START_AFTER_MS;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::until;

const SHIPPED_ROLES: [&str; 3] = [
    include_str!("../../../deploy/kubernetes/watched-namespace/role.yaml"),
    include_str!("../../../deploy/kubernetes/watched-namespace/statefulsets.yaml"),
    include_str!("../../../deploy/kubernetes/watched-namespace/daemonsets.yaml"),
];

/// The shipped Role of this name, with the workload `web` named in it as a user would.
pub(crate) fn shipped_role(name: &str) -> Value {
    let documents = SHIPPED_ROLES.iter().flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap());
    let mut roles = documents.filter(|document| document["kind"] == "Role");
    let mut role = roles.find(|role| role["metadata"]["name"] == name).unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    rules
        .iter_mut()
        .filter_map(|rule| rule.get_mut("resourceNames"))
        .for_each(|names| *names = json!(["web"]));
    role
}

const SHIPPED_EVENTS_ROLE: &str = include_str!("../../../deploy/kubernetes/watched-namespace/events.yaml");

/// For what takes seconds, or the 20 in which error rates are judged, on a machine that has a lot else to do.
pub(crate) const SOON: Duration = Duration::from_secs(45);

/// Lets each pod take its time to start, so that a rollout takes three times as long.
pub(crate) fn slowly(deployment: &mut Value) {
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({ START_AFTER_MS: "2000" });
    deployment["spec"]["progressDeadlineSeconds"] = json!(30);
}

/// A namespace with the workload `web` running `app:v1`, but no daemon yet.
pub(crate) struct Place {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) receiver: Receiver,
    /// As kubectl names it.
    pub(crate) kind: &'static str,
    released: Timestamp,
}

impl Place {
    /// `change` makes of the usual Deployment what the test needs.
    pub(crate) async fn with(purpose: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::of("deployment", purpose, change).await
    }

    /// With a workload of another kind.
    pub(crate) async fn of(kind: &'static str, purpose: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::on(Cluster::shared().await, kind, purpose, change).await
    }

    pub(crate) async fn on(
        cluster: &'static Cluster,
        kind: &'static str,
        purpose: &str,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let namespace = cluster.namespace(purpose).await;
        let mut object = workload(kind, "v1");
        change(&mut object);
        cluster.apply(&namespace, &object).await;
        cluster.kubectl(&namespace, &format!("rollout status {kind}/web --timeout=30s")).await;
        Self { cluster, namespace, receiver: Receiver::start().await, kind, released: Timestamp::now() }
    }

    pub(crate) async fn new(purpose: &str) -> Self {
        Self::with(purpose, |_| {}).await
    }

    /// Waits until v1 has been there for a whole [`FIRST_WATCH`] and starts the daemon, as the administrator and with the usual
    /// configuration as `change` leaves it.
    pub(crate) async fn guarded_with(self, change: impl FnOnce(&mut Value)) -> World {
        let kubeconfig = self.cluster.kubeconfig();
        self.guarded_through(kubeconfig, change).await
    }

    pub(crate) async fn guarded_through(self, kubeconfig: PathBuf, change: impl FnOnce(&mut Value)) -> World {
        let mut config = config(&kubeconfig, &self.namespace, &self.receiver.url("/messages"));
        config["services"][0]["targets"][0]["kubernetes"] =
            json!({ "namespace": self.namespace, self.kind: "web" });
        change(&mut config);
        let age = Timestamp::now().duration_since(self.released).unsigned_abs();
        tokio::time::sleep((FIRST_WATCH + Duration::from_secs(1)).saturating_sub(age)).await;
        let daemon = Daemon::start_with_known_good(config).await;
        // A baseline, which a daemon has that has been there for a while.
        tokio::time::sleep(Duration::from_secs(4)).await;
        World { place: self, daemon }
    }

    pub(crate) async fn guarded(self) -> World {
        self.guarded_with(|_| {}).await
    }

    pub(crate) async fn kubectl(&self, line: &str) -> String {
        self.cluster.kubectl(&self.namespace, line).await
    }

    pub(crate) async fn deploy(&self, tag: &str) {
        self.kubectl(&format!("set image {}/web app=app:{tag}", self.kind)).await;
    }

    /// Deploys a tag whose pods, unlike those of [`slowly`], are there at once.
    pub(crate) async fn deploy_quickly(&self, tag: &str) {
        let template = json!({
            "metadata": { "annotations": { START_AFTER_MS: "300" } },
            "spec": { "containers": [{ "name": "app", "image": format!("app:{tag}") }] },
        });
        let patch = Patch::Strategic(json!({ "spec": { "template": template } }));
        let api: Api<Deployment> = Api::namespaced(self.cluster.client().await, &self.namespace);
        api.patch("web", &PatchParams::default(), &patch).await.unwrap();
    }

    /// The names of the pods that serve now, in order.
    pub(crate) fn serving(&self) -> Vec<String> {
        let pods = self.cluster.kubelet().workloads(&self.namespace);
        let mut names: Vec<String> = pods.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    /// Binds the shipped Roles that a target of this kind needs to an account, and gives its token.
    pub(crate) async fn shipped_role(&self) -> String {
        let token = self.cluster.service_account(&self.namespace, "guard").await;
        for name in self.roles() {
            self.cluster.apply(&self.namespace, &shipped_role(&name)).await;
            let account = format!("--serviceaccount={}:guard", self.namespace);
            self.kubectl(&format!("create rolebinding {name} --role={name} {account}")).await;
        }
        token
    }

    pub(crate) fn workload(&self) -> Workload {
        let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
        let kind = kinds.into_iter().find(|kind| kind.noun() == self.kind).unwrap();
        Workload { kind, namespace: self.namespace.clone(), name: "web".into() }
    }

    /// Names of the shipped Roles that a target of this kind needs.
    pub(crate) fn roles(&self) -> Vec<String> {
        let own = (self.kind != "deployment").then(|| format!("rollguard-{}s", self.kind));
        std::iter::once("rollguard".to_owned()).chain(own).collect()
    }

    /// Binds the shipped Role for Events to the account of [`Place::shipped_role`].
    pub(crate) async fn shipped_events_role(&self) {
        self.optional_role(SHIPPED_EVENTS_ROLE).await;
    }

    /// Binds one of the optional Roles to the account of [`Place::shipped_role`].
    pub(crate) async fn optional_role(&self, text: &str) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        self.cluster.apply(&self.namespace, &documents[0]).await;
        let role = documents[0]["metadata"]["name"].as_str().unwrap();
        let account = format!("--serviceaccount={}:guard", self.namespace);
        self.kubectl(&format!("create rolebinding {role} --role={role} {account}")).await;
    }

    /// Waits for the end of a rollout as a person would.
    pub(crate) async fn rolled_out(&self) {
        self.kubectl(&format!("rollout status {}/web --timeout=40s", self.kind)).await;
    }

    pub(crate) async fn deployment(&self) -> Deployment {
        let api: Api<Deployment> = Api::namespaced(self.cluster.client().await, &self.namespace);
        api.get("web").await.unwrap()
    }

    /// The tag that the workload wants.
    pub(crate) async fn tag(&self) -> String {
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let image = self.kubectl(&format!("get {} web -o {image}", self.kind)).await;
        image.trim_start_matches("app:").to_owned()
    }

    /// How often the Deployment's spec was changed since it was made.
    pub(crate) async fn generation(&self) -> i64 {
        self.deployment().await.metadata.generation.unwrap()
    }
}

/// A place with a daemon.
pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) daemon: Daemon,
}

impl std::ops::Deref for World {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl World {
    /// Waits until a run's rollback is verified.
    pub(crate) async fn verified(&self) -> RunStatus {
        let run =
            self.daemon.await_run("a rollback is verified", SOON * 2, |run| run.verified.is_some()).await;
        assert_eq!(run.verified, Some(true), "{run:?}");
        run
    }

    /// Waits for a message of this kind, such as `page`, whose text contains `part`.
    pub(crate) async fn told(&self, kind: &str, part: &str) -> String {
        let what = format!("a {kind} says {part:?}");
        let about = |delivery: &Delivery| {
            let data = &delivery.json()["data"];
            data["kind"] == kind && text(data).contains(part)
        };
        let told = until(&what, SOON, async || self.receiver.deliveries().into_iter().find(about)).await;
        text(&told.json()["data"])
    }

    /// The kinds of the messages so far, oldest first.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let kind = |delivery: Delivery| delivery.json()["data"]["kind"].as_str().unwrap().to_owned();
        self.receiver.deliveries().into_iter().map(kind).collect()
    }
}

/// A message as a person reads it.
fn text(data: &Value) -> String {
    let lines = data["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    std::iter::once(data["title"].as_str().unwrap()).chain(lines).collect::<Vec<_>>().join("\n")
}
