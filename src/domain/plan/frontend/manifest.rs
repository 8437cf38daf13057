//! What was served while a version was well: the versions of all its objects, to be restored one day.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::listing::KeyHistory;
use super::site::Site;
use crate::domain::release::Version;

/// Unlike times, which tell of a multipart upload only when it was begun, it names exactly what could be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: Version,
    pub recorded_at: Timestamp,
    /// By key.
    pub objects: BTreeMap<String, Recorded>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    pub version: String,
    pub etag: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
}

impl Manifest {
    pub fn new(version: Version, recorded_at: Timestamp) -> Self {
        Self { version, recorded_at, objects: BTreeMap::new() }
    }

    /// Notes what is there under a key.
    pub fn take(&mut self, site: &Site, history: &KeyHistory) {
        if site.ignores(&history.key) {
            return;
        }
        if let Some(object) = history.object() {
            let (version, etag, size) = (object.id.clone(), object.etag.clone(), object.size);
            let recorded = Recorded { version, etag, size, content_type: None, cache_control: None };
            self.objects.insert(history.key.clone(), recorded);
        }
    }

    /// Headers of versions that an earlier manifest knows are not asked for again.
    pub fn learn_from(&mut self, earlier: &Manifest) {
        for (key, recorded) in &mut self.objects {
            if let Some(known) = earlier.objects.get(key).filter(|known| known.version == recorded.version) {
                recorded.content_type.clone_from(&known.content_type);
                recorded.cache_control.clone_from(&known.cache_control);
            }
        }
    }
}
