//! The simulation behind the README's table: how soon bad releases are found, and how often healthy ones are rolled back.
mod bounds;
mod cells;
mod contest;
mod cost;
mod crash;
mod options;
mod ours;
mod peers;
mod report;
mod run;
mod score;
mod times;
mod track;
mod traffic;
mod world;

use std::io::Write;

use clap::Parser;
use options::Options;
use score::Row;

use cells::{Cell, Table};
use run::Outcome;

/// Watches per cell with `--quick`.
const QUICK: u64 = 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.cost {
        return Ok(cost::print()?);
    }
    let cells = chosen(&options);
    if options.list {
        cells.iter().for_each(|cell| println!("{:?}: {}", cell.table, cell.name));
        return Ok(());
    }
    let rows = tables(&options, &cells)?;
    let wanted = options.cells.as_ref().is_none_or(|regex| regex.is_match(crash::TITLE));
    let loops = if wanted { crash::print(if options.quick { QUICK } else { 1000 })? } else { Vec::new() };
    let unmet: Vec<&str> =
        rows.iter().filter(|(_, row)| row.met == Some(false)).map(|(_, row)| row.cell.as_str()).collect();
    println!(
        "\n{} of {} goals are missed{}",
        unmet.len(),
        rows.iter().filter(|r| r.1.met.is_some()).count(),
        colon(&unmet)
    );
    unmet.iter().for_each(|cell| println!("- {cell}"));
    if let Some(file) = &options.json {
        let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).collect();
        let all = serde_json::json!({ "cells": rows, "crash_loops": loops });
        std::fs::write(file, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

fn colon(unmet: &[&str]) -> &'static str {
    if unmet.is_empty() { "." } else { ":" }
}

fn chosen(options: &Options) -> Vec<Cell> {
    let wanted = |cell: &Cell| {
        options.cells.as_ref().is_none_or(|r| r.is_match(&cell.name) || r.is_match(cell.table.title()))
    };
    let mut cells: Vec<Cell> = cells::all().into_iter().filter(wanted).collect();
    let watches = options.watches.or(options.quick.then_some(QUICK));
    cells.iter_mut().for_each(|cell| cell.watches = watches.unwrap_or(cell.watches));
    cells
}

fn tables(options: &Options, cells: &[Cell]) -> Result<Vec<(Table, Row)>, Failure> {
    let threads =
        options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let peers = !options.ours_only;
    let mut rows: Vec<(Table, Row)> = Vec::new();
    for (nth, cell) in cells.iter().enumerate() {
        if nth == 0 || cells[nth - 1].table != cell.table {
            println!("{}", report::heading(cell.table, peers));
        }
        let outcomes = run::cell(cell, threads, peers)?;
        let row = score::row(cell, &outcomes);
        println!("{}", report::line(cell, &row, peers));
        std::io::stdout().flush()?;
        explain(options.explain, cell, &outcomes);
        rows.push((cell.table, row));
        let last = cells.get(nth + 1).is_none_or(|next| next.table != cell.table);
        if last && cell.table == Table::HealthyErrors {
            let judged = |(table, row): &&(Table, Row)| *table == cell.table && row.goal_asked;
            let of_table = rows.iter().filter(judged).map(|(_, row)| row.clone());
            println!("{}", report::total(&of_table.collect::<Vec<_>>(), peers));
        }
    }
    Ok(rows)
}

/// On stderr, beside the tables.
fn explain(most: usize, cell: &Cell, outcomes: &[Outcome]) {
    let surprising = |o: &&Outcome| match (cell.is_power(), o.ours.rollback) {
        (true, rollback) => rollback.is_none_or(|at| at <= o.onset_secs),
        (false, rollback) => rollback.is_some(),
    };
    for o in outcomes.iter().filter(surprising).take(most) {
        let when = o.ours.rollback.map_or("never".to_string(), |at| format!("at {at} s"));
        eprintln!("  watch {}: rolled back {when}, onset {} s: {}", o.watch, o.onset_secs, o.ours.reason);
    }
}
