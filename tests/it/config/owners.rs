//! What the configuration says about GitOps owners.
use rollguard::config::GitOpsPolicy;

use super::{minimal, problems, read};

fn policies(service: &str, top: &str) -> (String, Vec<GitOpsPolicy>) {
    let config = read(&minimal(service, top)).unwrap().config;
    (config.argocd_namespace, config.services.iter().map(|service| service.gitops).collect())
}

#[test]
fn an_owner_is_suspended_only_where_that_is_written() {
    assert_eq!(policies("", ""), ("argocd".into(), vec![GitOpsPolicy::Refuse]));
    assert_eq!(policies("    gitops: suspend\n", "").1, [GitOpsPolicy::Suspend]);
    let defaults = "defaults: {gitops: suspend}\nkubernetes: {argocd_namespace: openshift-gitops}\n";
    assert_eq!(policies("", defaults), ("openshift-gitops".into(), vec![GitOpsPolicy::Suspend]));
    assert_eq!(policies("    gitops: refuse\n", defaults).1, [GitOpsPolicy::Refuse]);
}

#[test]
fn mistakes_about_owners_are_told_once_and_with_their_place() {
    let told = problems(&minimal("    gitops: revert\n", "kubernetes: {argocd_namespace: Argo_CD}\n"));
    assert!(told.contains("config.yaml:5:13: error: gitops: "), "{told}");
    assert!(told.contains("refuse, suspend"), "{told}");
    assert_eq!(told.matches("argocd_namespace: ").count(), 1, "{told}");
}
