//! A new configuration comes into force: what it names is guarded from now on, and what is under way is finished as it began.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Watcher;
use super::guarded::Guarded;
use crate::domain::event::{HouseEvent, WatchEnd};
use crate::domain::names::{RuleName, ServiceName, TargetId};
use crate::engine::ledger::Entry;
use crate::engine::settings::{Fleet, ServiceSettings};
use crate::engine::sources::{AskBook, Sensing};
use crate::ports::{JournalError, ReleaseFeed};

/// What a new configuration means to the watcher.
pub struct Reconfigured {
    pub fleet: Fleet,
    /// Of the new targets; none if they are those of before.
    pub feed: Option<Box<dyn ReleaseFeed>>,
    /// None if everything is measured as before.
    pub sensing: Option<Sensing>,
    /// Targets that are another workload now.
    pub elsewhere: BTreeSet<TargetId>,
    /// Rules that are measured in another way now, or not at all any more.
    pub remeasured: BTreeSet<(ServiceName, RuleName)>,
    /// Told once all of it is in force.
    pub done: oneshot::Sender<()>,
}

/// Sources of an earlier configuration, with the watches that began with them.
pub(super) struct Older {
    sensing: Sensing,
    watches: BTreeMap<TargetId, String>,
}

impl Watcher {
    /// Puts a configuration in force; answers with the feed that takes the place of the one before.
    pub(super) async fn reconfigure(
        &mut self,
        new: Reconfigured,
    ) -> Result<Option<Box<dyn ReleaseFeed>>, JournalError> {
        let wanted: BTreeMap<TargetId, Arc<ServiceSettings>> = new.fleet.targets().collect();
        let unwanted: Vec<TargetId> =
            self.targets.keys().filter(|id| !wanted.contains_key(id)).cloned().collect();
        for target in &unwanted {
            self.leave(target, "it is not configured any more").await?;
            self.targets.remove(target);
            self.parts.tools.picture.change(|s| drop(s.targets.remove(&target.to_string())));
        }
        for target in &new.elsewhere {
            self.leave(target, "another workload is configured under its name").await?;
        }
        if let Some(sensing) = new.sensing {
            self.change_sources(sensing, &new.remeasured);
        }
        for (target, settings) in wanted {
            self.settle_in(target, settings, &new.remeasured).await?;
        }
        self.parts.fleet = new.fleet;
        self.note_configuration().await?;
        self.publish_book();
        // Whoever asked may have stopped listening.
        new.done.send(()).ok();
        Ok(new.feed)
    }

    /// The journal names the configuration by which it is decided from now on.
    pub(super) async fn note_configuration(&self) -> Result<(), JournalError> {
        let Some(hash) = self.parts.fleet.configuration.clone() else { return Ok(()) };
        tracing::info!(hash, "this configuration is in force");
        let event = HouseEvent::Configured { hash, version: env!("CARGO_PKG_VERSION").into() };
        self.parts.tools.ledger.commit(self.now(), &[Entry::House { event }], vec![], vec![]).await
    }

    /// Ends what is seen of a target. Its runs go on: they know from their first moment all that they need.
    async fn leave(&mut self, target: &TargetId, why: &str) -> Result<(), JournalError> {
        self.close_watch(target, WatchEnd::Gone, why.to_string()).await?;
        self.controls.forget(target);
        if let Some(guarded) = self.targets.get_mut(target) {
            let (id, settings) = (guarded.id.clone(), guarded.settings.clone());
            let memory = std::mem::take(&mut guarded.memory);
            *guarded = Guarded { memory, ..Guarded::new(id, settings) };
        }
        Ok(())
    }

    /// A target is guarded by these settings from now on. An open watch keeps the rules that it began with.
    async fn settle_in(
        &mut self,
        target: TargetId,
        settings: Arc<ServiceSettings>,
        remeasured: &BTreeSet<(ServiceName, RuleName)>,
    ) -> Result<(), JournalError> {
        let Some(guarded) = self.targets.get_mut(&target) else {
            self.targets.insert(target.clone(), Guarded::new(target.clone(), settings));
            self.restore_target(&target).await?;
            self.show(&target);
            return Ok(());
        };
        let of_service = remeasured.iter().filter(|(service, _)| *service == target.service);
        of_service.for_each(|(_, rule)| guarded.minutes.forget(rule));
        if guarded.settings != settings {
            guarded.settings = settings;
            // What is usual was judged by the rules of before.
            let past = guarded.minutes.history().batches;
            let past = past.iter().flat_map(|(rule, counts)| counts.iter().map(|c| (rule.clone(), *c)));
            let rules = &guarded.settings.rules;
            self.controls.forget(&target);
            if guarded.watch.is_none() {
                self.controls.know(&target, rules, past);
            }
        }
        self.show(&target);
        Ok(())
    }

    /// A watch of which a rule is measured in another way now is measured by the sources that it began with, until it ends:
    /// counters of another series would look like trouble.
    fn change_sources(&mut self, sensing: Sensing, remeasured: &BTreeSet<(ServiceName, RuleName)>) {
        let before = std::mem::replace(&mut self.parts.sensing, sensing);
        let with_older = self.books_of_older();
        let keeps = |guarded: &&Guarded| {
            let rules = guarded.watch.iter().flat_map(|active| &active.watch.spec().rules);
            let remeasured =
                |name: &RuleName| remeasured.contains(&(guarded.id.service.clone(), name.clone()));
            !with_older.contains(&guarded.id) && rules.into_iter().any(|rule| remeasured(&rule.name))
        };
        let id =
            |guarded: &Guarded| Some((guarded.id.clone(), guarded.watch.as_ref()?.watch.spec().id.clone()));
        let watches: BTreeMap<TargetId, String> =
            self.targets.values().filter(keeps).filter_map(id).collect();
        self.older.push(Older { sensing: before, watches });
        let names: BTreeSet<&str> = self.parts.sensing.sources.iter().map(|source| source.name()).collect();
        self.parts.tools.picture.change(|s| s.sources.retain(|name, _| names.contains(name.as_str())));
    }

    /// Lets each of the older sources be asked about its own watches, and drops those without any: their polling ends then.
    /// Answers with the targets that are asked for there.
    pub(super) fn books_of_older(&mut self) -> BTreeSet<TargetId> {
        let targets = &self.targets;
        let open = |target: &TargetId, watch: &String| {
            let active = targets.get(target).and_then(|guarded| guarded.watch.as_ref());
            active.is_some_and(|active| active.watch.spec().id == *watch)
        };
        self.older.iter_mut().for_each(|older| older.watches.retain(|target, watch| open(target, watch)));
        self.older.retain(|older| !older.watches.is_empty());
        for older in &self.older {
            let asked = older.watches.keys().filter_map(|target| targets.get(target)?.ask());
            publish(&older.sensing, AskBook { fresh: asked.collect(), ..AskBook::default() });
        }
        self.older.iter().flat_map(|older| older.watches.keys().cloned()).collect()
    }
}

/// Tells the sources what to ask about, if it is something else than before.
pub(super) fn publish(sensing: &Sensing, book: AskBook) {
    sensing.book.send_if_modified(|current| {
        let changed = **current != book;
        if changed {
            *current = Arc::new(book);
        }
        changed
    });
}
