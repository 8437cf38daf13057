//! What a backtest tells: one JSON line per release, or a table with a summary.
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::output::{Table, Tone};
use super::super::{Failure, Output};
use crate::app::backtest::{Judged, Tally};
use crate::domain::policy::Decision;

/// One release, judged once or twice.
pub(super) struct Line {
    pub(super) judged: Box<Judged>,
    pub(super) compared: Option<Box<Judged>>,
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    judged: &'a Judged,
    #[serde(skip_serializing_if = "Option::is_none")]
    compare: Option<Compared<'a>>,
}

#[derive(Serialize)]
struct Compared<'a> {
    differs: bool,
    #[serde(flatten)]
    judged: &'a Judged,
}

impl Line {
    fn differs(&self) -> bool {
        self.compared.as_ref().is_some_and(|other| other.decision != self.judged.decision)
    }

    fn json(&self) -> Json<'_> {
        let differs = self.differs();
        let compare = self.compared.as_deref().map(|judged| Compared { differs, judged });
        Json { judged: &self.judged, compare }
    }
}

/// Collects what a person reads, and prints what a machine reads as it comes.
pub(super) struct Told {
    table: Table,
    compare: Option<PathBuf>,
    decisions: Vec<(Decision, Option<Decision>)>,
}

impl Told {
    pub(super) fn new(compare: Option<&Path>) -> Self {
        let mut heads = vec!["TARGET", "RELEASE", "RELEASED (UTC)", "DECISION", "AFTER", "VERDICT", "CAUSE"];
        heads.extend(compare.map(|_| "COMPARED"));
        Self { table: Table::new(&heads), compare: compare.map(Path::to_path_buf), decisions: Vec::new() }
    }

    pub(super) fn line(&mut self, line: &Line, out: &Output) -> Result<(), Failure> {
        if out.json() {
            return out.result(&line.json(), String::new);
        }
        self.decisions.push((line.judged.decision, line.compared.as_ref().map(|other| other.decision)));
        let (cells, notes) = row(line);
        self.table.row(cells, notes);
        Ok(())
    }

    /// The table and its summary; nothing for machines, which count themselves.
    pub(super) fn finish(&self, tally: &Tally, out: &Output) {
        if out.json() || self.decisions.is_empty() {
            return;
        }
        let text = self.table.render(out.color());
        out.text(&format!("{text}\n{}", self.summary(tally)));
    }

    fn summary(&self, tally: &Tally) -> String {
        let one = counted(self.decisions.iter().map(|(decision, _)| *decision));
        let (lines, releases) = (tally.lines, tally.releases);
        let mut text = format!("{releases} releases in {lines} lines: {one}");
        if let Some(path) = &self.compare {
            let other = counted(self.decisions.iter().filter_map(|(_, other)| *other));
            let differ = self.decisions.iter().filter(|(one, other)| *other != Some(*one)).count();
            text += &format!("\nwith {}: {other}; {differ} differ", path.display());
        }
        text
    }
}

fn counted(decisions: impl Iterator<Item = Decision>) -> String {
    let mut counts = [0_usize; 4];
    for decision in decisions {
        let index = match decision {
            Decision::Rollback => 0,
            Decision::Ask => 1,
            Decision::Page => 2,
            Decision::Hold => 3,
        };
        counts[index] += 1;
    }
    let words = ["rolled back", "asked about", "paged", "left alone"];
    let told = counts.iter().zip(words).filter(|(count, _)| **count > 0);
    told.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn row(line: &Line) -> (Vec<(String, Tone)>, Vec<String>) {
    let judged = &line.judged;
    let plain = |text: String| (text, Tone::Plain);
    let cause = judged.cause.map_or("-".to_string(), |cause| word(&cause));
    let after = match judged.decision {
        Decision::Hold => "-".to_string(),
        Decision::Page | Decision::Ask | Decision::Rollback => format!("{:.0} s", judged.delay_seconds),
    };
    let mut cells = vec![
        plain(name(judged)),
        plain(judged.release.clone()),
        plain(judged.released_at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        (word(&judged.decision), tone(judged.decision)),
        plain(after),
        plain(word(&judged.verdict)),
        plain(cause),
    ];
    let mut notes = vec![judged.reason.clone()];
    if let Some(other) = &line.compared {
        let mark = if line.differs() { "* " } else { "" };
        cells.push((format!("{mark}{}", word(&other.decision)), tone(other.decision)));
        if line.differs() {
            notes.push(format!("* compared: {}", other.reason));
        }
    }
    (cells, notes)
}

fn tone(decision: Decision) -> Tone {
    match decision {
        Decision::Hold => Tone::Good,
        Decision::Page | Decision::Ask => Tone::Busy,
        Decision::Rollback => Tone::Bad,
    }
}

/// `shop/backend`, or `shop` for a release of the whole service.
pub(super) fn name(judged: &Judged) -> String {
    let target = judged.target.as_ref().map_or(String::new(), |target| format!("/{target}"));
    format!("{}{target}", judged.service)
}

/// As it is written in JSON, with spaces.
pub(super) fn word(value: &impl Serialize) -> String {
    let text = serde_json::to_value(value).ok();
    text.as_ref().and_then(|v| v.as_str()).unwrap_or_default().replace('_', " ")
}
