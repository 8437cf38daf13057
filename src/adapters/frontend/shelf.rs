//! Manifests and sheets as files of the state directory: each is whole or not there, and a sheet is what its name says.
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::Trouble;
use crate::domain::plan::frontend::{Manifest, Sheet};
use crate::domain::release::Fingerprint;

#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
}

/// Manifests kept of a target.
const MANIFESTS: usize = 16;
/// A sheet that no survey has made for so long is not needed by any plan that may still be approved.
const SHEETS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A sheet that is needed is renewed once in this time.
const RENEW: Duration = Duration::from_secs(24 * 3600);

impl Shelf {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    fn sheet_path(&self, digest: &str) -> PathBuf {
        self.folder.join("sheets").join(format!("{digest}.json"))
    }

    /// What was recorded of a version.
    pub(super) async fn manifest(&self, version: &Fingerprint) -> Option<Manifest> {
        let path = self.manifests().join(format!("{}.json", version.as_str()));
        let read = blocking(move || match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(text) => serde_json::from_slice::<Manifest>(&text).map(Some).map_err(io::Error::other),
        });
        let manifest = read.await.unwrap_or_else(|error| {
            tracing::warn!(%version, error = error.reason(), "a manifest cannot be read: times are taken instead");
            None
        });
        manifest.filter(|manifest| manifest.version.fingerprint == *version)
    }

    /// Of the version itself, newest last.
    pub(super) async fn recorded(&self) -> Vec<Fingerprint> {
        let folder = self.manifests();
        let names = blocking(move || by_age(&folder)).await.unwrap_or_default();
        let print = |path: &PathBuf| Some(Fingerprint::named(path.file_stem()?.to_str()?));
        names.iter().filter_map(print).collect()
    }

    pub(super) async fn record(&self, manifest: &Manifest) -> Result<(), Trouble> {
        let folder = self.manifests();
        let path = folder.join(format!("{}.json", manifest.version.fingerprint.as_str()));
        let text = serde_json::to_vec(manifest).map_err(|error| Trouble::Unclear(error.to_string()))?;
        blocking(move || {
            write(&path, &text)?;
            let all = by_age(&folder)?;
            all.iter().rev().skip(MANIFESTS).try_for_each(fs::remove_file)
        })
        .await
    }

    /// `None` if there is none.
    pub(super) async fn sheet(&self, digest: &str) -> Result<Option<Sheet>, Trouble> {
        let (path, digest) = (self.sheet_path(digest), digest.to_string());
        blocking(move || match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(text) => Sheet::opened(&digest, &text)
                .map(Some)
                .ok_or_else(|| io::Error::other("the sheet is not what its name says")),
        })
        .await
    }

    /// Keeps a sheet, and gives the digest that plans name.
    pub(super) async fn keep(&self, sheet: &Sheet, now: Timestamp) -> Result<String, Trouble> {
        let (digest, text) = sheet.sealed();
        let path = self.sheet_path(&digest);
        blocking(move || {
            if age(&path, now).is_some_and(|age| age < RENEW) {
                return Ok(());
            }
            write(&path, &text)?;
            let folder = path.parent().map(by_age).transpose()?.unwrap_or_default();
            let old = |path: &&PathBuf| age(path, now).is_some_and(|age| age > SHEETS_KEPT);
            folder.iter().filter(old).try_for_each(fs::remove_file)
        })
        .await?;
        Ok(digest)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Trouble::Unclear(error.to_string()))?;
    done.map_err(|error| Trouble::Unclear(format!("the state directory: {error}")))
}

/// Durable before it has its name.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}

/// Whole files, oldest first.
fn by_age(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "json") {
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    all.sort();
    Ok(all.into_iter().map(|(_, path)| path).collect())
}

fn age(path: &Path, now: Timestamp) -> Option<Duration> {
    let modified = Timestamp::try_from(fs::metadata(path).ok()?.modified().ok()?).ok()?;
    Duration::try_from(now.duration_since(modified)).ok().or(Some(Duration::ZERO))
}
