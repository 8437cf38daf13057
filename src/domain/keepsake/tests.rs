//! What is said of two times at which a version ran.
use proptest::prelude::*;

use super::*;
use crate::domain::names::{ServiceName, TargetName};

type Keys = BTreeMap<String, String>;

fn keys(pairs: &[(&str, &str)]) -> Option<Keys> {
    Some(pairs.iter().map(|(key, hash)| (key.to_string(), hash.to_string())).collect())
}

fn kept(kind: ObjectKind, name: &str, keys: Option<Keys>) -> KeptObject {
    KeptObject { object: ObjectName { kind, name: name.into() }, keys }
}

fn keepsake(objects: Vec<KeptObject>, digest: &str) -> Keepsake {
    Keepsake {
        version: Fingerprint::named("v1"),
        at: "2026-11-22T10:00:00Z".parse().unwrap(),
        key: "k1".into(),
        read: ObjectKind::ALL.into(),
        objects,
        images: BTreeMap::from([("app".to_string(), [digest.to_string()].into())]).into(),
        unread: vec![],
    }
}

const BEFORE: &str = "sha256:aaaaaaaaaaaaaaaaaaaa";

fn compared(then: Option<&Keepsake>, now: Result<&Keepsake, String>) -> Vec<String> {
    let target = TargetId {
        service: ServiceName::parse("shop").unwrap(),
        target: TargetName::parse("backend").unwrap(),
    };
    Comparison::of(target, "v1".into(), then, now).lines()
}

#[test]
fn every_difference_is_told_by_name_and_key() {
    use ObjectKind::{ConfigMap, Secret};
    let then = keepsake(
        vec![
            kept(ConfigMap, "shop-config", keys(&[("A", "1"), ("B", "2"), ("D", "4"), ("E", "5")])),
            kept(ConfigMap, "shop-flags", keys(&[("F", "1")])),
            kept(ConfigMap, "later", None),
            kept(Secret, "db-credentials", keys(&[("password", "1")])),
            kept(Secret, "mail", keys(&[("password", "1")])),
        ],
        BEFORE,
    );
    let now = keepsake(
        vec![
            kept(ConfigMap, "shop-config", keys(&[("A", "9"), ("B", "8"), ("C", "3"), ("E", "5")])),
            kept(ConfigMap, "shop-flags", keys(&[("F", "1")])),
            kept(ConfigMap, "later", keys(&[])),
            kept(Secret, "db-credentials", None),
            kept(Secret, "mail", keys(&[("password", "2")])),
        ],
        "sha256:bbbbbbbbbbbbbbbbbbbb",
    );
    assert_eq!(
        compared(Some(&then), Ok(&now)),
        [
            "Changed since backend v1 was healthy (2026-11-22 10:00 UTC):",
            "  ConfigMap shop-config has changed: A and B differ, C is new, D is gone",
            "  ConfigMap later is there, and was not",
            "  Secret db-credentials is gone",
            "  Secret mail has changed: password differs",
            "  container app runs sha256:bbbbbbbbbbbb, it ran sha256:aaaaaaaaaaaa",
        ]
    );
    assert_eq!(
        compared(Some(&then), Ok(&then)),
        [
            "Unchanged since backend v1 was healthy (2026-11-22 10:00 UTC): 3 ConfigMaps, 2 Secrets, the images"
        ]
    );
}

