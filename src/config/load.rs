//! From a file to a configuration: the one way in, for the daemon, the checks and the tests.
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Config;
use super::problem::{LoadError, Notes, Problem, Severity};
use super::read;
use super::secrets::Outside;
use super::yaml::{self, Mark, Node};

const MAX_BYTES: usize = 1 << 20;

/// Looks an environment variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A configuration that can be used, with what its author should look at.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Sorted by position.
    pub warnings: Vec<Problem>,
}

/// Reads a file and the secrets that it refers to.
///
/// # Errors
/// All problems at once, if at least one is an error.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, LoadError> {
    let text = read_file(path)?;
    parse(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")), env)
}

/// Reads a text. `name` is what messages call it; relative paths in it are relative to `dir`.
///
/// # Errors
/// All problems at once, if at least one is an error.
pub fn parse(text: &str, name: &str, dir: &Path, env: Env<'_>) -> Result<Loaded, LoadError> {
    let (config, warnings) =
        read_text(text, name, |root, notes| read::config(root, notes, Outside { env, dir }))?;
    Ok(Loaded { config, warnings })
}

/// Reads a text into something typed, and its warnings.
pub(super) fn read_text<T>(
    text: &str,
    name: &str,
    read: impl FnOnce(&Node, &Notes) -> Option<T>,
) -> Result<(T, Vec<Problem>), LoadError> {
    if text.len() > MAX_BYTES {
        return Err(only(name, Mark::START, too_large()));
    }
    let notes = Notes::default();
    let typed = match yaml::parse(text, &notes) {
        Ok(Some(root)) => read(&root, &notes),
        Ok(None) => {
            notes.error(
                Mark::START,
                "the file is empty: begin with `services:`, or copy config/rollguard.yaml",
            );
            None
        }
        Err(fault) => {
            notes.error(fault.at, fault.message);
            None
        }
    };
    let problems = notes.into_problems(name, text);
    match typed {
        Some(typed) if problems.iter().all(|p| p.severity == Severity::Warning) => Ok((typed, problems)),
        Some(_) => Err(LoadError { problems }),
        None if problems.iter().any(|p| p.severity == Severity::Error) => Err(LoadError { problems }),
        None => Err(only(name, Mark::START, "it cannot be read as a configuration".into())),
    }
}

/// The text of a file.
pub(super) fn read_file(path: &Path) -> Result<String, LoadError> {
    let name = path.display().to_string();
    let bytes = bytes_of(path).map_err(|message| only(&name, Mark::START, message))?;
    String::from_utf8(bytes).map_err(|e| {
        let before = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        only(&name, end_of(&String::from_utf8_lossy(before)), "the file is not UTF-8 from here on".into())
    })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("the configuration cannot be read: {e}");
    if std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Err("this is a directory: name the configuration file in it".into());
    }
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

fn too_large() -> String {
    format!("the configuration is larger than {} MiB", MAX_BYTES >> 20)
}

fn only(file: &str, at: Mark, message: String) -> LoadError {
    let Mark { line, column } = at;
    LoadError {
        problems: vec![Problem { file: file.to_string(), line, column, severity: Severity::Error, message }],
    }
}

fn end_of(text: &str) -> Mark {
    let last = text.rsplit('\n').next().unwrap_or("");
    Mark { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}
