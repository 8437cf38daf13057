//! What is drafted for a workload, and what is made of what it looks like afterwards.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::domain::names::{ServiceName, TargetId, TargetName};
use crate::domain::owner::Origin;
use crate::domain::plan::draft;
use crate::domain::survey::Survey;

fn template(image: &str) -> Value {
    json!({"spec": {"initContainers": [{"name": "app", "image": image}, {"name": "wait", "image": "busybox"}],
                    "containers": [{"name": "app", "image": image}]}})
}

fn survey(target: &str, kind: WorkloadKind) -> KubernetesSurvey {
    let revision = |number: u64, image: &str| Revision {
        name: format!("{target}-{number}"),
        uid: format!("uid-{number}"),
        revision: number,
        version: image::version(&template(image)),
        template: template(image),
        annotations: BTreeMap::from([("team".to_string(), format!("as of {number}"))]),
        created_at: None,
    };
    let service = ServiceName::parse("shop").unwrap();
    KubernetesSurvey {
        target: TargetId { service, target: TargetName::parse(target).unwrap() },
        kind,
        namespace: "default".into(),
        name: target.into(),
        uid: "uid".into(),
        paused: false,
        update: UpdateStrategy::default(),
        replicas: 3,
        revision: 2,
        template: template("shop:v2"),
        version: image::version(&template("shop:v2")),
        annotations: BTreeMap::from([("team".to_string(), "now".to_string())]),
        origin: Origin::default(),
        history: vec![revision(1, "shop:v1"), revision(2, "shop:v2")],
        revision_history_limit: Some(10),
        rollout: None,
    }
}

fn drafted(survey: KubernetesSurvey, goal: &Goal) -> Result<Plan, Refusal> {
    draft(&Survey::Kubernetes(Box::new(survey)), goal, "r1", 600)
}

fn back(target: &str) -> Plan {
    let survey = survey(target, WorkloadKind::Deployment);
    drafted(survey, &Goal::Revision(1)).unwrap()
}

fn patched(plan: &Plan) -> Vec<(String, String)> {
    let Action::RestoreTemplate(restore) = &plan.steps[0].action else { panic!("{plan:?}") };
    let operations = restore.patch.as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    operations.map(|o| (text(&o["op"]), text(&o["path"]))).collect()
}

#[test]
fn only_a_deployments_annotations_come_back() {
    let paths = |kind, goal: &Goal| -> Vec<String> {
        let plan = drafted(survey("backend", kind), goal).unwrap();
        patched(&plan).into_iter().filter(|(op, _)| op == "add").map(|(_, path)| path).collect()
    };
    let cause = "/metadata/annotations/kubernetes.io~1change-cause";
    let all = [cause, "/metadata/annotations/team"];
    assert_eq!(paths(WorkloadKind::Deployment, &Goal::Revision(1)), all);
    assert_eq!(paths(WorkloadKind::DaemonSet, &Goal::Revision(1)), [cause]);
    let image = Goal::Image(ImageChange::parse("shop:v9").unwrap());
    assert_eq!(paths(WorkloadKind::Deployment, &image), [cause]);
}

#[test]
fn an_image_is_set_in_all_containers_of_the_name() {
    let goal = |text: &str| Goal::Image(ImageChange::parse(text).unwrap());
    let of = |text: &str| drafted(survey("backend", WorkloadKind::StatefulSet), &goal(text));
    let plan = of("shop@sha256:0123456789abcdef").unwrap();
    let Action::RestoreTemplate(restore) = &plan.steps[0].action else { panic!("{plan:?}") };
    let images: Vec<&Value> = ["/spec/initContainers/0", "/spec/initContainers/1", "/spec/containers/0"]
        .iter()
        .map(|at| &restore.patch[2]["value"].pointer(at).unwrap()["image"])
        .collect();
    assert_eq!(images, ["shop@sha256:0123456789abcdef", "busybox", "shop@sha256:0123456789abcdef"]);
    assert_eq!(plan.changes[0].to.label, "0123456789ab");
    assert_eq!(restore.to, plan.changes[0].to.fingerprint);
    let wait = of("wait=busybox:1").unwrap();
    assert_eq!(wait.changes[0].to.images, ["shop:v2"]);
    assert_ne!(
        wait.changes[0].to.label, "v2",
        "the same image in the first container is another version still"
    );
    let unknown = of("proxy=envoy:1").unwrap_err();
    assert_eq!(unknown.to_string(), "statefulset/backend -n default has no container named proxy");
    assert_eq!(unknown.advice(), "name one of them as CONTAINER=IMAGE: app, wait");
    assert!(matches!(of("app=shop:v2"), Err(Refusal::AlreadyThere { .. })));
}

