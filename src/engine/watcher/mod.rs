//! The watcher: one task that notices releases, lets the domain judge them, and opens runs. It alone changes targets.
mod acting;
mod asking;
mod companions;
mod controls;
mod guarded;
mod history;
mod inbox;
mod keeping;
mod minutes;
mod noticing;
mod owners;
mod paging;
mod rails;
mod readiness;
mod reconfigure;
mod restore;
mod sweep;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commands::{Command, Desk};
use super::driver::{Input, Note, Tools, drive, show};
use super::ledger::Entry;
use super::rounds::Rounds;
use super::settings::Fleet;
use super::snapshot::Health;
use super::sources::{Answer, AskBook, Sensing};
use crate::domain::controls::Controls;
use crate::domain::event::TargetEvent;
use crate::domain::guardrails::Killed;
use crate::domain::keepsake::Keepsake;
use crate::domain::message::{Message, MessageKind, of_target, paging};
use crate::domain::names::{ServiceName, TargetId};
use crate::domain::policy::Mode;
use crate::domain::release::Fingerprint;
use crate::domain::run::Run;
use crate::domain::signal::{Reading, Sample};
use crate::domain::surroundings::Surroundings;
use crate::domain::survey::Survey;
use crate::ports::{FeedEvent, History, Journal, JournalError, Recorder, ReleaseFeed, SurveyError};
use crate::telemetry::{Metric, label};
use guarded::Guarded;
use keeping::Keep;
pub use reconfigure::Reconfigured;
use reconfigure::{Older, publish};
use sweep::Sweep;

/// What the watcher works with, besides the [`Tools`] that it hands to the drivers of runs.
pub struct Parts {
    pub tools: Tools,
    pub journal: Arc<dyn Journal>,
    pub recorder: Arc<dyn Recorder>,
    pub sensing: Sensing,
    pub fleet: Fleet,
    pub desk: Desk,
    pub notes: mpsc::Receiver<Note>,
    pub answers: mpsc::Receiver<Answer>,
    /// Configurations that come into force while it runs.
    pub reconfigured: mpsc::Receiver<Reconfigured>,
    pub stop: CancellationToken,
}

/// What a background look-up found.
enum Found {
    /// History and survey for the watch that is being opened.
    Opening {
        target: TargetId,
        version: Fingerprint,
        histories: Vec<History>,
        survey: Result<Survey, SurveyError>,
    },
    Survey {
        target: TargetId,
        survey: Result<Survey, SurveyError>,
    },
    /// What there is to know before a rollback is needed.
    Looked {
        target: TargetId,
        survey: Result<Survey, SurveyError>,
        around: Surroundings,
    },
    /// What the version that runs has beside its template.
    Kept {
        target: TargetId,
        keep: Keep,
        keepsake: Result<Keepsake, SurveyError>,
    },
    /// The survey for a rollback that a person ordered.
    Ordered {
        row: i64,
        command: Command,
        survey: Result<Survey, SurveyError>,
    },
    /// What a deploy tool said was handed on to the target, which takes it or does not need it.
    Announced {
        row: i64,
        target: TargetId,
        at: Timestamp,
        taken: bool,
    },
}

struct OpenRun {
    service: ServiceName,
    targets: Vec<(TargetId, Fingerprint)>,
    inputs: mpsc::Sender<Input>,
}

pub struct Watcher {
    parts: Parts,
    targets: BTreeMap<TargetId, Guarded>,
    /// Sources of earlier configurations, as long as a watch that began with them is open.
    older: Vec<Older>,
    controls: Controls,
    runs: BTreeMap<String, OpenRun>,
    drivers: TaskTracker,
    rounds: Rounds,
    sweep: Sweep,
    found: mpsc::Sender<Found>,
    /// The feed has changed what is worth asking: told at the next look, since it may tell of thousands of targets at once.
    book_stale: bool,
    /// Inbox rows up to here were handed on in this life.
    inbox_seen: i64,
    began_at: Timestamp,
    /// The kill switch, as it was looked at last.
    killed: Option<Killed>,
    failed: mpsc::Sender<JournalError>,
}

/// How often watches are looked at without anything new.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// Inputs that may wait for a driver; more than a person can type.
const INPUTS: usize = 64;

