//! What is said of a version that is bad after its rollback: what differs from the time when it was healthy.
use std::collections::BTreeMap;

use rollguard::domain::event::RunEvent;
use rollguard::domain::keepsake::{Comparison, Keepsake, KeptObject, ObjectKind, ObjectName, Unread};

use super::{
    REASON, all_passed, at, ended, executed, opened, target, transcript, two_checks_open, verified, version,
};

const BEFORE: &str = "sha256:1f0ac3e2b7d95d2c6b1f";
const AFTER: &str = "sha256:8be2d47c1a006f93a4e5";

fn keepsake(keys: &[(&str, &str)], secret: bool, digest: &str) -> Keepsake {
    let object = |kind, name: &str| ObjectName { kind, name: name.into() };
    let keys = keys.iter().map(|(key, hash)| (key.to_string(), hash.to_string())).collect();
    let password = || [("password".to_string(), "c1".to_string())].into();
    Keepsake {
        version: version("v1").fingerprint,
        at: at(-86_400),
        key: "k".into(),
        read: ObjectKind::ALL.into(),
        objects: vec![
            KeptObject { object: object(ObjectKind::ConfigMap, "shop-config"), keys: Some(keys) },
            KeptObject { object: object(ObjectKind::Secret, "db-credentials"), keys: secret.then(password) },
        ],
        images: BTreeMap::from([("app".to_string(), [digest.to_string()].into())]).into(),
        unread: vec![],
    }
}

fn compared(now: Result<&Keepsake, String>) -> RunEvent {
    let then = keepsake(&[("A", "1"), ("B", "2"), ("E", "5")], true, BEFORE);
    let comparison = Comparison::of(target(), "v1".into(), Some(&then), now);
    RunEvent::Compared { comparisons: vec![comparison] }
}

fn last_page(all: &str) -> &str {
    &all[all.find("── page").expect("a page")..]
}

#[test]
fn what_differs_is_told_in_every_page_about_a_restored_version_that_is_bad() {
    let changed = keepsake(&[("A", "7"), ("B", "8"), ("C", "3"), ("E", "5")], false, AFTER);
    let relapsed = || vec![compared(Ok(&changed)), RunEvent::Relapsed { reason: REASON.into() }];
    let bad_again = [executed(), all_passed(), vec![verified(true)], relapsed(), vec![ended(false, REASON)]];
    let unverified = [executed(), two_checks_open(), vec![compared(Ok(&changed)), verified(false)]];
    let told = [bad_again.concat(), unverified.concat()].map(|events| transcript(opened(), events));
    insta::assert_snapshot!(told.each_ref().map(|all| last_page(all)).join("\n"));
}

#[test]
fn what_could_not_be_compared_is_told_too() {
    let same = keepsake(&[("A", "1"), ("B", "2"), ("E", "5")], true, BEFORE);
    let why = "rollguard may not get secrets in this namespace".to_string();
    let denied = Keepsake {
        objects: same.objects[..1].to_vec(),
        unread: vec![Unread { what: "Secrets".into(), why }],
        ..same.clone()
    };
    let told = [Ok(&same), Ok(&denied), Err("the API server does not answer".to_string())].map(|now| {
        let events = [executed(), all_passed(), vec![verified(true), compared(now)]].concat();
        let relapsed = vec![RunEvent::Relapsed { reason: "12 % errors".into() }];
        transcript(opened(), [events, relapsed].concat())
    });
    insta::assert_snapshot!(told.each_ref().map(|all| last_page(all)).join("\n"));
}
