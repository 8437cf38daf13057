//! The shipped manifests: they are what Kubernetes understands, they fit together, and they grant no more than is used.
mod owners;
mod replicas;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Every document of every YAML file below `deploy/`, by path.
fn documents() -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                let documents = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
                all.insert(name, documents);
            }
        }
    }
    all
}

/// Rights that only those grant who want the feature have tests of their own.
const OPT_IN: [&str; 2] = ["kubernetes/owners/", "replicas/"];

fn of_kind(kind: &str) -> Vec<Value> {
    let all =
        documents().into_iter().filter(|(name, _)| !OPT_IN.iter().any(|folder| name.starts_with(folder)));
    let all = all.flat_map(|(_, documents)| documents);
    all.filter(|document| document["kind"] == kind).collect()
}

/// The Role of this name.
fn only(kind: &str) -> Value {
    let mut found = of_kind(kind);
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

fn named(kind: &str, name: &str) -> Value {
    let found = of_kind(kind).into_iter().find(|document| document["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Kubernetes' own type takes it whole: a misspelt or misplaced field would be lost on the way.
fn understood<T: DeserializeOwned + Serialize>(document: &Value) {
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), *document);
}

#[test]
fn kubernetes_understands_every_field() {
    let mut seen = 0;
    for (name, documents) in documents() {
        for document in documents.iter().filter(|_| name.starts_with("kubernetes/")) {
            seen += 1;
            match document["kind"].as_str() {
                Some("Deployment") => understood::<Deployment>(document),
                Some("NetworkPolicy") => understood::<NetworkPolicy>(document),
                Some("PersistentVolumeClaim") => understood::<PersistentVolumeClaim>(document),
                Some("Role") => understood::<Role>(document),
                Some("RoleBinding") => understood::<RoleBinding>(document),
                Some("Service") => understood::<Service>(document),
                Some("ServiceAccount") => understood::<ServiceAccount>(document),
                Some("Kustomization" | "ServiceMonitor") => {}
                None if name == "kubernetes/rollguard.yaml" => {}
                other => panic!("{name}: {other:?} is not checked"),
            }
        }
    }
    assert_eq!(seen, 39);
}

#[test]
fn the_role_grants_reading_and_patching_named_deployments_and_nothing_else() {
    let role = named("Role", "rollguard");
    let expected = json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["backend"], "verbs": ["patch"]},
    ]);
    assert_eq!(role["rules"], expected);
    let events = json!([{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}]);
    assert_eq!(named("Role", "rollguard-events")["rules"], events);
    assert!(of_kind("ClusterRole").is_empty() && of_kind("ClusterRoleBinding").is_empty());
}

#[test]
fn what_is_optional_has_a_role_of_its_own_with_nothing_else_in_it() {
    let right = |group: &str, resource: &str, verbs: &[&str]| json!([{"apiGroups": [group], "resources": [resource], "verbs": verbs}]);
    let rules = |role: &str| named("Role", role)["rules"].clone();
    assert_eq!(rules("rollguard-failed-probes"), right("", "events", &["list", "watch"]));
    let slices = right("discovery.k8s.io", "endpointslices", &["list", "watch"]);
    assert_eq!(rules("rollguard-endpoints"), slices);
    assert_eq!(rules("rollguard-logs"), right("", "pods/log", &["get"]));
    assert_eq!(rules("rollguard-config-maps"), right("", "configmaps", &["get"]));
    let mut secrets = right("", "secrets", &["get"]);
    secrets[0]["resourceNames"] = json!(["db-credentials"]);
    assert_eq!(rules("rollguard-secrets"), secrets, "never all Secrets of a namespace");
}

#[test]
fn other_kinds_are_granted_apart_and_no_more_than_deployments() {
    for (kind, example) in [("statefulsets", "ledger"), ("daemonsets", "collector")] {
        let expected = json!([
            {"apiGroups": ["apps"], "resources": [kind], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["list", "watch"]},
            {"apiGroups": ["apps"], "resources": [kind], "resourceNames": [example], "verbs": ["patch"]},
        ]);
        assert_eq!(named("Role", &format!("rollguard-{kind}"))["rules"], expected);
    }
}

#[test]
fn the_doctors_role_lists_what_it_warns_of_and_nobody_has_it_unasked() {
    let listing = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["list"]});
    let expected = json!([
        listing("", "resourcequotas"),
        listing("policy", "poddisruptionbudgets"),
        listing("autoscaling", "horizontalpodautoscalers"),
    ]);
    assert_eq!(named("Role", "rollguard-doctor")["rules"], expected);
    let (doctor, usual) = (named("RoleBinding", "rollguard-doctor"), named("RoleBinding", "rollguard"));
    assert_eq!(
        (&doctor["roleRef"]["name"], &doctor["subjects"]),
        (&json!("rollguard-doctor"), &usual["subjects"])
    );
    let shipped = &documents()["kubernetes/watched-namespace/kustomization.yaml"][0]["resources"];
    assert_eq!(*shipped, json!(["role.yaml", "rolebinding.yaml", "events.yaml"]));
}

