//! The sandbox's objects with one resource version for all of them, and the bounded history that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::object::{self, Key, Kind};
use super::random::Random;
use super::refusal::Refusal;

/// Watches that fall further behind than this must list again, as with a real API server.
const HISTORY_LIMIT: usize = 4096;

/// Not 1, so that "too old" versions exist from the beginning.
const FIRST_VERSION: u64 = 1000;

const NAME_SUFFIX_LENGTH: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Added,
    Modified,
    Deleted,
}

/// One write, as watches see it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: Kind,
    pub(super) action: Action,
    pub(super) object: Arc<Value>,
    /// What it replaced: a watch with a selector needs it to see an object leave.
    pub(super) before: Option<Arc<Value>>,
}

/// All objects of a kind at one resource version.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) version: u64,
    pub(super) objects: Vec<Arc<Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Durable,
    DryRun,
}

#[derive(Debug)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    version: u64,
    /// Every change after this version is still in the history.
    complete_since: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Arc<Change>>,
    random: Random,
}

impl Store {
    pub(super) fn new(random: Random) -> Self {
        Self {
            inner: Mutex::new(Inner {
                version: FIRST_VERSION,
                complete_since: FIRST_VERSION,
                objects: BTreeMap::new(),
                history: VecDeque::new(),
                random,
            }),
            version: watch::Sender::new(FIRST_VERSION),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(super) fn list(&self, kind: Kind, namespace: Option<&str>) -> Listing {
        let inner = self.lock();
        let objects = inner
            .objects
            .iter()
            .filter(|(key, _)| key.kind == kind && namespace.is_none_or(|wanted| key.namespace == wanted))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        Listing { version: inner.version, objects }
    }

    /// The objects of `kind` that `owner` controls.
    pub(super) fn controlled(&self, kind: Kind, owner: &Value) -> Vec<Arc<Value>> {
        let uid = object::text(owner, "/metadata/uid");
        let mut listing = self.list(kind, Some(object::text(owner, "/metadata/namespace")));
        listing.objects.retain(|object| object::is_controlled_by(object, uid));
        listing.objects
    }

    pub(super) fn get(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        self.lock().get(key)
    }

    /// Stores a new object with the metadata that an API server assigns.
    pub(super) fn create(
        &self,
        kind: Kind,
        mut object: Value,
        now: Timestamp,
    ) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        if let Some(prefix) = object["metadata"]["generateName"].as_str() {
            let name = format!("{prefix}{}", inner.random.suffix(NAME_SUFFIX_LENGTH));
            object["metadata"]["name"] = name.into();
        }
        let key = Key::of(kind, &object);
        if inner.objects.contains_key(&key) {
            return Err(Refusal::AlreadyExists(key));
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.name().into();
        object["metadata"]["uid"] = inner.random.uid().into();
        object["metadata"]["creationTimestamp"] = object::time(now);
        object["metadata"]["generation"] = json!(1);
        let object = inner.commit(key, Action::Added, object);
        self.announce(inner);
        Ok(object)
    }

    /// Changes an object in one step; nothing happens where nothing changes.
    pub(super) fn update(
        &self,
        key: &Key,
        commit: Commit,
        change: impl FnOnce(&mut Value) -> Result<(), Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let mut inner = self.lock();
        let before = inner.get(key)?;
        let mut after = Value::clone(&before);
        change(&mut after)?;
        if after == *before {
            return Ok(before);
        }
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] = json!(object::number(&before, "/metadata/generation") + 1);
        }
        match commit {
            Commit::DryRun => Ok(Arc::new(after)),
            Commit::Durable => {
                let object = inner.commit(key.clone(), Action::Modified, after);
                self.announce(inner);
                Ok(object)
            }
        }
    }

