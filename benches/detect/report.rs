//! The tables, in markdown.
use std::fmt::Write;

use super::cells::{Cell, Table};
use super::contest::{PEERS, applies};
use super::score::{Row, Share, Speed};

pub(crate) fn heading(table: Table, peers: bool) -> String {
    let mut columns: Vec<&str> = if is_power(table) {
        vec!["trouble", "bound s", "**rollguard** s", "found", "× bound", "page s", "goal"]
    } else {
        vec!["traffic", "watches", "**rollguard** [95 % limit]", "paged", "goal"]
    };
    if peers {
        columns.extend(PEERS);
    }
    let rule = vec!["---"; columns.len()].join("|");
    format!("\n### {}\n\n| {} |\n|{rule}|", table.title(), columns.join(" | "))
}

fn is_power(table: Table) -> bool {
    match table {
        Table::Errors | Table::ErrorsLate | Table::ErrorsOverNoise | Table::Latency | Table::LatencyLate => {
            true
        }
        Table::HealthyErrors | Table::HealthyLatency | Table::MustNot => false,
    }
}

pub(crate) fn line(cell: &Cell, row: &Row, peers: bool) -> String {
    let mut columns = vec![row.cell.clone()];
    let goal = row.met.map_or("", |met| if met { "✓" } else { "**✗**" }).to_string();
    if cell.is_power() {
        columns.push(row.bound_secs.map_or(String::new(), |bound| format!("{bound:.1}")));
        columns.push(pair(&row.ours));
        columns.push(percent(row.ours.found));
        columns
            .push(row.bound_secs.zip(row.ours.median).map_or(String::new(), |(b, m)| multiple(cell, b, m)));
        columns.push(pair(&row.ours_page));
        columns.push(goal);
        columns.extend(theirs(cell, peers, |peer| pair(&row.peers[peer]) + &missed(&row.peers[peer])));
    } else {
        columns.push(row.watches.to_string());
        columns.push(limited(row.ours_rollbacks));
        columns.push(percent(row.ours_pages.of()));
        columns.push(goal);
        columns.extend(theirs(cell, peers, |peer| percent(row.peers_rollbacks[peer].of())));
    }
    format!("| {} |", columns.join(" | "))
}

/// The median in bounds; in batches where the bound is shorter than one.
fn multiple(cell: &Cell, bound: f64, median: f64) -> String {
    if bound >= cell.batch_secs() {
        format!("{:.2}", median / bound)
    } else {
        format!("{:.0} batches", median / cell.batch_secs())
    }
}

fn theirs(cell: &Cell, peers: bool, text: impl Fn(usize) -> String) -> Vec<String> {
    let column = |peer| if applies(peer, cell.signal, cell.old) { text(peer) } else { "n/a".into() };
    (0..if peers { PEERS.len() } else { 0 }).map(column).collect()
}

/// Rollbacks of a whole table, ours and theirs.
pub(crate) fn total(rows: &[Row], peers: bool) -> String {
    let mut ours = Share::default();
    let mut theirs = [Share::default(); PEERS.len()];
    for row in rows {
        ours.add(row.ours_rollbacks);
        theirs.iter_mut().zip(&row.peers_rollbacks).for_each(|(sum, share)| sum.add(*share));
    }
    let mut text = format!("| **all with a goal** | {} | {} | | ", ours.runs, limited(ours));
    text += if ours.of() <= 0.001 { "✓ |" } else { "**✗** |" };
    for share in theirs.iter().filter(|_| peers) {
        // Writing to a string cannot fail.
        write!(text, " {} |", percent(share.of())).unwrap_or_default();
    }
    text
}

fn limited(share: Share) -> String {
    format!("{} [{}]", percent(share.of()), percent(share.upper()))
}

fn pair(speed: &Speed) -> String {
    let secs = |secs: Option<f64>| secs.map_or("–".to_string(), |secs| format!("{secs:.0}"));
    format!("{} / {}", secs(speed.median), secs(speed.p95))
}

fn missed(speed: &Speed) -> String {
    match (speed.found, speed.early) {
        (_, early) if early > 0.005 => format!(" ({} before)", percent(early)),
        (found, _) if found < 0.995 => format!(" ({})", percent(found)),
        (_, _) => String::new(),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 9.95 { format!("{percent:.0} %") } else { format!("{percent:.2} %") }
}
