//! What is watched beside the workloads where it is allowed: probes that fail, and whom a Service sends requests to.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as ClusterEvent;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::KubernetesTarget;
use super::announce::{News, Source, What};
use super::failure;
use super::index::Kind;
use super::rights::Right;
use super::trim::Name;
use crate::domain::names::TargetId;
use crate::domain::workload::WorkloadView;

const WATCH_SECS: u32 = 60;
const UNHEALTHY: &str = "reason=Unhealthy";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Pods of one namespace whose probes are remembered.
const PROBES_MAX: usize = 5_000;
/// A probe that is a command may print anything.
const PROBE_CHARS: usize = 200;

/// What to watch beside the workloads; each needs a right of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Events about failed probes.
    pub failed_probes: bool,
    /// The Service in front of a target.
    pub services: BTreeMap<TargetId, String>,
    /// Targets with rules on their pods' logs.
    pub logs: BTreeSet<TargetId>,
}

impl Extras {
    /// The rights that these take for one target.
    fn rights(&self, target: &TargetId) -> Vec<Right<'static>> {
        let of = |group, resource, verbs: &'static [&'static str]| {
            verbs.iter().map(move |verb| Right { verb, group, resource, name: None })
        };
        let watch: &[&str] = &["list", "watch"];
        let probes = self.failed_probes.then(|| of("", "events", watch));
        let slices =
            self.services.contains_key(target).then(|| of("discovery.k8s.io", "endpointslices", watch));
        let logs = self.logs.contains(target).then(|| of("", "pods/log", &["get"] as &[&str]));
        [probes, slices, logs].into_iter().flatten().flatten().collect()
    }
}

/// Shared by the feed, which fills it, and by whoever tells people about pods.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    extras: Extras,
    places: Arc<Mutex<HashMap<String, Place>>>,
}

#[derive(Debug, Default)]
struct Place {
    probes: BTreeMap<String, Probe>,
    /// `None` until they were listed, and while they cannot be read.
    slices: Option<HashMap<String, Slice>>,
}

/// The latest failure of a pod's probe. The same one again changes only a counter that nobody needs.
#[derive(Clone, Debug, PartialEq)]
struct Probe {
    event: String,
    at: Timestamp,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Slice {
    service: String,
    /// Pods that it sends requests to, or not.
    pods: BTreeMap<String, bool>,
}

impl Beside {
    /// What is needed beside the right to guard the target; without it something is not seen.
    pub(super) fn rights(&self, target: &TargetId) -> Vec<Right<'static>> {
        self.extras.rights(target)
    }

    /// Whether Events of the namespaces may be read, as far as it is configured.
    pub(super) fn reads_events(&self) -> bool {
        self.extras.failed_probes
    }

    pub(super) fn new(extras: Extras) -> Self {
        Self { extras, places: Arc::default() }
    }

    /// Namespaces in which a target has a Service in front.
    pub(super) fn namespaces_of_services(&self, targets: &[KubernetesTarget]) -> BTreeSet<String> {
        let served = targets.iter().filter(|t| self.extras.services.contains_key(&t.target));
        served.map(|t| t.workload.namespace.clone()).collect()
    }

    /// One watch per namespace and kind, as for the workloads. What fails here never makes the feed blind.
    pub(super) fn spawn(
        &self,
        watches: &mut JoinSet<()>,
        client: &Client,
        (place, namespace): (usize, &str),
        has_service: bool,
        news: &mpsc::Sender<News>,
    ) {
        let errand = |what| Errand {
            what,
            beside: self.clone(),
            namespace: namespace.to_string(),
            source: Source { place, kind: Kind::Pod },
            news: news.clone(),
        };
        if self.extras.failed_probes {
            let api: Api<ClusterEvent> = Api::namespaced(client.clone(), namespace);
            let config = watcher::Config::default().fields(UNHEALTHY).timeout(WATCH_SECS);
            watches.spawn(errand("events").run(api, config, Place::take_probe));
        }
        if has_service {
            let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
            let config = watcher::Config::default().labels(SERVICE_LABEL).timeout(WATCH_SECS);
            watches.spawn(errand("endpointslices").run(api, config, Place::take_slice));
        }
    }

    /// Adds to the pods what is known of their probes and endpoints.
    pub(super) fn add_to(&self, view: &mut WorkloadView, namespace: &str) {
        let service = self.extras.services.get(&view.target);
        if service.is_none() && !self.extras.failed_probes {
            return;
        }
        let places = self.places();
        let Some(place) = places.get(namespace) else { return };
        let endpoints = service.and_then(|service| place.endpoints(service));
        for pod in &mut view.pods {
            pod.reading.endpoint = endpoints.as_ref().map(|serving| serving.contains(pod.name.as_str()));
            pod.reading.probe = place.probe(&pod.name, pod.created_at, pod.reading.ready);
        }
    }

