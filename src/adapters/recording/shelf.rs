//! All recordings of a directory and the limits on them: the newest are kept, what does not fit is counted.
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::RecordingLimits;
use super::files;
use crate::domain::signal::Sample;
use crate::telemetry::{Metric, label};

/// How often ages are looked at, in the time of the samples.
const AGE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Owned by the recorder's thread. Time here is the time of the samples, also for files: their modification time is set to it.
pub(super) struct Shelf {
    dir: PathBuf,
    limits: RecordingLimits,
    files: HashMap<String, Kept>,
    bytes: u64,
    now: Timestamp,
    aged_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    bytes: u64,
    newest: Timestamp,
    state: State,
    /// That nothing is being recorded was said already.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Closed, or left by an earlier life: may be deleted.
    Closed,
    Open,
    /// Open, and no more fits in: what is recorded has no gap.
    Full,
}

#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error("the recording has reached its {0} bytes")]
    FileFull(u64),
    #[error("all recordings together have reached their {0} bytes")]
    TotalFull(u64),
    #[error("it could not be written: {0}")]
    Failed(io::Error),
}

impl Shelf {
    pub(super) fn open(dir: PathBuf, limits: RecordingLimits) -> io::Result<Self> {
        let mut shelf = Self {
            dir,
            limits,
            files: HashMap::new(),
            bytes: 0,
            now: Timestamp::MIN,
            aged_at: Timestamp::MIN,
        };
        for found in files::list(&shelf.dir)? {
            let newest = Timestamp::try_from(found.modified).unwrap_or(Timestamp::MIN);
            shelf.bytes += found.bytes;
            shelf
                .files
                .insert(found.name, Kept { bytes: found.bytes, newest, state: State::Closed, told: false });
        }
        shelf.measure();
        Ok(shelf)
    }

    /// Appends a batch, or counts it as dropped.
    pub(super) fn record(&mut self, watch: &str, samples: &[Sample]) {
        let Some(newest) = samples.iter().map(|sample| sample.at).max() else { return };
        self.now = self.now.max(newest);
        let name = files::name_of(watch);
        if let Err(why) = self.append(&name, samples, newest) {
            self.dropped(watch, &name, &why);
        }
        self.forget_old();
        self.measure();
    }

    pub(super) fn close(&mut self, watch: &str) {
        let name = files::name_of(watch);
        match self.files.get_mut(&name) {
            Some(kept) if kept.bytes > 0 => kept.state = State::Closed,
            // Nothing could be written: there is no file to remember.
            Some(_) | None => drop(self.files.remove(&name)),
        }
    }

    fn append(&mut self, name: &str, samples: &[Sample], newest: Timestamp) -> Result<(), Dropped> {
        let kept = self.take_up(name, newest).map_err(Dropped::Failed)?;
        let member = files::encode(samples).map_err(Dropped::Failed)?;
        let size = member.len() as u64;
        if kept.state == State::Full || kept.bytes + size > self.limits.max_file_bytes {
            return Err(Dropped::FileFull(self.limits.max_file_bytes));
        }
        if !self.make_room(size) {
            return Err(Dropped::TotalFull(self.limits.max_total_bytes));
        }
        let newest = kept.newest.max(newest);
        files::append(&self.dir.join(name), kept.bytes, &member, newest.into()).map_err(Dropped::Failed)?;
        self.bytes += size;
        self.files.insert(
            name.to_string(),
            Kept { bytes: kept.bytes + size, newest, state: State::Open, told: false },
        );
        Ok(())
    }

    /// The file as it stands, open from now on. One of an earlier life is mended first.
    fn take_up(&mut self, name: &str, newest: Timestamp) -> io::Result<Kept> {
        if let Some(kept) = self.files.get(name).filter(|kept| kept.state != State::Closed) {
            return Ok(*kept);
        }
        let bytes = files::mend(&self.dir.join(name))?;
        let before = self.files.get(name).copied();
        self.bytes = (self.bytes + bytes).saturating_sub(before.map_or(0, |kept| kept.bytes));
        let kept = Kept {
            bytes,
            newest: before.map_or(newest, |kept| kept.newest),
            state: State::Open,
            told: false,
        };
        self.files.insert(name.to_string(), kept);
        Ok(kept)
    }

    /// Deletes the oldest closed recordings until so many bytes fit.
    fn make_room(&mut self, bytes: u64) -> bool {
        while self.bytes + bytes > self.limits.max_total_bytes {
            let closed = self.files.iter().filter(|(_, kept)| kept.state == State::Closed);
            let Some(oldest) = closed.min_by_key(|(_, kept)| kept.newest).map(|(name, _)| name.clone())
            else {
                return false;
            };
            self.delete(&oldest);
        }
        true
    }

    fn forget_old(&mut self) {
        if self.now.duration_since(self.aged_at) < AGE_EVERY {
            return;
        }
        self.aged_at = self.now;
        let age = SignedDuration::try_from(self.limits.max_age).unwrap_or(SignedDuration::MAX);
        let oldest = self.now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let old = self.files.iter().filter(|(_, kept)| kept.state == State::Closed && kept.newest < oldest);
        for name in old.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.delete(&name);
        }
    }

    fn delete(&mut self, name: &str) {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Ok(()) => tracing::debug!(path = %path.display(), "an old recording was deleted"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an old recording cannot be deleted");
            }
        }
        // Also after a failure, so that one such file cannot keep all others from being recorded.
        if let Some(kept) = self.files.remove(name) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    /// Counts every dropped batch, and tells once until the recording goes on.
    fn dropped(&mut self, watch: &str, name: &str, why: &Dropped) {
        let reason = match why {
            Dropped::FileFull(_) => "file_full",
            Dropped::TotalFull(_) => "total_full",
            Dropped::Failed(_) => "failed",
        };
        Metric::RecordingDroppedTotal.add(1, vec![label("reason", reason)]);
        let kept = self.files.get_mut(name);
        if !kept.as_ref().is_some_and(|kept| kept.told) {
            tracing::warn!(watch, %why, "batches are not recorded");
        }
        if let Some(kept) = kept {
            kept.told = true;
            if matches!(why, Dropped::FileFull(_)) {
                kept.state = State::Full;
            }
        }
    }

    fn measure(&self) {
        Metric::RecordingBytes.set(self.bytes as f64, Vec::new());
    }
}
