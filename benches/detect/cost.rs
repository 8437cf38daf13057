//! What judging costs: nanoseconds per measurement and per look, and the memory of a watch.
use std::time::Instant;

use rollguard::domain::runbook::LateOnset;
use rollguard::domain::watch::Watch;

use super::cells::{Cell, Goal, Old, Quirk, Signal, Table, Trouble};
use super::ours::{Ours, OursError};
use super::times::Kind;
use super::traffic::Healthy;
use super::world::World;

const LOOKS: u32 = 20_000;
const WATCHES: usize = 2_000;
const PAGE_BYTES: usize = 4096;

pub(crate) fn print() -> Result<(), OursError> {
    println!("| a watch of six pods over | scrape | ns per look | ns per measurement | bytes per stream |");
    println!("|---|---|---|---|---|");
    let errors = Signal::Errors(Healthy::Independent { ratio: 0.001 });
    let times = |kind| Signal::Latency { kind, quirk: Quirk::None };
    let signals = [
        ("errors", errors),
        ("response times, classic", times(Kind::Classic)),
        ("response times, native", times(Kind::Native)),
    ];
    // Kept to the end, so that none is built in the memory of another.
    let mut kept = Vec::new();
    for (what, signal) in signals {
        for scrape_secs in [1, 5] {
            line(&cell(what, signal, scrape_secs), &mut kept)?;
        }
    }
    Ok(())
}

fn cell(what: &str, signal: Signal, scrape_secs: u32) -> Cell {
    Cell {
        table: Table::HealthyErrors,
        name: what.to_string(),
        signal,
        trouble: Trouble::None,
        old: Old::Stay,
        rps: 100.0,
        scrape_secs,
        onset_secs: 0,
        late_onset: LateOnset::Page,
        watches: 1,
        goal: Goal::Info,
    }
}

fn line(cell: &Cell, kept: &mut Vec<Watch>) -> Result<(), OursError> {
    let mut world = World::new(cell, 1);
    let mut ours = Ours::new(cell, &world, 2)?;
    let mut spent = 0;
    for _ in 0..LOOKS {
        world.step();
        ours.scrape(&world)?;
        let began = Instant::now();
        ours.judge(world.now_secs);
        spent += began.elapsed().as_nanos();
    }
    let per_look = spent / u128::from(LOOKS);
    let streams = world.pods.len();
    let bytes = bytes_of(&ours, kept).map_or("?".to_string(), |bytes| (bytes / streams).to_string());
    let (name, scrape) = (&cell.name, cell.scrape_secs);
    println!("| {name} | {scrape} s | {per_look} | {} | {bytes} |", per_look / streams as u128);
    Ok(())
}

/// What one more copy of the watch adds to this process, all in all. Linux only.
fn bytes_of(ours: &Ours, kept: &mut Vec<Watch>) -> Option<usize> {
    let before = resident_bytes()?;
    kept.extend((0..WATCHES).map(|_| ours.watch().clone()));
    Some(resident_bytes()?.saturating_sub(before) / WATCHES)
}

fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<usize>().ok()? * PAGE_BYTES)
}
