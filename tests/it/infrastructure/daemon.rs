//! The built binary: a pipeline says what it released, a person orders the way back, reads the plan and approves it.
use std::time::Duration;

use rollguard::client::dto::RunStatus;
use serde_json::{Value, json};

use super::world::{ADDED, MAIN, PASSWORD, V1, V2, World};
use crate::support::daemon::{ANN, Daemon, WEBHOOK_SECRET};
use crate::support::receiver::Receiver;
use crate::support::until;

const LIMIT: Duration = Duration::from_secs(60);

fn config(world: &World, messages: &str) -> Value {
    json!({
        "api": { "people": [{ "name": ANN.0, "token": ANN.1 }] },
        "notify": { "webhook": { "url": messages, "secret": WEBHOOK_SECRET } },
        "services": [{
            "name": "shop",
            "policy": "auto",
            "watch": "40s",
            "targets": [{ "name": "infra", "infrastructure": {
                "repository": world.config.repository,
                "path": "env/prod",
                "tool": world.config.tool,
                "var_files": ["prod.tfvars"],
                "variables": { "password": PASSWORD },
                "backend": { "path": world.dir().join("prod.tfstate") },
                "interval": "1s",
                "lock_timeout": "5s",
                "never": ["aws_db_instance"],
            }}],
        }],
    })
}

struct Stage {
    world: World,
    daemon: Daemon,
    messages: Receiver,
    v1: String,
}

impl Stage {
    /// v2 is released over v1, which takes `seconds` to be made again.
    async fn set(seconds: u32) -> Self {
        let world = World::new("terraform");
        let slow = format!(
            "resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{ command = \"sleep {seconds}\" }}\n}}"
        );
        let v1 = world.first(&format!("{V1}{slow}"));
        let v2 = world.commit(&[(MAIN, Some(V2)), ("env/prod/added.tf", Some(ADDED))]);
        world.deploy(&v2);
        let messages = Receiver::start().await;
        let daemon = Daemon::start(config(&world, &messages.url("/hook"))).await;
        daemon.cli_ok(&format!("release shop/infra --version {v1}..{v2}")).await;
        let label = &v1[..10];
        daemon
            .await_target("the commit before is known good", LIMIT, |target| {
                target.known_good.as_ref().is_some_and(|good| good.label == label)
            })
            .await;
        Self { world, daemon, messages, v1 }
    }

    /// Orders the way back, as soon as there is a plan.
    async fn order(&self) -> RunStatus {
        let order = "rollback shop/infra --yes --reason too-large";
        let daemon = &self.daemon;
        until("the order is taken", LIMIT, async || daemon.cli(order).await.status.success().then_some(()))
            .await;
        daemon.await_run("somebody is asked", LIMIT, |run| run.phase == "awaiting approval").await
    }

    async fn ended(&self, run: &str, phase: &str) -> RunStatus {
        self.daemon.await_run(phase, LIMIT, |status| status.run == run && status.phase == phase).await
    }

    fn image(&self) -> Value {
        let inputs = self.world.inputs();
        inputs.iter().find(|(name, _)| name == "web").unwrap().1["image"].clone()
    }

    /// Whatever the daemon wrote or said.
    fn said(&self) -> String {
        let state = self.daemon.state_dir();
        let journal = std::fs::read_dir(&state).unwrap().flatten().filter(|entry| entry.path().is_file());
        let journal = journal.map(|entry| std::fs::read(entry.path()).unwrap());
        let mut said: String = journal.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        said.push_str(&self.daemon.log());
        self.messages.deliveries().iter().for_each(|delivery| said.push_str(&delivery.raw));
        said
    }
}

#[tokio::test]
#[ignore = "tests/run infrastructure"]
async fn a_person_reads_the_plan_and_approves_it() {
    let stage = Stage::set(0).await;
    let run = stage.order().await;
    assert_eq!(stage.image(), json!("v2"), "nothing is changed before it is approved");
    let shown = stage.daemon.cli_ok(&format!("show {}", run.run)).await;
    assert!(shown.contains("DELETE terraform_data.added"), "{shown}");
    let asked = stage.messages.deliveries().into_iter().find(|d| d.raw.contains("[ASK]")).unwrap();
    assert!(asked.raw.contains("plan file sha256") && asked.raw.contains("(sensitive)"), "{}", asked.raw);
    stage.daemon.cli_ok(&format!("approve {}", run.run)).await;
    stage.ended(&run.run, "watching").await;
    assert_eq!(stage.image(), json!("v1"));
    let status = stage.daemon.target().await;
    assert_eq!(status.current.unwrap().fingerprint.as_str(), stage.v1);
    let story = stage.daemon.run(&run.run).await;
    assert_eq!((story.approved_by.as_deref(), story.verified), (Some("ann"), Some(true)));
    let said = stage.said();
    assert!(!said.contains(PASSWORD), "a secret was said");
    let left = stage.daemon.state_dir().join("infrastructure/shop/infra/plans");
    let left: Vec<_> = std::fs::read_dir(left).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "lookout"), "{left:?}");
}

#[tokio::test]
#[ignore = "tests/run infrastructure"]
async fn killed_while_it_waits_it_applies_the_plan_that_was_approved() {
    let mut stage = Stage::set(0).await;
    let run = stage.order().await;
    stage.daemon.kill();
    stage.daemon.restart().await;
    stage.daemon.cli_ok(&format!("approve {}", run.run)).await;
    stage.ended(&run.run, "watching").await;
    assert_eq!(stage.image(), json!("v1"));
}

#[tokio::test]
#[ignore = "tests/run infrastructure"]
async fn killed_while_it_applies_it_looks_what_became_of_it() {
    let mut stage = Stage::set(3).await;
    let run = stage.order().await;
    stage.daemon.cli_ok(&format!("approve {}", run.run)).await;
    let lock = stage.world.dir().join(".prod.tfstate.lock.info");
    until("it applies", LIMIT, async || {
        let text = std::fs::read_to_string(&lock).unwrap_or_default();
        text.contains("OperationTypeApply").then_some(())
    })
    .await;
    stage.daemon.kill();
    stage.daemon.restart().await;
    // The tool goes on without us, and another plan shows that it came to its end.
    stage.ended(&run.run, "watching").await;
    assert_eq!(stage.image(), json!("v1"));
    let names: Vec<String> = stage.world.inputs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| *name == "slow").count(), 1, "{names:?}");
}