#[test]
fn what_could_not_be_read_is_said_and_never_guessed() {
    let secret = |hash: &str| kept(ObjectKind::Secret, "db", keys(&[("password", hash)]));
    let then = keepsake(vec![secret("1")], BEFORE);
    let unread = |why: &str| vec![Unread { what: "Secrets".into(), why: why.into() }];
    let blind = Keepsake { unread: unread("get secrets is not granted"), ..keepsake(vec![], BEFORE) };
    let head = "Unchanged since backend v1 was healthy (2026-11-22 10:00 UTC): the images";
    assert_eq!(
        compared(Some(&then), Ok(&blind)),
        [head, "Not compared: Secrets (get secrets is not granted)"]
    );
    assert_eq!(
        compared(Some(&blind), Ok(&then)),
        [head, "Not compared: Secrets (when it was healthy: get secrets is not granted)"]
    );
    assert_eq!(
        compared(None, Ok(&then)),
        ["Not compared: what it runs with (nothing was kept of the time when it was healthy)"]
    );
    assert_eq!(
        compared(Some(&then), Err("no answer within 10 s".into())),
        ["Not compared: what it runs with (no answer within 10 s)"]
    );
    let other = Keepsake { version: Fingerprint::named("v2"), ..then.clone() };
    assert_eq!(
        compared(Some(&then), Ok(&other)),
        ["Not compared: what it runs with (another version runs by now)"]
    );
    let rekeyed = Keepsake { key: "k2".into(), ..keepsake(vec![secret("2")], BEFORE) };
    assert_eq!(
        compared(Some(&then), Ok(&rekeyed))[1],
        "Not compared: ConfigMaps and Secrets (their hashes were made with another key, which is a file of the state directory)"
    );
}

#[test]
fn pods_on_other_nodes_may_run_another_digest_of_the_same_image() {
    let both = Keepsake {
        images: BTreeMap::from([("app".to_string(), [BEFORE.to_string(), "sha256:bb".to_string()].into())])
            .into(),
        ..keepsake(vec![], BEFORE)
    };
    let one = keepsake(vec![], BEFORE);
    assert_eq!(differences(&both, &one), []);
    assert_eq!(differences(&one, &both).len(), 1);
}

#[test]
fn many_keys_are_not_all_named() {
    let all: Vec<String> = (0..9).map(|n| format!("K{n}")).collect();
    assert_eq!(listed(&all), "K0, K1, K2, K3, K4, K5 and 3 more");
    assert_eq!(listed(&all[..3]), "K0, K1 and K2");
}

fn any_keys() -> impl Strategy<Value = Option<Keys>> {
    proptest::option::of(proptest::collection::btree_map("[a-d]", "[12]", 0..4))
}

fn any_keepsake() -> impl Strategy<Value = Keepsake> {
    let objects = proptest::collection::btree_map(("[xy]", any::<bool>()), any_keys(), 0..4);
    (objects, "[ab]").prop_map(|(objects, digest)| {
        let kind = |secret| if secret { ObjectKind::Secret } else { ObjectKind::ConfigMap };
        let objects = objects.into_iter().map(|((name, secret), keys)| kept(kind(secret), &name, keys));
        keepsake(objects.collect(), &digest)
    })
}

proptest! {
    /// One sentence for each object that both looked at and that is not the same, and none for any other.
    #[test]
    fn an_object_is_told_exactly_if_it_differs(then in any_keepsake(), now in any_keepsake()) {
        let told = differences(&then, &now);
        let of = |kept: &Keepsake| kept.objects.iter().cloned().map(|o| (o.object, o.keys)).collect::<BTreeMap<_, _>>();
        let (before, after) = (of(&then), of(&now));
        let differ = before.iter().filter(|(name, keys)| after.get(name).is_some_and(|now| now != *keys)).count();
        let images = usize::from(then.images != now.images);
        prop_assert_eq!(told.len(), differ + images);
        prop_assert_eq!(differences(&then, &then), vec![]);
        for difference in &told {
            if let Difference::Changed { object, keys } = difference {
                let (was, is) = (before[object].clone().unwrap(), after[object].clone().unwrap());
                prop_assert!(keys.differ.iter().all(|key| was[key] != is[key]));
                prop_assert!(keys.added.iter().all(|key| !was.contains_key(key) && is.contains_key(key)));
                prop_assert!(keys.gone.iter().all(|key| was.contains_key(key) && !is.contains_key(key)));
                let told = keys.differ.len() + keys.added.len() + keys.gone.len();
                let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
                prop_assert_eq!(told, all.iter().filter(|key| was.get(**key) != is.get(**key)).count());
            }
        }
    }

    /// The journal holds them: what is written is read back.
    #[test]
    fn a_keepsake_and_a_comparison_survive_the_journal(then in any_keepsake(), now in any_keepsake()) {
        let text = serde_json::to_string(&then).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Keepsake>(&text).unwrap(), &then);
        let told = differences(&then, &now);
        let text = serde_json::to_string(&told).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Difference>>(&text).unwrap(), told);
    }
}
