//! Hashes that only this installation can make: from one alone nobody finds out a short value by trying.
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::aws_lc_rs;
use sha2::Sha256;

use crate::domain::release::hex;

const KEY_BYTES: usize = 32;
/// Characters of a hash that are kept: two values are told apart, and what is kept stays small.
const KEPT_CHARS: usize = 16;

/// The key is a file of its own beside the journal: whoever gets hold of a journal, or of a copy of it, has no use for the
/// hashes in it.
#[derive(Clone, Debug)]
pub struct KeyedHash(Hmac<Sha256>);

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path} cannot be read or made: see to its directory and its owner")]
    File { path: String, source: io::Error },
    #[error(
        "{path} is no key of {KEY_BYTES} bytes: delete it, and a new one is made; what was kept with the old one is not compared any more"
    )]
    Damaged { path: String },
    #[error("no random key could be made: the system gives no random bytes")]
    NotRandom,
}

impl KeyedHash {
    /// Reads the key, or makes one if there is none.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or is no key.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.display().to_string(), source };
        let key = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = random()?;
                write(path, &key).map_err(failed)?;
                key
            }
            read => read.map_err(failed)?,
        };
        if key.len() != KEY_BYTES {
            return Err(KeyError::Damaged { path: path.display().to_string() });
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| KeyError::NotRandom)
    }

    /// The name of the key, by which it is known again.
    pub fn name(&self) -> String {
        self.of(&[b"the name of this key"])
    }

    /// The same parts give the same hash; each part is told apart from its neighbours.
    pub fn of(&self, parts: &[&[u8]]) -> String {
        let mut hash = self.0.clone();
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut text = hex(&hash.finalize().into_bytes());
        text.truncate(KEPT_CHARS);
        text
    }
}

fn random() -> Result<Vec<u8>, KeyError> {
    let mut key = vec![0; KEY_BYTES];
    aws_lc_rs::default_provider().secure_random.fill(&mut key).map_err(|_| KeyError::NotRandom)?;
    Ok(key)
}

/// All of it or nothing: a crash leaves no half of a key.
fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keepsake.key");
        let (first, again) = (KeyedHash::open(&path).unwrap(), KeyedHash::open(&path).unwrap());
        assert_eq!(first.of(&[b"a", b"b"]), again.of(&[b"a", b"b"]));
        assert_eq!(first.name(), again.name());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let other = KeyedHash::open(&dir.path().join("other")).unwrap();
        assert_ne!(first.of(&[b"hunter2"]), other.of(&[b"hunter2"]));
        assert_ne!(first.name(), other.name());
    }

    #[test]
    fn parts_are_not_run_together() {
        let dir = tempfile::tempdir().unwrap();
        let hash = KeyedHash::open(&dir.path().join("k")).unwrap();
        assert_ne!(hash.of(&[b"ab", b"c"]), hash.of(&[b"a", b"bc"]));
        assert_eq!(hash.of(&[b"ab"]).len(), KEPT_CHARS);
    }

    #[test]
    fn what_is_no_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        fs::write(&path, "short").unwrap();
        let error = KeyedHash::open(&path).unwrap_err().to_string();
        assert!(error.contains("is no key of 32 bytes: delete it"), "{error}");
        let nowhere = KeyedHash::open(&path.join("there")).unwrap_err();
        assert!(matches!(nowhere, KeyError::File { .. }), "{nowhere}");
    }
}
