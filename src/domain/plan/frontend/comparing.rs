//! What is there now beside what was there: the lines of a plan, made while the listing goes by.
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::listing::{KeyHistory, Now, ObjectVersion};
use super::manifest::Manifest;
use super::sheet::{Change, Found, Line, Rest, Sheet};
use super::site::{Site, Stage};

/// What is to be there again.
#[derive(Clone, Debug)]
pub enum Aim {
    Manifest(Arc<Manifest>),
    /// As well as times can tell.
    Time(Timestamp),
}

/// A plan's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Objects that are there now.
    pub now: u64,
    pub copied: u64,
    /// Of these, how many are not there now.
    pub brought_back: u64,
    pub marked_deleted: u64,
    pub unchanged: u64,
    pub bytes: u64,
    /// Whether the index page is there afterwards.
    pub index: bool,
}

/// A version that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub key: String,
    /// `None` if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}

/// What a comparison came to. Lost versions are named up to a few, and counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub sheet: Sheet,
    pub tally: Tally,
    pub lost: Vec<Lost>,
    pub lost_count: u64,
}

const LOST_NAMED: usize = 5;

/// Holds the lines of the plan, and nothing of what stays as it is.
#[derive(Clone, Debug)]
pub struct Comparing {
    site: Site,
    aim: Aim,
    lines: Vec<Line>,
    tally: Tally,
    lost: Vec<Lost>,
    lost_count: u64,
    rest: Rest,
    /// Up to here the manifest has been seen.
    last: Option<String>,
}

impl Comparing {
    pub fn new(site: Site, aim: Aim) -> Self {
        Self {
            site,
            aim,
            lines: Vec::new(),
            tally: Tally::default(),
            lost: Vec::new(),
            lost_count: 0,
            rest: Rest::default(),
            last: None,
        }
    }

    /// The next key, in order.
    pub fn take(&mut self, history: &KeyHistory) {
        if self.site.ignores(&history.key) {
            return;
        }
        self.lose_until(Some(&history.key));
        self.last = Some(history.key.clone());
        let object = history.object();
        self.tally.now += u64::from(object.is_some());
        match (self.wanted(history), object) {
            (Err(lost), _) => self.lose(lost),
            (Ok(None), None) => {}
            (Ok(Some(wanted)), Some(now)) if wanted.id == now.id => self.leave(history),
            (Ok(Some(wanted)), _) => self.copy(history, &wanted.clone()),
            (Ok(None), Some(_)) if !self.site.mark_deleted => self.leave(history),
            (Ok(None), Some(_)) => self.mark_deleted(history),
        }
    }

    fn wanted<'a>(&self, history: &'a KeyHistory) -> Result<Option<&'a ObjectVersion>, Lost> {
        let wanted = match &self.aim {
            Aim::Time(time) => history.object_at(*time),
            Aim::Manifest(manifest) => match manifest.objects.get(&history.key) {
                None => None,
                Some(recorded) => {
                    let gone = || Lost { key: history.key.clone(), archive: None };
                    Some(history.version(&recorded.version).ok_or_else(gone)?)
                }
            },
        };
        let current = history.object().map(|now| &now.id);
        match wanted {
            // What is there already need not be read.
            Some(version) if current != Some(&version.id) && version.archive.is_some() => {
                Err(Lost { key: history.key.clone(), archive: version.archive.clone() })
            }
            wanted => Ok(wanted),
        }
    }

    /// Keys of the manifest of which the bucket lists nothing at all.
    fn lose_until(&mut self, key: Option<&str>) {
        let Aim::Manifest(manifest) = &self.aim else { return };
        let manifest = manifest.clone();
        let from = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let to = key.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, _) in manifest.objects.range::<str, _>((from, to)) {
            self.lose(Lost { key: key.clone(), archive: None });
        }
    }

    fn lose(&mut self, lost: Lost) {
        self.lost_count += 1;
        if self.lost.len() < LOST_NAMED {
            self.lost.push(lost);
        }
    }

    fn leave(&mut self, history: &KeyHistory) {
        self.rest.take(&self.site, history);
        self.tally.unchanged += 1;
        self.tally.index |= self.site.is_index(&history.key);
    }

    fn copy(&mut self, history: &KeyHistory, wanted: &ObjectVersion) {
        let found = found(history);
        self.tally.copied += 1;
        self.tally.brought_back += u64::from(found == Found::Nothing);
        self.tally.bytes += wanted.size;
        self.tally.index |= self.site.is_index(&history.key);
        let (version, etag, size) = (wanted.id.clone(), wanted.etag.clone(), wanted.size);
        self.lines.push(Line {
            stage: self.site.stage(&history.key),
            key: history.key.clone(),
            found,
            change: Change::Copy { version, etag, size },
        });
    }

    fn mark_deleted(&mut self, history: &KeyHistory) {
        self.tally.marked_deleted += 1;
        self.lines.push(Line {
            key: history.key.clone(),
            stage: Stage::Deletions,
            found: found(history),
            change: Change::MarkDeleted,
        });
    }

    /// After the last key.
    pub fn finish(mut self) -> Compared {
        self.lose_until(None);
        // Keys came in order, and stay so within a stage.
        self.lines.sort_by_key(|line| line.stage);
        Compared {
            sheet: Sheet { lines: self.lines, rest: self.rest.finish() },
            tally: self.tally,
            lost: self.lost,
            lost_count: self.lost_count,
        }
    }
}

fn found(history: &KeyHistory) -> Found {
    match history.now() {
        Some(Now::Object(object)) => Found::Object { version: object.id.clone(), etag: object.etag.clone() },
        Some(Now::Marker(_)) | None => Found::Nothing,
    }
}
