//! Everything that can go wrong on the way back: nothing is guessed, nothing is done twice, and a person is told.
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rollguard::adapters::infrastructure::Infrastructure;
use rollguard::domain::outcome::{Finding, Outcome};
use rollguard::domain::plan::Plan;
use rollguard::ports::Target;
use serde_json::json;

use super::world::{MAIN, TOOLS, V1, V2, World, announce, carry_out, refused, way_back};
use crate::support::until;

/// The second of these is made as soon as the gate is open.
fn slow(world: &World, name: &str) -> String {
    format!(
        r#"
resource "terraform_data" "first" {{ input = "quick" }}
resource "terraform_data" "{name}" {{
  input      = "takes its time"
  depends_on = [terraform_data.first]
  provisioner "local-exec" {{ command = "touch {}; until test -e {}; do sleep 0.1; done" }}
}}
"#,
        waiting(world).display(),
        gate(world).display()
    )
}

fn gate(world: &World) -> PathBuf {
    world.dir().join("gate")
}

/// Somebody stands before the gate.
fn waiting(world: &World) -> PathBuf {
    world.dir().join("waiting")
}

fn open_gate(world: &World) {
    std::fs::write(gate(world), "").unwrap();
}

fn lock(world: &World) -> PathBuf {
    world.dir().join(".prod.tfstate.lock.info")
}

async fn at_the_gate(world: &World) {
    until("it applies", Duration::from_secs(30), async || waiting(world).exists().then_some(())).await;
}

const LOCK: &str = "env/prod/.terraform.lock.hcl";

/// A pipeline that is waited for at the end.
struct Pipeline(Child);

impl Pipeline {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.0.wait().unwrap();
    }
}

/// v2 took away what v1 had; making it again waits for the gate.
async fn slow_way_back(tool: &str) -> (World, Infrastructure, String, Plan) {
    let world = World::new(tool);
    open_gate(&world);
    let v1 = world.first(&format!("{V1}{}", slow(&world, "slow")));
    let v2 = world.commit(&[(MAIN, Some(V1))]);
    world.deploy(&v2);
    [gate(&world), waiting(&world)].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let infra = world.begin();
    announce(&infra, &format!("{v1}..{v2}")).await;
    let plan = way_back(&infra, &v1).await.unwrap();
    assert_eq!(plan.needs_person(), Vec::<String>::new(), "it only creates");
    (world, infra, v1, plan)
}

