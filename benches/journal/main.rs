//! What durability costs: appends, alerts through the webhook, and a restart with 1,000 open rollbacks.
//!
//! `cargo bench --no-default-features --bench journal`; `ROLLGUARD_BENCH_DIR` names the disk, otherwise it is the one for
//! temporary files. Under `taskset -c 0` all of it, the clients included, shares one core.
mod alerts;
mod appends;
mod restart;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = std::env::var_os("ROLLGUARD_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let fresh = || tempfile::tempdir_in(&dir);
    println!("journal in SQLite, every answer synced, in {}", dir.display());
    for writers in [1, 64, 512] {
        appends::measure(fresh()?.path(), writers).await?;
    }
    for (alerts, paced) in [(1, false), (20, false), (1, true), (20, true)] {
        alerts::measure(fresh()?.path(), alerts, paced).await?;
    }
    restart::measure(fresh()?.path()).await
}

/// The duration that a share of them did not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
