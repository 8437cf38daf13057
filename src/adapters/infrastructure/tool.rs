//! Terraform or OpenTofu as a program: each command with its arguments, and what its end means.
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::GRACE;
use super::surroundings::Surroundings;
use crate::adapters::child::{self, Ended, Job};
use crate::domain::plan::infrastructure::state::{StateId, identify};

/// What went wrong, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ToolError {
    #[error("{program} cannot be run ({why}): install it, or set `tool`")]
    NotThere { program: String, why: String },
    #[error("the state is locked by {holder}")]
    Locked { holder: String },
    #[error("the state was changed after the plan was made")]
    Stale,
    #[error("{command} did not end within {} s and was stopped", limit.as_secs())]
    Stopped { command: &'static str, limit: Duration },
    #[error("{command}: {why}")]
    Failed { command: &'static str, why: String },
}

/// Quick commands take no longer.
const QUICK: Duration = Duration::from_secs(120);
/// Providers and modules are fetched by it.
const INIT_MAX: Duration = Duration::from_secs(600);
const WHY_MAX: usize = 600;

/// The program, run in one initialised folder.
pub(super) struct Tool<'a> {
    pub(super) program: &'a Path,
    pub(super) around: &'a Surroundings,
    pub(super) dir: PathBuf,
}

impl Tool<'_> {
    async fn run(
        &self,
        command: &'static str,
        args: Vec<OsString>,
        limit: Duration,
    ) -> Result<Ended, ToolError> {
        let job = Job {
            program: self.program,
            args,
            dir: &self.dir,
            env: self.around.for_tool(),
            limit,
            grace: GRACE,
            outputs: self.around.outputs(),
        };
        let ended = child::run(job).await.map_err(|error| ToolError::NotThere {
            program: self.program.display().to_string(),
            why: error.to_string(),
        })?;
        if ended.stopped {
            return Err(ToolError::Stopped { command, limit });
        }
        Ok(ended)
    }

    fn failed(&self, command: &'static str, ended: &Ended) -> ToolError {
        let text = self.around.mask().text(&plain(&ended.err));
        if text.contains("Error acquiring the state lock") {
            return ToolError::Locked { holder: holder(&text) };
        }
        if text.contains("Saved plan is stale") {
            return ToolError::Stale;
        }
        ToolError::Failed { command, why: complaint(&text, ended.code) }
    }

    fn done(&self, command: &'static str, ended: Ended) -> Result<Vec<u8>, ToolError> {
        if ended.code == Some(0) { Ok(ended.out) } else { Err(self.failed(command, &ended)) }
    }

    /// `Terraform v1.15.5`.
    pub(super) async fn version(&self) -> Result<String, ToolError> {
        let out = self.done("version", self.run("version", args(["version"]), QUICK).await?)?;
        let text = String::from_utf8_lossy(&out);
        let named = |line: &&str| line.starts_with("Terraform v") || line.starts_with("OpenTofu v");
        let line = text.lines().find(named).ok_or_else(|| ToolError::NotThere {
            program: self.program.display().to_string(),
            why: "it is neither Terraform nor OpenTofu".into(),
        })?;
        Ok(line.trim().to_string())
    }

    /// Fetches providers as the commit's lock file names them, and no others.
    pub(super) async fn init(&self) -> Result<(), ToolError> {
        let mut all = args(["init", "-input=false", "-no-color", "-lockfile=readonly"]);
        all.extend(self.around.backend_file().map(|file| joined("-backend-config=", file)));
        self.done("init", self.run("init", all, INIT_MAX).await?).map(drop)
    }

    /// Writes the plan file; answers whether the tool found anything to change.
    pub(super) async fn plan(&self, to: &Path, lock: Duration, limit: Duration) -> Result<bool, ToolError> {
        let mut all = args(["plan", "-input=false", "-no-color", "-detailed-exitcode"]);
        all.push(lock_timeout(lock));
        all.push(joined("-out=", to));
        all.extend(self.around.var_files().map(|file| joined("-var-file=", file)));
        let ended = self.run("plan", all, limit + lock).await?;
        match ended.code {
            Some(0) => Ok(false),
            Some(2) => Ok(true),
            Some(_) | None => Err(self.failed("plan", &ended)),
        }
    }

    /// What the plan file says, with nothing in it that we know to be secret.
    pub(super) async fn show(&self, plan: &Path) -> Result<Value, ToolError> {
        let mut all = args(["show", "-json", "-no-color"]);
        all.push(plan.into());
        let out = self.done("show", self.run("show", all, QUICK).await?)?;
        let why = "what it printed is no JSON, or too much".to_string();
        let document =
            serde_json::from_slice(&out).map_err(|_| ToolError::Failed { command: "show", why })?;
        Ok(self.around.mask().json(&document))
    }

    /// Applies exactly this plan file.
    pub(super) async fn apply(&self, plan: &Path, lock: Duration, limit: Duration) -> Result<(), ToolError> {
        let mut all = args(["apply", "-input=false", "-no-color"]);
        all.push(lock_timeout(lock));
        all.push(plan.into());
        self.done("apply", self.run("apply", all, limit + lock).await?).map(drop)
    }

    /// The state as it is stored; takes no lock. `None` if there is none.
    pub(super) async fn state(&self) -> Result<Option<StateId>, ToolError> {
        let out = self.done("state pull", self.run("state pull", args(["state", "pull"]), QUICK).await?)?;
        Ok(identify(&out))
    }
}

