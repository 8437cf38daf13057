//! The daemon in a process of its own, and what that process costs.
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use rollguard::cli::{Cli, run};
use rollguard::http::dto::ServicesAnswer;

use crate::objects::{Shape, name};

/// The argument with which the benchmark starts itself as the daemon.
pub(crate) const AS_DAEMON: &str = "as-daemon";

/// The daemon as its users start it.
pub(crate) async fn serve(config: &str) -> std::process::ExitCode {
    run(Cli::parse_from(["rollguard", "serve", "--config", config])).await.into()
}

pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already over, or over now: there is nothing left to do about it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Daemon {
    pub(crate) fn start(config: &Path, address: SocketAddr) -> io::Result<Self> {
        let log = config.with_extension("log");
        let mut command = Command::new(std::env::current_exe()?);
        command.args([AS_DAEMON, &config.display().to_string()]).env("RUST_LOG", "warn");
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log)?).spawn()?;
        Ok(Self { child, log, address, http: reqwest::Client::new() })
    }

    pub(crate) async fn services(&self) -> Option<ServicesAnswer> {
        let url = format!("http://{}/api/v1/services", self.address);
        self.http.get(url).send().await.ok()?.json().await.ok()
    }

    /// An error with its log, if it has ended.
    pub(crate) fn lives(&mut self) -> io::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log)?;
        Err(io::Error::other(format!("the daemon has ended: {status}\n{log}")))
    }

    /// Waits until so many targets are as `wanted`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        count: usize,
        wanted: impl Fn(&rollguard::http::dto::TargetStatus) -> bool,
    ) -> io::Result<()> {
        let mut seen = 0;
        for _ in 0..WAITS_MAX {
            self.lives()?;
            seen = self.services().await.map_or(0, |s| s.targets.iter().filter(|t| wanted(t)).count());
            if seen >= count {
                return Ok(());
            }
            tokio::time::sleep(WAIT).await;
        }
        Err(io::Error::other(format!("there are {seen} {what} instead of {count}")))
    }

    /// MiB that are resident now, and were at most.
    pub(crate) fn resident_mib(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let read = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(f64::NAN)
                / 1024.0
        };
        (read("VmRSS:"), read("VmHWM:"))
    }

    /// Seconds of processor time so far.
    pub(crate) fn cpu_secs(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok());
        // The kernel counts in hundredths of a second for programs, on every Linux there is.
        ticks.sum::<f64>() / 100.0
    }
}

/// Five minutes of looking.
const WAITS_MAX: u32 = 600;
const WAIT: Duration = Duration::from_millis(500);

/// An address that was free a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// So many targets in each service, all with the two usual rules. A ConfigMap holds it, so it must stay under a mebibyte.
pub(crate) fn config(
    dir: &Path,
    shape: Shape,
    address: SocketAddr,
    api: SocketAddr,
    prometheus: SocketAddr,
) -> io::Result<PathBuf> {
    let state = dir.join("state");
    let mut text = format!(
        r#"listen: {address}
state_dir: {}
kubernetes: {{url: "http://{api}", events: false}}
sources:
  prometheus: {{url: "http://{prometheus}"}}
rollbacks_at_once: 1000
notify:
  webhook: {{url: "http://{prometheus}/hook", secret: only-for-the-benchmark}}
services:
"#,
        state.display()
    );
    let workloads: Vec<usize> = (0..shape.workloads).collect();
    for (number, members) in workloads.chunks(shape.targets_each).enumerate() {
        let rules = if number == 0 { RULES } else { "*usual" };
        text.push_str(&format!("- name: s{number}\n  policy: auto\n  rules: {rules}\n  targets:\n"));
        for workload in members {
            let (name, namespace) = (name(*workload), shape.namespace(*workload));
            text.push_str(&format!(
                "  - {{name: t{workload}, kubernetes: {{namespace: {namespace}, deployment: {name}}}}}\n"
            ));
        }
    }
    let path = dir.join("rollguard.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

const RULES: &str = r#"&usual
  - {name: error-rate, errors: {above: 5%, total: http_requests_total, bad: 'http_requests_total{code=~"5.."}'}}
  - {name: latency, latency: {increase: 50%, histogram: http_request_duration_seconds}}"#;
