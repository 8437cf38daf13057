//! A program run for a test, which never outlives the test, however that ends.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::until;

/// Runs "$@" and ends as it ends. Each line on standard input is a signal to send to it; the end of standard input, which comes
/// also when the test process was killed, is SIGKILL. A limit on the size of files is an error to it, as a full disk is.
const SUPERVISOR: &str = r#"
exec 3<&0
trap '' XFSZ
"$@" </dev/null 3<&- &
program=$!
{
    while read -r signal; do kill -s "$signal" "$program"; done
    kill -s KILL "$program"
} <&3 2>/dev/null &
orders=$!
wait "$program"
status=$?
kill "$orders"
exit "$status"
"#;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    supervisor: Child,
    orders: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `NAME.log` in `dir`, which is its working directory too.
    pub(crate) fn start(dir: &Path, command: &Command) -> Self {
        let name = Path::new(command.get_program()).file_name().unwrap().to_string_lossy().into_owned();
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let set = command.get_envs().filter_map(|(k, v)| Some((k, v?)));
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(set)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let orders = supervisor.stdin.take();
        Self { name, supervisor, orders, log }
    }

    /// Sends a signal by its name, such as `TERM` or `HUP`.
    pub(crate) fn signal(&mut self, signal: &str) {
        if let Some(orders) = &mut self.orders {
            writeln!(orders, "{signal}").unwrap();
        }
    }

    /// SIGKILL, and waits until the program is gone.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.orders = None;
        self.supervisor.wait().unwrap()
    }

    /// SIGTERM, and waits until the program has ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let what = format!("{} ended after SIGTERM", self.name);
        until(&what, Duration::from_secs(20), async || self.supervisor.try_wait().unwrap()).await
    }

    /// Waits until the program has ended by itself.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ended by itself", self.name);
        until(&what, limit, async || self.supervisor.try_wait().unwrap()).await
    }

    /// Waits until `url` answers 2xx; panics with the end of the program's log when it does not, or the program ends.
    pub(crate) async fn ready(&mut self, url: &str) {
        let http =
            reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
        let started = std::time::Instant::now();
        loop {
            if let Ok(answer) = http.get(url).send().await
                && answer.status().is_success()
            {
                return;
            }
            let ended = self.supervisor.try_wait().unwrap();
            if ended.is_some() || started.elapsed() > Duration::from_secs(60) {
                panic!(
                    "{} is not ready at {url} ({ended:?}); the end of its log:\n{}",
                    self.name,
                    self.log_end()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the program printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A free port on loopback that this process has not handed out before.
///
/// Taken from below the kernel's ephemeral range, so that no outgoing connection gets it before the program that it is for.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time start at different places.
    let start = u16::try_from(std::process::id() * 211 % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback");
}
