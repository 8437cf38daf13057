//! Objects as an API server stores them, with all that clients do not need: sizes are those of real ones.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// How large the fleet is, and where each workload of it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) workloads: usize,
    pub(crate) namespaces: usize,
    pub(crate) pods_each: usize,
    /// In each service of the configuration.
    pub(crate) targets_each: usize,
    /// Revisions that each workload remembers besides the one that runs.
    pub(crate) revisions: u64,
}

impl Shape {
    pub(crate) fn namespace(&self, workload: usize) -> String {
        format!("team-{}", workload % self.namespaces)
    }
    pub(crate) fn in_namespace(self, namespace: &str) -> impl Iterator<Item = usize> {
        let wanted = namespace.strip_prefix("team-").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        (0..self.workloads).filter(move |workload| workload % self.namespaces == wanted)
    }
}

pub(crate) fn name(workload: usize) -> String {
    format!("backend-{workload:05}")
}

/// The workload that an object's name or selector speaks of.
pub(crate) fn named(text: &str) -> Option<usize> {
    text.split("backend-").nth(1)?.get(..5)?.parse().ok()
}

/// What runs: the newest of the usual revisions, or the release after it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Running {
    #[default]
    Usual,
    /// Its one new pod works.
    Fresh,
    /// Its one new pod is in a crash loop.
    Crashing,
}

/// One workload at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) number: usize,
    pub(crate) shape: Shape,
    pub(crate) running: Running,
    pub(crate) resource_version: u64,
    pub(crate) born: Timestamp,
    pub(crate) now: Timestamp,
}

impl Workload {
    fn newest(&self) -> u64 {
        self.shape.revisions + 1
    }
    fn revision(&self) -> u64 {
        if self.running == Running::Usual { self.newest() } else { self.newest() + 1 }
    }
    fn hash(revision: u64) -> String {
        format!("6f7c9b{revision:03}")
    }
    fn set_name(&self, revision: u64) -> String {
        format!("{}-{}", name(self.number), Self::hash(revision))
    }

