//! How large a fleet one daemon watches and what that costs, and how soon it acts among a thousand fresh releases.
//!
//! `cargo bench --no-default-features --bench fleet` runs all of it; `-- size`, `-- react` and the numbers a part.
mod cluster;
mod daemon;
mod objects;
mod prometheus;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use cluster::Cluster;
use daemon::{AS_DAEMON, Daemon};
use objects::Shape;
use prometheus::Prometheus;

/// How long the quiet daemon is looked at.
const QUIET_SECS: u64 = 60;
/// Rollbacks that are measured among the fresh releases: so few that they are not taken for a shared cause.
const BREACHES: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [first, config] = arguments.as_slice()
        && first == AS_DAEMON
    {
        return daemon::serve(config).await;
    }
    let number = arguments.iter().find_map(|a| a.parse().ok());
    let asked = |what: &str| {
        arguments.iter().any(|a| a == what) || !arguments.iter().any(|a| a == "size" || a == "react")
    };
    let mut outcome = Ok(());
    if asked("size") {
        outcome = size(number.unwrap_or(10_000)).await;
    }
    if outcome.is_ok() && asked("react") {
        outcome = react(number.unwrap_or(1_000)).await;
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that runs, of which the daemon is a process of its own.
struct Stage {
    cluster: Cluster,
    prometheus: Prometheus,
    daemon: Daemon,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn set(shape: Shape) -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let (cluster, api) = Cluster::start(shape).await?;
        let (prometheus, metrics) = Prometheus::start().await?;
        let address = daemon::free_address()?;
        let config = daemon::config(dir.path(), shape, address, api, metrics)?;
        let daemon = Daemon::start(&config, address)?;
        Ok(Self { cluster, prometheus, daemon, _dir: dir })
    }
}

async fn size(workloads: usize) -> Result<(), Box<dyn Error>> {
    let shape = Shape { workloads, namespaces: 20, pods_each: 3, targets_each: 10, revisions: 2 };
    let began = std::time::Instant::now();
    let mut stage = Stage::set(shape).await?;
    println!(
        "{workloads} Deployments, {} pods, {} ReplicaSets in {} namespaces",
        workloads * 3,
        workloads * 3,
        shape.namespaces
    );
    while stage.cluster.watches() < 3 * shape.namespaces as u64 {
        stage.daemon.lives()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (secs, cpu) = (began.elapsed().as_secs_f64(), stage.daemon.cpu_secs());
    println!("listed after {secs:.1} s, for {cpu:.1} s of processor time: {:?}", stage.cluster.take_calls());
    // The first looks at everybody's way back, ten in a second, are part of the start.
    tokio::time::sleep(Duration::from_secs(workloads as u64 / 10 + 30)).await;
    stage.daemon.lives()?;
    stage.cluster.take_calls();
    stage.prometheus.take_asked();
    let (cpu, at) = (stage.daemon.cpu_secs(), std::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(QUIET_SECS)).await;
    let share = (stage.daemon.cpu_secs() - cpu) / at.elapsed().as_secs_f64();
    let (resident, most) = stage.daemon.resident_mib();
    println!("resident: {resident:.0} MiB, at most {most:.0} MiB (goal: 150 MiB)");
    println!("idle: {:.2} % of a core over {QUIET_SECS} s (goal: 1 %)", share * 100.0);
    let calls = stage.cluster.take_calls();
    let per_second = calls.values().sum::<u64>() as f64 / QUIET_SECS as f64;
    println!("idle: {per_second:.1} calls to the API server per second: {calls:?}");
    println!("idle: {} queries to Prometheus in {QUIET_SECS} s", stage.prometheus.take_asked());
    Ok(())
}

async fn react(releases: usize) -> Result<(), Box<dyn Error>> {
    let shape = Shape { workloads: releases, namespaces: 20, pods_each: 3, targets_each: 1, revisions: 2 };
    let mut stage = Stage::set(shape).await?;
    stage.daemon.until("targets with a known good version", releases, |t| t.known_good.is_some()).await?;
    (0..releases).for_each(|workload| stage.cluster.release(workload));
    stage.daemon.until("releases under watch", releases, |t| t.watch.is_some()).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    stage.prometheus.take_asked();
    let cpu = stage.daemon.cpu_secs();
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!(
        "{releases} fresh releases: {:.1} queries to Prometheus per interval of 5 s and rule (two rules), {:.1} % of a core",
        stage.prometheus.take_asked() as f64 / 6.0 / 2.0,
        (stage.daemon.cpu_secs() - cpu) / 0.3
    );
    let mut took_ms = Vec::new();
    for workload in 0..BREACHES.min(releases / 4) {
        let told = stage.cluster.crash(workload);
        // Longer than a reaction, so that each is measured alone; and not in step with anything.
        tokio::time::sleep(Duration::from_millis(170 + (workload as u64 * 37) % 61)).await;
        match stage.cluster.patched(workload) {
            Some(at) => took_ms.push(at.duration_since(told).as_secs_f64() * 1000.0),
            None => println!("workload {workload} was not rolled back in time"),
        }
    }
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        took_ms.get(((took_ms.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN)
    };
    println!(
        "crash loop told → patch received, {} of {releases} fresh releases: median {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        took_ms.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
