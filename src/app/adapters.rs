//! All adapters of one configuration, built before any of them is used.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::rooms::{Feeds, NoCluster, Room, Rooms};
use super::{AppError, build, channels};
use crate::adapters::kubernetes::{Beside, Kubernetes};
use crate::config::Config;
use crate::domain::names::{TargetId, TargetKind};
use crate::engine::current::{Current, Notifiers};
use crate::engine::settings::Fleet;
use crate::ports::{Checks, Clock, ImageRegistry, Notifier, ReleaseFeed, SignalSource, Target};

pub(super) struct Adapters {
    pub(super) cluster: Kubernetes,
    /// Of the other kinds of targets.
    pub(super) rooms: Vec<Room>,
    pub(super) kinds: BTreeMap<TargetId, TargetKind>,
    pub(super) registry: Option<Arc<dyn ImageRegistry>>,
    pub(super) notifiers: Arc<[Arc<dyn Notifier>]>,
    pub(super) checks: Arc<dyn Checks>,
    pub(super) sources: Vec<Arc<dyn SignalSource>>,
    pub(super) fleet: Fleet,
}

impl Adapters {
    /// Nobody is asked anything yet, but for credentials that a program or a file holds.
    pub(super) async fn of(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let cluster = build::cluster(config, clock).await?.with_keeping(build::keeping(config)?);
        let mut notifiers = channels::notifiers(config)?;
        if config.kubernetes_events {
            notifiers.push(Arc::new(cluster.events()));
        }
        let mut sources = build::sources(config)?;
        if let Some(logs) = build::logs_source(config, &cluster)? {
            sources.push(Arc::new(logs));
        }
        Ok(Self {
            cluster,
            rooms: build::rooms(config)?,
            kinds: build::kinds(config),
            registry: build::registry(config),
            notifiers: notifiers.into(),
            checks: build::checks(config)?,
            sources,
            fleet: build::fleet(config),
        })
    }

    /// For a feed that goes on: what it sees is seen by these, too.
    pub(super) fn beside(self, feed: &InUse) -> Self {
        Self { cluster: self.cluster.with_beside(feed.beside.clone()), ..self }
    }

    fn targets(&self) -> Arc<dyn Target> {
        let workloads = self.cluster.targets().with_registry(self.registry.clone());
        Arc::new(Rooms::new(self.kinds.clone(), Arc::new(workloads), &self.rooms))
    }

    /// As those hold them who use them, with what the leader's watcher alone holds.
    pub(super) fn put_to_use(self) -> (InUse, Equipment) {
        let (target, beside) = (self.targets(), self.cluster.beside());
        let in_use = InUse {
            beside,
            notifiers: self.notifiers.into(),
            target: target.into(),
            checks: self.checks.into(),
            fleet: Arc::new(self.fleet.clone()).into(),
        };
        (
            in_use,
            Equipment { cluster: self.cluster, rooms: self.rooms, sources: self.sources, fleet: self.fleet },
        )
    }
}

/// Adapters that a later configuration replaces.
pub(super) struct InUse {
    /// What the feed that goes on sees.
    pub(super) beside: Beside,
    pub(super) notifiers: Notifiers,
    pub(super) target: Current<dyn Target>,
    pub(super) checks: Current<dyn Checks>,
    pub(super) fleet: Current<Fleet>,
}

impl InUse {
    pub(super) fn replace(&mut self, adapters: Adapters) -> Equipment {
        self.beside = adapters.cluster.beside();
        self.target.set(adapters.targets());
        self.notifiers.set(adapters.notifiers);
        self.checks.set(adapters.checks);
        self.fleet.set(Arc::new(adapters.fleet.clone()));
        let Adapters { cluster, rooms, sources, fleet, .. } = adapters;
        Equipment { cluster, rooms, sources, fleet }
    }
}

/// What the watcher of the replica that leads is set going with.
#[derive(Clone)]
pub(super) struct Equipment {
    pub(super) cluster: Kubernetes,
    pub(super) rooms: Vec<Room>,
    pub(super) sources: Vec<Arc<dyn SignalSource>>,
    pub(super) fleet: Fleet,
}

impl Equipment {
    /// Begins to watch all targets.
    pub(super) fn feed(&self) -> Box<dyn ReleaseFeed> {
        let workloads: Box<dyn ReleaseFeed> = if self.cluster.has_targets() {
            Box::new(self.cluster.feed())
        } else {
            Box::new(NoCluster::default())
        };
        let others = self.rooms.iter().map(|room| (room.feed)());
        Box::new(Feeds([workloads].into_iter().chain(others).collect()))
    }
}
