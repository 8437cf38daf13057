//! The repository: which commit a name means, and a clean folder with exactly that commit.
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::GRACE;
use super::surroundings::Surroundings;
use crate::adapters::child::{self, Job};
use crate::domain::release::{Fingerprint, Version};

const GIT_MAX: Duration = Duration::from_secs(300);
/// Of a commit's hash in labels.
const SHORT: usize = 10;

pub(super) struct Git<'a> {
    pub(super) repository: &'a Path,
    pub(super) around: &'a Surroundings,
}

/// A commit with the time at which it was made.
pub(super) struct Commit {
    pub(super) version: Version,
    pub(super) at: Timestamp,
}

/// A commit as the version of a target.
pub(super) fn version(commit: &str) -> Version {
    let label = commit.chars().take(SHORT).collect();
    Version { fingerprint: Fingerprint::named(commit), label, images: vec![] }
}

/// The full hash, if the version is a commit at all.
pub(super) fn commit_of(version: &Version) -> Option<&str> {
    let hash = version.fingerprint.as_str();
    let full = [40, 64].contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
    full.then_some(hash)
}

impl Git<'_> {
    async fn run(&self, args: Vec<OsString>) -> Result<String, String> {
        let command = args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
        let mut all: Vec<OsString> = vec!["-c".into(), "core.hooksPath=/dev/null".into()];
        all.extend(["-c".into(), "core.fsmonitor=false".into(), "-C".into(), self.repository.into()]);
        all.extend(args);
        let job = Job {
            program: Path::new("git"),
            args: all,
            dir: Path::new("/"),
            env: self.around.for_git(),
            limit: GIT_MAX,
            grace: GRACE,
            outputs: self.around.outputs(),
        };
        let ended = child::run(job).await.map_err(|error| format!("git cannot be run: {error}"))?;
        if ended.code == Some(0) && !ended.stopped {
            return Ok(String::from_utf8_lossy(&ended.out).trim().to_string());
        }
        let said = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
        let said: String = self.around.mask().text(&said).chars().take(300).collect();
        Err(format!("git {command}: {said}"))
    }

    /// The commit that this text names.
    pub(super) async fn resolve(&self, text: &str) -> Result<Commit, String> {
        if text.starts_with('-') || text.is_empty() {
            return Err(format!("{text:?} is no name of a commit"));
        }
        let name = format!("{text}^{{commit}}");
        let args = ["log", "-1", "--no-show-signature", "--format=%H %ct"];
        let args = args.into_iter().map(OsString::from).chain([name.into(), "--".into()]).collect();
        let said = self.run(args).await.map_err(|why| {
            let repository = self.repository.display();
            format!("{text:?} is no commit of {repository}: bring that clone up to date ({why})")
        })?;
        let (hash, seconds) = said.split_once(' ').ok_or("git log: an unexpected answer")?;
        let at = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Commit { version: version(hash), at: at.ok_or("git log: an unexpected time")? })
    }

    /// A new folder with that commit and nothing else: what came later is not there.
    pub(super) async fn check_out(&self, commit: &str, into: &Path) -> Result<(), String> {
        let args = ["worktree", "add", "--quiet", "--detach"];
        let args = args.into_iter().map(OsString::from).chain([into.into(), commit.into()]).collect();
        self.run(args).await.map(drop)
    }

    /// Forgets folders that are gone.
    pub(super) async fn prune(&self) {
        if let Err(why) = self.run(vec!["worktree".into(), "prune".into()]).await {
            tracing::warn!(why, "the repository still lists a folder that is gone");
        }
    }
}
