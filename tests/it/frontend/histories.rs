//! Random histories of puts, deletes and uploads in parts are restored, and compared with what was there.
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ObjectCannedAcl};
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const NAMES: [&str; 10] = [
    "index.html",
    "a b.js",
    "\u{fc}/\u{e9}.css",
    "a+b.js",
    "50%.css",
    "dir/",
    "x&y=z.js",
    "assets/app-Ab12cd34.js",
    "sw.js",
    "q?#.txt",
];

impl World {
    async fn upload(&self, key: &str, content: &str) {
        // Without an ACL, moto does not survive the question for it.
        let upload = self.s3.create_multipart_upload().bucket("shop").key(key).acl(ObjectCannedAcl::Private);
        let upload = upload.send().await.unwrap();
        let id = upload.upload_id().unwrap();
        let part = self.s3.upload_part().bucket("shop").key(key).upload_id(id).part_number(1);
        let part = part.body(content.as_bytes().to_vec().into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag().map(String::from)).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let request = self.s3.complete_multipart_upload().bucket("shop").key(key).upload_id(id);
        request.multipart_upload(parts).send().await.unwrap();
    }

    async fn happen(&self, random: &mut StdRng, prefix: &str, keys: usize, operations: usize, release: u32) {
        for operation in 0..operations {
            let name = match random.random_range(0..keys) {
                odd if odd < NAMES.len() => NAMES[odd].to_string(),
                plain => format!("files/{plain}.js"),
            };
            let (key, content) = (format!("{prefix}{name}"), format!("{release}.{operation}"));
            match random.random_range(0..10) {
                0..6 => self.put(&key, &content).await,
                6..9 => self.delete(&key).await,
                _ => self.upload(&key, &content).await,
            }
        }
        self.put(&format!("{prefix}index.html"), &format!("release {release}")).await;
    }

    /// One history below a prefix of its own.
    async fn restore_one(&self, seed: u64, keys: usize, operations: usize) {
        let mut random = StdRng::seed_from_u64(seed);
        let prefix = format!("h{seed}/");
        let frontends = self.frontends(&prefix);
        self.happen(&mut random, &prefix, keys, operations, 1).await;
        let good = known_good(&frontends).await;
        let then = self.contents(&prefix).await;
        self.happen(&mut random, &prefix, keys, operations, 2).await;
        let plan = plan_to(&frontends, &good, &format!("shop-{seed}")).await.unwrap();
        carry_out(&frontends, &plan.steps).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(self.contents(&prefix).await, then, "seed {seed}");
    }
}

async fn restore_all(world: &World, seeds: std::ops::Range<u64>, keys: usize, operations: usize) {
    let restored = seeds.map(|seed| world.restore_one(seed, keys, operations));
    futures::stream::iter(restored).buffer_unordered(6).collect::<Vec<()>>().await;
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn two_hundred_histories_of_tens_of_keys() {
    // moto looks through its whole bucket for each listing: a new one now and then is much quicker.
    for first in (0..200).step_by(20) {
        restore_all(&World::start().await, first..first + 20, 20, 16).await;
    }
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn five_histories_of_hundreds_of_keys() {
    restore_all(&World::start().await, 1000..1005, 300, 330).await;
}

/// Several thousand versions, of which one key's fill more than a page.
#[tokio::test]
#[ignore = "tests/run frontend"]
async fn versions_over_many_pages() {
    let world = World::start().await;
    let frontends = world.frontends("");
    let put = |n: usize| {
        let key = if n.is_multiple_of(2) { "b.js".to_string() } else { format!("{}.js", n % 900) };
        let world = &world;
        async move { world.put(&key, &n.to_string()).await }
    };
    futures::stream::iter((0..1700).map(put)).buffer_unordered(8).collect::<Vec<()>>().await;
    world.put("index.html", "one").await;
    let good = known_good(&frontends).await;
    let then = world.contents("").await;
    futures::stream::iter((0..1500).map(put)).buffer_unordered(8).collect::<Vec<()>>().await;
    world.put("index.html", "two").await;
    let listed = world.cdn.seen("ListObjectVersions");
    let plan = plan_to(&frontends, &good, "shop-1").await.unwrap();
    assert!(world.cdn.seen("ListObjectVersions") > listed + 3, "many pages");
    carry_out(&frontends, &plan.steps).await.unwrap();
    assert_eq!(world.contents("").await, then);
}
