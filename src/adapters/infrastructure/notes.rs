//! What is remembered of a target on this machine: which commit was applied, and what became of each plan file.
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::surroundings::{private_dir, write_private};
use crate::domain::plan::infrastructure::state::StateId;
use crate::domain::release::{Fingerprint, Generation, Version};

/// What was applied last, as far as somebody said so or the state shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Deployed {
    pub(super) version: Version,
    pub(super) since: Timestamp,
    /// What was there before, oldest first.
    pub(super) earlier: Vec<(Version, Timestamp)>,
    /// The state as it was when it was last seen with this version.
    pub(super) state: Option<StateId>,
}

const EARLIER_MAX: usize = 16;
/// A pipeline says what it releases some time before it is done with it: so long the state may change.
const SETTLING: SignedDuration = SignedDuration::from_mins(10);

impl Deployed {
    pub(super) fn first(version: Version, since: Timestamp) -> Self {
        Self { version, since, earlier: Vec::new(), state: None }
    }

    /// Another version came. The same one again is no news.
    pub(super) fn then(mut self, version: Version, since: Timestamp) -> Self {
        if version.fingerprint == self.version.fingerprint {
            return self;
        }
        self.earlier.retain(|(earlier, _)| earlier.fingerprint != version.fingerprint);
        self.earlier.push((self.version, self.since));
        let too_many = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..too_many);
        Self { version, since, earlier: self.earlier, state: None }
    }

    /// Whether a change of the state may still belong to the version that was announced.
    pub(super) fn is_settling(&self, now: Timestamp) -> bool {
        self.state.is_none() || now.duration_since(self.since) < SETTLING
    }

    pub(super) fn history(&self) -> Vec<Generation> {
        let all = self.earlier.iter().cloned().chain([(self.version.clone(), self.since)]);
        (1..)
            .zip(all)
            .map(|(revision, (version, created_at))| Generation { version, revision, created_at })
            .collect()
    }
}

/// What somebody did to the state without saying which commit it was.
pub(super) fn unannounced(state: &StateId) -> Version {
    Version {
        fingerprint: Fingerprint::named(format!("state:{}:{}", state.lineage, state.serial)),
        label: format!("serial {}", state.serial),
        images: vec![],
    }
}

/// What became of a plan file. It is applied once at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub(super) enum Applied {
    /// Written before the tool is started: whoever finds it alone does not know how far that came.
    Begun,
    Done,
    /// Some of it may be done.
    Failed {
        why: String,
    },
    /// It cannot be applied any more: the state has moved, or something else was applied since.
    Stale,
}

/// The notes of one target.
pub(super) struct Notes {
    dir: PathBuf,
}

impl Notes {
    pub(super) fn new(dir: &Path) -> std::io::Result<Self> {
        private_dir(&dir.join("applied"))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    pub(super) fn deployed(&self) -> Result<Option<Deployed>, String> {
        read(&self.dir.join("deployed.json"))
    }

    pub(super) fn set_deployed(&self, deployed: &Deployed) -> Result<(), String> {
        write(&self.dir.join("deployed.json"), deployed)
    }

    fn of(&self, sha256: &str) -> PathBuf {
        let name: String = sha256.chars().filter(char::is_ascii_hexdigit).collect();
        self.dir.join("applied").join(format!("{name}.json"))
    }

    pub(super) fn applied(&self, sha256: &str) -> Result<Option<Applied>, String> {
        read(&self.of(sha256))
    }

    pub(super) fn set_applied(&self, sha256: &str, applied: &Applied) -> Result<(), String> {
        write(&self.of(sha256), applied)
    }

    /// The tool had not begun after all.
    pub(super) fn not_applied(&self, sha256: &str) -> Result<(), String> {
        let path = self.of(sha256);
        std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A plan of ours was begun here and did not come to a good end.
    pub(super) fn is_half_way(&self) -> bool {
        let Ok(all) = std::fs::read_dir(self.dir.join("applied")) else { return false };
        let notes = all.flatten().filter_map(|entry| read::<Applied>(&entry.path()).ok().flatten());
        notes.into_iter().any(|applied| matches!(applied, Applied::Begun | Applied::Failed { .. }))
    }

    /// Somebody said what is there now: what was left half way is no more.
    pub(super) fn forget_half_way(&self) {
        let Ok(all) = std::fs::read_dir(self.dir.join("applied")) else { return };
        for path in all.flatten().map(|entry| entry.path()) {
            let half_way = matches!(read(&path), Ok(Some(Applied::Begun | Applied::Failed { .. })));
            if half_way && let Err(why) = write(&path, &Applied::Stale) {
                tracing::warn!(why, "a note could not be written");
            }
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("{} is damaged: {error}", path.display()))
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), String> {
    let text = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    write_private(path, &text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::infrastructure::git::version;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn versions_follow_each_other_and_a_bounded_number_is_remembered() {
        let mut deployed = Deployed::first(version("c0"), at(0));
        for n in 1..40 {
            deployed = deployed.then(version(&format!("c{n}")), at(n));
        }
        assert_eq!(deployed.history().len(), EARLIER_MAX + 1);
        assert_eq!(deployed.clone().then(version("c39"), at(99)), deployed, "no news");
        let back = deployed.then(version("c38"), at(50));
        let labels: Vec<String> =
            back.history().iter().rev().take(3).map(|g| g.version.label.clone()).collect();
        assert_eq!(labels, ["c38", "c39", "c37"]);
    }

    #[test]
    fn notes_survive_and_a_damaged_one_is_no_note() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(dir.path()).unwrap();
        assert_eq!((notes.deployed(), notes.applied("ab")), (Ok(None), Ok(None)));
        let deployed = Deployed::first(version("c0"), at(0));
        notes.set_deployed(&deployed).unwrap();
        assert_eq!(notes.deployed(), Ok(Some(deployed)));
        notes.set_applied("ab", &Applied::Begun).unwrap();
        assert!(notes.is_half_way());
        notes.set_applied("ab", &Applied::Done).unwrap();
        assert!(!notes.is_half_way());
        std::fs::write(dir.path().join("deployed.json"), "{").unwrap();
        assert!(notes.deployed().is_err());
    }
}
