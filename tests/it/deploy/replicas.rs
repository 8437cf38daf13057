//! The manifests for two replicas: the Lease's rights and no more, and parts that find those of the single one.
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::{Value, json};

use super::{documents, only, understood};

fn document(file: &str) -> Vec<Value> {
    documents().remove(&format!("replicas/{file}.yaml")).unwrap()
}

#[test]
fn the_lease_is_the_only_right_and_only_its_creation_is_not_limited_to_its_name() {
    let [role, binding] = document("lease").try_into().unwrap();
    understood::<Role>(&role);
    understood::<RoleBinding>(&binding);
    let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]});
    let (mut create, mut hold) = (leases.clone(), leases);
    create["verbs"] = json!(["create"]);
    (hold["resourceNames"], hold["verbs"]) = (json!(["rollguard"]), json!(["get", "update"]));
    assert_eq!(role["rules"], json!([create, hold]));
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = json!([{"kind": "ServiceAccount", "name": "rollguard", "namespace": "rollguard"}]);
    assert_eq!(binding["subjects"], account);
}

#[test]
fn they_are_about_the_pods_of_the_deployment() {
    let labels = only("Deployment")["spec"]["template"]["metadata"]["labels"].clone();
    let budget = document("poddisruptionbudget").remove(0);
    understood::<PodDisruptionBudget>(&budget);
    assert_eq!(budget["spec"]["selector"]["matchLabels"], labels);
    let patch = document("deployment").remove(0);
    assert_eq!(patch["metadata"]["name"], only("Deployment")["metadata"]["name"]);
    assert!(patch["spec"]["replicas"].as_u64() > budget["spec"]["minAvailable"].as_u64());
    let apart = &patch["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
    let required = &apart["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(required["labelSelector"]["matchLabels"], labels);
}
