//! `rollguard doctor` on a real control plane: each thing that would keep a rollback from working, seen before it is needed.

use rollguard::adapters::kubernetes::{Extras, Kubernetes};
use rollguard::client::dto::DoctorAnswer;
use rollguard::domain::readiness::{Code, Readiness};
use rollguard::domain::surroundings::{Rollout, Surroundings};
use rollguard::ports::Target;
use serde_json::{Value, json};

use super::rights::{cluster_as, target};
use super::world::{Place, SOON, World};
use crate::support::until;

const DOCTORS_ROLE: &str = include_str!("../../../deploy/kubernetes/watched-namespace/doctor.yaml");

const FAILED_PROBES: &str =
    include_str!("../../../deploy/kubernetes/watched-namespace/optional/failed-probes.yaml");
const ENDPOINTS: &str = include_str!("../../../deploy/kubernetes/watched-namespace/optional/endpoints.yaml");
const LOGS: &str = include_str!("../../../deploy/kubernetes/watched-namespace/optional/logs.yaml");

/// What the command line says, and with which exit code.
async fn doctor(world: &World) -> (Option<i32>, DoctorAnswer) {
    let output = world.daemon.cli("doctor shop/backend -o json").await;
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Waits until the obstacles and warnings of `shop/backend` are these.
async fn found(world: &World, obstacles: &[Code], warnings: &[Code]) -> Readiness {
    until(&format!("{obstacles:?} and {warnings:?} are found"), SOON, async || {
        let (code, answer) = doctor(world).await;
        let found = answer.targets.into_iter().next()?.readiness?;
        let codes =
            |of: &[rollguard::domain::readiness::Obstacle]| of.iter().map(|o| o.code).collect::<Vec<_>>();
        let as_wanted = codes(&found.obstacles) == obstacles && codes(&found.warnings) == warnings;
        let well = answer.daemon.iter().all(|check| check.ok);
        as_wanted.then(|| {
            assert_eq!(code, Some(i32::from(!obstacles.is_empty() || !well)), "{found:?}");
            found
        })
    })
    .await
}

async fn metric(world: &World, line: &str) -> Option<String> {
    let page = reqwest::get(format!("{}/metrics", world.daemon.url())).await.unwrap().text().await.unwrap();
    let value = page.lines().find_map(|found| found.strip_prefix(line));
    value.map(|value| value.trim().to_owned())
}

const READY: &str = "rollguard_rollback_ready{service=\"shop\",target=\"backend\"}";

const NO_REGISTRY: &str = "images: no registry is asked (registries.ecr asks ECR)";

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_stands_in_the_way_is_said_before_it_matters_and_when_it_is_over() {
    let world = Place::new("doctor").await.guarded().await;
    let alone = found(&world, &[Code::NoEarlierRevision], &[]).await;
    assert_eq!((alone.from.as_deref(), alone.to), (Some("v1"), None));
    assert_eq!(metric(&world, READY).await.as_deref(), Some("0"));
    let status = world.daemon.cli_ok("status").await;
    assert!(status.contains("could not be rolled back now: rollguard doctor shop/backend"), "{status}");

    world.deploy("v2").await;
    world.rolled_out().await;
    let ready = found(&world, &[], &[]).await;
    let to = ready.to.unwrap();
    assert_eq!((ready.from.as_deref(), to.label.as_str(), to.revision), (Some("v2"), "v1", Some(1)));
    assert!(ready.known_good.unwrap().since.is_some());
    assert_eq!(metric(&world, READY).await.as_deref(), Some("1"));
    let code =
        "rollguard_rollback_obstacle{service=\"shop\",target=\"backend\",code=\"no_earlier_revision\"}";
    assert_eq!(metric(&world, code).await.as_deref(), Some("0"), "it is over");
    let text = world.daemon.cli_ok("doctor").await;
    assert!(text.starts_with("shop/backend   ready       v2 → v1 (revision 1), known good since "), "{text}");
    assert!(text.contains("images: no registry is asked"), "{text}");
    assert!(
        text.contains("rollguard itself is well: configuration, journal, feed of releases, clock"),
        "{text}"
    );

    world.kubectl("rollout pause deployment/web").await;
    let paused = found(&world, &[Code::Paused], &[]).await;
    assert!(paused.obstacles[0].advice.contains("kubectl rollout resume deployment/web"), "{paused:?}");
    world.kubectl("rollout resume deployment/web").await;
    found(&world, &[], &[]).await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_deployment_that_keeps_no_history_is_not_ready() {
    let without_history = |object: &mut Value| object["spec"]["revisionHistoryLimit"] = json!(0);
    let world = Place::with("doctor-history", without_history).await.guarded().await;
    let found = found(&world, &[Code::NoHistory], &[]).await;
    // The advice works.
    let line = found.obstacles[0].advice.split('`').nth(1).unwrap().replace('\'', "");
    world.kubectl(line.trim_start_matches("kubectl ")).await;
    self::found(&world, &[Code::NoEarlierRevision], &[]).await;
}

/// v2 of a place after v1, and who looks at it.
async fn released(place: &Place) {
    place.deploy("v2").await;
    place.rolled_out().await;
}

/// A look at the way back to v1.
async fn look(cluster: &Kubernetes) -> Surroundings {
    let targets = cluster.targets();
    let survey = targets.survey(&target()).await.unwrap();
    let found = survey.workload().unwrap();
    let to = found.history[0].version.clone();
    targets.surroundings(&target(), Some(&survey), &[to]).await
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn quotas_budgets_and_autoscalers_in_the_way_are_found() {
    let place = Place::new("doctor-around").await;
    released(&place).await;
    let cluster = cluster_as(&place, place.cluster.kubeconfig()).await;
    let around = look(&cluster).await;
    assert_eq!(around.rollout, Some(Rollout { gives_up: true, surge: 1, unavailable: 0 }));
    assert!(around.denied.is_empty() && around.unchecked == [NO_REGISTRY], "{around:?}");
    assert!(around.clock_ahead.is_some_and(|ahead| ahead.abs().as_secs() <= 5), "{around:?}");
    assert!(around.full_quotas.is_empty() && around.spent_budgets.is_empty());

    place.kubectl("create quota full --hard=pods=3").await;
    place.kubectl("create quota roomy --hard=pods=30").await;
    place.kubectl("create poddisruptionbudget web --selector=app=web --min-available=3").await;
    place.kubectl("create poddisruptionbudget other --selector=app=other --min-available=3").await;
    let status = json!({"currentReplicas": 3, "desiredReplicas": 3});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"minReplicas": 1, "maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    place.cluster.apply(&place.namespace, &autoscaler).await;
    let patch = json!({ "status": status }).to_string();
    place.kubectl(&format!("patch hpa web --subresource=status --type=merge -p {patch}")).await;
    until("the controllers have counted", SOON, async || {
        let around = look(&cluster).await;
        let quotas = around.full_quotas == ["quota full: pods 3 of 3 used"];
        let others = around.spent_budgets == ["web"] && around.autoscalers_at_max == ["web (3 of 3)"];
        (quotas && others).then_some(())
    })
    .await;
    // The quota does what was said of it.
    place.kubectl("rollout undo deployment/web").await;
    let stuck =
        place.cluster.try_kubectl(&place.namespace, "rollout status deployment/web --timeout=20s").await;
    assert!(!stuck.status.success(), "{stuck:?}");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_may_not_be_read_is_said_and_the_doctors_role_grants_it() {
    let place = Place::new("doctor-role").await;
    released(&place).await;
    let token = place.shipped_role().await;
    let cluster = cluster_as(&place, place.cluster.kubeconfig_as(&token)).await;
    let shipped = until("the role counts", SOON, async || {
        let around = look(&cluster).await;
        around.denied.is_empty().then_some(around)
    })
    .await;
    let said = ["resourcequotas", "poddisruptionbudgets", "horizontalpodautoscalers"]
        .map(|what| format!("{what} in {}: reading them is not granted", place.namespace));
    assert_eq!(shipped.unchecked, [&said[..], &[NO_REGISTRY.to_string()]].concat());

    let documents: Vec<Value> = serde_saphyr::from_multiple(DOCTORS_ROLE).unwrap();
    place.cluster.apply(&place.namespace, &documents[0]).await;
    let account = format!("--serviceaccount={}:guard", place.namespace);
    place.kubectl(&format!("create rolebinding doctor --role=rollguard-doctor {account}")).await;
    until("it is granted", SOON, async || (look(&cluster).await.unchecked == [NO_REGISTRY]).then_some(()))
        .await;
    place.kubectl("create quota full --hard=pods=3").await;
    until("the quota is read", SOON, async || (!look(&cluster).await.full_quotas.is_empty()).then_some(()))
        .await;
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn what_is_configured_and_may_not_be_seen_is_said_until_its_role_is_there() {
    let place = Place::new("doctor-unseen").await;
    released(&place).await;
    let token = place.shipped_role().await;
    let extras = Extras {
        failed_probes: true,
        services: [(target(), "web".to_string())].into(),
        logs: [target()].into(),
    };
    let cluster = cluster_as(&place, place.cluster.kubeconfig_as(&token)).await.with(extras);
    let unseen = async || look(&cluster).await.unseen;
    let steps: [(&str, &[&str]); 3] = [
        (
            FAILED_PROBES,
            &[
                "list endpointslices.discovery.k8s.io",
                "watch endpointslices.discovery.k8s.io",
                "get pods/log",
            ],
        ),
        (ENDPOINTS, &["get pods/log"]),
        (LOGS, &[]),
    ];
    until("all five rights are missed", SOON, async || (unseen().await.len() == 5).then_some(())).await;
    for (role, left) in steps {
        place.optional_role(role).await;
        until(&format!("only {left:?} are missed"), SOON, async || (unseen().await == left).then_some(()))
            .await;
    }
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn a_daemon_that_may_not_patch_says_so() {
    let place = Place::new("doctor-rights").await;
    let token = place.shipped_role().await;
    let role = place.kubectl("get role rollguard -o json").await;
    let mut role: Value = serde_json::from_str(&role).unwrap();
    role["rules"].as_array_mut().unwrap().retain(|rule| rule["verbs"] != json!(["patch"]));
    place.cluster.apply(&place.namespace, &role).await;
    let kubeconfig = place.cluster.kubeconfig_as(&token);
    let world = place.guarded_through(kubeconfig, |_| {}).await;
    world.deploy("v2").await;
    let found = found(&world, &[Code::MissingPermission], &[]).await;
    assert_eq!(found.obstacles[0].what, "rollguard may not patch deployments.apps/web");
}
