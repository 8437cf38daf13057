//! Running golang-migrate's own program, so that it can do nothing but the one step that was planned.
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::runner::Ran;
use crate::adapters::child::{self, Ended, Job};
use crate::adapters::outbound::shorten;
use crate::adapters::postgres::{Access, Address};
use crate::domain::plan::database::DownMigration;

/// Beside the script: connecting, and waiting for the lock, which golang-migrate does twice.
const SLACK: Duration = Duration::from_secs(15);
/// SIGINT lets it end after the script that runs.
const GRACE: Duration = Duration::from_secs(10);
const SHOWN_IN_PLACE: &str = "•••";

/// Takes one migration back. What became of it is for an observation to tell: the exit code alone proves nothing.
pub(super) async fn run(program: &Path, access: &Access, step: &DownMigration, script: &str) -> Ran {
    let Some(address) = access.address() else {
        return Ran::refused("golang-migrate reaches this database by no URL: name a host");
    };
    let staged = match Staged::make(step, script) {
        Ok(staged) => staged,
        Err(error) => return Ran::refused(format!("the script could not be handed to migrate: {error}")),
    };
    let arguments = arguments(&address, step, &staged);
    let options = format!(
        "-c statement_timeout={}s -c lock_timeout={}s -c default_transaction_read_only=off",
        step.terms.script_secs, step.terms.lock_secs
    );
    let mut environment =
        vec![("PGOPTIONS", options.as_str()), ("PGAPPNAME", "rollguard"), ("PGCONNECT_TIMEOUT", "5")];
    if let Some(password) = &address.password {
        environment.push(("PGPASSWORD", password.expose_secret()));
    }
    let job = Job {
        program,
        args: arguments.into_iter().map(OsString::from).collect(),
        dir: Path::new("."),
        env: environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        limit: Duration::from_secs(step.terms.script_secs + 2 * step.terms.lock_secs) + SLACK,
        grace: GRACE,
        outputs: &staged.0,
    };
    match child::run(job).await {
        Ok(ended) => outcome(ended, &address, step),
        Err(error) => Ran::refused(format!("{} could not be started: {error}", program.display())),
    }
}

/// Neither a password nor a command that could do more stands here.
fn arguments(address: &Address, step: &DownMigration, staged: &Staged) -> Vec<String> {
    let mut url = address.url.clone();
    match step.table.split_once('.') {
        Some((schema, name)) => {
            let quoted = format!("\"{schema}\".\"{name}\"");
            url.query_pairs_mut()
                .append_pair("x-migrations-table", &quoted)
                .append_pair("x-migrations-table-quoted", "true");
        }
        None => drop(url.query_pairs_mut().append_pair("x-migrations-table", &step.table)),
    }
    if step.terms.multi_statement {
        url.query_pairs_mut().append_pair("x-multi-statement", "true");
    }
    let path = staged.0.display().to_string();
    let lock = step.terms.lock_secs.to_string();
    let mut arguments =
        ["-path", &path, "-database", url.as_str(), "-lock-timeout", &lock].map(String::from).to_vec();
    match step.to {
        Some(to) => arguments.extend(["goto".to_string(), to.to_string()]),
        None => arguments.extend(["down", "1"].map(String::from)),
    }
    arguments
}

fn outcome(ended: Ended, address: &Address, step: &DownMigration) -> Ran {
    let said = scrubbed(&format!("{}{}", String::from_utf8_lossy(&ended.out), ended.err), address);
    match (ended.stopped, ended.code) {
        (true, _) => Ran::unknown(format!("migrate took too long and was stopped: {said}")),
        (false, Some(0)) => Ran::done(format!("migrate ran {}: {said}", step.file)),
        (false, Some(_)) if said.contains("migration failed") => Ran::failed(said),
        (false, Some(code)) => Ran::refused(format!("migrate ended with {code}: {said}")),
        (false, None) => Ran::unknown(format!("migrate was killed: {said}")),
    }
}

/// In one line, without the password as it is and as it stands in a URL.
fn scrubbed(output: &str, address: &Address) -> String {
    let mut text = output.to_string();
    if let Some(password) = address.password.as_ref().map(|p| p.expose_secret()).filter(|p| !p.is_empty()) {
        let mut encoded = address.url.clone();
        text = text.replace(password, SHOWN_IN_PLACE);
        if encoded.set_password(Some(password)).is_ok()
            && let Some(encoded) = encoded.password()
        {
            text = text.replace(encoded, SHOWN_IN_PLACE);
        }
    }
    shorten(text.trim())
}

/// A directory that knows two versions only: from any other one golang-migrate refuses to go anywhere, under its own lock.
/// That makes `goto` a compare-and-set.
struct Staged(PathBuf);

impl Staged {
    fn make(step: &DownMigration, script: &str) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rollguard-{}-{number}", std::process::id()));
        // A directory that is there already is not ours.
        DirBuilder::new().mode(0o700).create(&path)?;
        let staged = Self(path);
        fs::write(staged.0.join(format!("{}_rollguard.down.sql", step.from)), script)?;
        if let Some(to) = step.to {
            fs::write(staged.0.join(format!("{to}_rollguard.up.sql")), "")?;
        }
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a directory of scripts could not be removed");
        }
    }
}