fn args<const N: usize>(texts: [&str; N]) -> Vec<OsString> {
    texts.into_iter().map(OsString::from).collect()
}

fn joined(flag: &str, path: &Path) -> OsString {
    let mut text = OsString::from(flag);
    text.push(path);
    text
}

fn lock_timeout(lock: Duration) -> OsString {
    format!("-lock-timeout={}s", lock.as_secs()).into()
}

/// Without colours and frames, which some commands print whatever they are told.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => drop(rest.find(char::is_ascii_alphabetic)),
            '╷' | '│' | '╵' => {}
            c => plain.push(c),
        }
    }
    plain
}

/// From the first error on, in one line.
fn complaint(text: &str, code: Option<i32>) -> String {
    let from = text.find("Error: ").map_or(text, |at| &text[at + "Error: ".len()..]);
    let words = from.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        let code = code.map_or("a signal".to_string(), |code| format!("exit code {code}"));
        return format!("it ended with {code} and said nothing");
    }
    match words.char_indices().nth(WHY_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// `root@host since 2026-11-23 05:04:23 (OperationTypeApply, lock 6235637d)`.
fn holder(text: &str) -> String {
    let field = |name: &str| {
        let line = text.lines().map(str::trim).find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_string()).filter(|value| !value.is_empty())
    };
    let unknown = || "somebody unknown".to_string();
    let who = field("Who:").unwrap_or_else(unknown);
    let since = field("Created:").map(|at| format!(" since {}", at.get(..19).unwrap_or(&at)));
    let what = [field("Operation:"), field("ID:").map(|id| format!("lock {id}"))];
    let what: Vec<String> = what.into_iter().flatten().collect();
    let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(", ")) };
    format!("{who}{}{what}", since.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_plain_line() {
        let text = "\u{1b}[31m╷\u{1b}[0m\n│ \u{1b}[1mWarning: x\n╵\n│ Error: Unsupported version\n│ \n│   on main.tf line 1\n";
        assert_eq!(complaint(&plain(text), Some(1)), "Unsupported version on main.tf line 1");
        assert_eq!(complaint("", None), "it ended with a signal and said nothing");
    }

    #[test]
    fn a_lock_names_its_holder() {
        let text = "Error: Error acquiring the state lock\n\nLock Info:\n  ID:        6235637d-e6e7\n  Operation: OperationTypeApply\n  Who:       ann@laptop\n  Created:   2026-11-23 05:04:23.396357354 +0000 UTC\n";
        let told = "ann@laptop since 2026-11-23 05:04:23 (OperationTypeApply, lock 6235637d-e6e7)";
        assert_eq!(holder(text), told);
        assert_eq!(holder(""), "somebody unknown");
    }
}
