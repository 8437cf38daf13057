//! The built binary on a broken disk: it refuses what it cannot trust, leaves it as it is, pages, and never begins anew.
mod full;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rollguard::adapters::journal::SqliteJournal;
use rollguard::domain::event::StreamId;
use rollguard::ports::{Commit, Journal, NewRecord};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::config;
use crate::support::process::free_port;
use crate::support::receiver::Receiver;

/// What is there before a start that must fail.
struct Broken {
    dir: TempDir,
    receiver: Receiver,
}

/// How a start failed.
struct Refused {
    said: String,
    page: Value,
}

impl Broken {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), receiver: Receiver::start().await }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn db(&self) -> PathBuf {
        self.state().join("journal.db")
    }

    fn wal(&self) -> PathBuf {
        self.state().join("journal.db-wal")
    }

    /// A journal as a process leaves it that was killed: its last commits are in the write-ahead log.
    async fn with_journal(self, commits: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(home.path()).unwrap();
        let epoch = journal.claim().await.unwrap();
        for n in 0..commits {
            let body = json!({ "n": n, "filler": "x".repeat(500) });
            let record = NewRecord { stream: StreamId::run("r"), kind: "opened".into(), body };
            let commit = Commit {
                at: "2026-11-22T10:00:00Z".parse().unwrap(),
                events: vec![record],
                ..Commit::default()
            };
            journal.commit(epoch, commit).await.unwrap();
        }
        fs::create_dir(self.state()).unwrap();
        for file in ["journal.db", "journal.db-wal", "journal.lock"] {
            fs::copy(home.path().join(file), self.state().join(file)).unwrap();
        }
        self
    }

    /// Its last commits are in the file itself.
    async fn with_closed_journal(self, commits: usize) -> Self {
        let broken = self.with_journal(commits).await;
        drop(SqliteJournal::open(&broken.state()).unwrap());
        assert!(!broken.wal().exists());
        broken
    }

    fn command(&self) -> Command {
        let mut config = config(Path::new("/nowhere"), "default", &self.receiver.url("/messages"));
        config["kubernetes"] = json!({ "url": "http://127.0.0.1:9", "events": false });
        config["listen"] = json!(format!("127.0.0.1:{}", free_port()));
        config["state_dir"] = json!(self.state());
        let file = self.dir.path().join("rollguard.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollguard"));
        command.arg("serve").arg("--config").arg(file);
        command
    }

    /// What must not change: the journal, but for the lock and for what SQLite keeps in memory.
    fn kept(&self) -> Vec<Option<Vec<u8>>> {
        [self.db(), self.wal()].map(|path| fs::read(path).ok().filter(|bytes| !bytes.is_empty())).into()
    }

    /// Starts it, twice: it must end by itself, say why, page, and leave everything as it is.
    async fn refused(&self) -> Refused {
        let mut both = Vec::new();
        for _ in 0..2 {
            both.push(self.refused_by(self.command()).await);
        }
        // The same trouble is the same message, for whoever tells them apart.
        let ids: Vec<Value> = self.receiver.deliveries().iter().map(|d| d.json()["id"].clone()).collect();
        assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
        both.remove(0)
    }

    async fn refused_by(&self, mut command: Command) -> Refused {
        let before = self.kept();
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended: Output = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(self.kept() == before, "the journal was changed; {said}");
        let page = self.receiver.deliveries().pop().expect("a page").json()["data"].clone();
        assert_eq!((&page["kind"], &page["code"]), (&json!("page"), &json!("RG604")), "{page:#}");
        // People are told what the log says.
        let last = said.lines().last().unwrap().strip_prefix("rollguard: ").unwrap().to_string();
        assert!(page["lines"][0].as_str().unwrap().contains(&last), "{page:#}");
        Refused { said: last, page }
    }
}

