//! Workloads that belong to somebody: Argo CD, Flux, Helm and Argo Rollouts, and owners that put the bad version back every 5 s.
mod rights;
mod simulated;
mod states;

use std::time::Duration;

use serde_json::json;

use self::simulated::{Flux, Manners, install};
use super::world::{Place, SOON, World};
use crate::support::until;

/// A guarded Deployment of a Kustomization in the same namespace, and the Flux that applies it.
async fn flux(purpose: &str, gitops: &str, manners: Manners) -> (World, Flux) {
    let place = Place::new(purpose).await;
    install(place.cluster).await;
    let flux = Flux::start(&place, manners).await;
    let world = place.guarded_with(|config| config["services"][0]["gitops"] = json!(gitops)).await;
    (world, flux)
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_owner_that_would_undo_it_is_left_alone_unless_configured_otherwise() {
    let (world, flux) = flux("owner-refuse", "refuse", Manners::Obeys).await;
    flux.commit("v2-crashloop").await;
    let generation = world.generation().await;
    let page = world.told("page", "which would undo a rollback").await;
    let command = format!("flux suspend kustomization apps -n {}", world.namespace);
    assert!(page.contains(&command) && page.contains("revert the commit in Git"), "{page}");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!((world.tag().await, world.generation().await), ("v2-crashloop".into(), generation));
    assert!(world.daemon.runs().await.is_empty());
    assert_eq!(flux.is_suspended().await, None, "nothing was changed");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_owner_is_suspended_first_and_it_is_said_until_somebody_resumes_it() {
    let (mut world, flux) = flux("owner-suspend", "suspend", Manners::Obeys).await;
    flux.commit("v2-crashloop").await;
    let run = world.verified().await;
    assert!(run.steps[0].starts_with("suspend Flux Kustomization"), "{:?}", run.steps);
    assert_eq!(flux.is_suspended().await, Some(true));
    let resume = format!("flux resume kustomization apps -n {}", world.namespace);
    let complete = world.told("complete", "[COMPLETE]").await;
    assert!(complete.contains(&resume), "{complete}");
    // Longer than the owner needs to put its own version back.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(world.tag().await, "v1", "it stays");

    world.daemon.kill();
    world.daemon.restart().await;
    let held = world.daemon.target().await.held;
    assert_eq!((held.len(), held[0].run.as_str(), held[0].resume.as_str()), (1, run.run.as_str(), &*resume));
    let status = world.daemon.cli_ok("status").await;
    assert!(status.contains(&resume), "{status}");
    assert!(
        world.daemon.metrics().await.contains("rollguard_owners_held{service=\"shop\",target=\"backend\"} 1")
    );

    flux.resume().await;
    world.told("note", "[RESUMED] Flux Kustomization").await;
    assert_eq!(world.daemon.target().await.held, []);
    let page = world.told("page", "is back after it was rolled back").await;
    assert!(page.contains("kustomize-controller (Apply) changed the template at "), "{page}");
    world.told("note", "[UNDONE] The rollback was undone").await;
    assert_eq!(world.daemon.runs().await.len(), 1, "it is not fought");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn an_owner_that_ignores_its_suspension_is_named_and_not_fought() {
    let (world, flux) = flux("owner-ignores", "suspend", Manners::Ignores).await;
    flux.commit("v2-crashloop").await;
    let page = world.told("page", "kustomize-controller (Apply) changed the template at ").await;
    assert!(page.contains("Flux Kustomization"), "{page}");
    assert_eq!(flux.is_suspended().await, Some(true));
    until("it is back", SOON, async || (world.tag().await == "v2-crashloop").then_some(())).await;
    let generation = world.generation().await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!((world.tag().await, world.generation().await), ("v2-crashloop".into(), generation));
    assert_eq!(world.daemon.runs().await.len(), 1, "one rollback, and no second one");
}

#[tokio::test]
#[ignore = "tests/run kubernetes"]
async fn who_does_not_act_by_itself_does_not_stand_in_the_way() {
    let helm = async {
        let place = Place::new("owner-helm").await;
        let annotations =
            json!({ "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "apps" });
        simulated::mark(&place, json!({}), annotations).await;
        let world = place.guarded().await;
        world.deploy("v2-crashloop").await;
        world.verified().await;
        for kind in ["action", "complete"] {
            let told = world.told(kind, "").await;
            assert!(told.contains("helm rollback web -n apps"), "{told}");
        }
        let complete = world.told("complete", "[COMPLETE]").await;
        assert!(
            complete.contains("the next `helm upgrade web` with v2-crashloop deploys it again"),
            "{complete}"
        );
    };
    let argo = async {
        let place = Place::new("owner-manual").await;
        install(place.cluster).await;
        simulated::application(&place, "web", &json!({})).await;
        simulated::mark(&place, json!({}), simulated::tracked(&place, "web")).await;
        let world = place.guarded().await;
        world.deploy("v2-crashloop").await;
        world.verified().await;
        assert_eq!(world.tag().await, "v1");
        let action = world.told("action", "does not sync by itself").await;
        assert!(action.contains(&format!("Argo CD application {}/web", world.namespace)), "{action}");
    };
    tokio::join!(helm, argo);
}