#[test]
fn where_there_are_several_containers_one_must_be_named() {
    let mut two = survey("backend", WorkloadKind::Deployment);
    two.template["spec"]["containers"] =
        json!([{"name": "app", "image": "a"}, {"name": "proxy", "image": "p"}]);
    let unnamed = drafted(two, &Goal::Image(ImageChange::parse("shop:v9").unwrap())).unwrap_err();
    assert_eq!(unnamed.to_string(), "deployment/backend -n default has several containers");
    assert!(unnamed.advice().contains("proxy"), "{}", unnamed.advice());
}

#[test]
fn several_plans_are_one_that_changes_everything_before_it_waits() {
    let alone = Plan::joined(vec![back("backend")]).unwrap();
    assert_eq!(alone, back("backend"));
    let both = Plan::joined(vec![back("worker"), back("backend")]).unwrap();
    let titles: Vec<&str> = both.steps.iter().map(|step| step.title.as_str()).collect();
    let expected = [
        "worker: restore the pod template of worker-1 (v1)",
        "backend: restore the pod template of backend-1 (v1)",
        "worker: await the rollout of v1",
        "backend: await the rollout of v1",
    ];
    assert_eq!(titles, expected);
    assert_eq!(both.summary(), "worker v2 → v1, backend v2 → v1");
    assert_eq!(Plan::joined(vec![]), None);
}

fn facts(image: &str, available: u32) -> WorkloadFacts {
    let version = image::version(&template(image));
    WorkloadFacts {
        uid: "uid".into(),
        fingerprint: version.fingerprint,
        label: version.label,
        paused: false,
        progress: Progress {
            kind: WorkloadKind::StatefulSet,
            update: UpdateStrategy::default(),
            generation: 2,
            observed_generation: 2,
            wanted: 3,
            total: 3,
            updated: 3,
            available,
            gave_up: false,
        },
        restarted_at: None,
        waiting: vec![],
        blocked: None,
    }
}

#[test]
fn a_pod_that_blocks_is_told_with_the_command() {
    let workload = Workload::of(&survey("ledger", WorkloadKind::StatefulSet));
    let wait = AwaitRollout { workload, version: facts("shop:v1", 3).fingerprint };
    let found = |for_good| {
        let pod = BlockingPod { name: "ledger-2".into(), reason: "CrashLoopBackOff".into(), for_good };
        assess_rollout(&wait, Some(&WorkloadFacts { blocked: Some(pod), ..facts("shop:v1", 2) }))
    };
    let command = "consider `kubectl delete pod ledger-2 -n default`";
    assert!(matches!(found(true), Finding::Conflict { why } if why.contains(command)));
    assert!(matches!(found(false), Finding::NotYet { detail, .. } if detail.contains(command)));
    assert!(matches!(assess_rollout(&wait, Some(&facts("shop:v1", 3))), Finding::Satisfied { .. }));
}

#[test]
fn a_restart_is_done_when_the_template_bears_its_time() {
    let survey = survey("backend", WorkloadKind::Deployment);
    let now = "2026-11-22T10:00:00.7Z".parse().unwrap();
    let steps = restart(&survey, now, 600).unwrap();
    let Action::Restart(step) = &steps[0].action else { panic!("{steps:?}") };
    assert_eq!(step.stamp(), "2026-11-22T10:00:00Z");
    let found = |at: Option<&str>, paused| {
        let restarted_at = at.map(str::to_string);
        assess_restart(step, Some(&WorkloadFacts { restarted_at, paused, ..facts("shop:v2", 3) }))
    };
    assert!(matches!(found(None, false), Finding::NotYet { .. }));
    assert!(matches!(found(Some("2026-11-22T11:00:00+01:00"), true), Finding::Satisfied { .. }));
    assert!(matches!(found(Some("2026-11-22T10:00:01Z"), false), Finding::NotYet { .. }), "another's");
    assert!(matches!(found(None, true), Finding::Conflict { .. }));
    assert!(matches!(assess_restart(step, None), Finding::Conflict { .. }));
    let on_delete = KubernetesSurvey { update: UpdateStrategy::OnDelete, ..survey };
    assert!(matches!(restart(&on_delete, now, 600), Err(Refusal::OnDelete { .. })));
}