impl Refused {
    #[track_caller]
    fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.said.contains(part), "not {part:?} in {:?}; the page: {:#}", self.said, self.page);
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_empty_file_is_no_journal() {
    let broken = Broken::new().await;
    fs::create_dir(broken.state()).unwrap();
    fs::write(broken.db(), "").unwrap();
    broken.refused().await.says(&["journal.db is empty", "restore it from a backup"]);
}

#[tokio::test]
async fn a_journal_that_is_gone_is_missed() {
    let broken = Broken::new().await.with_journal(3).await;
    fs::remove_file(broken.db()).unwrap();
    broken.refused().await.says(&["journal.db is", "backup"]);
    // Its log is gone, too.
    let broken = Broken::new().await.with_closed_journal(3).await;
    fs::remove_file(broken.db()).unwrap();
    broken.refused().await.says(&["journal.db is gone", "journal.lock", "backup"]);
    assert!(!broken.db().exists());
}

#[tokio::test]
async fn flipped_bytes_are_noticed_wherever_they_are() {
    // In the file's header, in a record's text, and in the index by which the records of a run are found. Pages also hold what
    // was moved away from them, so all copies are flipped.
    for (wanted, unlike) in [(&b"SQLite format 3"[..], &b"?"[..]), (b"\"n\":30}", b"?"), (b"run:r", b"2026")]
    {
        let broken = Broken::new().await.with_closed_journal(60).await;
        let bytes = fs::read(broken.db()).unwrap();
        let is_here = |part: &[u8]| part.starts_with(wanted) && !part[wanted.len()..].starts_with(unlike);
        let parts = bytes.windows(wanted.len() + unlike.len());
        let places = parts.enumerate().filter(|(_, part)| is_here(part)).map(|(at, _)| at);
        places.for_each(|at| flip(&broken.db(), at + 4));
        broken.refused().await.says(&["damaged", "backup"]);
    }
}

#[tokio::test]
async fn a_damaged_log_is_not_forgotten() {
    for (what, at) in [("its header", 20), ("a commit", 24 + 32 + 4096 * 2 + 500), ("the middle", 40_000)] {
        let broken = Broken::new().await.with_journal(20).await;
        flip(&broken.wal(), at);
        let refused = broken.refused().await;
        assert!(refused.said.contains("journal.db-wal is damaged at byte"), "{what}: {}", refused.said);
    }
}

#[tokio::test]
async fn a_commit_that_was_cut_off_by_a_loss_of_power_is_none() {
    let broken = Broken::new().await.with_journal(20).await;
    let log = fs::read(broken.wal()).unwrap();
    fs::write(broken.wal(), &log[..log.len() - 100]).unwrap();
    let journal = SqliteJournal::open(&broken.state()).unwrap();
    assert_eq!(journal.verify().await, Ok(19));
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_left_to_it() {
    let broken = Broken::new().await.with_closed_journal(3).await;
    Connection::open(broken.db()).unwrap().execute_batch("PRAGMA user_version = 77").unwrap();
    broken.refused().await.says(&["newer version (77", "install that version"]);
}

#[tokio::test]
async fn a_read_only_directory_is_told_with_its_path() {
    let broken = Broken::new().await.with_closed_journal(3).await;
    let command = as_nobody(&broken);
    fs::set_permissions(broken.state(), fs::Permissions::from_mode(0o555)).unwrap();
    for file in fs::read_dir(broken.state()).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
    }
    let refused = broken.refused_by(command).await;
    refused.says(&[broken.state().to_str().unwrap(), "writable"]);
    fs::set_permissions(broken.state(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Permissions are nothing to root, so root becomes somebody else.
fn as_nobody(broken: &Broken) -> Command {
    let command = broken.command();
    let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !root {
        return command;
    }
    fs::set_permissions(broken.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command.get_program());
    nobody.args(command.get_args());
    nobody
}

#[tokio::test]
async fn a_full_disk_at_the_start_is_told() {
    let broken = Broken::new().await.with_closed_journal(3).await;
    let refused = broken.refused_by(full::command_on_a_full_disk(&broken.command())).await;
    refused.says(&[broken.state().to_str().unwrap(), "space"]);
}
