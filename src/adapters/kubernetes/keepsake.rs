//! Reads what a version runs with: the ConfigMaps and Secrets of its template as hashes, and its images as digests.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::keyed_hash::KeyedHash;
use super::references::{References, Used};
use super::rights::{self, Right};
use super::target::{Trouble, in_time};
use super::trim::containers;
use crate::domain::keepsake::{KeptObject, ObjectKind, ObjectName, Unread};

/// Objects that are read for one target; a template with more is rare.
const OBJECTS_MAX: usize = 50;
/// Keys of one object that are told apart.
const KEYS_MAX: usize = 100;
/// Requests at once.
const AT_ONCE: usize = 5;
/// Stands for all keys beyond those.
const OTHER_KEYS: &str = "(other keys)";

/// What is read of what workloads refer to; each kind needs a right of its own.
#[derive(Clone, Debug)]
pub struct Keeping {
    pub kinds: BTreeSet<ObjectKind>,
    pub hash: KeyedHash,
}

fn resource(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    }
}

fn config_key(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ConfigMap => "kubernetes.compare.config_maps",
        ObjectKind::Secret => "kubernetes.compare.secrets",
    }
}

fn right(object: &ObjectName) -> Right<'_> {
    Right { verb: "get", group: "", resource: resource(object.kind), name: Some(&object.name) }
}

/// What is configured to be read of these, one right for each object: a Role may name them.
pub(super) fn rights<'a>(keeping: Option<&Keeping>, references: &'a References) -> Vec<Right<'a>> {
    let Some(keeping) = keeping else { return Vec::new() };
    let read = references.0.keys().filter(|object| keeping.kinds.contains(&object.kind));
    read.take(OBJECTS_MAX).map(right).collect()
}

/// Kinds of which rights were asked for and none is lacking.
pub(super) fn readable(asked: &[Right<'_>], lacking: &[Right<'_>]) -> BTreeSet<ObjectKind> {
    let of = |kind: ObjectKind, rights: &[Right<'_>]| {
        rights.iter().any(|right| right.group.is_empty() && right.resource == resource(kind))
    };
    ObjectKind::ALL.into_iter().filter(|kind| of(*kind, asked) && !of(*kind, lacking)).collect()
}

/// What was read, and what was not.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    pub(super) read: BTreeSet<ObjectKind>,
    pub(super) objects: Vec<KeptObject>,
    pub(super) unread: Vec<Unread>,
}

/// Rights are asked for and never tried: a cluster's audit log shows no refusals.
pub(super) async fn belongings(
    client: &Client,
    namespace: &str,
    keeping: Option<&Keeping>,
    references: &References,
) -> Belongings {
    let mut found = Belongings::default();
    found.leave_what_is_off(keeping, references);
    let Some(keeping) = keeping else { return found };
    let asked = rights(Some(keeping), references);
    let lacking = async {
        let rules = rights::rules(client, namespace).await?;
        rights::lacking(client, namespace, &rules, &asked).await
    };
    let lacking = match in_time(lacking).await {
        Ok(lacking) => lacking,
        Err(trouble) => {
            found.leave("ConfigMaps and Secrets".into(), trouble.reason());
            return found;
        }
    };
    found.leave_what_is_denied(&asked, &lacking);
    let mut reads = Vec::new();
    let mut beyond = 0_usize;
    for (object, used) in &references.0 {
        match (keeping.kinds.contains(&object.kind), asked.contains(&right(object))) {
            (false, _) => {}
            (true, false) => beyond += 1,
            (true, true) if lacking.contains(&right(object)) => {}
            (true, true) => reads.push(read(client, namespace, &keeping.hash, object, used)),
        }
    }
    let read: Vec<_> = futures::stream::iter(reads).buffered(AT_ONCE).collect().await;
    for object in read {
        match object {
            Ok(object) => found.objects.push(object),
            Err(unread) => found.unread.push(unread),
        }
    }
    if beyond > 0 {
        found.leave(format!("{beyond} more objects"), format!("no more than {OBJECTS_MAX} are read"));
    }
    let complete = |kind: &ObjectKind| !found.unread.iter().any(|u| u.what.starts_with(kind.title()));
    found.read = keeping.kinds.iter().copied().filter(|kind| complete(kind)).collect();
    found
}

impl Belongings {
    fn leave(&mut self, what: String, why: String) {
        self.unread.push(Unread { what, why });
    }

    fn leave_what_is_off(&mut self, keeping: Option<&Keeping>, references: &References) {
        for kind in ObjectKind::ALL {
            let on = keeping.is_some_and(|keeping| keeping.kinds.contains(&kind));
            if !on && references.0.keys().any(|object| object.kind == kind) {
                self.leave(format!("{}s", kind.title()), format!("{} is not on", config_key(kind)));
            }
        }
    }

    fn leave_what_is_denied(&mut self, asked: &[Right<'_>], lacking: &[Right<'_>]) {
        for kind in ObjectKind::ALL {
            let of = |rights: &[Right<'_>]| rights.iter().filter(|r| r.resource == resource(kind)).count();
            let names =
                lacking.iter().filter(|right| right.resource == resource(kind)).filter_map(|r| r.name);
            if of(lacking) > 0 && of(lacking) == of(asked) {
                let why = format!("rollguard may not get {} in this namespace", resource(kind));
                self.leave(format!("{}s", kind.title()), why);
                continue;
            }
            for name in names {
                let why = format!("rollguard may not get {}/{name}", resource(kind));
                self.leave(format!("{} {name}", kind.title()), why);
            }
        }
    }
}

async fn read(
    client: &Client,
    namespace: &str,
    hash: &KeyedHash,
    object: &ObjectName,
    used: &Used,
) -> Result<KeptObject, Unread> {
    let values = match object.kind {
        ObjectKind::ConfigMap => get(client, namespace, &object.name, of_config_map).await,
        ObjectKind::Secret => get(client, namespace, &object.name, of_secret).await,
    };
    match values {
        Ok(values) => {
            let keys = values.map(|values| hashed(hash, &format!("{object}"), used, &values));
            Ok(KeptObject { object: object.clone(), keys })
        }
        Err(why) => Err(Unread { what: object.to_string(), why }),
    }
}

type Values = BTreeMap<String, Vec<u8>>;

/// `None` if there is no such object, which is a fact like any other.
async fn get<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    of: fn(K) -> Values,
) -> Result<Option<Values>, String>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    match in_time(Api::<K>::namespaced(client.clone(), namespace).get(name)).await {
        Ok(object) => Ok(Some(of(object))),
        Err(Trouble::Missing) => Ok(None),
        Err(trouble) => Err(trouble.reason()),
    }
}

