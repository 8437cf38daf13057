//! The rights on GitOps owners: each in a manifest of its own, for those who want it, and no more than its feature needs.
use serde_json::{Value, json};

use super::documents;

/// The one rule-set that a file grants to our account.
fn granted(file: &str) -> Value {
    let documents = documents().remove(&format!("kubernetes/owners/{file}.yaml")).unwrap();
    let [role, binding] = documents.try_into().unwrap();
    assert_eq!((&role["kind"], &binding["kind"]), (&json!("Role"), &json!("RoleBinding")));
    assert_eq!(role["metadata"], binding["metadata"]);
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = json!([{"kind": "ServiceAccount", "name": "rollguard", "namespace": "rollguard"}]);
    assert_eq!(binding["subjects"], account);
    role["rules"].clone()
}

#[test]
fn each_feature_grants_one_verb() {
    let argo = json!({"apiGroups": ["argoproj.io"], "resources": ["applications"]});
    let kustomizations =
        json!({"apiGroups": ["kustomize.toolkit.fluxcd.io"], "resources": ["kustomizations"]});
    let releases = json!({"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases"]});
    let rollouts = json!({"apiGroups": ["argoproj.io"], "resources": ["rollouts"]});
    let with = |rule: &Value, verb: &str, name: Option<&str>| {
        let mut rule = rule.clone();
        rule["verbs"] = json!([verb]);
        if let Some(name) = name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    assert_eq!(granted("read-argocd"), json!([with(&argo, "get", None)]));
    assert_eq!(granted("suspend-argocd"), json!([with(&argo, "patch", Some("shop"))]));
    let reading = json!([with(&kustomizations, "get", None), with(&releases, "get", None)]);
    assert_eq!(granted("read-flux"), reading);
    let suspending =
        json!([with(&kustomizations, "patch", Some("apps")), with(&releases, "patch", Some("shop"))]);
    assert_eq!(granted("suspend-flux"), suspending);
    assert_eq!(granted("read-rollouts"), json!([with(&rollouts, "list", None)]));
    let opt_in = documents().into_keys().filter(|name| name.starts_with("kubernetes/owners/")).count();
    assert_eq!(opt_in, 5);
}
