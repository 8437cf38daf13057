//! The real components that the integration tests run against, and what stands in for the parts of a cluster that do not fit here.

// A test that needs a component is `#[ignore = "tests/run AREA"]`: a plain `cargo test` counts it as ignored, and
// `tests/run AREA` sets the components up, names their folder in `ROLLGUARD_TEST_BIN` and runs it.

pub(crate) mod alertmanager;
#[cfg(feature = "aws")]
pub(crate) mod cdn;
#[cfg(feature = "aws")]
pub(crate) mod cloudwatch;
pub(crate) mod cluster;
pub(crate) mod container_logs;
pub(crate) mod daemon;
pub(crate) mod faulty;
pub(crate) mod hooked;
pub(crate) mod infrastructure;
pub(crate) mod instrumented;
pub(crate) mod kubelet;
pub(crate) mod lever;
#[cfg(feature = "aws")]
pub(crate) mod moto;
pub(crate) mod pod_status;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod prometheus;
#[cfg(feature = "aws")]
pub(crate) mod rds;
pub(crate) mod receiver;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod wire;
pub(crate) mod workload;
pub(crate) mod workloads;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The path of a component's program, from the folder that `tests/run` filled.
pub(crate) fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("ROLLGUARD_TEST_BIN")
        .expect("ROLLGUARD_TEST_BIN is not set: run this test with tests/run");
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is missing: name the area that needs it to tests/run", path.display());
    path
}

/// Says a result past the test harness, which shows what a test prints only when it fails.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "\n{line}").unwrap();
}

/// Asks `probe` every 50 ms until it answers, for at most `limit`; `what` tells in the panic what did not happen.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "within {limit:?} it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
