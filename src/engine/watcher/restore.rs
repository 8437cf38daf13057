//! The beginning of every life: what the journal holds is folded, and what was open goes on. There is no other path.
use futures::future::{try_join, try_join_all};

use super::Watcher;
use super::guarded::ActiveWatch;
use super::minutes::history_begins;
use super::noticing::release_sample;
use super::owners::count_held;
use crate::domain::event::{RUN_STREAMS, Record, RunEvent, StreamId, TargetEvent, from_record};
use crate::domain::memory::TargetMemory;
use crate::domain::names::TargetId;
use crate::domain::run::{Phase, Run, evolve};
use crate::domain::signal::{Reading, Sample};
use crate::engine::driver::show;
use crate::ports::{JournalError, MinuteRow};

/// Streams that are read at once: the journal reads them in one turn, and only so many are in memory.
const AT_ONCE: usize = 128;

/// What the journal holds of a target.
type Past = (Vec<Record>, Vec<MinuteRow>);

impl Watcher {
    pub(super) async fn restore(&mut self) -> Result<(), JournalError> {
        self.restore_house().await?;
        let targets: Vec<TargetId> = self.targets.keys().cloned().collect();
        for some in targets.chunks(AT_ONCE) {
            let pasts = try_join_all(some.iter().map(|target| self.past_of(target))).await?;
            for (target, past) in some.iter().zip(pasts) {
                self.take_up(target, past).await?;
                self.show(target);
            }
        }
        let streams = self.parts.journal.streams(RUN_STREAMS).await?;
        for some in streams.chunks(AT_ONCE) {
            for run in try_join_all(some.iter().map(|stream| self.restore_run(stream))).await? {
                self.go_on(run).await?;
            }
        }
        Ok(())
    }

    async fn go_on(&mut self, run: Run) -> Result<(), JournalError> {
        show(&run, &self.parts.tools.picture);
        let Some(opened) = &run.opened else { return Ok(()) };
        if let Phase::Closed(end) = &run.phase {
            // The process may have died between a run's end and that of its watch.
            self.end_watches_after(&opened.run, *end).await?;
        } else if run.is_open() {
            tracing::info!(run = opened.run, phase = run.phase_title(), "an open run goes on");
            self.start(run);
        }
        Ok(())
    }

    pub(super) async fn restore_target(&mut self, target: &TargetId) -> Result<(), JournalError> {
        let past = self.past_of(target).await?;
        self.take_up(target, past).await
    }

    async fn past_of(&self, target: &TargetId) -> Result<Past, JournalError> {
        let (journal, stream) = (&self.parts.journal, StreamId::target(target));
        let minutes = journal.minutes(target, history_begins(self.now()));
        try_join(journal.read(&stream), minutes).await
    }

    async fn take_up(&mut self, target: &TargetId, past: Past) -> Result<(), JournalError> {
        let (records, minutes) = past;
        let mut memory = TargetMemory::default();
        for record in &records {
            let event: TargetEvent = from_record(record).map_err(|e| unreadable(record, &e))?;
            memory = memory.fold(&event, record.at);
        }
        let watch = match &memory.watch {
            Some(open) => Some(self.restore_watch(open).await),
            None => None,
        };
        if let Some(guarded) = self.targets.get_mut(target) {
            if watch.is_none() {
                let past = minutes.iter().map(|row| (row.rule.clone(), row.counts));
                self.controls.know(target, &guarded.settings.rules, past);
            }
            if !memory.held.is_empty() {
                count_held(target, &memory);
            }
            guarded.memory = memory;
            guarded.watch = watch.map(Box::new);
            guarded.minutes.restore(minutes);
        }
        Ok(())
    }

    /// Judges the recording of an open watch anew, batch by batch, as it was judged when it was recorded.
    async fn restore_watch(&self, open: &crate::domain::memory::OpenWatch) -> ActiveWatch {
        let mut active = ActiveWatch::new(open.spec.as_ref().clone());
        let samples = self.parts.recorder.replay(&open.spec.id).await;
        tracing::info!(watch = open.spec.id, samples = samples.len(), "an open watch goes on");
        let mut at = open.spec.opened_at;
        // What is older than the watch is its history, which the specification holds as numbers; but for how checks stood.
        let is_check = |sample: &Sample| matches!(sample.reading, Reading::Check { .. });
        for sample in samples.into_iter().filter(|s| s.at >= open.spec.opened_at || is_check(s)) {
            if sample.at > at {
                active.look(at);
                at = sample.at;
            }
            active.take(sample);
        }
        active.look(at);
        if open.rollout_ended.is_some() && active.watch.rollout_ended().is_none() {
            active.take(release_sample(&open.spec, at, open.rollout_ended));
        }
        active.trial.hold_back(open.together.clone());
        active.batch.clear();
        active.recorded_at = self.now();
        active
    }

    async fn restore_run(&self, stream: &StreamId) -> Result<Run, JournalError> {
        let mut run = Run::default();
        for record in self.parts.journal.read(stream).await? {
            let event: RunEvent = from_record(&record).map_err(|e| unreadable(&record, &e))?;
            run = evolve(run, &event, record.at);
        }
        Ok(run)
    }
}

pub(super) fn unreadable(record: &Record, error: &serde_json::Error) -> JournalError {
    JournalError::Damaged {
        seq: record.seq,
        why: format!("{} of {}: {error}", record.kind, record.stream.as_str()),
    }
}
