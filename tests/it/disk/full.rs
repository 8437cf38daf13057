//! A disk that fills up under a running daemon: nothing is done without the journal, and it goes on by itself.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rollguard::sandbox::{Deploy, Fault, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::daemon::Daemon;
use crate::support::receiver::Receiver;
use crate::support::until;

/// The same program with a limit of nothing on the size of its files, which acts as a disk without space does.
pub(super) fn command_on_a_full_disk(command: &Command) -> Command {
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -S -f 0; exec \"$@\"", "sh"]).arg(command.get_program());
    full.args(command.get_args());
    full
}

/// Fills or frees the disk of the daemon with this state directory.
fn limit_files(state_dir: &Path, bytes: &str) {
    let lock = std::fs::read_to_string(state_dir.join("journal.lock")).unwrap();
    let pid = lock.lines().next().unwrap();
    let limited =
        Command::new("prlimit").args(["--pid", pid, &format!("--fsize={bytes}:")]).status().unwrap();
    assert!(limited.success());
}

#[tokio::test]
#[ignore = "tests/run disk"]
async fn a_disk_that_fills_up_stops_everything_until_there_is_space_again() {
    let options = SandboxOptions { ready_after: Duration::from_secs(1), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let receiver = Receiver::start().await;
    let mut config = crate::reload::config(&sandbox, "shop");
    config["notify"]["webhook"]["url"] = json!(receiver.url("/messages"));
    config["services"][0]["watch"] = json!("3m");
    let daemon = Daemon::start(config).await;
    daemon.await_known_good("v1").await;
    sandbox.deploy(&Deploy::new("v2", Fault::Errors(0.3))).unwrap();
    daemon.await_watch("v2").await;
    limit_files(&daemon.state_dir(), "0");

    let told = |code: &'static str, kind: &'static str| {
        move |d: &crate::support::receiver::Delivery| {
            let data = &d.json()["data"];
            data["code"] == code && data["kind"] == kind
        }
    };
    let page = receiver.wait_for("people are paged", Duration::from_secs(90), told("RG605", "page")).await;
    assert!(page.json()["data"]["lines"][0].as_str().unwrap().contains("disk"), "{}", page.raw);
    assert_eq!(sandbox.running_version().unwrap(), "v2", "nothing is done that is not in the journal");
    // An order that cannot be kept is not taken: whoever gave it gives it again.
    let kill = daemon.cli("kill on --reason test").await;
    let said = String::from_utf8(kill.stderr).unwrap();
    assert!(!kill.status.success() && said.contains("[RG506]"), "{said}");
    assert!(daemon.runs().await.is_empty());

    limit_files(&daemon.state_dir(), "unlimited");
    let soon = Duration::from_secs(60);
    daemon.await_run("it is verified", soon, |run| run.phase == "watching").await;
    receiver.wait_for("the page is over", soon, told("RG311", "resolve")).await;
    until("v1 is back", soon, async || (sandbox.running_version().unwrap() == "v1").then_some(())).await;
    let verified = daemon.cli_ok(&format!("audit verify --state-dir {}", daemon.state_dir().display())).await;
    assert!(verified.contains(" records, head "), "{verified}");
    let outages = receiver.deliveries().into_iter().filter(told("RG605", "page")).count();
    assert_eq!(outages, 1);
}
