//! The real daemon, the built binary with a configuration of its own, which a test can kill, start again and talk to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rollguard::client::Client;
use rollguard::client::dto::{RunAnswer, RunStatus, TargetStatus};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::until;

const BINARY: &str = env!("CARGO_BIN_EXE_rollguard");
/// The person in whose name [`Daemon::cli`] and [`Daemon::client`] speak.
pub(crate) const ANN: (&str, &str) = ("ann", "token-of-ann-0123456789");
/// A second person.
pub(crate) const BEN: (&str, &str) = ("ben", "token-of-ben-0123456789");
/// The key of the signatures on messages.
pub(crate) const WEBHOOK_SECRET: &str = "secret-of-the-receiver";

/// A configuration in which `shop/backend` is the Deployment `web` of a namespace, measured by scraping its pods, and
/// messages go to the URL `messages`. It is plain JSON, so a test changes what it is about: `config["services"][0]["policy"]`.
///
/// Known good at first start is what has run for a whole watch, here [`WATCH`].
pub(crate) fn config(kubeconfig: &Path, namespace: &str, messages: &str) -> Value {
    json!({
        "api": { "people": [{ "name": ANN.0, "token": ANN.1 }, { "name": BEN.0, "token": BEN.1 }] },
        "kubernetes": { "kubeconfig": kubeconfig },
        "sources": { "scrape": { "interval": "1s", "fresh_interval": "1s", "timeout": "1s" } },
        "notify": { "webhook": { "url": messages, "secret": WEBHOOK_SECRET } },
        "services": [{
            "name": "shop",
            "policy": "auto",
            "watch": "40s",
            "page_after": "1m",
            "rollout_deadline": "40s",
            "targets": [{
                "name": "backend",
                "kubernetes": { "namespace": namespace, "deployment": "web" },
            }],
            "rules": [{ "name": "error-rate", "errors": {
                "above": "5%",
                "total": "http_requests_total",
                "bad": "http_requests_total{code=~\"5..\"}",
            }}],
            "judging": { "batch": "1s", "settle": "5s" },
            "verify": { "deadline": "40s" },
        }],
    })
}

/// The shortest watch that can be configured.
pub(crate) const FIRST_WATCH: Duration = Duration::from_secs(10);
/// The length of a watch in [`config`]; error rates alone are judged for 20 seconds before anything is rolled back.
pub(crate) const WATCH: Duration = Duration::from_secs(40);

/// A running daemon with its state directory. Dropping it kills it; in a failing test it shows the end of its log.
pub(crate) struct Daemon {
    dir: TempDir,
    url: String,
    process: Option<Process>,
}

impl Daemon {
    /// Writes the configuration, with a `listen` and a `state_dir` of this daemon's own, starts `rollguard serve`, and
    /// waits until /readyz answers.
    pub(crate) async fn start(config: Value) -> Self {
        let url = format!("http://127.0.0.1:{}", free_port());
        let mut daemon = Self { dir: tempfile::tempdir().unwrap(), url, process: None };
        daemon.configure(config);
        daemon.restart().await;
        daemon
    }

    /// Starts it as [`Daemon::start`] does for a target that has run for at least [`FIRST_WATCH`]: a first life, in which a
    /// watch is so short, remembers v1 as known good, and the next one is configured as asked.
    pub(crate) async fn start_with_known_good(config: Value) -> Self {
        let mut first = config.clone();
        first["services"][0]["watch"] = json!(format!("{}s", FIRST_WATCH.as_secs()));
        let mut daemon = Self::start(first).await;
        daemon.await_known_good("v1").await;
        daemon.terminate().await;
        daemon.configure(config);
        daemon.restart().await;
        daemon
    }

    /// What the next life, or the next reload, is configured with.
    pub(crate) fn configure(&self, mut config: Value) {
        config["listen"] = json!(self.url.trim_start_matches("http://"));
        config["state_dir"] = json!(self.dir.path().join("state"));
        self.write(&config);
    }

    /// Writes the file exactly so.
    pub(crate) fn write(&self, config: &Value) {
        std::fs::write(self.dir.path().join("rollguard.yaml"), config.to_string()).unwrap();
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&mut self) {
        self.signal("HUP");
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&mut self, name: &str) {
        if let Some(process) = &mut self.process {
            process.signal(name);
        }
    }

