//! The built binary under SIGKILL at random moments, through whole rollbacks on the real control plane; and its audit.
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollguard::client::dto::RunStatus;
use serde_json::{Value, json};

use super::world::{Place, SOON, World, slowly};
use crate::support::until;

const ROLLBACKS: usize = 5;
const KILLS_EACH: usize = 11;
const WATCH_SECS: i64 = 12;

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn killed_at_random_moments_each_rollback_happens_once() {
    let seed = std::env::var("ROLLGUARD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Timestamp::now().as_nanosecond() as u64);
    println!("ROLLGUARD_SEED={seed} chooses the same moments");
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::with("killed-at-random", slowly).await;
    let mut world = place
        .guarded_with(|config| {
            let service = &mut config["services"][0];
            service["watch"] = json!(format!("{WATCH_SECS}s"));
            (service["rollout_deadline"], service["verify"]["deadline"]) = (json!("2m"), json!("2m"));
        })
        .await;
    let mut kills = 0;
    for round in 1..=ROLLBACKS {
        let tag = format!("v{}", round + 1);
        world.deploy_quickly(&tag).await;
        world.daemon.await_watch(&tag).await;
        world.daemon.cli_ok("rollback shop/backend --yes --reason drill").await;
        for _ in 0..KILLS_EACH {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
            world.daemon.kill();
            world.daemon.launch();
            kills += 1;
        }
        world.daemon.ready().await;
        let known: Vec<RunStatus> = closed(&world, round).await;
        assert!(known.iter().all(|run| run.verified == Some(true)), "{known:?}");
        // One change for the release and one for the rollback, as the API server counts them.
        assert_eq!((world.tag().await, world.generation().await), ("v1".into(), 1 + 2 * round as i64));
    }
    println!("kills: {kills}, rollbacks: {ROLLBACKS}, doubled effects: 0, lost effects: 0");
    assert!(kills >= 50);
    all_was_told_and_journaled(&world).await;
}

/// All rollbacks so far, once they are over.
async fn closed(world: &World, count: usize) -> Vec<RunStatus> {
    until("the rollback and its watch are over", SOON * 3, async || {
        let runs = world.daemon.runs().await;
        (runs.len() == count && runs.iter().all(|run| !run.open)).then_some(runs)
    })
    .await
}

async fn all_was_told_and_journaled(world: &World) {
    let runs = closed(world, ROLLBACKS).await;
    let told = |key: &str| world.receiver.deliveries().iter().any(|d| d.json()["id"] == *key);
    for run in &runs {
        assert!(["recovered", "unseen"].contains(&run.phase.as_str()), "{run:?}");
        for what in ["action", "verified", "closed"] {
            let key = format!("{}/{what}", run.run);
            until(&key, SOON, async || told(&key).then_some(())).await;
        }
        let records = exported(world, &format!("--run {}", run.run)).await;
        let at = |kind: &str| -> Vec<&Value> { records.iter().filter(|r| r["kind"] == kind).collect() };
        let (opened, verified, ended) = (at("opened"), at("verified"), at("watch_ended"));
        assert_eq!((opened.len(), verified.len(), ended.len()), (1, 1, 1), "{records:#?}");
        let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
        let watched = time(&ended[0]["at"]).duration_since(time(&verified[0]["at"]));
        assert!(watched.as_secs() >= WATCH_SECS, "watched for {watched}");
    }
    let pages: Vec<String> = world.kinds().into_iter().filter(|kind| kind == "page").collect();
    assert!(pages.is_empty(), "{:#?}", world.receiver.deliveries());
    verified_audit(world, "").await;
}

async fn exported(world: &World, more: &str) -> Vec<Value> {
    let dir = world.daemon.state_dir();
    let text = world.daemon.cli_ok(&format!("audit export --state-dir {} {more}", dir.display())).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn verified_audit(world: &World, more: &str) -> String {
    let dir = world.daemon.state_dir();
    world.daemon.cli_ok(&format!("audit verify --state-dir {} {more}", dir.display())).await
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn the_audit_holds_the_evidence_the_configuration_and_every_call() {
    let world = Place::new("audited").await.guarded().await;
    world.deploy_quickly("v2-errors15").await;
    let run = world.verified().await;
    let records = exported(&world, "").await;
    let of_kind = |kind: &str| -> Vec<&Value> { records.iter().filter(|r| r["kind"] == kind).collect() };

    let hash = &of_kind("configured").last().unwrap()["body"]["hash"];
    let checked = world
        .daemon
        .cli_ok(&format!("check --config {} -o json", world.daemon.configuration().display()))
        .await;
    assert_eq!(&serde_json::from_str::<Value>(&checked).unwrap()["hash"], hash);
    assert_eq!(&of_kind("opened")[0]["body"]["configuration"], hash);

    let decided = of_kind("decided");
    let numbers = &decided.last().unwrap()["body"]["evidence"][0]["numbers"];
    assert!(
        numbers["bad"].as_f64().unwrap() > 0.0 && numbers["e_value"].as_f64().unwrap() > 1.0,
        "{decided:#?}"
    );

    let call = &of_kind("applied")[0]["body"]["calls"][0];
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", world.namespace);
    assert_eq!(
        (&call["method"], &call["path"], &call["status"]),
        (&json!("PATCH"), &json!(path), &json!(200))
    );
    assert_eq!(echoed(&world, call["request_id"].as_str().unwrap()).await, call["request_id"]);
    assert!(
        world
            .daemon
            .cli_ok(&format!("show {}", run.run))
            .await
            .contains(call["request_id"].as_str().unwrap())
    );

    let told = world.told("complete", "[COMPLETE] Rollback successful").await;
    let head = told.lines().find_map(|line| line.strip_prefix("Journal: ")).expect("the journal's head");
    verified_audit(&world, &format!("--head {head}")).await;
}

/// The API server's id for a request that brings this one, as its audit log has it.
async fn echoed(world: &World, id: &str) -> String {
    let request = kube::core::Request::new("/version").list(&kube::api::ListParams::default()).unwrap();
    let mut request = request.map(kube::client::Body::from);
    request.headers_mut().insert("audit-id", id.parse().unwrap());
    let answer = world.cluster.client().await.send(request).await.unwrap();
    answer.headers().get("audit-id").unwrap().to_str().unwrap().to_string()
}
