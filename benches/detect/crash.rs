//! Crash loops of all new pods: how long after Kubernetes reported them they are decided.
use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rollguard::domain::evidence::Strength;
use rollguard::domain::names::ServiceName;
use rollguard::domain::runbook::standard_rules;
use rollguard::domain::signal::{PodReading, Reading, Sample};
use rollguard::domain::watch::Watch;
use serde::Serialize;

use super::ours::{OursError, at, watch_spec};

pub(crate) const TITLE: &str = "Crash loop of all new pods";
/// How long the kubelet waits after the first, the second, … crash.
const BACK_OFF_SECS: [u32; 4] = [0, 10, 20, 40];
const HEARTBEAT_SECS: u32 = 5;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Loops {
    pub pods: u32,
    pub watches: u64,
    /// Seconds from the report of the last pod's crash loop; `None`: some were never decided.
    pub slowest: Option<u32>,
    pub met: bool,
}

pub(crate) fn print(watches: u64) -> Result<Vec<Loops>, OursError> {
    println!("\n### {TITLE}\n");
    println!("| new pods | watches | slowest decision after the report, s | goal ≤ 5 s |\n|---|---|---|---|");
    let mut all = Vec::new();
    for pods in [1, 3, 10] {
        let row = loops(pods, watches)?;
        let slowest = row.slowest.map_or("never".to_string(), |secs| secs.to_string());
        println!("| {pods} | {watches} | {slowest} | {} |", if row.met { "✓" } else { "**✗**" });
        all.push(row);
    }
    Ok(all)
}

fn loops(pods: u32, watches: u64) -> Result<Loops, OursError> {
    let mut slowest = Some(0);
    for seed in 0..watches {
        slowest = slowest.zip(delay(pods, seed)?).map(|(a, b)| a.max(b));
    }
    Ok(Loops { pods, watches, slowest, met: slowest.is_some_and(|secs| secs <= 5) })
}

/// What Kubernetes reports of a pod from a moment on.
struct Event {
    secs: u32,
    pod: u32,
    restarts: u32,
    reason: Option<&'static str>,
}

/// Each pod runs for some seconds, crashes, and waits longer and longer.
fn events(rng: &mut StdRng, pods: u32) -> Vec<Event> {
    let mut events = Vec::new();
    for pod in 0..pods {
        let mut secs = rng.random_range(0..=3);
        events.push(Event { secs, pod, restarts: 0, reason: None });
        for (restarts, wait) in (0..).zip(BACK_OFF_SECS) {
            secs += rng.random_range(1..=6);
            let reason = if wait > 0 { "CrashLoopBackOff" } else { "Error" };
            events.push(Event { secs, pod, restarts, reason: Some(reason) });
            secs += wait;
            events.push(Event { secs, pod, restarts: restarts + 1, reason: None });
        }
    }
    events.sort_by_key(|event| event.secs);
    events
}

/// Seconds from the moment at which the last pod was reported to crash-loop to the decision.
fn delay(pods: u32, seed: u64) -> Result<Option<u32>, OursError> {
    let mut rng = StdRng::seed_from_u64(seed);
    let events = events(&mut rng, pods);
    let first_loop = |pod| {
        let mut of_pod = events.iter().filter(|e| e.pod == pod);
        of_pod.find(|e| e.reason == Some("CrashLoopBackOff")).map(|e| e.secs)
    };
    let reported = (0..pods).filter_map(first_loop).max().unwrap_or(0);
    let mut watch = Watch::new(watch_spec(standard_rules(), BTreeMap::new(), 5.0)?);
    let service = ServiceName::parse("shop")?;
    let until = events.last().map_or(0, |e| e.secs);
    for now in 0..=until {
        let mut due = now % HEARTBEAT_SECS == 0;
        for event in events.iter().filter(|e| e.secs == now) {
            watch.take(&sample(&service, event));
            due = true;
        }
        // Whatever Kubernetes reports is looked at when it comes.
        if due && watch.tick(at(now)).verdict.strength == Strength::Rollback {
            return Ok(Some(now.saturating_sub(reported)));
        }
    }
    Ok(None)
}

fn sample(service: &ServiceName, event: &Event) -> Sample {
    let reading = PodReading {
        created_at: Some(at(0)),
        restarts: event.restarts,
        reason: event.reason.map(Into::into),
        ..PodReading::default()
    };
    Sample {
        at: at(event.secs),
        service: service.clone(),
        target: None,
        release: Some("v2".into()),
        pod: Some(format!("backend-v2-{}", event.pod)),
        reading: Reading::Pod(reading),
    }
}