#[test]
fn each_role_is_bound_to_the_account_that_the_pod_runs_under() {
    let account = only("ServiceAccount");
    for role in of_kind("Role") {
        let name = role["metadata"]["name"].as_str().unwrap();
        let binding = named("RoleBinding", name);
        assert_eq!(binding["roleRef"]["name"], name);
        assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
        assert_eq!(binding["subjects"][0]["name"], account["metadata"]["name"]);
    }
    assert_eq!(
        only("Deployment")["spec"]["template"]["spec"]["serviceAccountName"],
        account["metadata"]["name"]
    );
}

#[test]
fn the_pod_is_confined() {
    let pod = &only("Deployment")["spec"]["template"]["spec"];
    let confined = &pod["securityContext"];
    assert_eq!(confined["runAsNonRoot"], true);
    assert_eq!(confined["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(container["securityContext"], expected);
    let user = confined["runAsUser"].to_string();
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(dockerfile.lines().any(|line| line == format!("USER {user}:{user}")));
}

#[test]
fn there_is_one_writer_and_its_parts_find_each_other() {
    let deployment = only("Deployment");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let template = &deployment["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &only("Service")["spec"]["selector"],
        &only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &only("ServiceMonitor")["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["ports"], json!([{"name": "http", "containerPort": 9095}]));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": "http"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "http"}));
    let mounts: Vec<&Value> =
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| &mount["name"]).collect();
    let volumes: Vec<&Value> =
        template["spec"]["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(mounts, volumes);
    let claim = &template["spec"]["volumes"][2]["persistentVolumeClaim"]["claimName"];
    assert_eq!(*claim, only("PersistentVolumeClaim")["metadata"]["name"]);
}

#[test]
fn kustomizations_name_files_that_exist() {
    let mut named = 0;
    for (name, documents) in documents().iter().filter(|(name, _)| name.ends_with("kustomization.yaml")) {
        let folder = root().join(name).parent().unwrap().to_path_buf();
        for document in documents {
            let generated = document["configMapGenerator"][0]["files"].as_array().into_iter().flatten();
            for file in document["resources"].as_array().unwrap().iter().chain(generated) {
                named += 1;
                assert!(folder.join(file.as_str().unwrap()).exists(), "{name} names {file}");
            }
        }
    }
    assert_eq!(named, 12);
}

#[test]
fn the_example_configuration_fits_the_manifests() {
    let config = &documents()["kubernetes/rollguard.yaml"][0];
    let kubernetes = &config["services"][0]["targets"][0]["kubernetes"];
    let role = named("Role", "rollguard");
    let mut rules = role["rules"].as_array().unwrap().iter();
    let patching = rules.find(|rule| rule["verbs"] == json!(["patch"])).unwrap();
    assert_eq!(patching["resourceNames"], json!([kubernetes["deployment"]]));
    assert_eq!(
        documents()["kubernetes/watched-namespace/kustomization.yaml"][0]["namespace"],
        kubernetes["namespace"]
    );
    let mounts = &only("Deployment")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(mounts[2]["mountPath"], config["state_dir"]);
    assert!(config["listen"].as_str().unwrap().ends_with(":9095"));
}

#[test]
fn alertmanager_never_sends_our_pages_back_to_us() {
    let routes = &documents()["alertmanager.yaml"][0]["route"]["routes"];
    assert_eq!(routes[0]["matchers"], json!([r#"alertname="RollguardPage""#]));
    assert!(routes[0]["continue"].is_null());
    assert_eq!(routes[1]["receiver"], "rollguard");
}

/// Whatever else somebody grants: a version that is deleted is gone for good.
#[test]
fn the_policy_for_frontends_denies_to_delete_a_version_and_grants_no_more_than_is_used() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/aws/frontend.json");
    let policy: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let actions = |effect: &str| -> Vec<&str> {
        let ours = statements.iter().filter(|statement| statement["Effect"] == effect);
        ours.flat_map(|statement| statement["Action"].as_array().unwrap())
            .map(|a| a.as_str().unwrap())
            .collect()
    };
    let (allowed, denied) = (actions("Allow"), actions("Deny"));
    assert!(denied.contains(&"s3:DeleteObjectVersion"), "{denied:?}");
    assert!(allowed.iter().all(|action| !action.contains('*') && !denied.contains(action)), "{allowed:?}");
}
