//! The embedded demo world: a small Kubernetes API on loopback, workloads with metrics, traffic, and faults on demand.
//!
//! A real kube client works against it unmodified. One beat (`world`) runs the parts of a cluster one after the other:
//! the kubelet (`kubelet`, `pod_status`, `workload`, `metrics`), the ReplicaSet controller (`replicas`) and the
//! Deployment controller (`rollout`, `revision`, `progress`). They meet only in the `store`, like clients do through
//! the API (`api`, `follow`, `patch`, `selector`, `refusal`). The parts get the time as an argument, so a world can be
//! born in the past.

mod api;
mod clock;
mod follow;
mod front;
mod kubelet;
mod messages;
mod metrics;
mod object;
mod patch;
mod pod_status;
mod progress;
mod random;
mod refusal;
mod replicas;
mod revision;
mod rollout;
mod selector;
mod store;
mod template;
mod workload;
mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use kubelet::{Floor, Kubelet};
use messages::Mailbox;
use object::{Key, Kind};
use random::Random;
use refusal::Refusal;
use store::{Commit, Store};
pub use workload::Fault;
use world::{Traffic, World};

/// Steps in which the first version is rolled out before the sandbox opens; it takes three.
const BIRTH_STEPS: usize = 10;

#[derive(Clone, Debug)]
pub struct SandboxOptions {
    pub namespace: String,
    /// The Deployment's name, and its container's.
    pub deployment: String,
    pub replicas: u32,
    /// For all pods together, spread evenly over the ready ones. They come by chance, or under one a second evenly.
    pub requests_per_second: f64,
    /// From a process's start until its readiness probe passes.
    pub ready_after: Duration,
    pub progress_deadline: Duration,
    pub seed: u64,
    pub first_version: String,
    /// The age of the first version's objects, conditions and processes.
    pub deployed_ago: Duration,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            deployment: "shop".into(),
            replicas: 3,
            requests_per_second: 60.0,
            ready_after: Duration::from_secs(2),
            progress_deadline: Duration::from_secs(600),
            seed: 1,
            first_version: "v1".into(),
            deployed_ago: Duration::from_secs(2 * 3600),
        }
    }
}

/// A version to deploy.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The tag of the image.
    pub version: String,
    pub fault: Fault,
    /// The text of `kubernetes.io/change-cause`; without one, the annotation is removed.
    pub change_cause: Option<String>,
    /// How long each new pod must be ready before the next old one goes, in whole seconds: `minReadySeconds`.
    pub pace: Duration,
}

impl Deploy {
    pub fn new(version: &str, fault: Fault) -> Self {
        Self { version: version.to_owned(), fault, change_cause: None, pace: Duration::ZERO }
    }

    #[must_use]
    pub fn because(self, change_cause: &str) -> Self {
        Self { change_cause: Some(change_cause.to_owned()), ..self }
    }

    #[must_use]
    pub fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }
}

/// A pod that takes traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyPod {
    pub name: String,
    pub version: String,
    /// Since its process started.
    pub requests_served: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(
        "the sandbox could not listen for its {what} on 127.0.0.1; is the machine out of ports or sockets?"
    )]
    Listen { what: &'static str, source: std::io::Error },
    #[error("the sandbox could not write its Deployment {deployment:?}: {reason}")]
    Write { deployment: String, reason: String },
    #[error(
        "the first version of the Deployment {deployment:?} did not become available; check that there are free ports"
    )]
    StillBorn { deployment: String },
}

