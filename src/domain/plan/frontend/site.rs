//! Where a frontend lives, which of its objects count, and in which order they are put back.
use serde::{Deserialize, Serialize};

/// A prefix of a bucket, and what serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Site {
    pub bucket: String,
    /// Empty, or ending in a slash.
    pub prefix: String,
    /// The page that everything begins with, below the prefix.
    pub index: String,
    /// What else tells one release from another, below the prefix.
    pub entry_points: Vec<String>,
    /// Objects that are no part of a release, as patterns below the prefix.
    pub ignore: Vec<Pattern>,
    /// The CloudFront distribution in front of it.
    pub distribution: Option<String>,
    /// What is invalidated there.
    pub paths: Vec<String>,
    /// Objects that only the bad release has get a delete marker.
    pub mark_deleted: bool,
    /// A plan that leaves fewer objects behind than this part of them is refused.
    pub max_shrink_percent: u32,
}

impl Site {
    /// `s3://bucket/prefix`.
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The keys of everything that tells releases apart, the index first.
    pub fn entry_keys(&self) -> Vec<String> {
        let others = self.entry_points.iter().filter(|name| **name != self.index);
        std::iter::once(&self.index).chain(others).map(|name| self.key(name)).collect()
    }

    pub fn is_index(&self, key: &str) -> bool {
        key.strip_prefix(&self.prefix) == Some(&self.index)
    }

    pub fn ignores(&self, key: &str) -> bool {
        let name = key.strip_prefix(&self.prefix).unwrap_or(key);
        self.ignore.iter().any(|pattern| pattern.matches(name))
    }

    /// When it is put back: whatever refers to others comes after them.
    pub fn stage(&self, key: &str) -> Stage {
        let name = key.strip_prefix(&self.prefix).unwrap_or(key);
        let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        if name == self.index {
            return Stage::Index;
        }
        let page = [".html", ".htm", ".webmanifest"].iter().any(|end| file.ends_with(end));
        let named = ENTRY_FILES.contains(&file.as_str()) || self.entry_points.iter().any(|e| e == name);
        if page || named {
            return Stage::EntryPoints;
        }
        if is_hashed(&file) { Stage::Assets } else { Stage::Others }
    }
}

/// What pages and browsers begin with besides pages.
const ENTRY_FILES: [&str; 8] = [
    "asset-manifest.json",
    "manifest.json",
    "ngsw.json",
    "ngsw-worker.js",
    "precache-manifest.js",
    "service-worker.js",
    "serviceworker.js",
    "sw.js",
];
/// Of a content hash in a name: `index-BxT3k9Qa.js`, `main.4fa1c2d8.css`.
const HASH_CHARS: usize = 8;

fn is_hashed(file: &str) -> bool {
    let Some((stem, _)) = file.rsplit_once('.') else { return false };
    stem.split(['-', '.', '_']).skip(1).any(|part| {
        part.len() >= HASH_CHARS
            && part.chars().all(|c| c.is_ascii_alphanumeric())
            && part.chars().any(|c| c.is_ascii_digit())
    })
}

/// In this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// With a hash of their content in their names: nobody asks for them before a page refers to them.
    Assets,
    Others,
    EntryPoints,
    Index,
    Deletions,
}

impl Stage {
    /// With the number before it.
    pub fn noun(self, count: usize) -> &'static str {
        match (self, count) {
            (Stage::Assets, 1) => "asset",
            (Stage::Assets, _) => "assets",
            (Stage::Others, 1) => "other file",
            (Stage::Others, _) => "other files",
            (Stage::EntryPoints, 1) => "entry point",
            (Stage::EntryPoints, _) => "entry points",
            (Stage::Index, 1) => "index page",
            (Stage::Index, _) => "index pages",
            (Stage::Deletions, 1) => "object",
            (Stage::Deletions, _) => "objects",
        }
    }
}

/// Names of objects, where `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// `None` if it would match everything.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().any(|c| c != '*').then(|| Self(text.to_string()))
    }

    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}
