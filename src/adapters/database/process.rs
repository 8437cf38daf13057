//! A program that is run once: nothing of our environment, an end to its time, and no more of its output than fits.
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How it ended.
pub(super) struct Ended {
    /// `None` if a signal ended it.
    pub(super) code: Option<i32>,
    /// The end of what it said, on both channels.
    pub(super) output: String,
    pub(super) late: bool,
}

const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Between asking it to end and ending it.
const GRACE: Duration = Duration::from_secs(10);

/// # Errors
/// A program that cannot be started.
pub(super) async fn run<E: AsRef<OsStr>>(
    program: &Path,
    arguments: &[E],
    environment: &[(&str, &str)],
    longest: Duration,
) -> std::io::Result<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ending = async { tokio::join!(in_time(&mut child, longest), end_of(out), end_of(err)) };
    let ((code, late), out, err) = ending.await;
    let output = String::from_utf8_lossy(&[out, err].concat()).into_owned();
    Ok(Ended { code, output, late })
}

/// SIGINT first: golang-migrate ends after the script that runs.
async fn in_time(child: &mut Child, longest: Duration) -> (Option<i32>, bool) {
    if let Ok(status) = timeout(longest, child.wait()).await {
        return (status.ok().and_then(|status| status.code()), false);
    }
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended meanwhile.
        kill_process(pid, Signal::INT).ok();
    }
    if timeout(GRACE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        tracing::warn!(%error, "a program could not be ended");
    }
    let code = child.try_wait().ok().flatten().and_then(|status| status.code());
    (code, true)
}

async fn end_of(channel: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    let Some(mut channel) = channel else { return kept };
    while let Ok(length @ 1..) = channel.read(&mut piece).await {
        kept.extend_from_slice(&piece[..length]);
        if kept.len() > OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    kept
}
