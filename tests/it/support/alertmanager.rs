//! A real Alertmanager that delivers every alert at once to one webhook.

use std::process::Command;

use serde_json::{Value, json};

use super::binary;
use super::process::free_port;
use super::server::Server;

/// A running Alertmanager; dropping it kills it.
pub(crate) struct Alertmanager {
    server: Server,
}

impl Alertmanager {
    /// Delivers to `webhook`, with `Authorization: Bearer TOKEN` when there is a token.
    pub(crate) async fn start(webhook: &str, token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut target = json!({ "url": webhook, "send_resolved": true });
        if let Some(token) = token {
            target["http_config"] = json!({ "authorization": { "credentials": token } });
        }
        let config = json!({
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{ "name": "webhook", "webhook_configs": [target] }],
        });
        std::fs::write(dir.path().join("alertmanager.yml"), config.to_string()).unwrap();
        let port = free_port();
        let mut command = Command::new(binary("alertmanager"));
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--config.file=alertmanager.yml", "--storage.path=data"])
            // Empty: no gossip, which would listen on all addresses.
            .arg("--cluster.listen-address=");
        let url = format!("http://127.0.0.1:{port}");
        Self { server: Server::start(dir, command, url).await }
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// `127.0.0.1:PORT`, as Prometheus wants it.
    pub(crate) fn address(&self) -> String {
        self.url().trim_start_matches("http://").to_owned()
    }

    pub(crate) async fn stop(&mut self) {
        self.server.stop().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.server.restart().await;
    }

    /// Posts alerts as Prometheus does: `[{"labels": {…}, "annotations": {…}}]`.
    pub(crate) async fn post(&self, alerts: &Value) {
        let url = format!("{}/api/v2/alerts", self.url());
        let request = reqwest::Client::new().post(url).json(alerts);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "alerts refused: {answer:?}");
    }

    /// The alerts that are active now.
    pub(crate) async fn active(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts?active=true", self.url());
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}
