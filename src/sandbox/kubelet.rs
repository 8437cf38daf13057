//! The sandbox's kubelet: runs a process for every pod, probes it, restarts it, and reports what it sees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::object::{self, Key, Kind};
use super::pod_status::{self, PodView};
use super::random::Random;
use super::revision;
use super::store::{Commit, Store};
use super::workload::{Dependency, Fault, Workload};

const CRASH_AFTER: Duration = Duration::from_secs(1);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(8);

/// What the versions do, and who serves: shared with those who deploy and those who send requests.
#[derive(Debug, Default)]
pub(super) struct Floor {
    faults: Mutex<HashMap<String, Fault>>,
    ready: Mutex<Vec<Arc<Workload>>>,
    pub(super) dependency: Arc<Dependency>,
}

impl Floor {
    pub(super) fn set_fault(&self, version: &str, fault: Fault) {
        lock(&self.faults).insert(version.to_owned(), fault);
    }

    pub(super) fn ready(&self) -> Vec<Arc<Workload>> {
        lock(&self.ready).clone()
    }

    fn fault(&self, version: &str) -> Fault {
        lock(&self.faults).get(version).copied().unwrap_or(Fault::None)
    }
}

#[derive(Debug)]
pub(super) struct Kubelet {
    pub(super) floor: Arc<Floor>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) random: Random,
    pub(super) processes: HashMap<String, Container>,
}

/// The one container of a pod, through all its restarts.
#[derive(Debug)]
pub(super) struct Container {
    pod: String,
    image: String,
    fault: Fault,
    pod_started_at: Timestamp,
    ready_changed_at: Timestamp,
    restarts: u64,
    last_exit: Option<Exit>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exit {
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
}

#[derive(Debug)]
pub(super) enum State {
    Running { process: Process, ready: bool },
    BackOff { until: Timestamp },
}

/// A running process; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) started_at: Timestamp,
    pub(super) port: u16,
    workload: Arc<Workload>,
    stop: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Kubelet {
    /// Takes every pod one step further.
    pub(super) fn sync(&mut self, store: &Store, ready_after: Duration, now: Timestamp) {
        for pod in store.list(Kind::Pod, None).objects {
            let key = Key::of(Kind::Pod, &pod);
            let uid = object::text(&pod, "/metadata/uid");
            let written = if object::is_deleting(&pod) {
                self.processes.remove(uid);
                store.delete(&key)
            } else {
                self.run(uid, &pod, ready_after, now);
                self.report(store, &key, uid)
            };
            if let Err(refusal) = written {
                tracing::warn!(%refusal, "the sandbox's kubelet will try again");
            }
        }
        *lock(&self.floor.ready) = self.ready_workloads();
    }

    fn run(&mut self, uid: &str, pod: &Value, ready_after: Duration, now: Timestamp) {
        let mut container = match self.processes.remove(uid) {
            Some(container) => container,
            None => match self.new_container(pod, now) {
                Ok(container) => container,
                Err(error) => {
                    return tracing::warn!(%error, "a pod of the sandbox got no port, it stays pending");
                }
            },
        };
        if let Err(error) = self.advance(&mut container, ready_after, now) {
            tracing::warn!(%error, "a pod of the sandbox got no port, it waits");
        }
        self.processes.insert(uid.to_owned(), container);
    }

    fn new_container(&mut self, pod: &Value, now: Timestamp) -> std::io::Result<Container> {
        let image = object::text(pod, "/spec/containers/0/image");
        let name = object::text(pod, "/metadata/name");
        let fault = self.floor.fault(version_of(image));
        Ok(Container {
            pod: name.to_owned(),
            image: image.to_owned(),
            fault,
            pod_started_at: now,
            ready_changed_at: now,
            restarts: 0,
            last_exit: None,
            state: State::Running { process: self.start(name, image, fault, now)?, ready: false },
        })
    }

    fn start(&mut self, pod: &str, image: &str, fault: Fault, now: Timestamp) -> std::io::Result<Process> {
        let random = Random::seeded(self.random.bits());
        let version = version_of(image);
        let workload = Arc::new(Workload::new(pod, version, fault, &self.floor.dependency, now, random));
        let stop = self.stop.child_token();
        let address = workload.serve(&self.tasks, stop.clone())?;
        Ok(Process { started_at: now, port: address.port(), workload, stop })
    }

    fn advance(
        &mut self,
        container: &mut Container,
        ready_after: Duration,
        now: Timestamp,
    ) -> std::io::Result<()> {
        match &mut container.state {
            State::Running { process, ready } => {
                let running_for = now.duration_since(process.started_at).unsigned_abs();
                if container.fault == Fault::CrashLoop && running_for >= CRASH_AFTER {
                    container.crash(now);
                } else if !*ready && container.fault.passes_probes() && running_for >= ready_after {
                    process.workload.become_ready();
                    *ready = true;
                    container.ready_changed_at = now;
                }
            }
            State::BackOff { until } if now >= *until => {
                let process = self.start(&container.pod, &container.image, container.fault, now)?;
                container.state = State::Running { process, ready: false };
                container.restarts += 1;
            }
            State::BackOff { .. } => {}
        }
        Ok(())
    }

    fn report(&self, store: &Store, key: &Key, uid: &str) -> Result<(), super::refusal::Refusal> {
        let Some(container) = self.processes.get(uid) else {
            return Ok(());
        };
        store.update(key, Commit::Durable, |pod| {
            if let State::Running { process, .. } = &container.state {
                revision::annotate(pod, "prometheus.io/port", process.port.to_string());
                revision::annotate(pod, "prometheus.io/path", "/metrics");
                revision::annotate(pod, "prometheus.io/scrape", "true");
            }
            pod["status"] = pod_status::of(&container.view(pod));
            Ok(())
        })?;
        Ok(())
    }

    fn ready_workloads(&self) -> Vec<Arc<Workload>> {
        let mut ready: Vec<_> = self
            .processes
            .values()
            .filter_map(|container| match &container.state {
                State::Running { process, ready: true } => Some(Arc::clone(&process.workload)),
                State::Running { ready: false, .. } | State::BackOff { .. } => None,
            })
            .collect();
        ready.sort_by(|a, b| a.pod.cmp(&b.pod));
        ready
    }
}

impl Container {
    fn crash(&mut self, now: Timestamp) {
        if let State::Running { process, .. } = &self.state {
            self.last_exit = Some(Exit { started_at: process.started_at, finished_at: now });
        }
        self.state = State::BackOff { until: now + back_off(self.restarts) };
    }

    fn view<'a>(&'a self, pod: &'a Value) -> PodView<'a> {
        PodView {
            pod,
            image: &self.image,
            started_at: self.pod_started_at,
            ready_changed_at: self.ready_changed_at,
            restarts: self.restarts,
            last_exit: self.last_exit,
            state: &self.state,
            back_off: back_off(self.restarts),
        }
    }
}

fn back_off(restarts: u64) -> Duration {
    let doublings = u32::try_from(restarts).unwrap_or(u32::MAX).min(8);
    (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(MAX_BACK_OFF)
}

/// The tag of an image.
pub(super) fn version_of(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(_, tag)| tag)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
