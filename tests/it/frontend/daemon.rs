//! The whole daemon: a release is noticed, its check fails, it is taken back, and the public gets what was restored.
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::support::daemon::{ANN, Daemon, WEBHOOK_SECRET};
use crate::support::receiver::Receiver;
use crate::support::until;

const SOON: Duration = Duration::from_secs(30);

fn config(world: &World, policy: &str, messages: &str) -> Value {
    let url = world.cdn.public("shop");
    json!({
        "api": { "people": [{ "name": ANN.0, "token": ANN.1 }] },
        "notify": { "webhook": { "url": messages, "secret": WEBHOOK_SECRET } },
        "services": [{
            "name": "shop",
            "policy": policy,
            "watch": "20s",
            "page_after": "1m",
            "targets": [{ "name": "web", "frontend": {
                "bucket": "shop", "region": REGION, "endpoint": world.cdn.url(),
                "cloudfront_endpoint": world.cdn.url(), "url": url,
                "distribution": world.distribution, "poll": "1s", "max_shrink": "80%",
            }}],
            "rules": [{ "name": "page", "http": {
                "url": url, "text": "welcome", "every": "1s", "failing_for": "3s",
            }}],
            "judging": { "batch": "1s", "settle": "5s" },
            "verify": { "deadline": "40s" },
        }],
    })
}

impl World {
    async fn release(&self, version: &str, content: &str) {
        self.put(&format!("assets/app-{version}.js"), version).await;
        let page = format!("{content} <script src=\"assets/app-{version}.js\"></script>");
        let request = self.s3.put_object().bucket("shop").key("index.html").body(page.into_bytes().into());
        request.content_type("text/html").metadata("version", version).send().await.unwrap();
        // As a deploy does.
        self.cdn.forget();
    }

    async fn daemon(&self, policy: &str, receiver: &Receiver) -> Daemon {
        self.release("v1", "welcome").await;
        let daemon = Daemon::start(config(self, policy, &receiver.url("/messages"))).await;
        // Its checks passed while it was watched, and a life that saw that takes a release to task for a failure.
        daemon.await_known_good("v1").await;
        let manifests = daemon.state_dir().join("frontends/shop.web/manifests");
        until("what v1 consists of is recorded", SOON, async || {
            std::fs::read_dir(&manifests).ok()?.next().map(|_| ())
        })
        .await;
        daemon
    }
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_bad_release_is_taken_back_by_itself() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let daemon = world.daemon("auto", &receiver).await;
    let then = world.contents("").await;
    let ready = daemon.cli("doctor shop/web").await;
    let ready = String::from_utf8(ready.stdout).unwrap();
    assert!(ready.contains("v1"), "{ready}");
    world.release("v2", "sorry").await;
    daemon.await_watch("v2").await;
    let run =
        daemon.await_run("it was rolled back and verified", SOON * 2, |run| run.phase == "watching").await;
    assert_eq!(world.contents("").await, then);
    let shown = daemon.cli_ok(&format!("show {}", run.run)).await;
    for part in
        ["in all: 1 object put back", "put back index.html of v1 last", "frontend served", "invalidate /*"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let done = daemon.await_run("it recovered", SOON * 3, |run| run.phase == "recovered").await;
    assert_eq!(done.run, run.run);
    assert_eq!(world.cdn.invalidations(), 1);
    daemon.await_known_good("v1").await;
}

#[tokio::test]
#[ignore = "tests/run frontend"]
async fn a_plan_shows_the_objects_and_an_approval_covers_them() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let mut daemon = world.daemon("approval", &receiver).await;
    world.release("v2", "sorry").await;
    let asked = daemon.await_run("somebody is asked", SOON * 2, |run| run.phase == "awaiting approval").await;
    let plan = daemon.cli_ok("plan shop/web").await;
    for part in [
        "put back index.html (version ",
        "mark assets/app-v2.js as deleted",
        "1 marked as deleted, 1 unchanged",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    // The lists of objects outlive the process.
    daemon.kill();
    daemon.restart().await;
    daemon.cli_ok(&format!("approve {}", asked.run)).await;
    daemon.await_run("it was verified", SOON * 2, |run| run.phase == "watching").await;
    assert!(world.contents("").await["index.html"].starts_with("welcome"));
}
