//! The stage of the demo: the sandbox, and the real daemon with a configuration that points at it.
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::scenario::{Incident, RELEASED, SETTLE, Scenario, WARM_UP};
use crate::app::Daemon;
use crate::cli::serve::failure;
use crate::cli::{Exit, Failure};
use crate::client::Client;
use crate::config::parse;
use crate::sandbox::Sandbox;

pub(super) struct Stage {
    sandbox: Sandbox,
    daemon: Daemon,
    state: PathBuf,
    pub(super) client: Client,
}

/// The daemon has listed the cluster by then.
const READY_MAX: Duration = Duration::from_secs(20);

impl Stage {
    pub(super) async fn set(scenario: Scenario) -> Result<Self, Failure> {
        let sandbox = Sandbox::start(scenario.options()).await.map_err(|e| failure(&e))?;
        let state = state_dir();
        let text = config(scenario, &sandbox, &state);
        let loaded = parse(&text, "demo.yaml", &state, &|_| None);
        let loaded = loaded.map_err(|e| Failure::new(Exit::Failure, e.to_string()))?;
        let daemon = Daemon::start(loaded.config, None).await.map_err(|e| failure(&e))?;
        let client = Client::new(&format!("http://{}", daemon.address()), None)?;
        Ok(Self { sandbox, daemon, state, client })
    }

    /// Waits until the daemon knows what runs.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let known = async {
            loop {
                let answer = self.client.services().await?;
                if answer.targets.iter().any(|t| t.known_good.is_some()) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let late = |_| Failure::new(Exit::Failure, "the daemon did not see the demo's Deployment");
        tokio::time::timeout(READY_MAX, known).await.map_err(late)?
    }

    pub(super) async fn now(&self) -> Result<Timestamp, Failure> {
        Ok(self.client.services().await?.now)
    }

    pub(super) fn deploy(&self, scenario: Scenario) -> Result<(), Failure> {
        self.sandbox.deploy(&scenario.deploy()).map_err(|e| failure(&e))
    }

    pub(super) fn happen(&self, incident: Incident) {
        match incident {
            Incident::DependencyBreaks => self.sandbox.break_dependency(0.2),
            Incident::OneRequestFails => self.sandbox.fail_one_request(),
        }
    }

    /// Requests that the pods which serve now have answered.
    pub(super) fn requests_served(&self) -> u64 {
        self.sandbox.ready_pods().iter().map(|pod| pod.requests_served).sum()
    }

    /// Whether only the released version serves.
    pub(super) fn rolled_out(&self) -> bool {
        let pods = self.sandbox.ready_pods();
        !pods.is_empty() && pods.iter().all(|pod| pod.version == RELEASED)
    }

    pub(super) fn running_version(&self) -> Result<String, Failure> {
        self.sandbox.running_version().map_err(|e| failure(&e))
    }

    pub(super) fn messages(&self) -> Vec<serde_json::Value> {
        self.sandbox.take_messages()
    }

    pub(super) async fn strike(self) -> Result<(), Failure> {
        self.daemon.stopper().cancel();
        self.daemon.wait().await.map_err(|e| failure(&e))?;
        self.sandbox.stop().await;
        // What is left of a demo is worth nothing; a folder that cannot be removed is the system's to clean.
        std::fs::remove_dir_all(&self.state).ok();
        Ok(())
    }
}

fn state_dir() -> PathBuf {
    std::env::temp_dir().join(format!("rollguard-demo-{}", std::process::id()))
}

fn config(scenario: Scenario, sandbox: &Sandbox, state: &std::path::Path) -> String {
    let (front, kube) = (sandbox.front_url(), sandbox.kube_url());
    let (watch, warm_up, settle) = (scenario.watch().as_secs(), WARM_UP.as_secs(), SETTLE.as_secs());
    let state = state.display();
    format!(
        r#"listen: 127.0.0.1:0
state_dir: "{state}"
status_page: https://status.example.com
kubernetes: {{url: "{kube}", events: false}}
sources:
  scrape: {{interval: 1s, fresh_interval: 1s, timeout: 1s}}
notify:
  webhook: {{url: "{front}/messages", secret: "only-for-the-demo"}}
services:
  - name: shop
    policy: auto
    watch: {watch}s
    judging: {{warm_up: {warm_up}s, settle: {settle}s}}
    targets:
      - name: backend
        kubernetes: {{namespace: default, deployment: shop}}
    rules:
      - name: error-rate
        errors: {{above: 5%, total: http_requests_total, bad: 'http_requests_total{{code=~"5.."}}'}}
      - name: latency
        latency: {{increase: 50%, histogram: http_request_duration_seconds}}
    verify:
      deadline: 1m
      checks:
        - {{name: API health, http: {{url: "{front}/health", status: 200}}}}
        - {{name: Version, version: {{url: "{front}/version", pointer: /version}}}}
        - {{name: Pods, pods_ready: {{}}}}
        - {{name: Error rate, error_rate: {{below: 1%}}}}
        - {{name: p95, latency_p95: {{below: 200ms}}}}
"#
    )
}
