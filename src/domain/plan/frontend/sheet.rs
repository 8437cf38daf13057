//! The objects of a plan, line by line. The plan itself names the sheet by its hash, since there may be thousands of lines.
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::listing::{KeyHistory, Now};
use super::site::{Site, Stage};
use crate::domain::release::hex;

/// In the order in which it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    pub lines: Vec<Line>,
    /// Over all objects that no line is about: see [`Rest`].
    pub rest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub key: String,
    pub stage: Stage,
    /// What must still be there when it is carried out.
    pub found: Found,
    pub change: Change,
}

/// What was there when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    Nothing,
    Object { version: String, etag: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An earlier version becomes the current one again.
    Copy { version: String, etag: String, size: u64 },
    /// A delete marker; no version is ever deleted.
    MarkDeleted,
}

/// Lines that are carried out as one step, so that nobody has to wait for thousands of others to stop it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub stage: Stage,
    pub lines: Range<usize>,
    pub bytes: u64,
}

/// Lines of one step.
const SLICE: usize = 1000;

impl Sheet {
    /// Its text, and the SHA-256 of it that plans name.
    pub fn sealed(&self) -> (String, Vec<u8>) {
        // Serializing our own plain data cannot fail; an empty text would only make the sheet useless, not wrong.
        let text = serde_json::to_vec(self).unwrap_or_default();
        (hex(&Sha256::digest(&text)), text)
    }

    /// `None` if this is not the text that the digest names.
    pub fn opened(digest: &str, text: &[u8]) -> Option<Self> {
        if hex(&Sha256::digest(text)) != digest {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    pub fn slices(&self) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            match slices.last_mut() {
                Some(slice) if slice.stage == line.stage && slice.lines.len() < SLICE => {
                    slice.lines.end = at + 1;
                    slice.bytes += line.bytes();
                }
                Some(_) | None => {
                    slices.push(Slice { stage: line.stage, lines: at..at + 1, bytes: line.bytes() });
                }
            }
        }
        slices
    }
}

impl Line {
    pub fn bytes(&self) -> u64 {
        match self.change {
            Change::Copy { size, .. } => size,
            Change::MarkDeleted => 0,
        }
    }

    /// For people.
    pub fn told(&self) -> String {
        match (&self.change, &self.found) {
            (Change::Copy { version, .. }, Found::Object { .. }) => {
                format!("put back {} (version {version})", self.key)
            }
            (Change::Copy { version, .. }, Found::Nothing) => {
                format!("bring back {} (version {version})", self.key)
            }
            (Change::MarkDeleted, _) => format!("mark {} as deleted", self.key),
        }
    }

    /// What became of it, from what is listed under its key now.
    pub fn standing(&self, history: Option<&KeyHistory>) -> Standing {
        let now = history.and_then(KeyHistory::now);
        match (&self.change, &self.found, now) {
            (_, Found::Object { version, .. }, Some(Now::Object(object))) if object.id == *version => {
                Standing::Open
            }
            (Change::MarkDeleted, _, None | Some(Now::Marker(_))) => Standing::Done,
            (Change::MarkDeleted, _, Some(Now::Object(_))) => Standing::Foreign,
            (Change::Copy { .. }, Found::Nothing, None | Some(Now::Marker(_))) => Standing::Open,
            (Change::Copy { .. }, Found::Object { .. }, None | Some(Now::Marker(_))) => Standing::Foreign,
            (Change::Copy { etag, size, .. }, _, Some(Now::Object(object))) => {
                match object.etag == *etag && object.size == *size {
                    true => Standing::Done,
                    false if object.size != *size => Standing::Foreign,
                    // Only a plain ETag is a hash of the content.
                    false => Standing::Unclear { version: object.id.clone() },
                }
            }
        }
    }
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As the plan found it.
    Open,
    Done,
    /// Somebody else wrote there since.
    Foreign,
    /// Another version of the same size: its content tells whether it is the one that was restored.
    Unclear {
        version: String,
    },
}

/// A hash over the objects that a plan leaves alone, so that a deploy beside it does not go unnoticed. In the order of keys.
#[derive(Clone, Debug, Default)]
pub struct Rest(Sha256);

impl Rest {
    pub fn take(&mut self, site: &Site, history: &KeyHistory) {
        if let Some(object) = history.object().filter(|_| !site.ignores(&history.key)) {
            for part in [&history.key, &object.id] {
                self.0.update(part.len().to_le_bytes());
                self.0.update(part);
            }
        }
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
