//! A private folder for one plan: a clean checkout of the commit, initialised, and the plan file beside it.
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::git::{Git, commit_of};
use super::site::Site;
use super::surroundings::private_dir;
use super::tool::Tool;
use crate::domain::plan::infrastructure::reading::{self, PlanReading};
use crate::domain::release::Version;

/// An approval is waited for a day at most; then nobody needs the plan any more.
const KEPT: SignedDuration = SignedDuration::from_hours(26);
/// The folder from which the state is read.
pub(super) const LOOKOUT: &str = "lookout";

pub(super) struct Workbench<'a> {
    site: &'a Site,
    dir: PathBuf,
}

/// A plan file that was made and read.
pub(super) struct Planned {
    pub(super) sha256: String,
    pub(super) reading: PlanReading,
}

impl<'a> Workbench<'a> {
    /// Checks the commit out into a new folder and initialises it.
    pub(super) async fn open(site: &'a Site, to: &Version, name: &str) -> Result<Self, String> {
        let commit = commit_of(to).ok_or_else(|| format!("{} is no commit that is known", to.label))?;
        let bench = Self { site, dir: site.plans().join(name) };
        bench.remove();
        private_dir(&bench.dir).map_err(|error| format!("{}: {error}", bench.dir.display()))?;
        let git = Git { repository: &site.config.repository, around: &site.around };
        git.prune().await;
        let initialised = async {
            git.check_out(commit, &bench.tree()).await?;
            bench.tool_fits().await?;
            bench.tool().init().await.map_err(|error| error.to_string())
        };
        match initialised.await {
            Ok(()) => Ok(bench),
            Err(why) => {
                bench.remove();
                Err(why)
            }
        }
    }

    /// The one that holds this plan file, if it is still there and still the same.
    pub(super) fn find(site: &'a Site, sha256: &str) -> Option<Self> {
        let all = fs::read_dir(site.plans()).ok()?.flatten();
        let mut benches = all.map(|entry| Self { site, dir: entry.path() });
        benches.find(|bench| digest(&bench.plan_file()).is_ok_and(|digest| digest == sha256))
    }

    fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    pub(super) fn plan_file(&self) -> PathBuf {
        self.dir.join("plan")
    }

    pub(super) fn tool(&self) -> Tool<'a> {
        let Site { config, around, .. } = self.site;
        Tool { program: &config.tool, around, dir: self.tree().join(&config.path) }
    }

    /// Whether the tool is the one that the repository is pinned to.
    async fn tool_fits(&self) -> Result<(), String> {
        let path = &self.site.config.path;
        let folder = self.tree().join(path);
        if !folder.is_dir() {
            return Err(format!("the commit has no folder {}", path.display()));
        }
        let version = self.tool().version().await.map_err(|error| error.to_string())?;
        let (pin, registry) = match version.starts_with("OpenTofu") {
            true => (".opentofu-version", "registry.terraform.io/"),
            false => (".terraform-version", "registry.opentofu.org/"),
        };
        let pinned =
            [folder.join(pin), self.tree().join(pin)].into_iter().find_map(|f| fs::read_to_string(f).ok());
        let pinned =
            pinned.as_deref().map(str::trim).filter(|pin| pin.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(pinned) = pinned.filter(|pinned| !version.ends_with(&format!(" v{pinned}"))) {
            return Err(format!("the commit is pinned to {pinned} by {pin}, and the tool is {version}"));
        }
        let lock = fs::read_to_string(folder.join(".terraform.lock.hcl")).unwrap_or_default();
        if lock.contains(&format!("provider \"{registry}")) {
            return Err(format!(
                "the commit's lock file names providers of {registry}, and the tool is {version}"
            ));
        }
        Ok(())
    }

    /// Makes the plan and reads it.
    pub(super) async fn plan(&self) -> Result<Planned, String> {
        let config = &self.site.config;
        let (tool, file) = (self.tool(), self.plan_file());
        let planned = tool.plan(&file, config.lock_timeout, config.plan_timeout).await;
        let changes = planned.map_err(|error| error.to_string())?;
        let sha256 = digest(&file).map_err(|error| format!("the plan file: {error}"))?;
        let document = tool.show(&file).await.map_err(|error| error.to_string())?;
        let mut reading = reading::read(document).map_err(|error| error.to_string())?;
        // What the tool wants to change and does not say is not understood.
        reading.incomplete |= changes && reading.is_empty();
        Ok(Planned { sha256, reading })
    }

    pub(super) fn remove(&self) {
        match fs::remove_dir_all(&self.dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "a private folder could not be removed")
            }
        }
    }

    /// Removes what nobody needs any more.
    pub(super) fn sweep(site: &'a Site) {
        let Ok(all) = fs::read_dir(site.plans()) else { return };
        let is_old = |entry: &fs::DirEntry| {
            let made = entry.metadata().and_then(|meta| meta.modified()).ok();
            let made = made.and_then(|made| Timestamp::try_from(made).ok());
            made.is_some_and(|made| site.clock.now().duration_since(made) > KEPT)
        };
        let benches = all.flatten().filter(is_old).map(|entry| Self { site, dir: entry.path() });
        benches.filter(|bench| !bench.dir.ends_with(LOOKOUT)).for_each(|bench| bench.remove());
    }

    /// Removes all plans: they are of no use any more, and full of secrets.
    pub(super) fn remove_all(site: &'a Site) {
        let Ok(all) = fs::read_dir(site.plans()) else { return };
        let benches = all.flatten().map(|entry| Self { site, dir: entry.path() });
        benches.filter(|bench| !bench.dir.ends_with(LOOKOUT)).for_each(|bench| bench.remove());
    }

    /// The one from which the state is read, as it was opened.
    pub(super) fn lookout(site: &'a Site) -> Self {
        Self { site, dir: site.plans().join(LOOKOUT) }
    }
}

fn digest(file: &Path) -> std::io::Result<String> {
    Ok(Sha256::digest(fs::read(file)?).iter().map(|byte| format!("{byte:02x}")).collect())
}
