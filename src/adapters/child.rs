//! Runs a program for us: no shell, only the environment that it is given, a group of its own, and an end at its deadline.
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// What is run.
pub(crate) struct Job<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<OsString>,
    pub(crate) dir: &'a Path,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) limit: Duration,
    /// After SIGINT it may tidy up for so long: release its lock, write its state.
    pub(crate) grace: Duration,
    /// A private directory for what it prints.
    pub(crate) outputs: &'a Path,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    /// It was still running at its deadline, or printed without end.
    pub(crate) stopped: bool,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

const OUTPUT_MAX: u64 = 64 * 1024 * 1024;
/// Of what it complains.
const ERROR_MAX: u64 = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs it to its end. What it prints goes to files and not to us: a program whose reader has died must not die of it, in
/// the middle of a change.
///
/// # Errors
/// If it could not be started.
pub(crate) async fn run(job: Job<'_>) -> std::io::Result<Ended> {
    let (out, err) = (Output::new(job.outputs)?, Output::new(job.outputs)?);
    let mut child = Command::new(job.program)
        .args(job.args)
        .current_dir(job.dir)
        .env_clear()
        .envs(job.env)
        .stdin(Stdio::null())
        .stdout(out.file.try_clone()?)
        .stderr(err.file.try_clone()?)
        .process_group(0)
        .spawn()?;
    let mut group = Group(child.id());
    let ended = wait(&mut child, job.limit, &out, &err).await?;
    let stopped = ended.is_none();
    let status = match ended {
        Some(status) => status,
        None => stop(&mut child, &group, job.grace).await?,
    };
    group.0 = None;
    Ok(Ended {
        code: status.code(),
        stopped,
        out: out.read(0, OUTPUT_MAX)?,
        err: String::from_utf8_lossy(&err.tail(ERROR_MAX)?).into_owned(),
    })
}

/// `None` at the deadline.
async fn wait(
    child: &mut Child,
    limit: Duration,
    out: &Output,
    err: &Output,
) -> std::io::Result<Option<ExitStatus>> {
    let ended = async {
        loop {
            if let Ok(status) = timeout(LOOK_EVERY, child.wait()).await {
                return status.map(Some);
            }
            if out.len()? > OUTPUT_MAX || err.len()? > OUTPUT_MAX {
                return Ok(None);
            }
        }
    };
    timeout(limit, ended).await.unwrap_or(Ok(None))
}

async fn stop(child: &mut Child, group: &Group, grace: Duration) -> std::io::Result<ExitStatus> {
    group.signal(Signal::INT);
    if let Ok(status) = timeout(grace, child.wait()).await {
        return status;
    }
    group.signal(Signal::KILL);
    // It may be in a call that no signal ends.
    tokio::select! {
        status = child.wait() => status,
        () = sleep(grace) => Err(std::io::Error::other("it does not end, not even after SIGKILL")),
    }
}

/// The processes that are stopped together. One that nobody waits for any more is asked to end: it may hold a lock.
struct Group(Option<u32>);

impl Group {
    fn signal(&self, signal: Signal) {
        let pid = self.0.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return };
        if let Err(error) = kill_process_group(pid, signal) {
            tracing::debug!(%error, "the process had ended");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::INT);
    }
}

/// A file that only we can read, gone with its reader.
struct Output {
    path: PathBuf,
    file: File,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Output {
    fn new(dir: &Path) -> std::io::Result<Self> {
        let name = format!("output-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(name);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }

    fn len(&self) -> std::io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, from: u64, most: u64) -> std::io::Result<Vec<u8>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn tail(&self, most: u64) -> std::io::Result<Vec<u8>> {
        self.read(self.len()?.saturating_sub(most), most)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "what a program printed could not be removed");
        }
    }
}
