//! What AWS answers on a bad day, and what others do meanwhile.
use super::*;
use crate::support::cdn::Fault;

const OBJECTS: usize = 6;

/// v1 and v2, each with its own assets under the same names.
async fn released(world: &World, frontends: &Frontends, prefix: &str) -> (Version, BTreeMap<String, String>) {
    let release = async |release: &str| {
        for n in 0..OBJECTS {
            world.put(&format!("{prefix}{n}.js"), &format!("{release} {n}")).await;
        }
        world.put(&format!("{prefix}index.html"), release).await;
    };
    release("one").await;
    let good = known_good(frontends).await;
    let then = world.contents(prefix).await;
    release("two").await;
    world.put(&format!("{prefix}new.js"), "two").await;
    (good, then)
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn no_answer_is_guessed_and_nothing_is_done_twice() {
    let world = World::start().await;
    let faults = [
        (Fault::Refuse(500, "InternalError"), "CopyObject"),
        (Fault::Refuse(503, "SlowDown"), "CopyObject"),
        (Fault::ErrorInBody, "CopyObject"),
        (Fault::LoseAnswer, "CopyObject"),
        (Fault::LoseAnswer, "DeleteObject"),
        (Fault::Refuse(503, "SlowDown"), "DeleteObject"),
        (Fault::Refuse(503, "SlowDown"), "ListObjectVersions"),
        (Fault::LoseAnswer, "CreateInvalidation"),
        (Fault::Refuse(400, "TooManyInvalidationsInProgress"), "CreateInvalidation"),
        (Fault::Refuse(503, "SlowDown"), "HeadObject"),
    ];
    for (n, (fault, operation)) in faults.into_iter().enumerate() {
        let prefix = format!("f{n}/");
        let frontends = world.frontends(&prefix);
        let (good, then) = released(&world, &frontends, &prefix).await;
        let plan = plan_to(&frontends, &good, &format!("shop-{n}")).await.unwrap();
        world.cdn.plan(fault, 0, 2, operation);
        carry_out(&frontends, &plan.steps).await.unwrap_or_else(|why| panic!("{fault:?} {operation}: {why}"));
        world.cdn.calm();
        assert_eq!(world.contents(&prefix).await, then, "{fault:?} {operation}");
        let listed = world.s3.list_object_versions().bucket("shop").prefix(&prefix).send().await.unwrap();
        // Two releases, one more object, and one copy of each: a lost answer made no second copy.
        assert_eq!(listed.versions().len(), 3 * (OBJECTS + 1) + 1, "{fault:?} {operation}");
        assert_eq!(world.cdn.invalidations(), n + 1, "{fault:?} {operation}");
    }
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_deploy_that_starts_meanwhile_stops_it() {
    let world = World::start().await;
    // An object that is to be restored, one that stays as it is, a new one, and one that is done already.
    for (n, name) in ["4.js", "same.js", "brand-new.js", "0.js"].into_iter().enumerate() {
        let prefix = format!("d{n}/");
        let frontends = world.frontends(&prefix);
        world.put(&format!("{prefix}same.js"), "same").await;
        let (good, _) = released(&world, &frontends, &prefix).await;
        let plan = plan_to(&frontends, &good, &format!("shop-{n}")).await.unwrap();
        let (first, rest) = plan.steps.split_at(1);
        if name == "0.js" {
            carry_out(&frontends, first).await.unwrap();
        }
        world.put(&format!("{prefix}{name}"), "three").await;
        let index = world.contents(&prefix).await[&format!("{prefix}index.html")].clone();
        let steps = if name == "0.js" { rest } else { &plan.steps };
        let why = carry_out(&frontends, steps).await.unwrap_err();
        assert!(why.contains("since") && why.contains("changed"), "{name}: {why}");
        let contents = world.contents(&prefix).await;
        assert_eq!(contents[&format!("{prefix}{name}")], "three", "{name}");
        assert_eq!(contents[&format!("{prefix}index.html")], index, "{name}");
    }
}

/// The listing said that all is well, and then it was not: S3 itself refuses.
#[tokio::test]
#[ignore = "tests/run frontend"]
async fn the_guard_of_each_copy_holds_where_no_look_was_in_time() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let (good, _) = released(&world, &frontends, "").await;
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    world.put("3.js", "three").await;
    let Outcome::Refused { why } = frontends.apply(&plan.steps[0]).await else {
        panic!("it was not refused")
    };
    assert!(why.contains("somebody changed 3.js meanwhile"), "{why}");
    assert_eq!(world.contents("").await["3.js"], "three");
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn what_is_refused_for_good_is_not_tried_for_long_and_says_why() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let (good, _) = released(&world, &frontends, "").await;
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    world.cdn.plan(Fault::Refuse(403, "AccessDenied"), 0, 1000, "CopyObject");
    let Outcome::Unknown { why } = frontends.apply(&plan.steps[0]).await else { panic!("it was done") };
    assert!(why.contains("AccessDenied: planned by the test"), "{why}");
    assert!(world.cdn.seen("CopyObject") <= OBJECTS, "each object once at most");
}
