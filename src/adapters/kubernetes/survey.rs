//! Reads a workload with its history, raw, for drafting a plan from it.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{DynamicObject, Selector};
use serde::Deserialize;
use serde_json::Value;

use super::KubernetesTarget;
use super::pace;
use super::rollout::Standing;
use super::trim::{self, controller};
use super::view::label_apart;
use crate::domain::owner::Origin;
use crate::domain::release::Version;
use crate::domain::survey::{KubernetesSurvey, Revision};
use crate::domain::workload::WorkloadKind;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    paused: bool,
    revision_history_limit: Option<u32>,
}

/// The workload's own selector, `None` if it cannot be understood.
pub(super) fn selector(workload: &DynamicObject) -> Option<String> {
    let selector = LabelSelector::deserialize(workload.data.pointer("/spec/selector")?).ok()?;
    let selector = Selector::try_from(selector).ok()?;
    // An empty selector would select everything.
    (!selector.selects_all()).then(|| selector.to_string())
}

/// `sets` may hold more than the workload's own: only those that it controls count. `None` if its `spec` cannot be read.
pub(super) fn survey(
    target: &KubernetesTarget,
    object: &DynamicObject,
    sets: &[DynamicObject],
) -> Option<KubernetesSurvey> {
    let (meta, workload) = (&object.metadata, &target.workload);
    let spec = Spec::deserialize(object.data.get("spec")?).ok()?;
    let annotations = meta.annotations.clone().unwrap_or_default();
    let uid = meta.uid.clone()?;
    let standing = Standing::of(workload.kind, meta.generation, &object.data);
    let mut history = history(&uid, sets);
    let mut version = trim::version(trim::template(object));
    let eldest_first = history.iter_mut().map(|(created_at, revision)| (*created_at, &mut revision.version));
    label_apart(eldest_first.chain([(Timestamp::MAX, &mut version)]).collect());
    let history: Vec<Revision> = history.into_iter().map(|(_, revision)| revision).collect();
    let version = named_by_history(&history, version);
    Some(KubernetesSurvey {
        target: target.target.clone(),
        kind: workload.kind,
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        uid,
        paused: spec.paused,
        update: standing.progress.update,
        replicas: standing.progress.wanted,
        revision: current_revision(workload.kind, object, &history, &version),
        template: trim::template(object).clone(),
        version,
        origin: Origin::default(),
        annotations,
        history,
        revision_history_limit: spec.revision_history_limit,
        rollout: pace::rollout(workload.kind, object),
    })
}

/// A Deployment has its number written on it. The others have none: the status names the ControllerRevision or, as for a
/// DaemonSet, the template tells. The highest number would be wrong while the controller has not caught up.
fn current_revision(
    kind: WorkloadKind,
    object: &DynamicObject,
    history: &[Revision],
    version: &Version,
) -> u64 {
    if kind.is_deployment() {
        return trim::revision(object).unwrap_or(0);
    }
    let named = object.data.pointer("/status/updateRevision").and_then(Value::as_str);
    let same = || history.iter().rev().filter(|r| r.version.fingerprint == version.fingerprint);
    let told = same().find(|r| named == Some(r.name.as_str()));
    told.or_else(|| same().next()).map_or(0, |r| r.revision)
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
    let template = trim::kept_template(set);
    let revision = Revision {
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        revision: trim::revision(set)?,
        version: trim::version(&template),
        template: without_hash(template),
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
    use super::super::fixtures::{controller_revision, deployment, replica_set, stateful_set, target};
    use super::*;
    use crate::domain::plan::kubernetes::Workload;
    use crate::domain::plan::{Action, Goal, draft};
    use crate::domain::survey::Survey;
    use crate::domain::workload::UpdateStrategy;
    use serde_json::json;

    fn web() -> KubernetesTarget {
        of_kind(WorkloadKind::Deployment)
    }

    fn of_kind(kind: WorkloadKind) -> KubernetesTarget {
        let workload = Workload { kind, namespace: "default".into(), name: "web".into() };
        KubernetesTarget { target: target("backend"), workload }
    }

    /// v1, v2, then v1 again, and a restart of it.
    fn gone_back() -> KubernetesSurvey {
        let kept = |name: &str, image: &str, revision| {
            controller_revision("StatefulSet", "web", name, image, revision, 0)
        };
        let mut other = kept("other-a", "shop:v0", 4);
        other.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
        let sets =
            [kept("web-c", "shop:v1", 4), kept("web-a", "shop:v1", 3), kept("web-b", "shop:v2", 2), other];
        survey(&of_kind(WorkloadKind::StatefulSet), &stateful_set("web", "shop:v1", "web-a"), &sets).unwrap()
    }

    #[test]
    fn a_controller_revision_is_an_entry_of_the_history() {
        let survey = gone_back();
        let history: Vec<_> = survey.history.iter().map(|r| (r.name.as_str(), r.revision)).collect();
        assert_eq!(history, [("web-b", 2), ("web-a", 3), ("web-c", 4)]);
        assert_eq!(survey.revision, 3, "what the status names, not the highest");
        assert_eq!((survey.kind, survey.update), (WorkloadKind::StatefulSet, UpdateStrategy::default()));
        assert_eq!(survey.history[1].version.fingerprint, survey.version.fingerprint);
        assert_eq!(survey.history[0].template.get("$patch"), None);
    }

    #[test]
    fn a_stateful_set_keeps_its_annotations_and_gets_its_template_back() {
        let survey = KubernetesSurvey {
            annotations: [("team".to_string(), "shop".to_string())].into(),
            ..gone_back()
        };
        let good = survey.history[0].version.clone();
        let plan =
            draft(&Survey::Kubernetes(Box::new(survey.clone())), &Goal::Version(good), "r1", 600).unwrap();
        let Action::RestoreTemplate(restore) = &plan.steps[0].action else { panic!("{plan:?}") };
        assert_eq!(restore.workload.argument(), "statefulset/web -n default");
        let operations: Vec<(&str, &str)> = restore
            .patch
            .as_array()
            .unwrap()
            .iter()
            .map(|o| (o["op"].as_str().unwrap(), o["path"].as_str().unwrap()))
            .collect();
        assert_eq!(
            operations,
            [
                ("test", "/metadata/uid"),
                ("test", "/spec/template"),
                ("replace", "/spec/template"),
                ("add", "/metadata/annotations/kubernetes.io~1change-cause"),
            ]
        );
        assert_eq!(restore.patch[1]["value"], survey.template);
        assert_eq!(restore.patch[2]["value"], survey.history[0].template);
    }

    #[test]
    fn pods_that_change_only_when_deleted_are_left_to_a_person() {
        let survey = KubernetesSurvey { update: UpdateStrategy::OnDelete, ..gone_back() };
        let good = survey.history[0].version.clone();
        let refusal =
            draft(&Survey::Kubernetes(Box::new(survey)), &Goal::Version(good), "r1", 600).unwrap_err();
        assert!(refusal.to_string().contains("OnDelete"), "{refusal}");
        assert!(
            refusal.advice().contains("kubectl rollout undo statefulset/web -n default"),
            "{}",
            refusal.advice()
        );
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
        let plan = draft(&Survey::Kubernetes(Box::new(survey)), &Goal::Version(good), "r1", 600).unwrap();
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