/// A running demo world. It ends when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    options: SandboxOptions,
    store: Arc<Store>,
    floor: Arc<Floor>,
    api: SocketAddr,
    front: SocketAddr,
    mailbox: Mailbox,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Sandbox {
    /// Starts the world with its first version rolled out and serving. Needs a tokio runtime.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let token = CancellationToken::new();
        // From here on, an error return ends what has been started.
        let stop = token.clone().drop_guard();
        let tasks = TaskTracker::new();
        let floor = Arc::new(Floor::default());
        let mut world = new_world(&options, &floor, &tasks, &token);
        give_birth(&mut world, &options)?;
        let store = Arc::clone(&world.store);
        let listen = |what, router| {
            workload::serve(router, &tasks, token.clone())
                .map_err(|source| SandboxError::Listen { what, source })
        };
        let api = listen("Kubernetes API", api::router(&store, &token))?;
        let mailbox = Mailbox::default();
        let front = listen("front door", front::router(&floor).merge(mailbox.router()))?;
        tasks.spawn(world.run(token));
        Ok(Self { options, store, floor, api, front, mailbox, tasks, stop })
    }

    /// Where the Kubernetes API is: `http://127.0.0.1:PORT`.
    pub fn kube_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Where the service is: `/`, `/health` and `/version`, answered by the ready pods in turn.
    pub fn front_url(&self) -> String {
        format!("http://{}", self.front)
    }

    /// Deploys a version; the rollout goes on by itself. Pods take the fault that their version has when they start,
    /// also when an undo brings the version back.
    pub fn deploy(&self, deploy: &Deploy) -> Result<(), SandboxError> {
        self.floor.set_fault(&deploy.version, deploy.fault);
        self.store
            .update(&self.key(), Commit::Durable, |deployment| {
                template::set_version(deployment, deploy);
                Ok(())
            })
            .map_err(|refusal| write_error(&self.options, &refusal))?;
        Ok(())
    }

    /// Makes this share of all requests fail, whichever version answers them; 0 repairs it.
    pub fn break_dependency(&self, error_ratio: f64) {
        self.floor.dependency.break_for(error_ratio);
    }

    /// Makes the next request fail, whichever pod answers it, and no other.
    pub fn fail_one_request(&self) {
        self.floor.dependency.fail_once();
    }

    /// The image tag in the Deployment's template.
    pub fn running_version(&self) -> Result<String, SandboxError> {
        let deployment =
            self.store.get(&self.key()).map_err(|refusal| write_error(&self.options, &refusal))?;
        Ok(template::version(&deployment).to_owned())
    }

    /// The pods that take traffic, by name.
    pub fn ready_pods(&self) -> Vec<ReadyPod> {
        self.floor
            .ready()
            .iter()
            .map(|workload| ReadyPod {
                name: workload.pod.clone(),
                version: workload.version.clone(),
                requests_served: workload.requests_served(),
            })
            .collect()
    }

    /// What was posted to `/messages` at the front door since the last call, oldest first.
    pub fn take_messages(&self) -> Vec<serde_json::Value> {
        self.mailbox.take()
    }

    /// Forgets all history: every open watch gets `410 Gone` and must list again.
    pub fn expire_watches(&self) {
        self.store.expire_history();
    }

    /// Ends the world, and waits until all of it has ended.
    pub async fn stop(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn key(&self) -> Key {
        Key::new(Kind::Deployment, &self.options.namespace, &self.options.deployment)
    }
}

fn new_world(
    options: &SandboxOptions,
    floor: &Arc<Floor>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> World {
    let mut seeds = Random::seeded(options.seed);
    let mut random = || Random::seeded(seeds.bits());
    World {
        store: Arc::new(Store::new(random())),
        kubelet: Kubelet {
            floor: Arc::clone(floor),
            tasks: tasks.clone(),
            stop: stop.clone(),
            random: random(),
            processes: HashMap::new(),
        },
        traffic: Traffic {
            requests_per_second: options.requests_per_second,
            random: random(),
            until: clock::now(),
            owed: 0.0,
            turn: 0,
        },
        ready_after: options.ready_after,
    }
}

/// Rolls the first version out at the time of its birth, on which all its times agree.
fn give_birth(world: &mut World, options: &SandboxOptions) -> Result<(), SandboxError> {
    let now = clock::now();
    let born = now.checked_sub(options.deployed_ago).unwrap_or(now);
    let created = world
        .store
        .create(Kind::Deployment, template::deployment(options), born)
        .map_err(|refusal| write_error(options, &refusal))?;
    let key = Key::of(Kind::Deployment, &created);
    for _ in 0..BIRTH_STEPS {
        world.step(Duration::ZERO, born);
    }
    let complete = world.store.get(&key).is_ok_and(|deployment| {
        object::condition(&deployment, "Progressing")
            .is_some_and(|progressing| progressing["reason"] == progress::COMPLETE)
    });
    if complete { Ok(()) } else { Err(SandboxError::StillBorn { deployment: options.deployment.clone() }) }
}

fn write_error(options: &SandboxOptions, refusal: &Refusal) -> SandboxError {
    SandboxError::Write { deployment: options.deployment.clone(), reason: refusal.to_string() }
}
