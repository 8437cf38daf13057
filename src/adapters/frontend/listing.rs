//! Lists all versions below a prefix, page by page; nothing is held but one page and the key that goes on on the next.
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{DeleteMarkerEntry, EncodingType, ObjectVersion as Listed};
use jiff::Timestamp;

use super::clients::decoded;
use super::{Place, Trouble};
use crate::domain::plan::frontend::{Gathering, KeyHistory, Marker, ObjectVersion, Page};

/// Without a version of its own: what was there before versioning was turned on.
pub(super) const NULL_VERSION: &str = "null";
/// Read from only after it was restored, which takes hours.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl Place {
    /// Every key below the site's prefix, in order, with all its versions.
    pub(super) async fn scan(&self, mut each: impl FnMut(&KeyHistory)) -> Result<(), Trouble> {
        let mut gathering = Gathering::default();
        let (mut key, mut version) = (None, None);
        loop {
            let request = self.clients().await.s3.list_object_versions().bucket(&self.is.site.bucket);
            let request = request.prefix(&self.is.site.prefix).encoding_type(EncodingType::Url);
            let request = request.set_key_marker(key).set_version_id_marker(version);
            let answer = request.send().await.map_err(Trouble::of)?;
            gathering.take(page(&answer)?).iter().for_each(&mut each);
            if answer.is_truncated() != Some(true) {
                gathering.finish().iter().for_each(&mut each);
                return Ok(());
            }
            let whole = answer.encoding_type().is_none();
            let next = |key: &str| if whole { key.to_string() } else { decoded(key) };
            key = answer.next_key_marker().map(next);
            version = answer.next_version_id_marker().map(String::from);
            if key.is_none() {
                return Err(Trouble::Unclear("a listing ended without its end".into()));
            }
        }
    }

    /// The newest versions of one key.
    pub(super) async fn newest(&self, key: &str, most: i32) -> Result<Option<KeyHistory>, Trouble> {
        let request = self.clients().await.s3.list_object_versions().bucket(&self.is.site.bucket);
        let request = request.prefix(key).encoding_type(EncodingType::Url).max_keys(most);
        let answer = request.send().await.map_err(Trouble::of)?;
        let mut gathering = Gathering::default();
        // The prefix is that of other keys, too: index.html of index.html.gz.
        let all = gathering.take(page(&answer)?).into_iter().chain(gathering.finish());
        Ok(all.into_iter().find(|history| history.key == key))
    }
}

fn page(answer: &ListObjectVersionsOutput) -> Result<Page, Trouble> {
    let whole = answer.encoding_type().is_none();
    let key = |key: Option<&str>| {
        let key = key.ok_or_else(|| Trouble::Unclear("a listing names no key".into()))?;
        Ok::<_, Trouble>(if whole { key.to_string() } else { decoded(key) })
    };
    let objects = answer.versions().iter().map(|listed| Ok((key(listed.key())?, object(listed)?)));
    let markers = answer.delete_markers().iter().map(|listed| Ok((key(listed.key())?, marker(listed)?)));
    Ok(Page {
        objects: objects.collect::<Result<_, Trouble>>()?,
        markers: markers.collect::<Result<_, Trouble>>()?,
    })
}

fn object(listed: &Listed) -> Result<ObjectVersion, Trouble> {
    let class = listed.storage_class().map(|class| class.as_str().to_string());
    Ok(ObjectVersion {
        id: listed.version_id().unwrap_or(NULL_VERSION).to_string(),
        etag: etag(listed.e_tag()),
        size: listed.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        modified: time(listed.last_modified())?,
        archive: class.filter(|class| ARCHIVES.contains(&class.as_str())),
        latest: listed.is_latest() == Some(true),
    })
}

fn marker(listed: &DeleteMarkerEntry) -> Result<Marker, Trouble> {
    Ok(Marker {
        id: listed.version_id().unwrap_or(NULL_VERSION).to_string(),
        modified: time(listed.last_modified())?,
        latest: listed.is_latest() == Some(true),
    })
}

/// Without its quotes, and whether it is weak.
pub(super) fn etag(written: Option<&str>) -> String {
    let written = written.unwrap_or_default();
    written.strip_prefix("W/").unwrap_or(written).trim_matches('"').to_string()
}

fn time(at: Option<&DateTime>) -> Result<Timestamp, Trouble> {
    let time = at.and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos().cast_signed()).ok());
    time.ok_or_else(|| Trouble::Unclear("a listing names no time".into()))
}