fn of_config_map(map: ConfigMap) -> Values {
    let text = map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
    let binary = map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
    text.chain(binary).collect()
}

fn of_secret(secret: Secret) -> Values {
    secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)).collect()
}

/// The object and the key are part of each hash, so that equal values cannot be seen to be equal.
fn hashed(hash: &KeyedHash, object: &str, used: &Used, values: &Values) -> BTreeMap<String, String> {
    let of = |key: &str, value: &[u8]| hash.of(&[object.as_bytes(), key.as_bytes(), value]);
    let used = || values.iter().filter(|(key, _)| used.has(key));
    let mut keys: BTreeMap<String, String> =
        used().take(KEYS_MAX).map(|(key, value)| (key.clone(), of(key, value))).collect();
    let others: Vec<&[u8]> =
        used().skip(KEYS_MAX).flat_map(|(key, value)| [key.as_bytes(), value.as_slice()]).collect();
    if !others.is_empty() {
        keys.insert(OTHER_KEYS.into(), hash.of(&others));
    }
    keys
}

/// By container, the digests that these pods run.
pub(super) fn images(pods: &[Pod]) -> BTreeMap<String, BTreeSet<String>> {
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let running = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    for container in running.filter_map(|pod| pod.status.as_ref()).flat_map(containers) {
        // `registry/app@sha256:…`, or without the name where the image came from no registry.
        let id = container.image_id.rsplit('@').next().unwrap_or("");
        let digest = id.rsplit("://").next().unwrap_or("");
        if !digest.is_empty() {
            images.entry(container.name.clone()).or_default().insert(digest.to_string());
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::pod;
    use super::*;
    use serde_json::json;

    #[test]
    fn images_are_what_pods_say_they_run() {
        let with = |id: &str| {
            let status = json!({"containerStatuses": [{"name": "app", "image": "shop:v1", "imageID": id,
                "ready": true, "restartCount": 0}]});
            pod("web-a", "p", &status)
        };
        let mut leaving = with("sha256:old");
        leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
        let pods = [
            with("registry.example/shop@sha256:aa"),
            with("docker-pullable://shop@sha256:aa"),
            with("sha256:bb"),
            with(""),
            leaving,
        ];
        let digests = ["sha256:aa", "sha256:bb"].map(String::from);
        assert_eq!(images(&pods), [("app".to_string(), digests.into())].into());
    }

    #[test]
    fn values_become_hashes_of_the_keys_that_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let hash = KeyedHash::open(&dir.path().join("key")).unwrap();
        let of = |used: &Used, values: &[(&str, &str)]| {
            let values = values.iter().map(|(k, v)| (k.to_string(), v.as_bytes().to_vec())).collect();
            hashed(&hash, "Secret db", used, &values)
        };
        let all = of(&Used::All, &[("a", "hunter2"), ("b", "hunter2")]);
        assert_ne!(all["a"], all["b"], "the same value under another key");
        assert!(!format!("{all:?}").contains("hunter2"));
        let one = of(&Used::Keys(["a".to_string()].into()), &[("a", "hunter2"), ("b", "other")]);
        assert_eq!(one.into_iter().collect::<Vec<_>>(), [("a".to_string(), all["a"].clone())]);
        let many: Values = (0..KEYS_MAX + 2).map(|n| (format!("k{n:03}"), vec![1])).collect();
        let mut other = many.clone();
        let before = hashed(&hash, "Secret db", &Used::All, &many);
        assert_eq!(before.len(), KEYS_MAX + 1);
        other.insert(format!("k{:03}", KEYS_MAX + 1), vec![2]);
        let after = hashed(&hash, "Secret db", &Used::All, &other);
        assert_ne!(before[OTHER_KEYS], after[OTHER_KEYS]);
    }

    #[test]
    fn what_is_denied_is_said_by_kind_or_by_name() {
        let object = |kind, name: &str| ObjectName { kind, name: name.into() };
        let (a, b) = (object(ObjectKind::ConfigMap, "a"), object(ObjectKind::ConfigMap, "b"));
        let s = object(ObjectKind::Secret, "s");
        let said = |lacking: &[Right<'_>]| {
            let mut found = Belongings::default();
            found.leave_what_is_denied(&[right(&a), right(&b), right(&s)], lacking);
            found.unread.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said(&[right(&b)]), ["ConfigMap b (rollguard may not get configmaps/b)"]);
        assert_eq!(
            said(&[right(&a), right(&b), right(&s)]),
            [
                "ConfigMaps (rollguard may not get configmaps in this namespace)",
                "Secrets (rollguard may not get secrets in this namespace)"
            ]
        );
        assert_eq!(readable(&[right(&a), right(&b)], &[right(&b)]), BTreeSet::new());
        assert_eq!(readable(&[right(&a), right(&s)], &[right(&s)]), [ObjectKind::ConfigMap].into());
    }
}