    /// Waits until it has ended by itself, within `limit`, and gives its exit code.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let process = self.process.as_mut().unwrap();
        let status = process.ended(limit).await;
        self.process = None;
        status.code()
    }

    /// Starts it again after [`Daemon::kill`] or [`Daemon::terminate`], with the state and at the address that it had.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// As [`Daemon::restart`], without waiting for anything.
    pub(crate) fn launch(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let mut command = Command::new(BINARY);
        command.args(["serve", "--config", "rollguard.yaml"]).env("RUST_LOG", "rollguard=info,warn");
        self.process = Some(Process::start(self.dir.path(), &command));
    }

    /// Waits until /readyz answers.
    pub(crate) async fn ready(&mut self) {
        let url = format!("{}/readyz", self.url);
        self.process.as_mut().unwrap().ready(&url).await;
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM; the daemon must end well.
    pub(crate) async fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            let status = process.terminate().await;
            assert!(status.success(), "after SIGTERM: {status}\n{}", self.log());
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What all lives of the daemon logged, a JSON object per line.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("rollguard.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The configuration of the current life.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.dir.path().join("rollguard.yaml")
    }

    /// The state directory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The API as [`ANN`]. It belongs to the current runtime.
    pub(crate) fn client(&self) -> Client {
        self.client_as(ANN.1)
    }

    pub(crate) fn client_as(&self, token: &str) -> Client {
        Client::new(&self.url, Some(&SecretString::from(token))).unwrap()
    }

    /// How the real command line ended, run as [`ANN`]. `line` is split at spaces.
    pub(crate) async fn cli(&self, line: &str) -> Output {
        self.cli_as(ANN.1, line).await
    }

    pub(crate) async fn cli_as(&self, token: &str, line: &str) -> Output {
        let mut command = Command::new(BINARY);
        command
            .args(line.split_whitespace())
            .env("ROLLGUARD_SERVER", &self.url)
            .env("ROLLGUARD_TOKEN", token);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What the command line prints on stdout; panics when it fails.
    pub(crate) async fn cli_ok(&self, line: &str) -> String {
        let output = self.cli(line).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rollguard {line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `shop/backend` as the API shows it.
    pub(crate) async fn target(&self) -> TargetStatus {
        self.client().services().await.unwrap().targets.remove(0)
    }

    /// Waits until `shop/backend` is as `wanted`.
    pub(crate) async fn await_target(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&TargetStatus) -> bool,
    ) -> TargetStatus {
        // A replica that has just begun to stand by or to lead shows nothing yet.
        let shown = async || self.client().services().await.unwrap().targets.into_iter().next();
        until(what, limit, async || shown().await.filter(&wanted)).await
    }

    /// Waits until a version of this label is known to be good and nothing is under watch.
    pub(crate) async fn await_known_good(&self, label: &str) {
        self.await_target(&format!("{label} is known good"), WATCH * 2, |target| {
            target.known_good.as_ref().is_some_and(|v| v.label == label) && target.watch.is_none()
        })
        .await;
    }

    /// Waits until a release of this label is under watch.
    pub(crate) async fn await_watch(&self, label: &str) -> TargetStatus {
        self.await_target(&format!("{label} is under watch"), Duration::from_secs(10), |target| {
            target.watch.as_ref().is_some_and(|w| w.release.to.label == label)
        })
        .await
    }

    /// What /metrics shows.
    pub(crate) async fn metrics(&self) -> String {
        reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap()
    }

    /// All rollbacks, open ones first.
    pub(crate) async fn runs(&self) -> Vec<RunStatus> {
        self.client().runs().await.unwrap().runs
    }

    /// Waits until one of the rollbacks is as `wanted`.
    pub(crate) async fn await_run(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&RunStatus) -> bool,
    ) -> RunStatus {
        until(what, limit, async || self.runs().await.into_iter().find(&wanted)).await
    }

    /// One rollback with its timeline.
    pub(crate) async fn run(&self, run: &str) -> RunAnswer {
        self.client().run(run).await.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the daemon's log:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}