fn conflict(finding: Finding) -> String {
    match finding {
        Finding::Conflict { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_stale_plan_is_made_anew_and_asked_for_anew() {
    for tool in TOOLS {
        let world = World::new(tool);
        let v1 = world.first(V1);
        let v2 = world.commit(&[(MAIN, Some(V2))]);
        world.deploy(&v2);
        let infra = world.begin();
        announce(&infra, &format!("{v1}..{v2}")).await;
        let plan = way_back(&infra, &v1).await.unwrap();
        let v3 = world.commit(&[(MAIN, Some(&V2.replace("large", "huge")))]);
        world.deploy(&v3);
        let before = world.inputs();
        let told = conflict(infra.observe(&plan.steps[0]).await);
        assert!(told.contains("a new plan is made, and asked for"), "{tool}: {told}");
        assert_eq!(
            refused(&infra.apply(&plan.steps[0]).await),
            "the state was changed after the plan was made"
        );
        assert_eq!(world.inputs(), before, "{tool}: nothing was done");
        announce(&infra, &v3).await;
        let other = way_back(&infra, &v1).await.unwrap();
        assert_ne!(other.digest(), plan.digest(), "{tool}");
        carry_out(&infra, &other).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_held_lock_is_told_with_its_holder_and_never_broken() {
    for tool in TOOLS {
        let (world, infra, v1, plan) = slow_way_back(tool).await;
        let other = world.commit(&[(MAIN, Some(&format!("{V1}{}", slow(&world, "other"))))]);
        let pipeline = Pipeline::start(world.pipeline(&other));
        at_the_gate(&world).await;
        let told = infra.apply(&plan.steps[0]).await;
        assert!(refused(&told).contains("the state is locked by"), "{tool}: {told:?}");
        assert!(refused(&told).contains("OperationTypeApply"), "{tool}: {told:?}");
        // A new life wants a plan meanwhile.
        let second = world.begin();
        let refusal = way_back(&second, &v1).await.unwrap_err().to_string();
        assert!(refusal.contains("the state is locked by"), "{tool}: {refusal}");
        open_gate(&world);
        drop(pipeline);
        announce(&second, &other).await;
        let again =
            until("the lock is free", Duration::from_secs(30), async || way_back(&second, &v1).await.ok())
                .await;
        carry_out(&second, &again).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_commit_that_does_not_work_any_more_gives_no_plan() {
    let world = World::new("terraform");
    let v2 = world.first(V2);
    let broken = world.commit(&[(MAIN, Some("resource \"terraform_data\" \"x\" { input = nothing.such }"))]);
    let pinned = world.commit(&[(MAIN, Some(V1)), (".terraform-version", Some("1.2.3\n"))]);
    let lock = "provider \"registry.opentofu.org/hashicorp/random\" {\n  version = \"3.0.0\"\n}\n";
    let other_tool = world.commit(&[(".terraform-version", None), (LOCK, Some(lock))]);
    let elsewhere = world.commit(&[(LOCK, None), (MAIN, None), ("env/prod/prod.tfvars", None)]);
    let infra = world.begin();
    announce(&infra, &v2).await;
    for (commit, told) in [
        (broken, "Reference to undeclared resource"),
        (pinned, "the commit is pinned to 1.2.3 by .terraform-version"),
        (other_tool, "the commit's lock file names providers of registry.opentofu.org"),
        (elsewhere, "the commit has no folder env/prod"),
    ] {
        let refusal = way_back(&infra, &commit).await.unwrap_err();
        assert!(refusal.to_string().contains(told), "{refusal}");
        assert!(!refusal.advice().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn without_a_state_nothing_is_planned() {
    let world = World::new("terraform");
    let v1 = world.first(V1);
    let v2 = world.commit(&[(MAIN, Some(V2))]);
    std::fs::remove_file(world.dir().join("prod.tfstate")).unwrap();
    let infra = world.begin();
    announce(&infra, &format!("{v1}..{v2}")).await;
    let refusal = way_back(&infra, &v1).await.unwrap_err().to_string();
    assert!(refusal.contains("there is no state"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn what_failed_half_way_is_told_with_what_is_left() {
    let world = World::new("terraform");
    let v2 = world.first(V1);
    let fails = slow(&world, "slow").replace("touch", "exit 7; touch");
    let v1 = world.commit(&[(MAIN, Some(&format!("{V1}{fails}")))]);
    let infra = world.begin();
    announce(&infra, &format!("{v1}..{v2}")).await;
    let plan = way_back(&infra, &v1).await.unwrap();
    let outcome = infra.apply(&plan.steps[0]).await;
    assert!(matches!(&outcome, Outcome::Unknown { why } if why.contains("exit status 7")), "{outcome:?}");
    for infra in [&infra, &world.begin()] {
        let told = conflict(infra.observe(&plan.steps[0]).await);
        assert!(told.contains("begun and not finished") && told.contains("1 to REPLACE"), "{told}");
        assert!(refused(&infra.apply(&plan.steps[0]).await).contains("applied once"));
    }
    assert!(world.inputs().contains(&("first".into(), json!("quick"))), "what was done stays");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_process_that_dies_while_it_applies_leaves_nothing_to_guess() {
    for tool in TOOLS {
        let (world, infra, v1, plan) = slow_way_back(tool).await;
        let step = plan.steps[0].clone();
        let applying = tokio::spawn(async move { infra.apply(&step).await });
        at_the_gate(&world).await;
        kill_tool(&world);
        let outcome = applying.await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{tool}: {outcome:?}");
        open_gate(&world);
        let infra = world.begin();
        let told = conflict(infra.observe(&plan.steps[0]).await);
        assert!(told.contains("begun and not finished"), "{tool}: {told}");
        let again = way_back(&infra, &v1).await.unwrap();
        assert_ne!(again.digest(), plan.digest(), "{tool}: it is another plan, and asked for");
        carry_out(&infra, &again).await.unwrap();
        let names: Vec<String> = world.inputs().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.iter().filter(|name| *name == "slow").count(), 1, "{tool}: {names:?}");
    }
}

/// Kills the tool that applies a plan, with everything that it began.
fn kill_tool(world: &World) {
    let private = world.private();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let applies = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("apply") && line.contains(private.to_str().unwrap())
    };
    let pid = pids.find(applies).unwrap();
    let status = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_life_that_ends_while_the_tool_goes_on_waits_for_it() {
    let (world, infra, _, plan) = slow_way_back("terraform").await;
    let step = plan.steps[0].clone();
    let applying = tokio::spawn(async move { infra.apply(&step).await });
    at_the_gate(&world).await;
    // A life that is cut off asks the tool to end, which it does when it has tidied up.
    applying.abort();
    let infra = world.begin();
    let told = until("the tool has ended", Duration::from_secs(30), async || {
        match infra.observe(&plan.steps[0]).await {
            Finding::Unseen { .. } => None,
            finding => Some(conflict(finding)),
        }
    })
    .await;
    assert!(told.contains("begun and not finished (it was interrupted)"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn what_takes_too_long_is_stopped_gently() {
    let (mut world, infra, _, plan) = slow_way_back("terraform").await;
    drop(infra);
    world.config.apply_timeout = Duration::from_secs(5);
    let infra = world.begin();
    let outcome = infra.apply(&plan.steps[0]).await;
    assert!(
        matches!(&outcome, Outcome::Unknown { why } if why.contains("did not end within 5 s")),
        "{outcome:?}"
    );
    let told = conflict(infra.observe(&plan.steps[0]).await);
    assert!(told.contains("begun and not finished"), "{told}");
    assert!(!lock(&world).exists(), "it released its lock");
}
