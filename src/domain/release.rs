//! What a version is, and what makes a change of one a release.
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::names::TargetId;

/// What `kubectl rollout restart` writes into a template.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Identity of a version: for a workload, SHA-256 of its pod template (see [`Fingerprint::of_template`]).
///
/// Shared, since a target and its history name it in a dozen places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct Fingerprint(Arc<str>);

impl From<String> for Fingerprint {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Fingerprint {
    /// The identity of a pod template: everything in it but the `pod-template-hash` label, which names the ReplicaSet,
    /// and the `restartedAt` annotation, which `kubectl rollout restart` changes without releasing anything.
    pub fn of_template(template: &Value) -> Self {
        let mut template = template.clone();
        forget(&mut template, "/metadata/labels", "pod-template-hash");
        forget(&mut template, "/metadata/annotations", RESTARTED_AT);
        let mut hasher = Sha256::new();
        hash_canonical(&template, &mut hasher);
        Self(hex(&hasher.finalize()).into())
    }

    /// A fingerprint that an earlier life wrote down, or that a source without templates names itself.
    pub fn named(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, enough for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

fn forget(template: &mut Value, map: &str, key: &str) {
    if let Some(Value::Object(map)) = template.pointer_mut(map) {
        map.remove(key);
    }
}

/// Hashes independently of key order; nulls, empty maps and empty lists count as absent, as API servers treat them.
fn hash_canonical(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().filter(|(_, v)| !is_empty(v)).collect();
            keys.sort_by_key(|(k, _)| k.as_str());
            hasher.update(b"{");
            for (key, value) in keys {
                hasher.update(key.len().to_le_bytes());
                hasher.update(key);
                hash_canonical(value, hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| hash_canonical(item, hasher));
            hasher.update(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text = value.to_string();
            hasher.update(text.len().to_le_bytes());
            hasher.update(text);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One version of a target, as people and machines tell it from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub fingerprint: Fingerprint,
    /// Short and readable, unique among the versions of its target that a person sees together.
    pub label: String,
    /// Container images, in the order of the containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

impl Version {
    /// A label for people: the tag (or short digest) of the first image.
    pub fn of_workload(fingerprint: Fingerprint, images: Vec<String>) -> Self {
        let label = images.first().map_or_else(|| fingerprint.short().to_string(), |i| tag_of(i));
        Self { fingerprint, label, images }
    }

    /// The same version under a label that cannot be mistaken for `other`'s.
    pub fn distinct_from(mut self, other: Option<&Version>) -> Self {
        let clash = other.is_some_and(|o| o.label == self.label && o.fingerprint != self.fingerprint);
        if clash {
            let suffix: String = self.fingerprint.short().chars().take(6).collect();
            self.label = format!("{}~{suffix}", self.label);
        }
        self
    }
}

fn tag_of(image: &str) -> String {
    if let Some((_, digest)) = image.split_once('@') {
        let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
        return hex.chars().take(12).collect();
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map_or("latest", |(_, tag)| tag).to_string()
}

/// How a change of version came about: it decides what may follow from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseKind {
    /// A version that this target has not run before.
    New,
    /// A version that it ran earlier: somebody's undo. Watched, paged if bad, never rolled back (invariant 14).
    Undo,
    /// The version that our own run restored.
    OurRollback { run: String },
    /// A version that was rolled back before: paged at once.
    KnownBad,
}

/// A change of one target from one version to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub target: TargetId,
    pub kind: ReleaseKind,
    pub from: Option<Version>,
    pub to: Version,
    pub at: Timestamp,
}

/// Releases of one service that are no further apart were made by one deploy.
const TOGETHER: SignedDuration = SignedDuration::from_mins(10);

impl Release {
    /// Whether both came with one deploy. What somebody or we put back did not.
    pub fn is_with(&self, other: &Release) -> bool {
        let deployed = |r: &Release| match r.kind {
            ReleaseKind::New | ReleaseKind::KnownBad => true,
            ReleaseKind::Undo | ReleaseKind::OurRollback { .. } => false,
        };
        let apart = self.at.duration_since(other.at).abs();
        self.target.service == other.target.service && deployed(self) && deployed(other) && apart <= TOGETHER
    }
}

/// One entry of a workload's own history, oldest first when listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub version: Version,
    pub revision: u64,
    pub created_at: Timestamp,
}

/// The known good version when nothing is remembered yet: the newest version that was the current one for longer than
/// one watch. `history` is in the order of revisions; the last entry is what runs now, since `current_since`.
pub fn known_good_at_first_start(
    history: &[Generation],
    current_since: Timestamp,
    now: Timestamp,
    watch: std::time::Duration,
) -> Option<&Generation> {
    let watch = SignedDuration::try_from(watch).unwrap_or(SignedDuration::MAX);
    let (current, earlier) = history.split_last()?;
    if now.duration_since(current_since) >= watch {
        return Some(current);
    }
    let mut replaced_at = current_since;
    for generation in earlier.iter().rev() {
        if replaced_at.duration_since(generation.created_at) >= watch {
            return Some(generation);
        }
        replaced_at = generation.created_at.min(replaced_at);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn template(image: &str, hash: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web", "pod-template-hash": hash}, "creationTimestamp": null},
               "spec": {"containers": [{"name": "c", "image": image, "resources": {}}]}})
    }

    #[test]
    fn the_hash_label_and_restarts_are_no_release() {
        let plain = Fingerprint::of_template(&template("web:v1", "abc"));
        assert_eq!(plain, Fingerprint::of_template(&template("web:v1", "def")));
        let mut restarted = template("web:v1", "abc");
        restarted["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "2026-11-22T10:00:00Z"});
        assert_eq!(plain, Fingerprint::of_template(&restarted));
        assert_ne!(plain, Fingerprint::of_template(&template("web:v2", "abc")));
    }

    #[test]
    fn labels_are_tags_and_never_clash() {
        let version = |image: &str, print: &str| {
            Version::of_workload(Fingerprint::named(print), vec![image.to_string()])
        };
        assert_eq!(version("reg:5000/shop:v2", "aa").label, "v2");
        assert_eq!(version("reg:5000/shop", "aa").label, "latest");
        assert_eq!(version("shop@sha256:0123456789abcdef", "aa").label, "0123456789ab");
        let old = version("shop:v1", "aaaaaaaaaaaaaa");
        let new = version("shop:v1", "bbbbbbbbbbbbbb").distinct_from(Some(&old));
        assert_eq!(new.label, "v1~bbbbbb");
    }

    #[test]
    fn one_deploy_releases_within_ten_minutes() {
        use crate::domain::names::{ServiceName, TargetName};
        let release = |service: &str, target: &str, minute: i64, kind| Release {
            target: TargetId {
                service: ServiceName::parse(service).unwrap(),
                target: TargetName::parse(target).unwrap(),
            },
            kind,
            from: None,
            to: Version { fingerprint: Fingerprint::named("v2"), label: "v2".into(), images: vec![] },
            at: Timestamp::from_second(minute * 60).unwrap(),
        };
        let backend = release("shop", "backend", 20, ReleaseKind::New);
        let with = |other: Release| (backend.is_with(&other), other.is_with(&backend));
        assert_eq!(with(release("shop", "worker", 30, ReleaseKind::New)), (true, true));
        assert_eq!(with(release("shop", "worker", 31, ReleaseKind::New)), (false, false));
        assert_eq!(with(release("cart", "worker", 20, ReleaseKind::New)), (false, false));
        assert_eq!(with(release("shop", "worker", 20, ReleaseKind::Undo)), (false, false));
    }

    #[test]
    fn first_start_trusts_only_what_ran_for_a_watch() {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        let generation = |label: &str, revision, minute| Generation {
            version: Version { fingerprint: Fingerprint::named(label), label: label.into(), images: vec![] },
            revision,
            created_at: at(minute),
        };
        let history = [generation("v1", 1, 0), generation("v2", 2, 100), generation("v3", 3, 110)];
        let watch = Duration::from_secs(1800);
        let good = |now| {
            known_good_at_first_start(&history, at(110), at(now), watch).map(|g| g.version.label.as_str())
        };
        assert_eq!(good(112), Some("v1"), "v2 ran for ten minutes only");
        assert_eq!(good(141), Some("v3"));
        assert_eq!(known_good_at_first_start(&history[2..], at(110), at(112), watch), None);
    }
}
