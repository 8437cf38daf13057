//! What a version ran with while it was well, so that it can be said what differs when it is bad later: names and hashes, never a value.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::count_of;
use super::names::TargetId;
use super::release::Fingerprint;

/// Keys named in one sentence.
const KEYS_NAMED: usize = 6;
/// Of a digest, enough for people.
const DIGEST_CHARS: usize = 12;

/// What the pod template itself says belongs to the version and cannot differ; this is what it refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepsake {
    pub version: Fingerprint,
    pub at: Timestamp,
    /// Names the key of the hashes: those made with another one cannot be compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Kinds of which everything that the template refers to was looked at.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub read: BTreeSet<ObjectKind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<KeptObject>,
    /// By container, the digests that its pods ran: a tag may move.
    #[serde(default, skip_serializing_if = "Images::is_empty")]
    pub images: Images,
    /// What was not looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

/// Digests by container, both in order. It is written as a map, and kept as a list: of every target there is one, and the
/// nodes of a map of sets are mostly empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ImageMap", into = "ImageMap")]
pub struct Images(Box<[(String, Box<[String]>)]>);

type ImageMap = BTreeMap<String, BTreeSet<String>>;

impl From<ImageMap> for Images {
    fn from(images: ImageMap) -> Self {
        Self(images.into_iter().map(|(name, digests)| (name, digests.into_iter().collect())).collect())
    }
}

impl From<Images> for ImageMap {
    fn from(images: Images) -> Self {
        images.0.into_iter().map(|(name, digests)| (name, digests.into_iter().collect())).collect()
    }
}

impl Images {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &[String])> {
        self.0.iter().map(|(name, digests)| (name, &**digests))
    }

    fn of(&self, container: &str) -> Option<&[String]> {
        self.iter().find(|(name, _)| *name == container).map(|(_, digests)| digests)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    ConfigMap,
    Secret,
}

impl ObjectKind {
    pub const ALL: [ObjectKind; 2] = [ObjectKind::ConfigMap, ObjectKind::Secret];

    pub fn title(self) -> &'static str {
        match self {
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Secret => "Secret",
        }
    }
}

/// An object of the workload's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    pub kind: ObjectKind,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.title(), self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptObject {
    #[serde(flatten)]
    pub object: ObjectName,
    /// A hash for each key that the template uses; none if there was no such object.
    pub keys: Option<BTreeMap<String, String>>,
}

/// What was not looked at: `Secrets`, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    pub what: String,
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.why)
    }
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    Changed {
        #[serde(flatten)]
        object: ObjectName,
        keys: KeyChanges,
    },
    Gone {
        #[serde(flatten)]
        object: ObjectName,
    },
    Made {
        #[serde(flatten)]
        object: ObjectName,
    },
    Image {
        container: String,
        then: Vec<String>,
        now: Vec<String>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChanges {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differ: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
}

/// How a restored version fares beside the time when it was healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub target: TargetId,
    /// The version's label.
    pub version: String,
    /// When what it is compared with was looked at; none if nothing was kept of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What was compared and is as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alike: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

impl Comparison {
    /// `now` is an error while it cannot be read.
    pub fn of(
        target: TargetId,
        version: String,
        then: Option<&Keepsake>,
        now: Result<&Keepsake, String>,
    ) -> Self {
        let nothing =
            Self { target, version, since: None, differences: vec![], alike: vec![], unread: vec![] };
        let unread = |why: String| vec![Unread { what: "what it runs with".into(), why }];
        match (then, now) {
            (None, _) => {
                Self { unread: unread("nothing was kept of the time when it was healthy".into()), ..nothing }
            }
            (Some(then), Err(why)) => Self { since: Some(then.at), unread: unread(why), ..nothing },
            (Some(then), Ok(now)) if then.version != now.version => {
                Self { since: Some(then.at), unread: unread("another version runs by now".into()), ..nothing }
            }
            (Some(then), Ok(now)) => Self {
                since: Some(then.at),
                differences: differences(then, now),
                alike: alike(then, now),
                unread: not_compared(then, now),
                ..nothing
            },
        }
    }

    /// For people: one line of what it is compared with, one for each difference, and what was not compared.
    pub fn lines(&self) -> Vec<String> {
        let head = self.since.map(|since| {
            let (version, since) = (&self.version, since.strftime("%Y-%m-%d %H:%M"));
            let when = format!("{} {version} was healthy ({since} UTC)", self.target.target);
            match (self.differences.is_empty(), self.alike.is_empty()) {
                (false, _) => Some(format!("Changed since {when}:")),
                (true, false) => Some(format!("Unchanged since {when}: {}", self.alike.join(", "))),
                (true, true) => None,
            }
        });
        let differences = self.differences.iter().map(|difference| format!("  {difference}"));
        let unread = self.unread.iter().map(|unread| format!("Not compared: {unread}"));
        head.flatten().into_iter().chain(differences).chain(unread).collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Changed { object, keys } => write!(f, "{object} has changed: {keys}"),
            Difference::Gone { object } => write!(f, "{object} is gone"),
            Difference::Made { object } => write!(f, "{object} is there, and was not"),
            Difference::Image { container, then, now } => {
                let short = |digests: &[String]| digests.iter().map(|d| short(d)).collect::<Vec<_>>();
                write!(
                    f,
                    "container {container} runs {}, it ran {}",
                    listed(&short(now)),
                    listed(&short(then))
                )
            }
        }
    }
}

