//! The way back as it should go: the whole history of changes is undone, by the plan that was approved and no other.
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::Timestamp;
use rollguard::domain::plan::infrastructure::InfrastructureRefusal;
use rollguard::domain::plan::{Plan, Refusal};
use rollguard::ports::{FeedEvent, ReleaseFeed, Target};
use serde_json::json;

use super::world::{
    ADDED, MAIN, PASSWORD, TOOLS, V1, V2, World, announce, carry_out, deployed, id, refused, way_back,
};

fn details(plan: &Plan) -> String {
    plan.steps.iter().flat_map(|step| step.action.details()).collect::<Vec<_>>().join("\n")
}

/// A release that changes, adds, removes and renames, in a module too, with a file that was not there before.
fn released(tool: &str) -> (World, String, String) {
    let world = World::new(tool);
    let v1 = world.first(V1);
    let v2 = world.commit(&[(MAIN, Some(V2)), ("env/prod/added.tf", Some(ADDED))]);
    world.deploy(&v2);
    (world, v1, v2)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn everything_that_a_release_did_is_undone() {
    for tool in TOOLS {
        let (world, v1, v2) = released(tool);
        let infra = world.begin();
        let mut feed = infra.feed();
        announce(&infra, &format!("{v1}..{v2}")).await;
        let shown = next(&mut feed).await;
        assert_eq!(shown.last().unwrap(), &v2, "{tool}");
        assert_eq!(shown.len(), 2, "{tool}: the release names what was there before");

        let plan = way_back(&infra, &v1).await.unwrap();
        let told = details(&plan);
        for expected in [
            "DELETE terraform_data.added, delete because no resource config",
            "create terraform_data.removed",
            "DELETE terraform_data.other_name",
            "create terraform_data.name",
            "input.image: \"v2\" → \"v1\"",
            "input.password: (sensitive) → (sensitive)",
            "update module.nodes.terraform_data.node",
            "input: \"8\" → \"2\"",
            "update output size",
        ] {
            assert!(told.contains(expected), "{tool}: {expected} is not in\n{told}");
        }
        assert_eq!(plan.needs_person().len(), 2, "{tool}: {:?}", plan.needs_person());
        assert_eq!(plan.changes[0].to.fingerprint.as_str(), v1);

        carry_out(&infra, &plan).await.unwrap();
        let inputs = world.inputs();
        let input = |name: &str| inputs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        assert_eq!(input("web").unwrap()["image"], json!("v1"), "{tool}: {inputs:?}");
        assert_eq!(input("module.nodes.node"), Some(json!("2")), "{tool}");
        assert_eq!(input("removed"), Some(json!("was there before")), "{tool}");
        assert_eq!(
            (input("added"), input("other_name")),
            (None, None),
            "{tool}: files that came later are gone"
        );
        assert_eq!(deployed(&infra).await, v1, "{tool}");
        assert_eq!(next(&mut feed).await.last().unwrap(), &v1, "{tool}: it is shown as what runs");
        // Nothing of it is done a second time, and in another life neither.
        let again = world.begin();
        assert_eq!(
            refused(&again.apply(&plan.steps[0]).await),
            "this plan file was applied before: it is applied once"
        );
        carry_out(&again, &plan).await.unwrap();
        assert_eq!(world.inputs(), inputs, "{tool}");
    }
}

/// The versions that the feed shows next, oldest first.
async fn next(feed: &mut Box<dyn ReleaseFeed>) -> Vec<String> {
    let event = tokio::time::timeout(Duration::from_secs(30), feed.next()).await.unwrap().unwrap();
    let FeedEvent::Changed(view) = event else { panic!("{event:?}") };
    assert_eq!(view.history.last().unwrap().version, view.version);
    view.history.iter().map(|g| g.version.fingerprint.as_str().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn secrets_are_in_no_text_and_no_argument_and_are_gone_afterwards() {
    let mut world = World::new("terraform");
    // Somebody handed the secret to an attribute that is not marked.
    let leak = |input: &str| format!("resource \"terraform_data\" \"leak\" {{ input = {input} }}");
    let v1 = world.first(&format!("{V1}{}", leak("nonsensitive(\"${var.password}!\")")));
    let v2 = world.commit(&[(MAIN, Some(&format!("{V2}{}", leak("\"plain\""))))]);
    world.deploy(&v2);
    let wrapper = world.dir().join("wrapped");
    let log = world.dir().join("seen");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {log}\nenv | cut -d= -f1 >> {log}\nexec {tool} \"$@\"\n",
        log = log.display(),
        tool = world.config.tool.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    world.config.tool = wrapper;
    let infra = world.begin();
    announce(&infra, &format!("{v1}..{v2}")).await;
    let plan = way_back(&infra, &v1).await.unwrap();

    let survey = serde_json::to_string(&infra.survey(&id()).await.unwrap()).unwrap();
    let texts = [survey, serde_json::to_string(&plan).unwrap(), details(&plan)];
    assert!(texts[2].contains("input: \"plain\" → \"***!\""), "{}", texts[2]);
    assert!(texts.iter().all(|text| !text.contains(PASSWORD)), "{texts:#?}");
    for file in world.private_files() {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o077;
        let behind = file
            .ancestors()
            .take_while(|dir| *dir != world.dir())
            .any(|dir| dir.is_dir() && std::fs::metadata(dir).unwrap().permissions().mode() & 0o077 == 0);
        assert!(mode == 0 || behind, "{} can be read by others", file.display());
    }
    carry_out(&infra, &plan).await.unwrap();
    let seen = std::fs::read_to_string(&log).unwrap();
    assert!(seen.contains("plan -input=false") && seen.contains("-lockfile=readonly"), "{seen}");
    assert!(!seen.contains(PASSWORD), "{seen}");
    assert!(!seen.contains("CARGO") && !seen.contains("RUST"), "the environment is handed on: {seen}");
    for forbidden in ["-lock=false", "-refresh=false", "-target", "force-unlock", "-auto-approve", "destroy"]
    {
        assert!(!seen.contains(forbidden), "{seen}");
    }
    let left: Vec<_> = world
        .private_files()
        .into_iter()
        .filter(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).contains(PASSWORD))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn what_may_never_be_changed_is_refused() {
    for (never, deletes_max, told) in [
        (vec!["terraform_data.web"], 10, "terraform_data.web may never be changed"),
        (vec!["module.nodes.*"], 10, "module.nodes.terraform_data.node may never be changed"),
        (vec![], 1, "2 resources would be deleted, replaced or forgotten, more than 1"),
    ] {
        let (mut world, v1, v2) = released("terraform");
        world.config.terms.never = never.iter().map(ToString::to_string).collect();
        world.config.terms.deletes_max = deletes_max;
        let infra = world.begin();
        announce(&infra, &format!("{v1}..{v2}")).await;
        let refusal = way_back(&infra, &v1).await.unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Infrastructure(InfrastructureRefusal::Forbidden { .. })),
            "{refusal:?}"
        );
        assert!(refusal.to_string().contains(told), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn a_plan_that_would_change_nothing_is_no_way_back() {
    let world = World::new("terraform");
    let v1 = world.first(V1);
    let v2 = world.commit(&[("README.md", Some("nothing of the infrastructure"))]);
    let infra = world.begin();
    announce(&infra, &format!("{v1}..{v2}")).await;
    let refusal = way_back(&infra, &v1).await.unwrap_err().to_string();
    assert!(refusal.contains("changes nothing in env/prod"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run infrastructure"]
async fn an_unknown_commit_is_told() {
    let world = World::new("terraform");
    world.first(V1);
    let infra = world.begin();
    let told = infra.survey(&id()).await.unwrap_err().to_string();
    assert!(told.contains("rollguard release shop/infra --version BEFORE..NOW"), "{told}");
    infra.announced(&id(), "cafecafe", Timestamp::now()).await;
    let told = infra.survey(&id()).await.unwrap_err().to_string();
    assert!(told.contains("\"cafecafe\" is no commit of"), "{told}");
}
