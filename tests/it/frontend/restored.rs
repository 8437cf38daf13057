//! What is restored is what was there, with all that belongs to it, and the public gets it.
use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectCannedAcl, StorageClass};
use rollguard::adapters::checks::OutsideChecks;
use rollguard::adapters::frontend::FrontendChecks;
use rollguard::adapters::outbound;
use rollguard::domain::verification::{CheckKind, CheckOutcome, CheckResult, CheckSpec};
use rollguard::ports::{CheckContext, Checks, FeedEvent};

use super::*;

const INDEX_1: &str = "<link rel=stylesheet href=a%20b.css><script src=assets/app-Ab12cd34.js></script>";
const INDEX_2: &str = "<link rel=stylesheet href=a%20b.css><script src=assets/app-Ef56ab78.js></script>";

/// v1 with its asset and its stylesheet, then v2 with another asset.
async fn released(world: &World, frontends: &Frontends) -> Version {
    world.put("assets/app-Ab12cd34.js", "one").await;
    world.put("a b.css", "one").await;
    world.put("index.html", INDEX_1).await;
    let good = known_good(frontends).await;
    world.delete("assets/app-Ab12cd34.js").await;
    world.put("assets/app-Ef56ab78.js", "two").await;
    world.put("index.html", INDEX_2).await;
    good
}