impl Watcher {
    /// Watches until `stop`.
    ///
    /// # Errors
    /// When the journal is not ours any more, or damaged: the process must stop then.
    pub async fn run(parts: Parts, mut feed: Box<dyn ReleaseFeed>) -> Result<(), JournalError> {
        let (found, mut finds) = mpsc::channel(256);
        let (failed, mut failures) = mpsc::channel(1);
        let targets =
            parts.fleet.targets().map(|(id, settings)| (id.clone(), Guarded::new(id, settings))).collect();
        let drivers = TaskTracker::new();
        let began_at = parts.tools.clock.now();
        let mut watcher = Self {
            parts,
            targets,
            older: Vec::new(),
            controls: Controls::default(),
            runs: BTreeMap::new(),
            drivers,
            rounds: Rounds::default(),
            sweep: Sweep::default(),
            found,
            book_stale: false,
            inbox_seen: 0,
            began_at,
            killed: None,
            failed,
        };
        watcher.restore().await?;
        watcher.note_configuration().await?;
        watcher.begin_rounds();
        watcher.fold_inbox().await?;
        let mut next_look = watcher.now();
        let (clock, stop, desk) =
            (watcher.parts.tools.clock.clone(), watcher.parts.stop.clone(), watcher.parts.desk.clone());
        loop {
            // In this order nothing starves: what comes first comes at a bounded rate.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(error) = failures.recv() => return Err(error),
                Some(note) = watcher.parts.notes.recv() => watcher.on_note(note).await?,
                () = clock.sleep_until(next_look) => {
                    next_look = watcher.now().saturating_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
                    watcher.look_at_all().await?;
                }
                Some(found) = finds.recv() => watcher.on_found(found).await?,
                Some(answer) = watcher.parts.answers.recv() => watcher.on_answer(answer).await?,
                Some(new) = watcher.parts.reconfigured.recv() => {
                    if let Some(newer) = watcher.reconfigure(new).await? {
                        feed = newer;
                    }
                }
                Some(event) = feed.next() => watcher.on_feed(event).await?,
                () = desk.arrival() => watcher.fold_inbox().await?,
                // Last: what arrives comes first, and the next look ends this one at the latest.
                () = std::future::ready(()), if watcher.sweep.is_under_way() => watcher.sweep_on().await?,
            }
        }
        // A driver that has something to tell must not wait for somebody who does not listen any more.
        watcher.parts.notes.close();
        watcher.drivers.close();
        watcher.drivers.wait().await;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.parts.tools.clock.now()
    }

    async fn on_feed(&mut self, event: FeedEvent) -> Result<(), JournalError> {
        match event {
            FeedEvent::Changed(view) => self.on_view(*view).await?,
            FeedEvent::Gone(target) => self.on_gone(&target).await?,
            FeedEvent::Interrupted { why } => self.feed_health(false, why),
            FeedEvent::Restored => self.feed_health(true, String::new()),
        }
        self.book_stale = true;
        Ok(())
    }

    fn feed_health(&self, up: bool, detail: String) {
        let now = self.now();
        Metric::FeedUp.set(f64::from(u8::from(up)), vec![]);
        self.parts.tools.picture.change(|s| s.feed = Some(Health::turn(s.feed.as_ref(), up, detail, now)));
    }

    async fn on_answer(&mut self, answer: Answer) -> Result<(), JournalError> {
        self.source_health(&answer);
        for sample in answer.samples {
            self.on_sample(sample).await;
        }
        Ok(())
    }

    fn source_health(&self, answer: &Answer) {
        let blind = answer.samples.iter().find_map(|s| match &s.reading {
            Reading::NoData { reason, .. } if s.pod.is_none() => Some(reason.clone()),
            _ => None,
        });
        let (up, now) = (blind.is_none(), self.now());
        Metric::SourceUp.set(f64::from(u8::from(up)), vec![label("source", &answer.source)]);
        self.parts.tools.picture.change(|s| {
            let health = Health::turn(s.sources.get(&answer.source), up, blind.unwrap_or_default(), now);
            s.sources.insert(answer.source.clone(), health);
        });
    }

    async fn on_sample(&mut self, sample: Sample) {
        let Some(target) = sample.target.clone() else { return };
        let id = TargetId { service: sample.service.clone(), target };
        let Some(guarded) = self.targets.get_mut(&id) else { return };
        guarded.checks.take(&sample);
        if let Some(active) = &mut guarded.watch {
            active.take(sample);
            return;
        }
        // A version whose watch is about to open must not be compared with itself.
        if sample.release.is_some()
            && sample.release != guarded.memory.current.as_ref().map(|v| v.label.clone())
        {
            return;
        }
        let rows = guarded.minutes.take(&sample);
        self.heed(&sample, &id);
        let epoch = self.parts.tools.ledger.epoch();
        if !rows.is_empty()
            && let Err(error) = self.parts.journal.save_minutes(epoch, &id, rows).await
        {
            tracing::warn!(%error, target = %id, "a minute of history is kept in memory only");
        }
    }

    async fn on_note(&mut self, note: Note) -> Result<(), JournalError> {
        match note {
            Note::Folded { target, event, at } => {
                self.remember(&target, &event, at);
                self.show(&target);
                Ok(())
            }
            Note::Closed { run, end } => self.on_run_closed(&run, end).await,
        }
    }

    /// Commits events of targets with the messages that they cause, and folds them.
    async fn commit(&mut self, target: &TargetId, events: Vec<TargetEvent>) -> Result<(), JournalError> {
        self.commit_folding(target, events, vec![]).await
    }

    async fn commit_folding(
        &mut self,
        target: &TargetId,
        events: Vec<TargetEvent>,
        folded: Vec<i64>,
    ) -> Result<(), JournalError> {
        let at = self.now();
        let messages = self.messages(target, &events, at);
        let events = [events, paging(&messages)].concat();
        let entry = |event: &TargetEvent| Entry::Target { target: target.clone(), event: event.clone() };
        let entries: Vec<Entry> = events.iter().map(entry).collect();
        self.parts.tools.ledger.commit(at, &entries, messages, folded).await?;
        events.iter().for_each(|event| self.remember(target, event, at));
        Ok(())
    }

    fn messages(&self, target: &TargetId, events: &[TargetEvent], at: Timestamp) -> Vec<Message> {
        let Some(mut memory) = self.targets.get(target).map(|g| g.memory.clone()) else { return Vec::new() };
        let mut messages = Vec::new();
        for event in events {
            messages.extend(of_target(event, &memory));
            memory = memory.fold(event, at);
        }
        // Who only observes tells nobody; what was paged before that was configured still ends.
        let observes = self
            .targets
            .get(target)
            .is_some_and(|g| g.settings.policy.mode_of(&target.target) == Mode::Observe);
        messages.retain(|message| !observes || message.kind == MessageKind::Resolve);
        messages
    }

    fn remember(&mut self, target: &TargetId, event: &TargetEvent, at: Timestamp) {
        if let Some(guarded) = self.targets.get_mut(target) {
            guarded.memory = std::mem::take(&mut guarded.memory).fold(event, at);
            self.rounds.hasten(target, at);
            if let TargetEvent::OwnerHeld { .. } | TargetEvent::OwnerResumed { .. } = event {
                owners::count_held(target, &guarded.memory);
            }
        }
    }

    /// Lets a run be driven from now on.
    fn start(&mut self, run: Run) {
        let Some(opened) = run.opened.as_deref() else { return };
        let (inputs, receiver) = mpsc::channel(INPUTS);
        let change = |c: &crate::domain::plan::Change| (c.target.clone(), c.to.fingerprint.clone());
        let targets = opened.plan.changes.iter().map(change).collect();
        let open = OpenRun { service: opened.service.clone(), targets, inputs };
        self.runs.insert(opened.run.clone(), open);
        // At once: what is decided in the same second counts the runs that are under way.
        show(&run, &self.parts.tools.picture);
        let (tools, failed) = (self.parts.tools.clone(), self.failed.clone());
        self.drivers.spawn(async move {
            if let Err(error) = drive(run, tools, receiver).await {
                // One report is enough: the process stops.
                drop(failed.try_send(error));
            }
        });
    }

    fn show(&self, target: &TargetId) {
        if let Some(guarded) = self.targets.get(target) {
            let status = Box::new(guarded.status());
            self.parts.tools.picture.change(|s| {
                s.targets.insert(target.to_string(), status);
            });
        }
    }

    fn publish_book(&mut self) {
        self.book_stale = false;
        let with_older = self.books_of_older();
        let mut book = AskBook::default();
        for guarded in self.targets.values().filter(|g| !with_older.contains(&g.id)) {
            let list = if guarded.watch.is_some() { &mut book.fresh } else { &mut book.idle };
            list.extend(guarded.ask());
        }
        book.controls = self.asked_controls();
        publish(&self.parts.sensing, book);
    }
}
