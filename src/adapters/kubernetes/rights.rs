//! Asks the API server what we may do, for exactly the verbs that are used, without trying any of them.
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::index::Kind;
use crate::domain::plan::kubernetes::Workload;

/// One verb on one kind of object, or on one object of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Right<'a> {
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: Option<&'a str>,
}

impl Right<'_> {
    /// `patch deployments.apps/web`.
    pub(super) fn title(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.map(|name| format!("/{name}")).unwrap_or_default();
        format!("{} {}{group}{name}", self.verb, self.resource)
    }

    fn granted_by(&self, rule: &ResourceRule) -> bool {
        let has = |list: &Option<Vec<String>>, wanted: &str| {
            list.iter().flatten().any(|entry| entry == "*" || entry == wanted)
        };
        let names = rule.resource_names.as_deref().unwrap_or_default();
        let named = names.is_empty() || self.name.is_some_and(|name| names.iter().any(|n| n == name));
        let verb = rule.verbs.iter().any(|verb| verb == "*" || verb == self.verb);
        verb && has(&rule.api_groups, self.group) && has(&rule.resources, self.resource) && named
    }
}

/// What watching a workload and putting it back takes: the Roles in deploy/kubernetes/watched-namespace.
pub(super) fn needed(workload: &Workload) -> Vec<Right<'_>> {
    let (resource, name) = (Kind::Workload(workload.kind).plural(), Some(workload.name.as_str()));
    let on_it = |verb| Right { verb, group: "apps", resource, name };
    let watched = Kind::needed(workload.kind).into_iter().flat_map(|kind| {
        let group = match kind {
            Kind::Workload(_) | Kind::ReplicaSet | Kind::ControllerRevision => "apps",
            Kind::Pod => "",
        };
        ["list", "watch"].map(|verb| Right { verb, group, resource: kind.plural(), name: None })
    });
    watched.chain([on_it("get"), on_it("patch")]).collect()
}

/// What we may do in this namespace, as the API server lists it.
///
/// # Errors
/// When the API server does not say.
pub(super) async fn rules(client: &Client, namespace: &str) -> kube::Result<SubjectRulesReviewStatus> {
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_string()) };
    let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.unwrap_or_default())
}

/// Those of `rights` that we do not have in this namespace by these `rules`.
///
/// # Errors
/// When the rules are incomplete and the API server does not say.
pub(super) async fn lacking<'a>(
    client: &Client,
    namespace: &str,
    rules: &SubjectRulesReviewStatus,
    rights: &[Right<'a>],
) -> kube::Result<Vec<Right<'a>>> {
    let granted = |right: &Right<'_>| rules.resource_rules.iter().any(|rule| right.granted_by(rule));
    let mut lacking: Vec<Right<'a>> = rights.iter().filter(|right| !granted(right)).copied().collect();
    if rules.incomplete {
        // Some authorizers cannot list what they allow (a webhook, as on EKS), but all answer about one thing.
        let mut denied = Vec::new();
        for right in lacking {
            if !allowed(client, namespace, &right).await? {
                denied.push(right);
            }
        }
        lacking = denied;
    }
    Ok(lacking)
}

async fn allowed(client: &Client, namespace: &str, right: &Right<'_>) -> kube::Result<bool> {
    // A rule names `pods/log` in one, a question apart.
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_string()),
        verb: Some(right.verb.to_string()),
        group: Some(right.group.to_string()),
        resource: Some(resource.to_string()),
        subresource: (!subresource.is_empty()).then(|| subresource.to_string()),
        name: right.name.map(str::to_string),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]) -> ResourceRule {
        let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        ResourceRule {
            api_groups: Some(list(groups)),
            resources: Some(list(resources)),
            resource_names: (!names.is_empty()).then(|| list(names)),
            verbs: list(verbs),
        }
    }

    #[test]
    fn a_rule_grants_what_it_names_and_a_star_grants_all() {
        let patch = Right { verb: "patch", group: "apps", resource: "deployments", name: Some("web") };
        let list = Right { verb: "list", group: "apps", resource: "deployments", name: None };
        for (rule, patches, lists) in [
            (rule(&["apps"], &["deployments"], &["patch"], &["web"]), true, false),
            (rule(&["apps"], &["deployments"], &["patch", "list"], &["other"]), false, false),
            (rule(&["apps"], &["deployments"], &["list"], &[]), false, true),
            (rule(&[""], &["deployments"], &["*"], &[]), false, false),
            (rule(&["apps"], &["deployments/scale"], &["*"], &[]), false, false),
            (rule(&["*"], &["*"], &["*"], &[]), true, true),
        ] {
            assert_eq!((patch.granted_by(&rule), list.granted_by(&rule)), (patches, lists), "{rule:?}");
        }
        assert_eq!(patch.title(), "patch deployments.apps/web");
        assert_eq!(Right { group: "", resource: "pods", ..list }.title(), "list pods");
    }
}
