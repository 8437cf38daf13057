//! The scripts of a release in golang-migrate's layout, listed as it lists them.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest, Sha256};

use crate::domain::plan::database::{Down, Migration, Migrations};

/// golang-migrate's own limit on a script.
const SCRIPT_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Scripts that are read; older ones are only listed.
const READ_MAX: usize = 100;
const FILES_MAX: usize = 100_000;

/// As golang-migrate tells its files from others.
fn parsed(name: &str) -> Option<(u64, bool)> {
    static LAYOUT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^([0-9]+)_(.*)\.(down|up)\.(.*)$").ok());
    let found = LAYOUT.as_ref()?.captures(name)?;
    Some((found[1].parse().ok()?, &found[3] == "down"))
}

#[derive(Default)]
struct Files {
    up: Option<String>,
    down: Option<String>,
}

/// What is in the directory, with the scripts that lead back from `current`.
pub(super) fn list(directory: &str, current: Option<u64>) -> Migrations {
    let unreadable = |why: String| Migrations::Unreadable { directory: directory.to_string(), why };
    let files = match files(Path::new(directory)) {
        Ok(files) => files,
        Err(why) => return unreadable(why),
    };
    let behind = |version: &u64| current.is_some_and(|current| *version <= current);
    let unread = files.keys().filter(|version| behind(version)).count().saturating_sub(READ_MAX);
    let one = |(place, (version, files)): (usize, (u64, Files))| {
        let down = match files.down {
            None => Down::Missing,
            Some(file) if place < unread => {
                Down::Unread { file, why: format!("it is more than {READ_MAX} versions back") }
            }
            Some(file) if !behind(&version) => Down::Unread { file, why: "it is of a later version".into() },
            Some(file) => script(Path::new(directory), file),
        };
        Migration { version, down }
    };
    let all = files.into_iter().enumerate().map(one).collect();
    Migrations::Listed { directory: directory.to_string(), all }
}

fn files(directory: &Path) -> Result<BTreeMap<u64, Files>, String> {
    let mut all: BTreeMap<u64, Files> = BTreeMap::new();
    let entries = fs::read_dir(directory).map_err(|error| told(&error))?;
    for (count, entry) in entries.enumerate() {
        if count >= FILES_MAX {
            return Err(format!("it holds more than {FILES_MAX} files"));
        }
        let entry = entry.map_err(|error| told(&error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((version, down)) = parsed(&name) else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let files = all.entry(version).or_default();
        let place = if down { &mut files.down } else { &mut files.up };
        if let Some(other) = place.replace(name.clone()) {
            return Err(format!("it holds version {version} twice: {other} and {name}"));
        }
    }
    Ok(all)
}

fn script(directory: &Path, file: String) -> Down {
    match read(directory, &file) {
        Ok(text) if is_empty(&text) => Down::Empty { file },
        Ok(text) => Down::Script { file, sha256: digest(&text) },
        Err(why) => Down::Unread { file, why },
    }
}

pub(super) fn read(directory: &Path, file: &str) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(directory.join(file)).map_err(|error| told(&error))?;
    opened.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| told(&error))?;
    if text.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", SCRIPT_BYTES_MAX / 1024 / 1024));
    }
    Ok(text)
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Comments do nothing either.
fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with("--") || line == ";")
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".into(),
        io::ErrorKind::InvalidData => "it is not in UTF-8".into(),
        _ => error.to_string(),
    }
}
