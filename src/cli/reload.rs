//! `rollguard reload`: the daemon reads its configuration again.
use std::fmt::Write;

use super::{Exit, Failure, Output};
use crate::client::Client;
use crate::client::dto::Reloaded;
use crate::domain::names::ServiceName;

pub(super) async fn run(client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.reload().await?;
    answer.warnings.iter().for_each(|warning| out.note(warning));
    out.result(&answer, || told(&answer))?;
    Ok(Exit::Ok)
}

fn told(answer: &Reloaded) -> String {
    let mut text = String::new();
    if answer.is_nothing() {
        text.push_str("Nothing has changed.\n");
    }
    let services = |names: &[ServiceName]| names.iter().map(ToString::to_string).collect();
    let lines: [(&str, Vec<String>); 4] = [
        ("Added", services(&answer.added)),
        ("Removed", services(&answer.removed)),
        ("Changed", services(&answer.changed)),
        ("Settings changed", answer.settings.clone()),
    ];
    for (what, names) in lines.iter().filter(|(_, names)| !names.is_empty()) {
        // Writing to a String cannot fail.
        writeln!(text, "{what}: {}", names.join(", ")).ok();
    }
    text
}
