//! Two daemons of which one leads: real processes, a real API server with a real Lease, and a real Postgres.

mod cut;
mod killed;
mod paused;
mod standby;
mod stopped;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollguard::client::dto::RunStatus;
use serde_json::{Value, json};

use crate::kubernetes::world::{Place, SOON, slowly};
use crate::support::daemon::{Daemon, FIRST_WATCH, WATCH, config};
use crate::support::faulty::Faulty;
use crate::support::postgres::Postgres;
use crate::support::until;
use crate::support::wire::Wire;

const LEASE_ROLE: &str = include_str!("../../deploy/replicas/lease.yaml");
const WEB: &str = "/deployments/web";

/// The lease's times where the defaults would only make a test slow.
fn quick() -> Value {
    json!({ "duration": "4s", "renew_deadline": "3s", "retry": "500ms" })
}

/// What lies between a replica and what it uses.
struct Outside {
    kubernetes: Faulty,
    postgres: Wire,
}

impl Outside {
    async fn between(place: &Place, postgres: &Postgres) -> Self {
        let kubernetes = Faulty::start(place.cluster).await;
        Self { kubernetes, postgres: Wire::to(postgres.port()).await }
    }
}

/// Two replicas with the rights that are shipped, the first of which leads.
struct Pair {
    place: Place,
    first: Daemon,
    second: Daemon,
    /// The first one's, and the second one's.
    outside: [Outside; 2],
    _postgres: Postgres,
}

impl Pair {
    /// `change` is what the test's configuration has of its own.
    async fn start(purpose: &str, lease: Value, change: impl Fn(&mut Value)) -> Self {
        let place = Place::with(purpose, slowly).await;
        let released = Timestamp::now();
        let postgres = Postgres::start(&[]).await;
        let token = place.shipped_role().await;
        place.optional_role(LEASE_ROLE).await;
        let outside = [Outside::between(&place, &postgres).await, Outside::between(&place, &postgres).await];
        let config = |outside: &Outside| {
            let kubeconfig = outside.kubernetes.kubeconfig_as(place.cluster, &token);
            let mut config = config(&kubeconfig, &place.namespace, &place.receiver.url("/messages"));
            let url = postgres.url_through(outside.postgres.port());
            config["journal"] = json!({ "postgres": { "url": url, "tls": { "mode": "disable" } } });
            let mut lease = lease.clone();
            lease["namespace"] = json!(place.namespace);
            config["leadership"] = json!({ "lease": lease });
            change(&mut config);
            config
        };
        let configs = outside.each_ref().map(config);
        let age = Timestamp::now().duration_since(released).unsigned_abs();
        tokio::time::sleep((FIRST_WATCH + Duration::from_secs(1)).saturating_sub(age)).await;
        let [one, other] = configs;
        let first = Daemon::start_with_known_good(one).await;
        until("the first one leads", SOON, async || leads(&first).await.then_some(())).await;
        let second = Daemon::start(other).await;
        // A baseline.
        tokio::time::sleep(Duration::from_secs(4)).await;
        Self { place, first, second, outside, _postgres: postgres }
    }

    /// Waits until the second one leads, and says how long that took.
    async fn second_leads(&self, limit: Duration) -> Duration {
        let began = Instant::now();
        until("the second one leads", limit, async || leads(&self.second).await.then_some(())).await;
        began.elapsed()
    }

    /// One rollback, one change of the Deployment, each message once, whoever did what of it.
    async fn rolled_back_once(&self, by: &Daemon) -> RunStatus {
        let run = by.await_run("a rollback is verified", SOON * 2, |run| run.verified.is_some()).await;
        assert_eq!(run.verified, Some(true), "{run:?}");
        assert_eq!((self.place.tag().await, self.place.generation().await), ("v1".into(), 3));
        let deployment = self.place.deployment().await;
        assert_eq!(deployment.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
        assert_eq!(by.runs().await.len(), 1);
        let complete = |text: &Value| text["title"].as_str().is_some_and(|t| t.starts_with("[COMPLETE]"));
        let receiver = &self.place.receiver;
        receiver.wait_for("it is told", SOON, |delivery| complete(&delivery.json()["data"])).await;
        let mut told: BTreeMap<String, Value> = BTreeMap::new();
        for delivery in receiver.deliveries() {
            let message = delivery.json();
            let key = message["id"].as_str().unwrap().to_owned();
            // The same key is the same message, whichever of the two delivered it.
            let before = told.insert(key, message["data"].clone());
            assert!(before.is_none_or(|before| before == message["data"]), "{message}");
        }
        for once in ["action", "verified"] {
            let of_it = told.keys().filter(|key| key.ends_with(&format!("/{once}"))).collect::<Vec<_>>();
            assert_eq!(of_it, [&format!("{}/{once}", run.run)]);
        }
        run
    }

    /// Waits until the watch after the rollback is over, which nothing has made shorter.
    async fn watched_to_the_end(&self, by: &Daemon, run: &str) {
        let over =
            by.await_run("the watch is over", WATCH * 2, |status| status.run == run && !status.open).await;
        assert_eq!(over.phase, "recovered", "{over:?}");
        let timeline = by.run(run).await.timeline;
        let at = |kind: &str| timeline.iter().find(|moment| moment.kind == kind).unwrap().at;
        let watched = at("watch_ended").duration_since(at("verified")).unsigned_abs();
        assert!(watched >= WATCH, "{watched:?}");
    }
}

async fn leads(daemon: &Daemon) -> bool {
    daemon.metrics().await.lines().any(|line| line == "rollguard_leader 1")
}