    /// What the latest failed probe of a pod said that is not ready.
    pub(super) fn probe(&self, namespace: &str, pod: &str, made: Timestamp) -> Option<String> {
        self.places().get(namespace)?.probe(pod, made, false)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        // Whoever panicked left a map behind that is whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A pod that is ready again needs no excuse; one that was restarted by its liveness probe does.
    fn probe(&self, pod: &str, made: Timestamp, ready: bool) -> Option<String> {
        let probe = self.probes.get(pod).filter(|probe| probe.at >= made)?;
        (!ready || !probe.text.starts_with("Readiness")).then(|| probe.text.clone())
    }

    /// Pods that get requests through this Service; `None` if nothing is known of it.
    fn endpoints(&self, service: &str) -> Option<BTreeSet<&str>> {
        // A Service with a selector always has a slice, if only an empty one.
        let mut slices = self.slices.as_ref()?.values().filter(|s| s.service == service).peekable();
        slices.peek()?;
        let ready = slices.flat_map(|s| s.pods.iter()).filter(|(_, ready)| **ready);
        Some(ready.map(|(pod, _)| pod.as_str()).collect())
    }

    fn take_probe(&mut self, change: Change<ClusterEvent>) -> Vec<Name> {
        match change {
            Change::Failed => Vec::new(),
            Change::Listed(events) => events.iter().filter_map(|event| self.failed(event)).collect(),
            Change::Applied(event) => self.failed(&event).into_iter().collect(),
            Change::Removed(event) => {
                // It expired: old news is no news.
                let pod = event.involved_object.name.clone().unwrap_or_default();
                let over = self.probes.get(&pod).is_some_and(|probe| probe.event == event.name_any());
                over.then(|| self.probes.remove(&pod)).flatten().map(|_| pod.into()).into_iter().collect()
            }
        }
    }

    fn failed(&mut self, event: &ClusterEvent) -> Option<Name> {
        let pod = event.involved_object.name.clone()?;
        if event.involved_object.kind.as_deref() != Some("Pod")
            || event.reason.as_deref() != Some("Unhealthy")
        {
            return None;
        }
        let first_line = event.message.as_deref()?.lines().next()?;
        let text: String = first_line.chars().take(PROBE_CHARS).collect();
        let probe = Probe { event: event.name_any(), at: last_seen(event)?, text };
        let known = self.probes.get(&pod);
        if known.is_some_and(|known| known.at > probe.at) {
            return None;
        }
        let changed = known.is_none_or(|known| known.text != probe.text);
        if known.is_none() && self.probes.len() >= PROBES_MAX {
            self.forget_oldest();
        }
        self.probes.insert(pod.clone(), probe);
        changed.then(|| pod.into())
    }

    fn forget_oldest(&mut self) {
        let oldest = self.probes.iter().min_by_key(|(_, probe)| probe.at);
        if let Some(pod) = oldest.map(|(pod, _)| pod.clone()) {
            self.probes.remove(&pod);
        }
    }

    fn take_slice(&mut self, change: Change<EndpointSlice>) -> Vec<Name> {
        let before = self.slices.as_ref().map(ready_pods).unwrap_or_default();
        match change {
            Change::Failed => self.slices = None,
            Change::Listed(slices) => self.slices = Some(slices.iter().filter_map(slice).collect()),
            Change::Applied(object) => {
                self.slices.get_or_insert_default().extend(slice(&object));
            }
            Change::Removed(object) => {
                self.slices.get_or_insert_default().remove(&object.name_any());
            }
        }
        let after = self.slices.as_ref().map(ready_pods).unwrap_or_default();
        before.symmetric_difference(&after).map(|(_, pod, _)| pod.as_str().into()).collect()
    }
}

fn ready_pods(slices: &HashMap<String, Slice>) -> BTreeSet<(String, String, bool)> {
    let of = |slice: &Slice| {
        let service = slice.service.clone();
        slice.pods.clone().into_iter().map(move |(pod, ready)| (service.clone(), pod, ready))
    };
    slices.values().flat_map(of).collect()
}

fn last_seen(event: &ClusterEvent) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let last = event.last_timestamp.as_ref().map(|t| t.0);
    let first = event.event_time.as_ref().map(|t| t.0);
    let made = event.metadata.creation_timestamp.as_ref().map(|t| t.0);
    series.max(last).or(first).or(made)
}

/// By name; several slices make one Service.
fn slice(object: &EndpointSlice) -> Option<(String, Slice)> {
    let service = object.labels().get(SERVICE_LABEL)?.clone();
    let pod = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
        let conditions = endpoint.conditions.as_ref();
        // As the API says: unknown counts as ready. What terminates gets no new requests while others are ready.
        let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
        let leaves = conditions.and_then(|c| c.terminating).unwrap_or(false);
        Some((target.name.clone()?, ready && !leaves))
    };
    Some((
        object.name_any(),
        Slice { service, pods: object.endpoints.iter().flatten().filter_map(pod).collect() },
    ))
}

/// What a watch says, lists as a whole.
enum Change<K> {
    Listed(Vec<K>),
    Applied(K),
    Removed(K),
    Failed,
}

struct Errand {
    what: &'static str,
    beside: Beside,
    namespace: String,
    source: Source,
    news: mpsc::Sender<News>,
}

impl Errand {
    async fn run<K>(self, api: Api<K>, config: watcher::Config, take: fn(&mut Place, Change<K>) -> Vec<Name>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let (mut list, mut told) = (Vec::new(), None);
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(Event::Init) => {
                    list.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    list.push(object);
                    continue;
                }
                Ok(Event::InitDone) => Change::Listed(std::mem::take(&mut list)),
                Ok(Event::Apply(object)) => Change::Applied(object),
                Ok(Event::Delete(object)) => Change::Removed(object),
                Err(error) => self.failed(&error, &mut told),
            };
            let touched = {
                let mut places = self.beside.places();
                take(places.entry(self.namespace.clone()).or_default(), change)
            };
            let news = News { source: self.source, what: What::Touched(touched) };
            // Nobody listens any more.
            if self.news.send(news).await.is_err() {
                return;
            }
        }
    }

    /// Told once for each reason: it is tried again for good.
    fn failed<K>(&self, error: &watcher::Error, told: &mut Option<String>) -> Change<K> {
        let (_, why) = failure::of_watch(error);
        if told.as_ref() != Some(&why) {
            let (what, namespace) = (self.what, &self.namespace);
            tracing::warn!(
                namespace,
                why,
                "{what} cannot be watched: allow list and watch on {what} there, or leave the feature out"
            );
            *told = Some(why);
        }
        Change::Failed
    }
}

#[cfg(test)]
mod tests;
