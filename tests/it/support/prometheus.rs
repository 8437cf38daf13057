//! A real Prometheus that scrapes and evaluates every second.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::binary;
use super::process::free_port;
use super::server::Server;

/// What a Prometheus is configured with; each part is as in its configuration file.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    /// Entries of `scrape_configs`.
    pub(crate) scrape: Vec<Value>,
    /// Rules of one group: `{"alert": …, "expr": …}` or `{"record": …, "expr": …}`.
    pub(crate) rules: Vec<Value>,
    /// `127.0.0.1:PORT` of the Alertmanager to send alerts to.
    pub(crate) alertmanager: Option<String>,
    /// Another store whose samples are part of every answer.
    pub(crate) remote_read: Option<String>,
    /// Whether it asks for protobuf and stores native histograms.
    pub(crate) native_histograms: bool,
}

/// A running Prometheus; dropping it kills it.
pub(crate) struct Prometheus {
    server: Server,
}

impl Prometheus {
    pub(crate) async fn start(setup: &Setup) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), setup).await
    }

    /// Starts with a past: `openmetrics` is text of that format with a time at each sample.
    pub(crate) async fn start_with_past(setup: &Setup, openmetrics: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("past.om"), openmetrics).unwrap();
        let mut command = Command::new(binary("promtool"));
        command.args(["tsdb", "create-blocks-from", "openmetrics", "past.om", "data"]);
        let output = command.current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "promtool: {output:?}");
        Self::start_in(dir, setup).await
    }

    async fn start_in(dir: TempDir, setup: &Setup) -> Self {
        write(dir.path(), setup);
        let port = free_port();
        let mut command = Command::new(binary("prometheus"));
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--web.enable-lifecycle", "--log.level=warn"]);
        if setup.native_histograms {
            command.arg("--enable-feature=native-histograms");
        }
        let url = format!("http://127.0.0.1:{port}");
        Self { server: Server::start(dir, command, url).await }
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Stops it; what it stored stays for [`Prometheus::restart`].
    pub(crate) async fn stop(&mut self) {
        self.server.stop().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.server.restart().await;
    }

    /// Takes another setup while it runs.
    pub(crate) async fn reload(&self, setup: &Setup) {
        write(self.server.dir(), setup);
        let url = format!("{}/-/reload", self.url());
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert!(answer.status().is_success(), "reload: {answer:?}");
    }

    /// The `data.result` of an instant query.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query", self.url());
        let request = reqwest::Client::new().post(url).form(&[("query", query)]);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

/// A scrape job over fixed `HOST:PORT` targets.
pub(crate) fn static_targets(job: &str, targets: &[String]) -> Value {
    json!({ "job_name": job, "static_configs": [{ "targets": targets }] })
}

/// A scrape job over pods, each with the `namespace` and `pod` labels that a cluster's own discovery gives.
pub(crate) fn pod_targets(job: &str, namespace: &str, pods: &[(&str, String)]) -> Value {
    let configs: Vec<Value> = pods
        .iter()
        .map(|(pod, address)| {
            json!({ "targets": [address], "labels": { "namespace": namespace, "pod": pod } })
        })
        .collect();
    json!({ "job_name": job, "static_configs": configs })
}

/// A scrape job over what an HTTP service discovery lists, such as the kubelet's. (Debian's Prometheus has none for Kubernetes.)
pub(crate) fn discovered_targets(job: &str, discovery_url: &str) -> Value {
    json!({ "job_name": job, "http_sd_configs": [{ "url": discovery_url, "refresh_interval": "1s" }] })
}

/// JSON is YAML, so serde_json writes the files.
fn write(dir: &Path, setup: &Setup) {
    let alertmanagers: Vec<Value> = setup
        .alertmanager
        .iter()
        .map(|address| json!({ "static_configs": [{ "targets": [address] }] }))
        .collect();
    let remote_read: Vec<Value> =
        setup.remote_read.iter().map(|url| json!({ "url": url, "read_recent": true })).collect();
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "scrape_configs": setup.scrape,
        "rule_files": ["rules.yml"],
        "alerting": { "alertmanagers": alertmanagers },
        "remote_read": remote_read,
    });
    let rules = json!({ "groups": [{ "name": "test", "rules": setup.rules }] });
    std::fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
    std::fs::write(dir.join("rules.yml"), rules.to_string()).unwrap();
}
