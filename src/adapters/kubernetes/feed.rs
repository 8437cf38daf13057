//! Follows the cluster with one watch per kind and namespace, however many targets there are.
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::announce::{Announcer, News, Source, What};
use super::beside::Beside;
use super::index::{Kind, Object};
use super::trim::{TrimmedPod, TrimmedRevision, TrimmedWorkload};
use super::{KubernetesTarget, failure, resource};
use crate::domain::workload::WorkloadKind;
use crate::ports::{Clock, FeedEvent, ReleaseFeed};

/// How long changes are gathered, so that a burst makes one view. What a pod tells may be what a rollback waits for.
const GATHER: Duration = Duration::from_millis(5);
/// A connection that died silently is noticed after this and five seconds more.
const WATCH_SECS: u32 = 60;
const WAITING_NEWS_MAX: usize = 1024;
/// Whole objects weigh ten times what is kept of them: so many are in memory at once while a large cluster is listed.
const PAGE: u32 = 100;
const LISTS_AT_ONCE: usize = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The targets of one cluster, as a feed.
pub struct KubernetesFeed {
    news: mpsc::Receiver<News>,
    announcer: Announcer,
    gathering: Option<Pin<Box<Sleep>>>,
    clock: Arc<dyn Clock>,
    /// Dropping it ends the watches.
    _watches: JoinSet<()>,
}

impl KubernetesFeed {
    pub(super) fn start(
        client: &Client,
        targets: Vec<KubernetesTarget>,
        beside: &Beside,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let served = beside.namespaces_of_services(&targets);
        let announcer = Announcer::new(targets).with(beside.clone());
        let (sender, news) = mpsc::channel(WAITING_NEWS_MAX);
        let lists = Arc::new(Semaphore::new(LISTS_AT_ONCE));
        let mut watches = JoinSet::new();
        for (source, namespace) in announcer.sources() {
            let (namespace, news) = (namespace.to_string(), sender.clone());
            let errand = Errand { source, namespace, news, lists: lists.clone() };
            spawn(&mut watches, client.clone(), errand);
        }
        for place in announcer.namespaces().enumerate() {
            beside.spawn(&mut watches, client, place, served.contains(place.1), &sender);
        }
        Self { news, announcer, gathering: None, clock, _watches: watches }
    }
}

#[async_trait]
impl ReleaseFeed for KubernetesFeed {
    /// Can be cancelled: everything that was received is kept in `self`.
    async fn next(&mut self) -> Option<FeedEvent> {
        loop {
            if let Some(event) = self.announcer.next(self.clock.now()) {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = elapsed(&mut self.gathering) => {
                    self.gathering = None;
                    self.announcer.settle();
                }
                news = self.news.recv() => {
                    self.announcer.take(news?);
                    if self.gathering.is_none() && self.announcer.is_due() {
                        self.gathering = Some(Box::pin(tokio::time::sleep(GATHER)));
                    }
                }
            }
        }
    }
}

async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// What one watch is about, and where its news go.
struct Errand {
    source: Source,
    namespace: String,
    news: mpsc::Sender<News>,
    lists: Arc<Semaphore>,
}

/// Why a watch ended.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// The server no longer knows where we were; a new list repairs that, and nothing is broken.
    Expired,
    Failed(String),
}

/// What has templates is read raw, because typed structs drop fields that the fingerprint needs.
fn spawn(watches: &mut JoinSet<()>, client: Client, errand: Errand) {
    let namespace = errand.namespace.clone();
    let raw = |resource: ApiResource| Api::namespaced_with(client.clone(), &namespace, &resource);
    let revision = |object: &DynamicObject| TrimmedRevision::of(object).map(Object::Revision);
    match errand.source.kind {
        Kind::Workload(kind) => {
            watches.spawn(errand.run(raw(resource(kind)), trim_workload(kind)));
        }
        Kind::ReplicaSet => {
            watches.spawn(errand.run(raw(ApiResource::erase::<ReplicaSet>(&())), revision));
        }
        Kind::ControllerRevision => {
            watches.spawn(errand.run(raw(ApiResource::erase::<ControllerRevision>(&())), revision));
        }
        Kind::Pod => {
            let trim = |object: &Pod| TrimmedPod::of(object).map(Object::Pod);
            watches.spawn(errand.run(Api::namespaced(client, &namespace), trim));
        }
    }
}

fn trim_workload(kind: WorkloadKind) -> fn(&DynamicObject) -> Option<Object> {
    match kind {
        WorkloadKind::Deployment => {
            |object| TrimmedWorkload::of(WorkloadKind::Deployment, object).map(Object::Workload)
        }
        WorkloadKind::StatefulSet => {
            |object| TrimmedWorkload::of(WorkloadKind::StatefulSet, object).map(Object::Workload)
        }
        WorkloadKind::DaemonSet => {
            |object| TrimmedWorkload::of(WorkloadKind::DaemonSet, object).map(Object::Workload)
        }
    }
}

impl Errand {
    /// Watches for good. After a failure everything is listed anew: only then is it certain that nothing was missed.
    async fn run<K>(self, api: Api<K>, trim: fn(&K) -> Option<Object>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let mut pauses = DefaultBackoff::default();
        loop {
            match self.follow(&api, trim).await {
                End::Unheard => return,
                End::Expired => {}
                End::Failed(why) => {
                    tracing::warn!(
                        namespace = self.namespace,
                        kind = self.source.kind.plural(),
                        why,
                        "a watch failed"
                    );
                    if !self.tell(What::Failed(why)).await {
                        return;
                    }
                }
            }
            tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    async fn follow<K>(&self, api: &Api<K>, trim: fn(&K) -> Option<Object>) -> End
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let config = watcher::Config::default().timeout(WATCH_SECS).page_size(PAGE);
        let mut events = std::pin::pin!(watcher(api.clone(), config));
        let mut list = Vec::new();
        let mut turn = None;
        while let Some(event) = events.next().await {
            let what = match event {
                Ok(Event::Init) => {
                    list.clear();
                    // Never closed, so there always is a turn.
                    turn = self.lists.acquire().await.ok();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    list.extend(trim(&object));
                    continue;
                }
                Ok(Event::InitDone) => {
                    turn.take();
                    What::Listed(std::mem::take(&mut list))
                }
                // An object that is not ours any more (its owner let it go) is as good as deleted.
                Ok(Event::Apply(object)) => trim(&object).map_or_else(
                    || What::Removed(object.name_any().into()),
                    |object| What::Applied(Box::new(object)),
                ),
                Ok(Event::Delete(object)) => What::Removed(object.name_any().into()),
                Err(error) => return self.end(&error),
            };
            if !self.tell(what).await {
                return End::Unheard;
            }
        }
        End::Failed("the watch ended".into())
    }

    async fn tell(&self, what: What) -> bool {
        self.news.send(News { source: self.source, what }).await.is_ok()
    }

    fn end(&self, error: &watcher::Error) -> End {
        let (code, reason) = failure::of_watch(error);
        let (kind, namespace) = (self.source.kind.plural(), &self.namespace);
        let advice = match code {
            Some(410) => return End::Expired,
            Some(401) => ": check the credentials".to_string(),
            Some(403) => format!(": allow list and watch on {kind} there"),
            Some(_) | None => String::new(),
        };
        End::Failed(format!("{kind} in namespace {namespace} cannot be watched: {reason}{advice}"))
    }
}