async fn check(world: &World, frontends: &Frontends) -> CheckResult {
    let client = outbound::build(outbound::builder(Duration::from_secs(5)).no_proxy()).unwrap();
    let others = Arc::new(OutsideChecks::new(client.clone(), None));
    let checks = FrontendChecks::new(frontends.clone(), client, others);
    let spec = CheckSpec { name: "served".into(), kind: CheckKind::FrontendServed };
    let about = CheckContext { target: target(), version: "v1".into() };
    assert!(world.cdn.url().starts_with("http"));
    checks.check(&spec, &about).await
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_release_is_taken_back_and_the_public_gets_what_was_restored() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let good = released(&world, &frontends).await;
    assert_eq!(check(&world, &frontends).await.outcome, CheckOutcome::Passed, "v2 is served as it is");
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    let (restore, rest) = plan.steps.split_at(plan.steps.len() - 2);
    carry_out(&frontends, restore).await.unwrap();
    let contents = world.contents("").await;
    let expected = [("a b.css", "one"), ("assets/app-Ab12cd34.js", "one"), ("index.html", INDEX_1)];
    assert_eq!(contents, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
    assert_eq!(world.cdn.seen("CopyObject"), 2, "the stylesheet stayed as it was");
    let stale = check(&world, &frontends).await;
    assert_eq!(stale.outcome, CheckOutcome::Failed);
    assert!(stale.detail.contains("served is another file than the one in the bucket"), "{stale:?}");
    carry_out(&frontends, rest).await.unwrap();
    let served = check(&world, &frontends).await;
    assert_eq!(served.outcome, CheckOutcome::Passed, "{served:?}");
    assert!(served.detail.ends_with("and 2 files that it refers to are as restored"), "{served:?}");
    assert_eq!((survey(&frontends).await.version, world.cdn.invalidations()), (good.clone(), 1));
    assert_eq!(world.cdn.seen("DeleteObjectVersion"), 0);
    let again = plan_to(&frontends, &good, "shop-2").await.unwrap_err();
    assert!(again.contains("already serves"), "{again}");
    // A file that the page refers to is lost: it would break in the browser, whatever the page itself says.
    world.delete("assets/app-Ab12cd34.js").await;
    let broken = check(&world, &frontends).await;
    assert!(broken.detail.contains("there is no assets/app-Ab12cd34.js in the bucket"), "{broken:?}");
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_copy_keeps_what_belongs_to_the_object() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let put = |body: &'static [u8]| {
        world.s3.put_object().bucket("shop").key("index.html").body(body.to_vec().into())
    };
    let request = put(b"one").content_type("text/html; charset=utf-8").cache_control("no-cache");
    let request =
        request.metadata("version", "v1").tagging("team=web&kind=a%20b").acl(ObjectCannedAcl::PublicRead);
    let request = request.storage_class(StorageClass::ReducedRedundancy).website_redirect_location("/home");
    request.content_encoding("identity").send().await.unwrap();
    let good = known_good(&frontends).await;
    assert_eq!(good.label, "v1", "as the deploy calls it");
    put(b"two").content_type("text/plain").send().await.unwrap();
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    carry_out(&frontends, &plan.steps).await.unwrap();
    let head = world.s3.head_object().bucket("shop").key("index.html").send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/html; charset=utf-8"));
    assert_eq!((head.cache_control(), head.content_encoding()), (Some("no-cache"), Some("identity")));
    assert_eq!(head.metadata().unwrap()["version"], "v1");
    assert_eq!(head.website_redirect_location(), Some("/home"));
    assert_eq!(head.storage_class(), Some(&StorageClass::ReducedRedundancy));
    let tags = world.s3.get_object_tagging().bucket("shop").key("index.html").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 2);
    let acl = world.s3.get_object_acl().bucket("shop").key("index.html").send().await.unwrap();
    let public = |grant: &aws_sdk_s3::types::Grant| grant.grantee().and_then(|g| g.uri()).is_some();
    assert!(acl.grants().iter().any(public), "{acl:?}");
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_large_object_is_copied_in_parts_and_recognised_afterwards() {
    const PART: usize = 5 << 20;
    let world = World::start().await;
    let smaller = |options: &mut FrontendOptions| {
        options.multipart_over = PART as u64;
        options.part = PART as u64;
    };
    let frontends = world.frontends_with("", smaller);
    world.put("index.html", "one").await;
    let large = "x".repeat(2 * PART + 7);
    let request =
        world.s3.put_object().bucket("shop").key("film.mp4").content_type("video/mp4").tagging("a=b");
    request.metadata("by", "ann").body(large.clone().into_bytes().into()).send().await.unwrap();
    let good = known_good(&frontends).await;
    world.put("film.mp4", "none").await;
    world.put("index.html", "two").await;
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    carry_out(&frontends, &plan.steps).await.unwrap();
    let head = world.s3.head_object().bucket("shop").key("film.mp4").send().await.unwrap();
    assert_eq!(
        (head.content_type(), &head.metadata().unwrap()["by"]),
        (Some("video/mp4"), &"ann".to_string())
    );
    assert_eq!(head.content_length(), Some(large.len() as i64));
    // Its ETag is another one now: the next life knows by the content that nothing is left to do.
    let next = world.frontends_with("", smaller);
    let copies = world.cdn.seen("CompleteMultipartUpload");
    carry_out(&next, &plan.steps).await.unwrap();
    assert_eq!(world.cdn.seen("CompleteMultipartUpload"), copies);
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn releases_are_noticed_by_the_entry_points() {
    let world = World::start().await;
    world.put("index.html", INDEX_1).await;
    let frontends = world.frontends("");
    let mut feed = frontends.feed();
    let mut next = async || match tokio::time::timeout(Duration::from_secs(20), feed.next()).await.unwrap() {
        Some(FeedEvent::Changed(view)) => *view,
        other => panic!("{other:?}"),
    };
    let first = next().await;
    assert_eq!(first.history.len(), 1);
    let ended = next().await;
    assert_eq!(ended.version, first.version);
    assert!(matches!(ended.rollout, rollguard::domain::workload::RolloutState::Ended { .. }), "{ended:?}");
    world.put("index.html.gz", "no entry point").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.put("index.html", INDEX_2).await;
    let second = next().await;
    assert_ne!(second.version, first.version);
    assert_eq!(second.history.len(), 2);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.delete("index.html").await;
    let mut gone = next().await;
    if gone.version == second.version {
        gone = next().await;
    }
    assert_eq!(gone.version.label, "no index.html");
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn without_a_manifest_it_goes_back_by_the_times_of_versions() {
    let world = World::start().await;
    let frontends = world.frontends("");
    world.put("index.html", INDEX_1).await;
    world.put("a.js", "one").await;
    let good = survey(&frontends).await.version;
    tokio::time::sleep(Duration::from_millis(4100)).await;
    world.put("a.js", "two").await;
    world.put("new.js", "two").await;
    world.put("index.html", INDEX_2).await;
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    assert!(plan.steps[0].title.contains("by the times of all versions"), "{}", plan.steps[0].title);
    carry_out(&frontends, &plan.steps).await.unwrap();
    let contents = world.contents("").await;
    let expected = [("a.js", "one"), ("index.html", INDEX_1)];
    assert_eq!(contents, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn what_cannot_be_restored_is_said() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let good = released(&world, &frontends).await;
    let old = world.s3.list_object_versions().bucket("shop").prefix("assets/app-Ab").send().await.unwrap();
    let id = old.versions()[0].version_id().unwrap();
    let request = world.s3.delete_object().bucket("shop").key("assets/app-Ab12cd34.js").version_id(id);
    request.send().await.unwrap();
    let refused = plan_to(&frontends, &good, "shop-1").await.unwrap_err();
    assert!(refused.ends_with("cannot be read any more: assets/app-Ab12cd34.js (gone)"), "{refused}");
    world.version_bucket(BucketVersioningStatus::Suspended).await;
    let refused = plan_to(&frontends, &good, "shop-1").await.unwrap_err();
    assert!(refused.starts_with("versioning of bucket shop is Suspended"), "{refused}");
    let nowhere = world.frontends_with("", |options| options.places[0].site.bucket = "nobody".into());
    let error = nowhere.survey(&target()).await.unwrap_err().to_string();
    assert!(error.contains("s3://nobody/ does not exist"), "{error}");
}
