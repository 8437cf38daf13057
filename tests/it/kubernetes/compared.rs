//! A version that is bad after its rollback: what somebody changed meanwhile is named in the page, and no value ever is.

use std::collections::BTreeSet;

use rollguard::adapters::kubernetes::{Keeping, KeyedHash, Kubernetes};
use rollguard::domain::keepsake::{Keepsake, ObjectKind, differences};
use rollguard::ports::Target;
use serde_json::{Value, json};

use super::rights::{cluster_as, target};
use super::world::{Place, SOON};
use crate::support::until;
use crate::support::workload::Traffic;

const CONFIG_MAPS: &str =
    include_str!("../../../deploy/kubernetes/watched-namespace/optional/config-maps.yaml");
const SECRETS: &str = include_str!("../../../deploy/kubernetes/watched-namespace/optional/secrets.yaml");

fn config_map(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop-config" }, "data": data })
}

fn secret(password: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db-credentials" },
            "stringData": { "user": "shop", "password": password, "unused": password } })
}

/// A workload that takes all keys of one and two of the other.
fn takes_both(object: &mut Value) {
    let key = |key: &str| json!({ "secretKeyRef": { "name": "db-credentials", "key": key } });
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["envFrom"] = json!([{ "configMapRef": { "name": "shop-config" } }]);
    container["env"] = json!([
        { "name": "DB_USER", "valueFrom": key("user") },
        { "name": "DB_PASSWORD", "valueFrom": key("password") },
    ]);
}

async fn place(purpose: &str) -> Place {
    let place = Place::with(purpose, takes_both).await;
    let first = config_map(json!({ "LIMIT": "limit-before", "MODE": "mode-before", "OLD": "old-before" }));
    place.cluster.apply(&place.namespace, &first).await;
    place.cluster.apply(&place.namespace, &secret("hunter2-before")).await;
    place
}

async fn change(place: &Place) {
    let now = config_map(json!({ "LIMIT": "limit-after", "MODE": "mode-before", "NEW": "new-after" }));
    place.kubectl("delete configmap shop-config").await;
    place.cluster.apply(&place.namespace, &now).await;
    place.cluster.apply(&place.namespace, &secret("hunter2-after")).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_restored_version_that_is_bad_is_told_with_what_was_changed_since_it_was_healthy() {
    let place = place("compared").await;
    let token = place.shipped_role().await;
    place.optional_role(CONFIG_MAPS).await;
    place.optional_role(SECRETS).await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let compare = json!({ "config_maps": true, "secrets": true });
    let world = place.guarded_through(kubeconfig, |config| config["kubernetes"]["compare"] = compare).await;
    let kept = async || world.daemon.log().contains("what it runs with is kept").then_some(());
    until("what v1 runs with is kept", SOON, kept).await;

    change(&world).await;
    world.deploy("v2-errors30").await;
    let run = world.verified().await;
    let bad = Traffic { error_ratio: 0.4, ..Traffic::default() };
    world.cluster.kubelet().workloads(&world.namespace).iter().for_each(|(_, pod)| pod.set_traffic(bad));
    let page = world.told("page", "[FAILED] Still bad after the rollback").await;
    assert!(page.contains("Changed since backend v1 was healthy (20"), "{page}");
    assert!(
        page.contains("ConfigMap shop-config has changed: LIMIT differs, NEW is new, OLD is gone"),
        "{page}"
    );
    assert!(page.contains("Secret db-credentials has changed: password differs\n"), "{page}");
    let shown = world.daemon.cli_ok(&format!("show {}", run.run)).await;
    assert!(shown.contains("Then and now") && shown.contains("LIMIT differs, NEW is new"), "{shown}");
    let answer = world.daemon.run(&run.run).await;
    assert_eq!(answer.compared[0].differences.len(), 2);
    assert!(answer.timeline.iter().any(|m| m.what == "2 differences from the time when it was healthy"));

    let journal = std::fs::read(world.daemon.state_dir().join("journal.db")).unwrap();
    let log = std::fs::read(world.daemon.state_dir().join("journal.db-wal")).unwrap_or_default();
    let written = String::from_utf8_lossy(&[journal, log].concat()).into_owned() + &world.daemon.log();
    assert!(written.contains("db-credentials"), "what is looked through is what was written");
    for value in ["hunter2", "limit-before", "limit-after", "mode-before"] {
        assert!(!written.contains(value) && !shown.contains(value), "{value} was written down");
    }
}

fn keeping(place: &Place) -> Keeping {
    let path = std::env::temp_dir().join(format!("{}.key", place.namespace));
    let hash = KeyedHash::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    Keeping { kinds: ObjectKind::ALL.into(), hash }
}

async fn keepsake(cluster: &Kubernetes) -> Keepsake {
    cluster.targets().keepsake(&target()).await.unwrap()
}

fn unread(keepsake: &Keepsake) -> Vec<String> {
    keepsake.unread.iter().map(ToString::to_string).collect()
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_may_not_be_read_is_said_and_the_doctor_warns_of_it() {
    let place = place("compared-rights").await;
    let token = place.shipped_role().await;
    let bare = cluster_as(&place, place.cluster.kubeconfig_as(&token)).await;
    let off = [
        "ConfigMaps (kubernetes.compare.config_maps is not on)",
        "Secrets (kubernetes.compare.secrets is not on)",
    ];
    let first = until("the role counts", SOON, async || bare.targets().keepsake(&target()).await.ok()).await;
    assert_eq!((unread(&first).as_slice(), first.objects.len()), (off.map(String::from).as_slice(), 0));

    let cluster = bare.with_keeping(Some(keeping(&place)));
    let denied = [
        "ConfigMaps (rollguard may not get configmaps in this namespace)",
        "Secrets (rollguard may not get secrets in this namespace)",
    ];
    assert_eq!(unread(&keepsake(&cluster).await), denied);
    let targets = cluster.targets();
    let survey = targets.survey(&target()).await.unwrap();
    let around = targets.surroundings(&target(), Some(&survey), &[]).await;
    assert_eq!(around.unseen, ["get configmaps/shop-config", "get secrets/db-credentials"]);
    assert_eq!(around.readable, BTreeSet::new());

    place.optional_role(CONFIG_MAPS).await;
    until("only Secrets are missed", SOON, async || {
        (unread(&keepsake(&cluster).await) == denied[1..]).then_some(())
    })
    .await;
    place.optional_role(SECRETS).await;
    let before = until("all is read", SOON, async || {
        Some(keepsake(&cluster).await).filter(|kept| kept.unread.is_empty())
    })
    .await;
    let keys: Vec<Vec<&String>> =
        before.objects.iter().map(|o| o.keys.as_ref().unwrap().keys().collect()).collect();
    assert_eq!(keys, [vec!["LIMIT", "MODE", "OLD"], vec!["password", "user"]], "and no key that is not used");
    assert_eq!(before.read, ObjectKind::ALL.into());
    let around = targets.surroundings(&target(), Some(&survey), &[]).await;
    assert_eq!((around.unseen, around.readable), (vec![], ObjectKind::ALL.into()));

    change(&place).await;
    place.kubectl("delete secret db-credentials").await;
    let told: Vec<String> =
        differences(&before, &keepsake(&cluster).await).iter().map(ToString::to_string).collect();
    let map = "ConfigMap shop-config has changed: LIMIT differs, NEW is new, OLD is gone";
    assert_eq!(told, [map, "Secret db-credentials is gone"]);
}
