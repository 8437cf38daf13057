//! Recordings: the samples of every watch in one gzip file each, for restarts and for backtests.
mod files;
mod reader;
mod shelf;
#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::domain::signal::Sample;
use crate::ports::Recorder;
use crate::telemetry::{Metric, label};
pub use reader::{LineError, RecordingReader, read_recording};
use shelf::Shelf;

/// Batches that wait for the disk; more are dropped and counted.
const QUEUE: usize = 4096;

/// How much is kept. Sizes are those on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingLimits {
    pub max_file_bytes: u64,
    pub max_total_bytes: u64,
    pub max_age: Duration,
}

impl Default for RecordingLimits {
    fn default() -> Self {
        let mebibyte = 1024 * 1024;
        let month = Duration::from_secs(30 * 24 * 3600);
        Self { max_file_bytes: 64 * mebibyte, max_total_bytes: 2048 * mebibyte, max_age: month }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("recordings cannot be kept in {}: make it a directory that this user may write", dir.display())]
    Directory { dir: PathBuf, source: io::Error },
    #[error("the recorder's thread cannot be started: raise the limit on threads")]
    Thread { source: io::Error },
}

/// Writes recordings on a thread of its own, so that a slow disk never holds up a watch.
pub struct FileRecorder {
    dir: PathBuf,
    /// `None` only while being dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Record {
        watch: String,
        samples: Vec<Sample>,
    },
    Close {
        watch: String,
    },
    /// Answered when everything before it is on disk.
    Reached(oneshot::Sender<()>),
}

impl FileRecorder {
    /// Keeps recordings in `dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn new(dir: &Path, limits: RecordingLimits) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Directory { dir: dir.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let shelf = Shelf::open(dir.to_path_buf(), limits).map_err(failed)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || run(shelf, queue));
        let thread = thread.map_err(|source| RecordingError::Thread { source })?;
        Ok(Self { dir: dir.to_path_buf(), requests: Some(requests), thread: Some(thread) })
    }

    /// Where the recording of a watch is, or would be.
    pub fn path(&self, watch: &str) -> PathBuf {
        self.dir.join(files::name_of(watch))
    }

    async fn reached(&self) {
        let Some(requests) = &self.requests else { return };
        let (reply, reached) = oneshot::channel();
        let sent = requests.send(Request::Reached(reply)).await.is_ok();
        if !sent || reached.await.is_err() {
            tracing::error!("the recorder's thread has ended");
        }
    }
}

fn run(mut shelf: Shelf, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.blocking_recv() {
        match request {
            Request::Record { watch, samples } => shelf.record(&watch, &samples),
            Request::Close { watch } => shelf.close(&watch),
            // Who asked may have stopped waiting.
            Request::Reached(reply) => drop(reply.send(())),
        }
    }
}

#[async_trait]
impl Recorder for FileRecorder {
    async fn record(&self, watch: &str, samples: Vec<Sample>) {
        let Some(requests) = &self.requests else { return };
        let reason = match requests.try_send(Request::Record { watch: watch.to_string(), samples }) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "queue_full",
            Err(TrySendError::Closed(_)) => "failed",
        };
        Metric::RecordingDroppedTotal.add(1, vec![label("reason", reason)]);
        tracing::warn!(watch, reason, "a batch was not recorded");
    }

    async fn replay(&self, watch: &str) -> Vec<Sample> {
        self.reached().await;
        let path = self.path(watch);
        let read = tokio::task::spawn_blocking(move || read_all(&path)).await;
        read.unwrap_or_else(|error| {
            tracing::error!(watch, %error, "the recording could not be read");
            Vec::new()
        })
    }

    async fn close(&self, watch: &str) {
        let Some(requests) = &self.requests else { return };
        if requests.send(Request::Close { watch: watch.to_string() }).await.is_err() {
            tracing::error!(watch, "the recorder's thread has ended");
        }
    }
}

/// Everything readable; what is not was cut off by a kill, or is not ours.
fn read_all(path: &Path) -> Vec<Sample> {
    let reader = match read_recording(path) {
        Ok(reader) => reader,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the recording cannot be read");
            }
            return Vec::new();
        }
    };
    let mut samples = Vec::new();
    for sample in reader {
        match sample {
            Ok(sample) => samples.push(sample),
            Err(error) => tracing::warn!(path = %path.display(), %error, "part of a recording was lost"),
        }
    }
    samples
}

impl Drop for FileRecorder {
    /// Everything that was handed over is on disk.
    fn drop(&mut self) {
        self.requests = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the recorder's thread panicked");
        }
    }
}