/// `A and B differ, C is new`.
impl fmt::Display for KeyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |keys: &[String], one: &str, many: &str| {
            (!keys.is_empty())
                .then(|| format!("{} {}", listed(keys), if keys.len() == 1 { one } else { many }))
        };
        let parts = [
            part(&self.differ, "differs", "differ"),
            part(&self.added, "is new", "are new"),
            part(&self.gone, "is gone", "are gone"),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// `sha256:0123456789ab`.
fn short(digest: &str) -> String {
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("", digest));
    let hex: String = hex.chars().take(DIGEST_CHARS).collect();
    if algorithm.is_empty() { hex } else { format!("{algorithm}:{hex}") }
}

/// `A, B and C`.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(KEYS_NAMED);
    let named = &names[..names.len() - more];
    match named {
        _ if more > 0 => format!("{} and {more} more", named.join(", ")),
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What both looked at, and is not as it was. Hashes of different keys are never compared.
pub fn differences(then: &Keepsake, now: &Keepsake) -> Vec<Difference> {
    let objects = pairs(then, now).filter_map(|(before, after)| {
        let object = before.object.clone();
        match (&before.keys, &after.keys) {
            (None, None) => None,
            (Some(_), None) => Some(Difference::Gone { object }),
            (None, Some(_)) => Some(Difference::Made { object }),
            (Some(before), Some(after)) => {
                let keys = changes(before, after);
                (keys != KeyChanges::default()).then_some(Difference::Changed { object, keys })
            }
        }
    });
    let images = images(then, now).filter(|(_, before, after)| has_moved(before, after));
    let images = images.map(|(container, before, after)| Difference::Image {
        container: container.clone(),
        then: before.to_vec(),
        now: after.to_vec(),
    });
    objects.chain(images).collect()
}

fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> KeyChanges {
    let names = |keys: &BTreeMap<String, String>, wanted: &dyn Fn(&String, &String) -> bool| {
        keys.iter().filter(|(key, hash)| wanted(key, hash)).map(|(key, _)| key.clone()).collect()
    };
    KeyChanges {
        differ: names(after, &|key, hash| before.get(key).is_some_and(|old| old != hash)),
        added: names(after, &|key, _| !before.contains_key(key)),
        gone: names(before, &|key, _| !after.contains_key(key)),
    }
}

fn pairs<'a>(
    then: &'a Keepsake,
    now: &'a Keepsake,
) -> impl Iterator<Item = (&'a KeptObject, &'a KeptObject)> {
    let known: BTreeMap<&ObjectName, &KeptObject> = now.objects.iter().map(|o| (&o.object, o)).collect();
    let comparable = then.key == now.key;
    let then = then.objects.iter().filter(move |_| comparable);
    then.filter_map(move |before| Some((before, *known.get(&before.object)?)))
}

fn images<'a>(
    then: &'a Keepsake,
    now: &'a Keepsake,
) -> impl Iterator<Item = (&'a String, &'a [String], &'a [String])> {
    now.images.iter().filter_map(|(container, after)| Some((container, then.images.of(container)?, after)))
}

/// Nodes of different architectures may run different digests of the same image, and not all of them at every time.
fn has_moved(before: &[String], after: &[String]) -> bool {
    !after.iter().all(|digest| before.contains(digest))
}

/// Such as `2 ConfigMaps`, `the images`.
fn alike(then: &Keepsake, now: &Keepsake) -> Vec<String> {
    let same = |kind: ObjectKind| {
        let same = pairs(then, now).filter(|(a, b)| a.object.kind == kind && a.keys == b.keys).count();
        (same > 0).then(|| count_of(same, kind.title()))
    };
    let mut images = images(then, now).peekable();
    let ran = images.peek().is_some() && images.all(|(_, before, after)| !has_moved(before, after));
    ObjectKind::ALL.into_iter().filter_map(same).chain(ran.then(|| "the images".to_string())).collect()
}

fn not_compared(then: &Keepsake, now: &Keepsake) -> Vec<Unread> {
    let mut unread: Vec<Unread> = now.unread.clone();
    let earlier = then.unread.iter().filter(|earlier| now.unread.iter().all(|u| u.what != earlier.what));
    unread.extend(
        earlier.map(|earlier| Unread {
            why: format!("when it was healthy: {}", earlier.why),
            ..earlier.clone()
        }),
    );
    if then.key != now.key && !then.objects.is_empty() && !now.objects.is_empty() {
        let why = "their hashes were made with another key, which is a file of the state directory";
        unread.push(Unread { what: "ConfigMaps and Secrets".into(), why: why.into() });
    }
    unread
}

#[cfg(test)]
mod tests;