    fn meta(&self, name: &str, labels: &Value, more: &Value) -> Value {
        let mut meta = json!({
            "name": name, "namespace": self.shape.namespace(self.number), "uid": format!("uid-{name}"),
            "resourceVersion": self.resource_version.to_string(), "creationTimestamp": self.born.to_string(),
            "generation": self.revision(), "labels": labels, "managedFields": managed_fields(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            meta[key] = value.clone();
        }
        meta
    }

    fn labels(&self) -> Value {
        json!({"app": name(self.number), "app.kubernetes.io/part-of": "shop", "team": self.shape.namespace(self.number)})
    }

    fn template(&self, revision: u64) -> Value {
        json!({
            "metadata": {"creationTimestamp": null, "labels": self.labels(), "annotations": {"prometheus.io/scrape": "true"}},
            "spec": {"containers": [container(revision)], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "serviceAccountName": "default", "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler"},
        })
    }

    pub(crate) fn deployment(&self) -> Value {
        let pods = self.shape.pods_each;
        let (updated, total) = if self.running == Running::Usual { (pods, pods) } else { (1, pods + 1) };
        let annotations =
            json!({"annotations": {"deployment.kubernetes.io/revision": self.revision().to_string()}});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": self.meta(&name(self.number), &self.labels(), &annotations),
            "spec": {"replicas": pods, "selector": {"matchLabels": {"app": name(self.number)}}, "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600, "template": self.template(self.revision()),
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}},
            "status": {"observedGeneration": self.revision(), "replicas": total, "updatedReplicas": updated,
                "readyReplicas": pods, "availableReplicas": pods, "conditions": [
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastUpdateTime": self.born.to_string(),
                     "lastTransitionTime": self.born.to_string(), "message": "Deployment has minimum availability."}]},
        })
    }

    pub(crate) fn sets(&self) -> Vec<Value> {
        (1..=self.revision()).map(|revision| self.set(revision)).collect()
    }

    fn set(&self, revision: u64) -> Value {
        let mut labels = self.labels();
        labels["pod-template-hash"] = Self::hash(revision).into();
        let mut template = self.template(revision);
        template["metadata"]["labels"] = labels.clone();
        let age = i64::try_from(self.newest().saturating_sub(revision)).unwrap_or(0);
        let created = if revision > self.newest() {
            self.now
        } else {
            self.born - SignedDuration::from_hours(24 * age)
        };
        let pods = if revision == self.newest() {
            self.shape.pods_each
        } else {
            usize::from(revision > self.newest())
        };
        let more = json!({"creationTimestamp": created.to_string(), "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [self.owner("Deployment", &name(self.number))]});
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": self.meta(&self.set_name(revision), &labels, &more),
            "spec": {"replicas": pods, "selector": {"matchLabels": labels}, "template": template},
            "status": {"replicas": pods, "fullyLabeledReplicas": pods, "readyReplicas": pods, "availableReplicas": pods, "observedGeneration": 1},
        })
    }

    fn owner(&self, kind: &str, name: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true, "blockOwnerDeletion": true})
    }

    pub(crate) fn pods(&self) -> Vec<Value> {
        let usual = (0..self.shape.pods_each).map(|n| self.pod(self.newest(), n));
        usual.chain(self.new_pod()).collect()
    }

    /// The pod of a release that is under way.
    pub(crate) fn new_pod(&self) -> Option<Value> {
        (self.running != Running::Usual).then(|| self.pod(self.newest() + 1, 0))
    }

    fn pod(&self, revision: u64, number: usize) -> Value {
        let set = self.set_name(revision);
        let mut labels = self.labels();
        labels["pod-template-hash"] = Self::hash(revision).into();
        let crashes = revision > self.newest() && self.running == Running::Crashing;
        let since = if revision > self.newest() { self.now } else { self.born };
        let more = json!({"creationTimestamp": since.to_string(), "ownerReferences": [self.owner("ReplicaSet", &set)]});
        let (ready, state, restarts) = if crashes {
            (
                "False",
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}}),
                2,
            )
        } else {
            ("True", json!({"running": {"startedAt": since.to_string()}}), 0)
        };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since.to_string()});
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": self.meta(&format!("{set}-{number}2xk7"), &labels, &more),
            "spec": {"containers": [container(revision)], "nodeName": "node-1", "serviceAccountName": "default", "restartPolicy": "Always",
                "volumes": [{"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
                "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "10.1.0.1", "startTime": since.to_string(), "qosClass": "Burstable",
                "conditions": [condition("Initialized", "True"), condition("Ready", ready), condition("ContainersReady", ready), condition("PodScheduled", "True")],
                "containerStatuses": [{"name": "backend", "ready": ready == "True", "started": true, "restartCount": restarts, "image": image(revision),
                    "imageID": format!("{}@sha256:{}", image(revision), "ab".repeat(32)), "containerID": format!("containerd://{}", "cd".repeat(32)), "state": state}]},
        })
    }
}

fn image(revision: u64) -> String {
    format!("registry.example.com/shop/backend:v{revision}")
}

fn container(revision: u64) -> Value {
    let variable =
        |n: usize| json!({"name": format!("SETTING_{n}"), "value": format!("value-of-setting-{n}")});
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3});
    json!({"name": "backend", "image": image(revision), "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 8080, "name": "http"}],
        "env": (0..12).map(variable).collect::<Vec<_>>(), "readinessProbe": probe("/ready"), "livenessProbe": probe("/live"),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}, "terminationMessagePath": "/dev/termination-log"})
}

/// Half of what a pod weighs is who set which of its fields.
fn managed_fields() -> Value {
    let fields = |n: usize| {
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"backend\"}": (0..n)
        .map(|i| (format!("f:field{i}"), json!({}))).collect::<serde_json::Map<_, _>>()}}})
    };
    json!([
        {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-11-20T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields(40)},
        {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": "2026-11-20T10:00:05Z", "fieldsType": "FieldsV1", "subresource": "status", "fieldsV1": fields(40)},
    ])
}
