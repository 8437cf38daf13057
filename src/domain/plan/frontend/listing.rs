//! What a versioned bucket lists, put together key by key over the borders of its pages.
use std::collections::BTreeMap;

use jiff::Timestamp;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    pub id: String,
    pub etag: String,
    pub size: u64,
    /// Of a multipart upload: when it was begun, and not when it could be seen.
    pub modified: Timestamp,
    /// Of an archive, from which nothing is read without waiting for hours.
    pub archive: Option<String>,
    pub latest: bool,
}

/// The version that says that there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub id: String,
    pub modified: Timestamp,
    pub latest: bool,
}

/// One page of a listing. Versions and markers come apart, each newest first within a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub objects: Vec<(String, ObjectVersion)>,
    pub markers: Vec<(String, Marker)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Object(ObjectVersion),
    Marker(Marker),
}

/// All that is listed of one key, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHistory {
    pub key: String,
    entries: Vec<Entry>,
}

/// What is there under a key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now<'a> {
    Object(&'a ObjectVersion),
    Marker(&'a Marker),
}

impl KeyHistory {
    /// Each list keeps its own order. Across them later is newer; the API says which one is the newest of all. In a
    /// tie the object counts as the newer one: a file too many breaks nothing.
    fn merged(key: String, objects: Vec<ObjectVersion>, markers: Vec<Marker>) -> Self {
        let mut entries = Vec::with_capacity(objects.len() + markers.len());
        let (mut objects, mut markers) = (objects.into_iter().peekable(), markers.into_iter().peekable());
        loop {
            let object_first = match (objects.peek(), markers.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(object), Some(marker)) => {
                    object.latest || !marker.latest && object.modified >= marker.modified
                }
            };
            entries.extend(match object_first {
                true => objects.next().map(Entry::Object),
                false => markers.next().map(Entry::Marker),
            });
        }
        Self { key, entries }
    }

    pub fn now(&self) -> Option<Now<'_>> {
        self.entries.first().map(|entry| match entry {
            Entry::Object(object) => Now::Object(object),
            Entry::Marker(marker) => Now::Marker(marker),
        })
    }

    /// The object that is there now.
    pub fn object(&self) -> Option<&ObjectVersion> {
        match self.now()? {
            Now::Object(object) => Some(object),
            Now::Marker(_) => None,
        }
    }

    /// The object that was there at this time, as well as times can tell.
    pub fn object_at(&self, time: Timestamp) -> Option<&ObjectVersion> {
        let began = |entry: &&Entry| match entry {
            Entry::Object(object) => object.modified <= time,
            Entry::Marker(marker) => marker.modified <= time,
        };
        match self.entries.iter().find(began)? {
            Entry::Object(object) => Some(object),
            Entry::Marker(_) => None,
        }
    }

    pub fn version(&self, id: &str) -> Option<&ObjectVersion> {
        self.objects().find(|object| object.id == id)
    }

    /// Without its markers, newest first.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectVersion> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Object(object) => Some(object),
            Entry::Marker(_) => None,
        })
    }

    /// When each version came, newest first; nothing for a marker.
    pub fn times(&self) -> impl Iterator<Item = (Timestamp, Option<&ObjectVersion>)> {
        self.entries.iter().map(|entry| match entry {
            Entry::Object(object) => (object.modified, Some(object)),
            Entry::Marker(marker) => (marker.modified, None),
        })
    }
}

/// Puts pages together. A key may go on on the next page, so the last one is held back.
#[derive(Debug, Default)]
pub struct Gathering {
    open: BTreeMap<String, (Vec<ObjectVersion>, Vec<Marker>)>,
}

impl Gathering {
    /// The keys that are complete with this page, in order.
    pub fn take(&mut self, page: Page) -> Vec<KeyHistory> {
        for (key, object) in page.objects {
            self.open.entry(key).or_default().0.push(object);
        }
        for (key, marker) in page.markers {
            self.open.entry(key).or_default().1.push(marker);
        }
        let last = self.open.pop_last();
        let complete = self.finish();
        self.open.extend(last);
        complete
    }

    /// What is left after the last page.
    pub fn finish(&mut self) -> Vec<KeyHistory> {
        let all = std::mem::take(&mut self.open).into_iter();
        all.map(|(key, (objects, markers))| KeyHistory::merged(key, objects, markers)).collect()
    }
}
