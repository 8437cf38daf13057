//! `doctor`: could each target be rolled back right now, to what, and if not, what to do about it.
use std::collections::BTreeSet;
use std::fmt::Write;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::output::{Tone, clean};
use super::{Exit, Failure, Output, target};
use crate::client::Client;
use crate::client::dto::{DoctorAnswer, TargetReadiness};
use crate::domain::names::TargetId;
use crate::domain::readiness::{Obstacle, Readiness};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Such as shop/backend; all of them, if missing
    #[arg(value_name = "SERVICE/TARGET", value_parser = target)]
    pub target: Option<TargetId>,
}

pub(super) const AFTER_HELP: &str = "\
Exit codes:
  0  every target could be rolled back, and rollguard itself is well
  1  something is in the way
  4  nothing has been looked at yet";

pub(super) async fn run(args: &DoctorArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.doctor(args.target.as_ref()).await?;
    out.result(&answer, || report(&answer, out.color()))?;
    Ok(exit(&answer))
}

fn exit(answer: &DoctorAnswer) -> Exit {
    let bad = answer.targets.iter().any(|target| target.ready == Some(false));
    if bad || answer.daemon.iter().any(|check| !check.ok) {
        return Exit::Failure;
    }
    if answer.targets.iter().all(|target| target.ready.is_some()) { Exit::Ok } else { Exit::NoData }
}

/// One line per target, and below it what is in the way.
pub fn report(answer: &DoctorAnswer, color: bool) -> String {
    let mut text = String::new();
    let width = answer.targets.iter().map(|t| t.target.to_string().chars().count()).max().unwrap_or(0);
    for target in &answer.targets {
        push(&mut text, &line(target, answer.now, width, color));
        if let Some(found) = &target.readiness {
            found.obstacles.iter().for_each(|o| push_obstacle(&mut text, o, Tone::Bad, color));
            found.warnings.iter().for_each(|w| push_obstacle(&mut text, w, Tone::Busy, color));
        }
    }
    if answer.targets.is_empty() {
        push(&mut text, "No targets are configured.");
    }
    let found = answer.targets.iter().filter_map(|target| target.readiness.as_ref());
    let unchecked: BTreeSet<&String> = found.flat_map(|found| &found.unchecked).collect();
    if !unchecked.is_empty() {
        push(&mut text, &format!("\n{}", Tone::Head.paint("Not checked", color)));
        unchecked.iter().for_each(|what| push(&mut text, &format!("  {}", clean(what))));
    }
    push(&mut text, &daemon(answer, color));
    text
}

/// `shop/backend   ready       v7 → v6 (revision 12), known good since 10:02`.
fn line(target: &TargetReadiness, now: Timestamp, width: usize, color: bool) -> String {
    let (state, tone) = match target.ready {
        Some(true) => ("ready", Tone::Good),
        Some(false) => ("not ready", Tone::Bad),
        None => ("not looked at yet", Tone::Busy),
    };
    let way = target.readiness.as_ref().map(|found| way(found, now)).unwrap_or_default();
    let gap = " ".repeat("not ready".len().saturating_sub(state.len()));
    let line = format!(
        "{:<width$}   {}{gap}   {}",
        target.target.to_string(),
        tone.paint(state, color),
        clean(&way)
    );
    line.trim_end().to_string()
}

fn way(found: &Readiness, now: Timestamp) -> String {
    let mut way = found.from.clone().unwrap_or_default();
    if let Some(to) = &found.to {
        let revision = to.revision.map(|number| format!(" (revision {number})")).unwrap_or_default();
        way = format!("{way} → {}{revision}", to.label);
    }
    let Some(good) = &found.known_good else { return way };
    let since = good.since.map(|at| format!(" since {}", time(at, now))).unwrap_or_default();
    let spoken_of = found.to.as_ref().map(|to| &to.label).or(found.from.as_ref());
    let whose = if spoken_of == Some(&good.label) { String::new() } else { format!("{} is ", good.label) };
    format!("{way}, {whose}known good{since}")
}

/// The date only if it is not of the last day. Times are UTC, as everywhere.
fn time(at: Timestamp, now: Timestamp) -> String {
    let recent = now.duration_since(at) < SignedDuration::from_hours(24);
    at.strftime(if recent { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

fn push_obstacle(text: &mut String, obstacle: &Obstacle, tone: Tone, color: bool) {
    let code = tone.paint(obstacle.code.as_str(), color);
    push(text, &format!("  {code}: {}", clean(&obstacle.what)));
    push(text, &format!("    {}", clean(&obstacle.advice)));
}

fn daemon(answer: &DoctorAnswer, color: bool) -> String {
    let bad: Vec<_> = answer.daemon.iter().filter(|check| !check.ok).collect();
    if bad.is_empty() {
        let names: Vec<&str> = answer.daemon.iter().map(|check| check.name.as_str()).collect();
        return format!("\nrollguard itself is well: {}", clean(&names.join(", ")));
    }
    let mut text = format!("\n{}", Tone::Head.paint("rollguard itself", color));
    for check in bad {
        let name = Tone::Bad.paint(&check.name, color);
        // Writing to a String cannot fail.
        write!(text, "\n  {name}: {}", clean(&check.detail)).ok();
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
