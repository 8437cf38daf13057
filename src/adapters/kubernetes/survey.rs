//! Reads a Deployment with its history, raw, for drafting a plan from it.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{DynamicObject, Selector};
use serde::Deserialize;
use serde_json::Value;

use super::KubernetesTarget;
use super::trim::{self, controller};
use super::view::label_apart;
use crate::domain::release::Version;
use crate::domain::survey::{KubernetesSurvey, Owner, Revision};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    paused: bool,
    replicas: Option<u32>,
    revision_history_limit: Option<u32>,
}

/// The Deployment's own selector, `None` if it cannot be understood.
pub(super) fn selector(deployment: &DynamicObject) -> Option<String> {
    let selector = LabelSelector::deserialize(deployment.data.pointer("/spec/selector")?).ok()?;
    let selector = Selector::try_from(selector).ok()?;
    // An empty selector would select everything.
    (!selector.selects_all()).then(|| selector.to_string())
}

/// `sets` may hold more than the Deployment's own: only those that it controls count. `None` if the Deployment's `spec`
/// cannot be read.
pub(super) fn survey(
    target: &KubernetesTarget,
    deployment: &DynamicObject,
    sets: &[DynamicObject],
) -> Option<KubernetesSurvey> {
    let meta = &deployment.metadata;
    let spec = Spec::deserialize(deployment.data.get("spec")?).ok()?;
    let (labels, annotations) =
        (meta.labels.clone().unwrap_or_default(), meta.annotations.clone().unwrap_or_default());
    let uid = meta.uid.clone()?;
    let mut history = history(&uid, sets);
    let mut version = trim::version(deployment);
    let eldest_first = history.iter_mut().map(|(created_at, revision)| (*created_at, &mut revision.version));
    label_apart(eldest_first.chain([(Timestamp::MAX, &mut version)]).collect());
    let history: Vec<Revision> = history.into_iter().map(|(_, revision)| revision).collect();
    let version = named_by_history(&history, version);
    Some(KubernetesSurvey {
        target: target.target.clone(),
        namespace: target.namespace.clone(),
        name: target.deployment.clone(),
        uid,
        paused: spec.paused,
        replicas: spec.replicas.unwrap_or(1),
        revision: trim::revision(meta).unwrap_or(0),
        template: trim::template(deployment).clone(),
        version,
        owner: Owner::of(&labels, &annotations),
        annotations,
        history,
        revision_history_limit: spec.revision_history_limit,
    })
}

fn history(uid: &str, sets: &[DynamicObject]) -> Vec<(Timestamp, Revision)> {
    let mut history: Vec<_> = sets.iter().filter_map(|set| revision(uid, set)).collect();
    history.sort_by(|(created_a, a), (created_b, b)| {
        (a.revision, created_a, &a.name).cmp(&(b.revision, created_b, &b.name))
    });
    history
}

fn revision(owner: &str, set: &DynamicObject) -> Option<(Timestamp, Revision)> {
    let meta = &set.metadata;
    controller(meta).filter(|o| o.uid == owner)?;
    let revision = Revision {
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        revision: trim::revision(meta)?,
        version: trim::version(set),
        template: without_hash(trim::template(set).clone()),
        annotations: meta.annotations.clone().unwrap_or_default(),
        created_at: trim::created_at(meta),
    };
    Some((trim::created_at(meta)?, revision))
}

fn without_hash(mut template: Value) -> Value {
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.remove("pod-template-hash");
    }
    template
}

/// The label that the version has in the history, if it is there.
fn named_by_history(history: &[Revision], version: Version) -> Version {
    let same = history.iter().rev().find(|r| r.version.fingerprint == version.fingerprint);
    same.map_or(version, |r| r.version.clone())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{deployment, replica_set, target};
    use super::*;
    use crate::domain::plan::{Action, Goal, draft};
    use crate::domain::survey::Survey;
    use serde_json::json;

    fn web() -> KubernetesTarget {
        KubernetesTarget { target: target("backend"), namespace: "default".into(), deployment: "web".into() }
    }

    #[test]
    fn the_history_is_what_the_deployment_controls() {
        let deployment = deployment("web", "shop:v2");
        let mut odd = replica_set("web", "web-x", "shop:v0", "many", 0);
        odd.metadata.labels = None;
        let sets = [
            replica_set("web", "web-b", "shop:v2", "10", 100),
            replica_set("other", "other-a", "shop:v1", "3", 0),
            replica_set("web", "web-a", "shop:v1", "9", 0),
            odd,
        ];
        let survey = survey(&web(), &deployment, &sets).unwrap();
        let history: Vec<_> = survey.history.iter().map(|r| (r.name.as_str(), r.revision)).collect();
        assert_eq!(history, [("web-a", 9), ("web-b", 10)]);
        assert_eq!(survey.version, survey.history[1].version);
        assert_eq!(survey.history[0].template.pointer("/metadata/labels"), Some(&json!({"app": "web"})));
        assert_eq!((survey.revision, survey.revision_history_limit), (2, Some(10)));
        assert_eq!(survey.template, deployment.data["spec"]["template"]);
    }

    #[test]
    fn a_plan_drafted_from_it_puts_the_template_back() {
        let sets = [
            replica_set("web", "web-a", "shop:v1", "1", 0),
            replica_set("web", "web-b", "shop:v2", "2", 100),
        ];
        let survey = survey(&web(), &deployment("web", "shop:v2"), &sets).unwrap();
        let good = survey.history[0].version.clone();
        let plan = draft(&Survey::Kubernetes(survey), &Goal::Version(good), "r1", 600).unwrap();
        let Action::RestoreTemplate(restore) = &plan.steps[0].action else { panic!("{plan:?}") };
        let replaced = restore.patch.as_array().unwrap().iter().find(|o| o["op"] == "replace").unwrap();
        assert_eq!(replaced["value"]["spec"]["containers"][0]["image"], "shop:v1");
    }

    #[test]
    fn selectors_have_labels_and_expressions() {
        let mut deployment = deployment("web", "shop:v1");
        assert_eq!(selector(&deployment).as_deref(), Some("app=web"));
        deployment.data["spec"]["selector"] = json!({"matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"}]});
        assert_eq!(selector(&deployment).as_deref(), Some("app=web,tier in (a,b),x"));
        deployment.data["spec"]["selector"] = json!({});
        assert_eq!(selector(&deployment), None);
    }
}
