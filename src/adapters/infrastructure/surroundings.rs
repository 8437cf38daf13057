//! What the programs that we run may see: a few variables, private files, and what of them no text may show.
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::adapters::mask::Mask;
use crate::config::InfrastructureConfig;

/// Of our own environment, for every program.
const OWN: [&str; 2] = ["PATH", "HOME"];
/// What the names of variables hold whose values are not shown.
const CONFIDENTIAL: [&str; 7] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "TF_VAR_"];
/// Shorter values are found everywhere, and hide nothing.
const HIDDEN_MIN: usize = 4;

pub(super) struct Surroundings {
    env: Vec<(OsString, OsString)>,
    mask: Mask,
    var_files: Vec<PathBuf>,
    backend_file: Option<PathBuf>,
    outputs: PathBuf,
}

impl Surroundings {
    /// Makes the private directory, and writes into it what the tool reads.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) fn new(config: &InfrastructureConfig, dir: &Path) -> std::io::Result<Self> {
        let outputs = dir.join("outputs");
        private_dir(dir)?;
        private_dir(&outputs)?;
        let mut env = own();
        env.extend(
            [("TF_IN_AUTOMATION", "1"), ("TF_INPUT", "0"), ("CHECKPOINT_DISABLE", "1"), ("LC_ALL", "C")]
                .map(|(name, value)| (name.into(), value.into())),
        );
        env.push(("TMPDIR".into(), outputs.clone().into()));
        env.extend(config.workspace.iter().map(|name| ("TF_WORKSPACE".into(), name.into())));
        let mut mask = Mask::default();
        for name in &config.environment {
            let Some(value) = std::env::var_os(name) else { continue };
            if CONFIDENTIAL.iter().any(|word| name.to_ascii_uppercase().contains(word)) {
                hide(&mut mask, &value.to_string_lossy());
            }
            env.push((name.into(), value));
        }
        for (name, value) in config.variables.exposed() {
            hide(&mut mask, value);
            env.push((format!("TF_VAR_{name}").into(), value.into()));
        }
        config.backend.exposed().for_each(|(_, value)| hide(&mut mask, value));
        let backend_file = backend_file(config, dir)?;
        Ok(Self { env, mask, var_files: config.var_files.clone(), backend_file, outputs })
    }

    pub(super) fn for_tool(&self) -> Vec<(OsString, OsString)> {
        self.env.clone()
    }

    /// Git asks nobody, and runs nothing that a repository brings along.
    pub(super) fn for_git(&self) -> Vec<(OsString, OsString)> {
        let set = [("LC_ALL", "C"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_OPTIONAL_LOCKS", "0")];
        own().into_iter().chain(set.map(|(name, value)| (name.into(), value.into()))).collect()
    }

    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    pub(super) fn var_files(&self) -> impl Iterator<Item = &Path> {
        self.var_files.iter().map(PathBuf::as_path)
    }

    pub(super) fn backend_file(&self) -> Option<&Path> {
        self.backend_file.as_deref()
    }

    pub(super) fn outputs(&self) -> &Path {
        &self.outputs
    }
}

fn own() -> Vec<(OsString, OsString)> {
    OWN.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?))).collect()
}

/// The path of a backend's file is no secret, and neither is a word such as `true`.
fn hide(mask: &mut Mask, value: &str) {
    if value.chars().count() >= HIDDEN_MIN && !["true", "false"].contains(&value) {
        mask.hide(value);
    }
}

/// The settings are not handed over as arguments, which every process of the machine can read.
fn backend_file(config: &InfrastructureConfig, dir: &Path) -> std::io::Result<Option<PathBuf>> {
    let path = dir.join("backend.tfbackend");
    if config.backend.is_empty() {
        return Ok(None);
    }
    // JSON's quoting is that of HCL but for templates.
    let quoted =
        |value: &str| serde_json::Value::from(value).to_string().replace("${", "$${").replace("%{", "%%{");
    let lines: String =
        config.backend.exposed().map(|(name, value)| format!("{name} = {}\n", quoted(value))).collect();
    write_private(&path, lines.as_bytes())?;
    Ok(Some(path))
}

pub(super) fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Written beside its place, synced and renamed: there is the old content or the new one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let dir = path.parent().map(fs::File::open).transpose()?;
    dir.map_or(Ok(()), |dir| dir.sync_all())
}
