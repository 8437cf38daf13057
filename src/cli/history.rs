//! `rollguard history`: the versions of a target, and what became of them.
use clap::Args;
use jiff::Timestamp;

use super::output::{Table, Tone};
use super::{Exit, Failure, Output, render, target};
use crate::client::Client;
use crate::client::dto::TargetHistoryAnswer;
use crate::domain::evidence::clock_time;
use crate::domain::history::PastVersion;
use crate::domain::names::TargetId;

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Such as shop/backend; `rollguard status` lists them
    #[arg(value_name = "SERVICE/TARGET", value_parser = target)]
    pub target: TargetId,
}

pub(super) async fn run(args: &HistoryArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.history(&args.target).await?;
    out.result(&answer, || told(&answer, out.color()))?;
    Ok(Exit::Ok)
}

/// Newest first, as a person reads it.
pub fn told(answer: &TargetHistoryAnswer, color: bool) -> String {
    let mut text = if answer.versions.is_empty() {
        format!("Nothing is known of {} yet.\n", answer.target)
    } else {
        versions(&answer.versions, answer.now).render(color)
    };
    if !answer.runs.is_empty() {
        text.push('\n');
        text.push_str(&render::runs_table(&answer.runs, answer.now).render(color));
    }
    if let Some(why) = &answer.unread {
        text.push_str(&format!(
            "\nThe workload could not be read, so this is what rollguard remembers: {why}\n"
        ));
    }
    text
}

fn versions(versions: &[PastVersion], now: Timestamp) -> Table {
    let mut table = Table::new(&["REVISION", "VERSION", "CREATED", "STATE", "IMAGES"]);
    for past in versions {
        let (state, tone) = state(past);
        let plain = |text: String| (text, Tone::Plain);
        let cells = vec![
            plain(past.revision.map_or("gone".to_string(), |revision| revision.to_string())),
            plain(past.version.label.clone()),
            plain(past.created_at.map_or("-".to_string(), |at| format!("{} ago", render::span(at, now)))),
            (state, tone),
            plain(past.version.images.join(", ")),
        ];
        table.row(cells, notes(past));
    }
    table
}

fn state(past: &PastVersion) -> (String, Tone) {
    let marks = past.marks;
    let tone = match (marks.known_bad, marks.known_good) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Good,
        (false, false) => Tone::Plain,
    };
    let all = [
        (marks.current, "current"),
        (marks.under_watch, "under watch"),
        (marks.known_good, "known good"),
        (marks.known_bad, "known bad"),
    ];
    let named: Vec<&str> = all.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    (if named.is_empty() { "-".to_string() } else { named.join(", ") }, tone)
}

fn notes(past: &PastVersion) -> Vec<String> {
    let at = |at: Timestamp| format!("{} at {} UTC", at.strftime("%Y-%m-%d"), clock_time(at));
    let rolled_back = past.rolled_back.iter().map(|r| format!("rolled back by run {}, {}", r.run, at(r.at)));
    let watched = past.watched.iter().map(|watch| {
        let end = format!("{:?}", watch.end).to_lowercase();
        format!("its watch ended {end}, {}: {}", at(watch.ended_at), watch.reason)
    });
    let cause = past.change_cause.iter().map(|cause| format!("change-cause: {cause}"));
    rolled_back.chain(watched).chain(cause).collect()
}
