//! The entry points: polled by their version ids, and told apart by their content.
use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::primitives::ByteStream;
use sha2::{Digest, Sha256};

use super::listing::NULL_VERSION;
use super::{Place, Trouble};
use crate::domain::plan::frontend::{EntryContent, EntryVersion, Era, KeyHistory, ObjectVersion, eras};

/// By version id: a version's content never changes.
pub(super) type Contents = HashMap<String, EntryContent>;

/// Versions of an entry point that are looked at.
const VERSIONS: i32 = 60;
/// Of these, the ones whose content is read; older ones are told apart by their ids.
const READ: usize = 12;
/// No entry point is larger.
const BYTES_MAX: usize = 16 << 20;
/// What a deploy may call its release, as metadata of the index page: `x-amz-meta-version`.
const LABEL: &str = "version";
const LABEL_MAX: usize = 40;

impl Place {
    /// The current version of each entry point; nothing where there is none.
    pub(super) async fn entry_ids(&self) -> Result<Vec<Option<String>>, Trouble> {
        let keys = self.is.site.entry_keys();
        futures::future::try_join_all(keys.iter().map(|key| self.current_id(key))).await
    }

    async fn current_id(&self, key: &str) -> Result<Option<String>, Trouble> {
        let request = self.clients().await.s3.head_object().bucket(&self.is.site.bucket).key(key);
        match request.send().await.map_err(Trouble::of) {
            Ok(answer) => Ok(Some(answer.version_id().unwrap_or(NULL_VERSION).to_string())),
            Err(Trouble::Missing) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// What was served when, oldest first; the last is what is served now.
    pub(super) async fn eras(&self) -> Result<Vec<Era>, Trouble> {
        let mut entries = BTreeMap::new();
        for key in self.is.site.entry_keys() {
            let versions = match self.newest(&key, VERSIONS).await? {
                Some(history) => self.versions(&history).await?,
                None => Vec::new(),
            };
            entries.insert(key, versions);
        }
        let found = eras(&self.is.site, &entries);
        if found.is_empty() {
            let index = self.is.site.key(&self.is.site.index);
            return Err(Trouble::Unclear(format!("there is no {index}")));
        }
        Ok(found)
    }

    async fn versions(&self, history: &KeyHistory) -> Result<Vec<EntryVersion>, Trouble> {
        let mut versions = Vec::new();
        for (at, (modified, object)) in history.times().enumerate() {
            let content = match object {
                None => None,
                Some(object) if at == 0 => Some(self.content(&history.key, object).await?),
                Some(object) if at < READ => {
                    // What cannot be read any more is still a version of its own.
                    let content = self.content(&history.key, object).await;
                    Some(content.unwrap_or_else(|_| unread(object)))
                }
                Some(object) => Some(unread(object)),
            };
            versions.push(EntryVersion { modified, content });
        }
        Ok(versions)
    }

    async fn content(&self, key: &str, object: &ObjectVersion) -> Result<EntryContent, Trouble> {
        let name = format!("{}:{key}", object.id);
        if let Some(known) = self.contents.lock().await.get(&name) {
            return Ok(known.clone());
        }
        let request = self.clients().await.s3.get_object().bucket(&self.is.site.bucket).key(key);
        let answer = request.version_id(&object.id).send().await.map_err(Trouble::of)?;
        let label = answer.metadata().and_then(|metadata| metadata.get(LABEL)).map(|label| short(label));
        let label = label.filter(|label| !label.is_empty());
        let content = EntryContent { hash: hash(answer.body, BYTES_MAX).await?, label };
        let mut contents = self.contents.lock().await;
        if contents.len() > 10 * READ {
            contents.clear();
        }
        contents.insert(name, content.clone());
        Ok(content)
    }
}

fn unread(object: &ObjectVersion) -> EntryContent {
    EntryContent { hash: format!("version {}", object.id), label: None }
}

fn short(label: &str) -> String {
    label.chars().filter(|c| !c.is_control()).take(LABEL_MAX).collect::<String>().trim().to_string()
}

/// SHA-256 of a body, in hex.
pub(super) async fn hash(mut body: ByteStream, most: usize) -> Result<String, Trouble> {
    let (mut hasher, mut read) = (Sha256::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Trouble::Unclear(format!("an object broke off: {error}")))?;
        read += chunk.len();
        if read > most {
            return Err(Trouble::Unclear(format!("it is larger than {most} bytes")));
        }
        hasher.update(&chunk);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
