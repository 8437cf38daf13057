//! A frontend's own history: which versions its entry points served, and when.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::site::Site;
use crate::domain::release::{Fingerprint, Generation, Version, hex};

/// One version of an entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryVersion {
    pub modified: Timestamp,
    /// Of its content; `None` for a delete marker.
    pub content: Option<EntryContent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryContent {
    /// SHA-256, in hex: ETags differ between copies of the same content where it is encrypted or came in parts.
    pub hash: String,
    /// What the deploy calls it.
    pub label: Option<String>,
}

/// A time in which the entry points stayed as they were.
#[derive(Clone, Debug, PartialEq)]
pub struct Era {
    pub version: Version,
    /// Since when all of them are as they are.
    pub since: Timestamp,
    /// When the first of them changed again.
    pub until: Option<Timestamp>,
}

/// Entry points that were written within this time belong to one deploy.
const DEPLOY: SignedDuration = SignedDuration::from_secs(30);
/// A deploy uploads what pages refer to before the pages themselves, for as long as this.
const UPLOAD: SignedDuration = SignedDuration::from_mins(5);

/// From the versions of each entry point, newest first, to the times between their changes, oldest first.
pub fn eras(site: &Site, entries: &BTreeMap<String, Vec<EntryVersion>>) -> Vec<Era> {
    let mut changes: Vec<Timestamp> = entries.values().flatten().map(|version| version.modified).collect();
    changes.sort_unstable();
    changes.dedup();
    let apart = if entries.len() > 1 { DEPLOY } else { SignedDuration::ZERO };
    let mut eras: Vec<Era> = Vec::new();
    let mut began: Option<Timestamp> = None;
    for (at, change) in changes.iter().enumerate() {
        let first = *began.get_or_insert(*change);
        let next = changes.get(at + 1);
        if next.is_some_and(|next| next.duration_since(*change) <= apart) {
            continue;
        }
        began = None;
        let version = version_at(site, entries, *change);
        let same = eras.last().map(|era| &era.version.fingerprint);
        if same.is_some() && same == version.as_ref().map(|v| &v.fingerprint) {
            continue;
        }
        if let Some(last) = eras.last_mut() {
            last.until = last.until.or(Some(first));
        }
        eras.extend(version.map(|version| Era { version, since: *change, until: None }));
    }
    eras
}

/// `None` before there ever was an index page; a site that lost it serves a version of its own, a bad one.
fn version_at(site: &Site, entries: &BTreeMap<String, Vec<EntryVersion>>, at: Timestamp) -> Option<Version> {
    let now = |versions: &'_ Vec<EntryVersion>| {
        versions.iter().find(|version| version.modified <= at).and_then(|version| version.content.clone())
    };
    let versions = entries.get(&site.key(&site.index))?;
    versions.iter().find(|version| version.modified <= at)?;
    let index = now(versions);
    let mut hasher = Sha256::new();
    for (key, versions) in entries {
        let name = key.strip_prefix(&site.prefix).unwrap_or(key);
        for part in [name, now(versions).map_or(String::new(), |content| content.hash).as_str()] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    let fingerprint = Fingerprint::named(hex(&hasher.finalize()));
    let label = match index {
        Some(EntryContent { label: Some(label), .. }) => label,
        Some(_) => fingerprint.short().chars().take(8).collect(),
        None => format!("no {}", site.index),
    };
    Some(Version { fingerprint, label, images: vec![] })
}

impl Era {
    /// The time that shows it whole, before the deploy that ended it began to upload: for a way back without a manifest.
    pub fn settled_at(&self) -> Option<Timestamp> {
        let until = self.until?;
        let half = until.duration_since(self.since) / 2;
        until.checked_sub(UPLOAD.min(half).max(SignedDuration::from_secs(1))).ok()
    }
}

/// As a workload's own history tells it: each version once, where it came first, and what is served now last.
pub fn history(eras: &[Era]) -> Vec<Generation> {
    let Some(current) = eras.last() else { return Vec::new() };
    let mut seen: Vec<&Era> = Vec::new();
    for era in eras {
        if !seen.iter().any(|other| other.version.fingerprint == era.version.fingerprint) {
            seen.push(era);
        }
    }
    seen.sort_by_key(|era| era.version.fingerprint == current.version.fingerprint);
    let generation = |(revision, era): (u64, &Era)| Generation {
        version: era.version.clone(),
        revision,
        created_at: era.since,
    };
    (1..).zip(seen).map(generation).collect()
}
