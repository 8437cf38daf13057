//! What judging costs: nanoseconds per measurement and per look, and the size of a watch.
use std::time::Instant;

use rollguard::domain::runbook::LateOnset;

use super::cells::{Cell, Goal, Old, Quirk, Signal, Table, Trouble};
use super::ours::{Ours, OursError};
use super::times::Kind;
use super::traffic::Healthy;
use super::world::World;

const LOOKS: u32 = 20_000;

pub(crate) fn print() -> Result<(), OursError> {
    println!(
        "| a watch over | ns per look | measurements per look | ns per measurement |\n|---|---|---|---|"
    );
    let errors = Signal::Errors(Healthy::Independent { ratio: 0.001 });
    let times = |kind| Signal::Latency { kind, quirk: Quirk::None };
    line("errors", errors)?;
    line("response times, classic", times(Kind::Classic))?;
    line("response times, native", times(Kind::Native))?;
    println!("\nA `Watch` is {} bytes plus what it keeps on the heap.", Ours::watch_bytes());
    Ok(())
}

fn line(what: &str, signal: Signal) -> Result<(), OursError> {
    let cell = Cell {
        table: Table::HealthyErrors,
        name: what.to_string(),
        signal,
        trouble: Trouble::None,
        old: Old::Stay,
        rps: 100.0,
        scrape_secs: 5,
        onset_secs: 0,
        late_onset: LateOnset::Page,
        watches: 1,
        goal: Goal::Info,
    };
    let mut world = World::new(&cell, 1);
    let mut ours = Ours::new(&cell, &world, 2)?;
    let mut spent = 0;
    for _ in 0..LOOKS {
        world.step();
        ours.scrape(&world);
        let began = Instant::now();
        ours.judge(world.now_secs);
        spent += began.elapsed().as_nanos();
    }
    let per_look = spent / u128::from(LOOKS);
    let measurements = world.pods.len() as u128;
    println!("| {what} | {per_look} | {measurements} | {} |", per_look / measurements);
    Ok(())
}