    pub(super) fn delete(&self, key: &Key) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let object = Value::clone(&*inner.get(key)?);
        inner.commit(key.clone(), Action::Deleted, object);
        self.announce(inner);
        Ok(())
    }

    /// The changes after `version`, oldest first.
    pub(super) fn changes_since(&self, version: u64) -> Result<Vec<Arc<Change>>, Refusal> {
        let inner = self.lock();
        if version < inner.complete_since {
            return Err(Refusal::Expired { asked: version, oldest: inner.complete_since });
        }
        let first = inner.history.partition_point(|change| change.version <= version);
        Ok(inner.history.iter().skip(first).cloned().collect())
    }

    /// Forgets the history, like a compaction that every watch was too slow for.
    pub(super) fn expire_history(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.complete_since = inner.version;
        inner.history.clear();
        self.announce(inner);
    }

    fn announce(&self, inner: MutexGuard<'_, Inner>) {
        let version = inner.version;
        drop(inner);
        self.version.send_modify(|newest| *newest = version.max(*newest));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        self.objects.get(key).cloned().ok_or_else(|| Refusal::NotFound(key.clone()))
    }

    fn commit(&mut self, key: Key, action: Action, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let kind = key.kind;
        let before = match action {
            Action::Added | Action::Modified => self.objects.insert(key, Arc::clone(&object)),
            Action::Deleted => self.objects.remove(&key),
        };
        self.history.push_back(Arc::new(Change {
            version: self.version,
            kind,
            action,
            object: Arc::clone(&object),
            before,
        }));
        if self.history.len() > HISTORY_LIMIT
            && let Some(forgotten) = self.history.pop_front()
        {
            self.complete_since = forgotten.version;
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with_pod() -> (Store, Key) {
        let store = Store::new(Random::seeded(1));
        let pod = json!({"metadata": {"namespace": "shop", "generateName": "web-"}, "spec": {"x": 1}});
        let pod = store.create(Kind::Pod, pod, Timestamp::UNIX_EPOCH).unwrap();
        (store, Key::of(Kind::Pod, &pod))
    }

    fn set_spec(store: &Store, key: &Key, x: i64, commit: Commit) -> Arc<Value> {
        store
            .update(key, commit, |object| {
                object["spec"]["x"] = json!(x);
                Ok(())
            })
            .unwrap()
    }

    #[test]
    fn created_objects_get_what_an_api_server_assigns() {
        let (store, key) = store_with_pod();
        let pod = store.get(&key).unwrap();
        assert!(key.name.starts_with("web-") && key.name.len() == 9, "{}", key.name);
        assert_eq!(pod["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(pod["metadata"]["resourceVersion"], "1001");
        assert_eq!(pod["apiVersion"], "v1");
    }

    #[test]
    fn the_generation_follows_the_spec_only_and_no_change_is_no_event() {
        let (store, key) = store_with_pod();
        assert_eq!(set_spec(&store, &key, 2, Commit::Durable)["metadata"]["generation"], 2);
        set_spec(&store, &key, 2, Commit::Durable);
        let status = store.update(&key, Commit::Durable, |object| {
            object["status"] = json!({"phase": "Running"});
            Ok(())
        });
        assert_eq!(status.unwrap()["metadata"]["generation"], 2);
        assert_eq!(store.changes_since(FIRST_VERSION).unwrap().len(), 3);
    }

    #[test]
    fn a_dry_run_answers_and_stores_nothing() {
        let (store, key) = store_with_pod();
        assert_eq!(set_spec(&store, &key, 9, Commit::DryRun)["spec"]["x"], 9);
        assert_eq!(store.get(&key).unwrap()["spec"]["x"], 1);
    }

    #[test]
    fn the_history_is_bounded_and_says_when_it_no_longer_reaches_back() {
        let (store, key) = store_with_pod();
        for x in 0..HISTORY_LIMIT as i64 + 10 {
            set_spec(&store, &key, x + 100, Commit::Durable);
        }
        let refused = store.changes_since(FIRST_VERSION).unwrap_err();
        assert_eq!(refused.code().as_u16(), 410);
        let Refusal::Expired { oldest, .. } = refused else { panic!("{refused}") };
        assert_eq!(store.changes_since(oldest).unwrap().len(), HISTORY_LIMIT);
    }

    #[test]
    fn after_an_expiry_even_the_newest_version_is_too_old() {
        let (store, _) = store_with_pod();
        let newest = store.list(Kind::Pod, None).version;
        store.expire_history();
        assert!(store.changes_since(newest).is_err());
        let listed = store.list(Kind::Pod, None).version;
        assert!(store.changes_since(listed).unwrap().is_empty());
    }
}
