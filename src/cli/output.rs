//! What is printed, and how: results on stdout, everything else on stderr, aligned tables, few colours.
use std::io::{BufRead, IsTerminal, Write};

use serde::Serialize;

use super::{Exit, Failure};

/// Where a command prints to.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    color: bool,
}

impl Output {
    /// Colours only for a terminal that has them and a person who did not turn them off.
    pub fn of_process(json: bool, no_color: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = !json && !no_color && !set("NO_COLOR") && !dumb && std::io::stdout().is_terminal();
        Self { json, color }
    }

    pub fn json(&self) -> bool {
        self.json
    }
    pub fn color(&self) -> bool {
        self.color
    }

    /// The result of a command: its JSON, or its text.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.json {
            self.text(&text());
            return Ok(());
        }
        let line = serde_json::to_string(value).map_err(|e| Failure::new(Exit::Failure, e.to_string()))?;
        self.line(&line);
        Ok(())
    }

    /// Text that belongs to the result for people, and beside it for machines.
    pub fn text(&self, text: &str) {
        if self.json { self.note(text) } else { self.line(text) }
    }

    /// Progress, questions and errors. A closed stderr is no reason to fail.
    pub fn note(&self, text: &str) {
        writeln!(std::io::stderr(), "{}", text.trim_end()).ok();
    }

    /// A closed stdout (`| head`) is no reason to fail either.
    fn line(&self, text: &str) {
        writeln!(std::io::stdout(), "{}", text.trim_end()).ok();
    }

    /// A line as it is; false when nobody reads any more.
    pub fn verbatim(&self, line: &str) -> bool {
        writeln!(std::io::stdout(), "{line}").is_ok()
    }

    /// Whether a person is there to be asked.
    pub fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a person to type something. `None` at the end of the input.
    pub fn ask(&self, question: &str) -> Option<String> {
        let mut stderr = std::io::stderr();
        write!(stderr, "{question} ").and_then(|()| stderr.flush()).ok();
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim().to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Head,
    Good,
    Bad,
    Busy,
}

impl Tone {
    pub(super) fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Tone::Plain => return text.to_string(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "33",
        };
        if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

/// Texts from outside never move the cursor or ring the bell.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Columns that line up, and notes below rows.
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<(String, Tone)>,
    notes: Vec<String>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        let cells = heads.iter().map(|head| (head.to_string(), Tone::Head)).collect();
        Self { rows: vec![Row { cells, notes: Vec::new() }] }
    }

    pub(super) fn row(&mut self, cells: Vec<(String, Tone)>, notes: Vec<String>) {
        let cells = cells.into_iter().map(|(text, tone)| (clean(&text), tone)).collect();
        let notes = notes.iter().map(|note| clean(note)).collect();
        self.rows.push(Row { cells, notes });
    }

    pub(super) fn render(&self, color: bool) -> String {
        let columns = self.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            text.push_str(&line(&row.cells, &widths, color));
            row.notes.iter().for_each(|note| text.push_str(&format!("  {note}\n")));
        }
        text
    }
}

fn line(cells: &[(String, Tone)], widths: &[usize], color: bool) -> String {
    let mut line = String::new();
    for (column, ((text, tone), width)) in cells.iter().zip(widths).enumerate() {
        line.push_str(&tone.paint(text, color));
        if column + 1 < cells.len() {
            let gap = width.saturating_sub(text.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let mut table = Table::new(&["A", "LONG HEAD", "C"]);
        table.row(
            vec![("x→y".into(), Tone::Plain), ("b".into(), Tone::Bad), ("c".into(), Tone::Plain)],
            vec!["a note\u{1b}[2J".into()],
        );
        assert_eq!(table.render(false), "A    LONG HEAD  C\nx→y  b          c\n  a note [2J\n");
        assert!(table.render(true).contains("\u{1b}[31mb\u{1b}[0m          c"));
    }
}
