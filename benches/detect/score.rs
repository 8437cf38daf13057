//! From the outcomes of a cell to its row: times to decide, false rollbacks with their limits, and whether the goal is met.
use serde::Serialize;

use super::bounds::{requests_for_errors, requests_for_slowdown, requests_for_tail, upper_limit};
use super::cells::{Cell, Goal, Old, Signal, Trouble};
use super::contest::{PEERS, applies};
use super::run::Outcome;

/// How soon one judge decided, counted from the onset.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Speed {
    /// Seconds; `None` if fewer than that share of the watches decided.
    pub median: Option<f64>,
    pub p95: Option<f64>,
    /// The share of watches that decided after the onset.
    pub found: f64,
    /// The share that had decided before anything was wrong.
    pub early: f64,
}

/// How often one judge rolled back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Share {
    pub hits: u64,
    pub runs: u64,
}

impl Share {
    pub(crate) fn of(self) -> f64 {
        self.hits as f64 / self.runs.max(1) as f64
    }
    /// One-sided 95 % limit.
    pub(crate) fn upper(self) -> f64 {
        upper_limit(self.hits, self.runs)
    }
    pub(crate) fn add(&mut self, other: Share) {
        self.hits += other.hits;
        self.runs += other.runs;
    }
}

/// One row of a table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub cell: String,
    pub watches: u64,
    /// Seconds that no method can beat on average.
    pub bound_secs: Option<f64>,
    pub ours: Speed,
    pub ours_page: Speed,
    pub ours_rollbacks: Share,
    pub ours_pages: Share,
    /// Empty (0 runs) where a peer cannot judge.
    pub peers: [Speed; PEERS.len()],
    pub peers_rollbacks: [Share; PEERS.len()],
    /// Whether the issue asks for anything here.
    pub goal_asked: bool,
    /// `None` where nothing is asked, or so few watches cannot show it.
    pub met: Option<bool>,
}

pub(crate) fn row(cell: &Cell, outcomes: &[Outcome]) -> Row {
    let ours = |o: &Outcome| o.ours.rollback;
    let page = |o: &Outcome| o.ours.page;
    let peers: [usize; PEERS.len()] = std::array::from_fn(|peer| peer);
    let judged = |peer| if applies(peer, cell.signal, cell.old) { outcomes } else { &[] };
    let mut row = Row {
        cell: cell.name.clone(),
        watches: outcomes.len() as u64,
        bound_secs: bound_secs(cell),
        ours: speed(outcomes, ours),
        ours_page: speed(outcomes, page),
        ours_rollbacks: share(outcomes, ours),
        ours_pages: share(outcomes, page),
        peers: peers.map(|peer| speed(judged(peer), |o| o.peers[peer])),
        peers_rollbacks: peers.map(|peer| share(judged(peer), |o| o.peers[peer])),
        goal_asked: cell.goal != Goal::Info,
        met: None,
    };
    row.met = met(cell, &row);
    row
}

fn share(outcomes: &[Outcome], decided: impl Fn(&Outcome) -> Option<u32>) -> Share {
    let hits = outcomes.iter().filter(|o| decided(o).is_some()).count();
    Share { hits: hits as u64, runs: outcomes.len() as u64 }
}

fn speed(outcomes: &[Outcome], decided: impl Fn(&Outcome) -> Option<u32>) -> Speed {
    let early = outcomes.iter().filter(|o| decided(o).is_some_and(|at| at <= o.onset_secs)).count();
    let late = outcomes.iter().filter_map(|o| decided(o)?.checked_sub(o.onset_secs).filter(|secs| *secs > 0));
    let mut times: Vec<u32> = late.collect();
    times.sort_unstable();
    let all = outcomes.len();
    // Watches that never decided count as infinitely late.
    let at = |q: f64| times.get((q * all as f64).ceil() as usize - 1).map(|secs| f64::from(*secs));
    let share = |n: usize| n as f64 / all.max(1) as f64;
    match all {
        0 => Speed::default(),
        _ => Speed { median: at(0.5), p95: at(0.95), found: share(times.len()), early: share(early) },
    }
}

/// The bound in seconds; during a rolling update the new pods' traffic grows with their number.
fn bound_secs(cell: &Cell) -> Option<f64> {
    let requests = match cell.trouble {
        Trouble::Errors(ratio) if ratio > 0.025 => requests_for_errors(ratio),
        Trouble::Slower(factor) if factor > 1.35 => requests_for_slowdown(factor),
        Trouble::Tail => match cell.signal {
            Signal::Latency { kind, .. } => requests_for_tail(kind),
            Signal::Errors(_) => return None,
        },
        Trouble::None
        | Trouble::Errors(_)
        | Trouble::Slower(_)
        | Trouble::SharedErrors(_)
        | Trouble::SharedSlower(_) => return None,
    };
    let full = requests / cell.rps;
    let ramp = cell.old == Old::Leave && cell.onset_secs == 0;
    Some(if ramp { ramped(full) } else { full })
}

/// Pods come at 0, 30 and 60 s in the mean: a third, two thirds, and then all of the traffic.
fn ramped(full_secs: f64) -> f64 {
    if full_secs <= 10.0 {
        full_secs * 3.0
    } else if full_secs <= 30.0 {
        30.0 + (full_secs - 10.0) * 1.5
    } else {
        full_secs + 30.0
    }
}

const FOUND_MIN: f64 = 0.98;

fn met(cell: &Cell, row: &Row) -> Option<bool> {
    let rollbacks = row.ours_rollbacks;
    match cell.goal {
        Goal::Info => None,
        Goal::Never => Some(rollbacks.hits == 0),
        Goal::Rare { share, upper } => {
            let limited = upper.is_none_or(|upper| rollbacks.upper() <= upper);
            // So few watches that even none of them would not show it.
            let unclear = rollbacks.hits == 0 && !limited;
            (!unclear).then_some(rollbacks.of() <= share && limited)
        }
        Goal::FoundWithin { median_secs } => Some(row.ours.median.is_some_and(|m| m < median_secs)),
        Goal::Found { median, p95, batches, warm_up_secs } => {
            let within = |secs: Option<f64>, factor: f64| {
                let limit =
                    row.bound_secs.unwrap_or(0.0) * factor + batches * cell.batch_secs() + warm_up_secs;
                secs.is_some_and(|secs| secs <= limit + 1e-9)
            };
            let soon = within(row.ours.median, median) && p95.is_none_or(|p95| within(row.ours.p95, p95));
            // Where old pods leave, at most 2 % may be missed.
            let enough = cell.old == Old::Stay || row.ours.found >= FOUND_MIN;
            Some(soon && enough)
        }
    }
}
