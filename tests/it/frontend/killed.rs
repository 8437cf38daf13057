//! Killed at each object, before and after S3 has done it: the next life goes on, and copies nothing twice.
use super::*;
use crate::support::cdn::Fault;

const OBJECTS: usize = 5;

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_life_that_ends_at_any_object_is_continued_by_the_next() {
    let world = World::start().await;
    let deaths = (0..OBJECTS + 1).flat_map(|at| [(at, "CopyObject"), (at, "DeleteObject")]);
    let deaths = deaths.filter(|(at, operation)| *operation == "CopyObject" || *at < 2);
    let deaths = deaths.flat_map(|(at, operation)| {
        [Fault::HangBefore, Fault::HangAfter].map(|fault| (at, operation, fault))
    });
    for (n, (at, operation, fault)) in deaths.enumerate() {
        let prefix = format!("k{n}/");
        let one_by_one = |options: &mut FrontendOptions| options.at_once = 1;
        let frontends = world.frontends_with(&prefix, one_by_one);
        let release = async |release: &str| {
            for key in 0..OBJECTS {
                world.put(&format!("{prefix}{key}.js"), &format!("{release} {key}")).await;
            }
            world.put(&format!("{prefix}index.html"), release).await;
        };
        release("one").await;
        let good = known_good(&frontends).await;
        let then = world.contents(&prefix).await;
        release("two").await;
        world.put(&format!("{prefix}new-1.js"), "two").await;
        world.put(&format!("{prefix}new-2.js"), "two").await;
        let plan = plan_to(&frontends, &good, &format!("shop-k{n}")).await.unwrap();
        world.cdn.plan(fault, at, 1, operation);
        let died = tokio::select! {
            done = carry_out(&frontends, &plan.steps) => panic!("it did not hang: {done:?}"),
            died = hung(&world, operation) => died,
        };
        world.cdn.calm();
        drop(frontends);
        let next = world.frontends_with(&prefix, one_by_one);
        carry_out(&next, &plan.steps).await.unwrap_or_else(|why| panic!("{died} {fault:?}: {why}"));
        assert_eq!(world.contents(&prefix).await, then, "{died} {fault:?}");
        let listed = world.s3.list_object_versions().bucket("shop").prefix(&prefix).send().await.unwrap();
        assert_eq!(listed.versions().len(), 3 * (OBJECTS + 1) + 2, "{died} {fault:?}: one copy of each");
        assert_eq!(listed.delete_markers().len(), 2, "{died} {fault:?}");
    }
}

/// Until the planned fault has happened, and a moment longer.
async fn hung(world: &World, operation: &str) -> String {
    while world.cdn.still_planned() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What is carried out after the death of its sender is carried out by then.
    tokio::time::sleep(Duration::from_millis(150)).await;
    format!("{operation} {}", world.cdn.seen(operation))
}
