//! Secrets by reference: `token_file`, `token_env` or, if it must be, `token`. No message ever repeats what was found there.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::problem::quotable;
use super::raw::Fields;
use super::value::http_url;
use super::yaml::Mark;
use crate::domain::template::is_name;

const MAX_BYTES: u64 = 64 * 1024;
const SHORTEST_TOKEN: usize = 16;

/// What a configuration refers to outside of itself.
#[derive(Clone, Copy)]
pub(super) struct Outside<'a> {
    pub(super) env: super::Env<'a>,
    /// Relative paths are relative to the configuration file.
    pub(super) dir: &'a Path,
}

impl Outside<'_> {
    pub(super) fn path(&self, path: PathBuf) -> PathBuf {
        self.dir.join(path)
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let Some(shown) = quotable(name).filter(|name| !name.contains(['-', '.'])) else {
            return Err(
                "this is no name of an environment variable: write one such as SLACK_WEBHOOK_URL".into()
            );
        };
        (self.env)(shown).ok_or_else(|| format!("the environment variable {shown} is not set"))
    }

    // The path is not repeated: a secret written where its file belongs is a common slip.
    fn file(&self, path: &str) -> Result<String, String> {
        let cannot = |e: std::io::Error| format!("the file that is named here cannot be read ({})", e.kind());
        let path = self.path(PathBuf::from(path));
        // A pipe or a terminal would block.
        if !std::fs::metadata(&path).map_err(cannot)?.is_file() {
            return Err("what is named here is no file".into());
        }
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        if read.map_err(cannot)? as u64 > MAX_BYTES {
            return Err(format!("the file that is named here is larger than {} KiB", MAX_BYTES / 1024));
        }
        Ok(text)
    }
}

/// A URL that lets whoever has it do something. It begins with http:// or https:// and has a host.
#[derive(Clone, Debug)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// For the request itself, never for a log, a message or an answer.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(super) fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Secrets by name, of one journey. Debug shows the names only.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<BTreeMap<String, SecretString>>);

impl Secrets {
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        Self(Arc::new(secrets.into_iter().collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For the requests themselves, never for a log, a message or an answer.
    pub fn exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret()))
    }
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.exposed().eq(other.exposed())
    }
}

/// A secret with the key that it was found under.
struct Found {
    key: String,
    at: Mark,
    secret: SecretString,
}

/// Reads the secret with this stem; `None` if there is none, and `None` with a note if it cannot be had.
fn find(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<Found> {
    let keys = ["_file", "_env", ""].map(|end| format!("{stem}{end}"));
    let mut given = keys.iter().filter(|key| fields.has(key));
    let key = given.next()?;
    if let Some(second) = given.next() {
        fields.notes.error(fields.key_at(second), format!("{key} and {second} exclude each other: keep one"));
        return None;
    }
    let at = fields.at(key);
    let text = fields.plain(key)?;
    let content = match key.strip_prefix(stem) {
        Some("_file") => outside.file(&text),
        Some("_env") => outside.variable(&text),
        _ => {
            let message =
                format!("{key} stands in the open here: {stem}_file or {stem}_env keeps it out of this file");
            fields.notes.warning(at, message);
            Ok(text)
        }
    };
    let trimmed = content.map(|content| content.trim().to_string());
    let full =
        trimmed.and_then(|c| if c.is_empty() { Err("the secret is empty".to_string()) } else { Ok(c) });
    match full {
        Ok(content) => Some(Found { key: key.clone(), at, secret: SecretString::from(content) }),
        Err(why) => {
            fields.notes.error(at, format!("{key}: {why}"));
            None
        }
    }
}

/// All secrets of a mapping, with where each one's name is; those that cannot be had are noted and left out.
pub(super) fn named(fields: &Fields<'_>, outside: &Outside<'_>) -> Vec<(String, Mark, Option<SecretString>)> {
    let stem = |key: &str| {
        let stem = ["_file", "_env"].iter().find_map(|end| key.strip_suffix(end));
        stem.unwrap_or(key).to_string()
    };
    let stems: BTreeSet<String> = fields.entries().iter().map(|entry| stem(&entry.key)).collect();
    let place = |name: &str| fields.entries().iter().find(|entry| stem(&entry.key) == name).map(|e| e.key_at);
    let all = stems.into_iter().filter_map(|name| Some((place(&name)?, name)));
    all.filter_map(|(at, name)| {
        if !is_name(&name) {
            let message = "secrets: this is no name: write such as password_file or password_env";
            fields.notes.error(at, message);
            return None;
        }
        let secret = find(fields, &name, outside).map(|found| found.secret);
        Some((name, at, secret))
    })
    .collect()
}

fn sound<T>(
    fields: &Fields<'_>,
    found: Option<Found>,
    check: impl FnOnce(SecretString) -> Result<T, String>,
) -> Option<T> {
    let Found { key, at, secret } = found?;
    check(secret).map_err(|why| fields.notes.error(at, format!("{key}: {why}"))).ok()
}

/// A token that others must show to us, or a key that signs: long enough that nobody guesses it.
pub(super) fn guarding(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<SecretString> {
    sound(fields, find(fields, stem, outside), |secret| {
        let length = secret.expose_secret().chars().count();
        if length < SHORTEST_TOKEN {
            return Err(format!(
                "{length} characters are too few: use at least {SHORTEST_TOKEN}, such as from `openssl rand -hex 32`"
            ));
        }
        in_header(secret)
    })
}

/// A token that somebody else gave us.
pub(super) fn token(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<SecretString> {
    sound(fields, find(fields, stem, outside), in_header)
}

/// Of any content, for what speaks no HTTP.
pub(super) fn plain(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<SecretString> {
    find(fields, stem, outside).map(|found| found.secret)
}

pub(super) fn url(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<SecretUrl> {
    sound(fields, find(fields, stem, outside), |secret| {
        http_url(secret.expose_secret())?;
        Ok(SecretUrl(secret))
    })
}

/// How a Postgres is reached, most often with a password. Only the adapter knows all that may stand in it.
pub(super) fn postgres_url(fields: &Fields<'_>, stem: &str, outside: &Outside<'_>) -> Option<SecretString> {
    sound(fields, find(fields, stem, outside), |secret| {
        let url = secret.expose_secret();
        match url.starts_with("postgres://") || url.starts_with("postgresql://") {
            true => Ok(secret),
            false => {
                Err("this does not begin with postgres://: write postgres://user:password@host:5432/database"
                    .into())
            }
        }
    })
}

fn in_header(secret: SecretString) -> Result<SecretString, String> {
    if secret.expose_secret().chars().all(|c| c.is_ascii_graphic()) {
        return Ok(secret);
    }
    Err("only printable ASCII without spaces can be sent in a header".into())
}
