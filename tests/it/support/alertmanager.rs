//! A real Alertmanager that delivers every alert at once to one webhook.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
        write(dir.path(), &[(webhook, token)]);
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

    /// From now on delivers to all of these, as URLs and tokens.
    pub(crate) async fn deliver_to(&self, webhooks: &[(&str, Option<&str>)]) {
        write(self.server.dir(), webhooks);
        let url = format!("{}/-/reload", self.url());
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert!(answer.status().is_success(), "reload: {answer:?}");
    }

    /// Posts alerts as Prometheus does: `[{"labels": {…}, "annotations": {…}}]`.
    pub(crate) async fn post(&self, alerts: &Value) {
        let url = format!("{}/api/v2/alerts", self.url());
        let request = reqwest::Client::new().post(url).json(alerts);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "alerts refused: {answer:?}");
    }

    /// Silences the alerts with this label for an hour, and answers the silence's id.
    pub(crate) async fn silence(&self, label: &str, value: &str) -> String {
        let now = jiff::Timestamp::now();
        let silence = json!({
            "matchers": [{ "name": label, "value": value, "isRegex": false, "isEqual": true }],
            "startsAt": now, "endsAt": now + Duration::from_secs(3600),
            "createdBy": "a test", "comment": "known",
        });
        let url = format!("{}/api/v2/silences", self.url());
        let request = reqwest::Client::new().post(url).json(&silence);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["silenceID"].as_str().unwrap().to_owned()
    }

    /// Ends a silence.
    pub(crate) async fn expire(&self, silence: &str) {
        let url = format!("{}/api/v2/silence/{silence}", self.url());
        let answer = reqwest::Client::new().delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "silence: {answer:?}");
    }

    /// The alerts that are active now.
    pub(crate) async fn active(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts?active=true", self.url());
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}

/// JSON is YAML. Every alert is a group of its own and goes to all of these webhooks.
fn write(dir: &Path, webhooks: &[(&str, Option<&str>)]) {
    let target = |(url, token): &(&str, Option<&str>)| {
        let mut target = json!({ "url": url, "send_resolved": true });
        if let Some(token) = token {
            target["http_config"] = json!({ "authorization": { "credentials": token } });
        }
        target
    };
    let targets: Vec<Value> = webhooks.iter().map(target).collect();
    let config = json!({
        "route": {
            "receiver": "webhook",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{ "name": "webhook", "webhook_configs": targets }],
    });
    std::fs::write(dir.join("alertmanager.yml"), config.to_string()).unwrap();
}
