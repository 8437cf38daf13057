//! What is wrong with a configuration, where, and what to do: collected, so that all of it is told at once.
use std::cell::RefCell;
use std::fmt;

use super::yaml::Mark;

/// More than a person reads; the rest is counted.
const MAX_SHOWN: usize = 200;

/// One thing to correct or to know. Its text is `file:line:column: error: message` and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    pub severity: Severity,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, severity, message } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {message}")
    }
}

/// The configuration cannot be used. Display lists every problem, one a line, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct LoadError {
    /// Errors and warnings, sorted by position; at least one error.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Where problems are noted while a file is read.
#[derive(Default)]
pub(super) struct Notes {
    list: RefCell<Vec<(Mark, Severity, String)>>,
}

impl Notes {
    pub(super) fn error(&self, at: Mark, message: impl Into<String>) {
        self.list.borrow_mut().push((at, Severity::Error, message.into()));
    }

    pub(super) fn warning(&self, at: Mark, message: impl Into<String>) {
        self.list.borrow_mut().push((at, Severity::Warning, message.into()));
    }

    /// Sorted by position, each once: a default that is wrong is wrong in every service that takes it.
    pub(super) fn into_problems(self, file: &str, text: &str) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        list.iter_mut().for_each(|(at, ..)| *at = within(*at, &widths));
        list.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
        list.dedup();
        let more = list.len().saturating_sub(MAX_SHOWN);
        // An error must not be cut off by warnings that stand before it.
        if more > 0 {
            list.sort_by_key(|(_, severity, _)| *severity == Severity::Warning);
            list.truncate(MAX_SHOWN);
            list.sort_by_key(|(at, ..)| *at);
        }
        let mut problems: Vec<Problem> = list
            .into_iter()
            .map(|(at, severity, message)| Problem {
                file: file.to_string(),
                line: at.line,
                column: at.column,
                severity,
                message,
            })
            .collect();
        if let (true, Some(last)) = (more > 0, problems.last_mut()) {
            last.message.push_str(&format!(" (and {more} more problems)"));
        }
        problems
    }
}

/// The parser counts an end of the file, and line ends of old, as lines that no editor shows.
fn within(at: Mark, widths: &[usize]) -> Mark {
    let last = widths.len().max(1);
    let end = |line: usize| widths.get(line - 1).map_or(1, |width| width + 1);
    if at.line > last {
        return Mark { line: last, column: end(last) };
    }
    Mark { line: at.line, column: at.column.min(end(at.line)) }
}

/// A key as it may be shown: one that looks like no key at all may be a secret in the wrong place.
pub(super) fn quotable(key: &str) -> Option<&str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (!key.is_empty() && key.len() <= 40 && key.chars().all(allowed)).then_some(key)
}
