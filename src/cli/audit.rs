//! `rollguard audit`: the journal checked from its first record to its last, or handed out record by record.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::serve::{failure, loaded};
use super::{Exit, Failure, Output};
use crate::app::audit::{Trail, Wanted};
use crate::domain::head::HeadMark;

pub(super) const AFTER_HELP: &str = "\
Each record holds the SHA-256 of the one before it, as JSON. So no record can be altered, taken out, put in or moved
without breaking the chain. What was cut off at the end, or rewritten from some record on, is found with a head that was
kept elsewhere: each final message ends with one.";

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the whole journal, also while a daemon writes it; exit code 1 names the first broken record
    Verify(VerifyArgs),
    /// Print the records as JSON lines, byte for byte as they were hashed
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct JournalArgs {
    /// The daemon's configuration
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's state directory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub journal: JournalArgs,
    /// A head that was told or noted down earlier: the journal must still hold that record
    #[arg(long, value_name = "SEQ:HASH")]
    pub head: Option<HeadMark>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Only records from then on, as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only records of this rollback
    #[arg(long)]
    pub run: Option<String>,
}

pub(super) async fn run(command: &AuditCommand, out: &Output) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify(args) => verify(args, out).await,
        AuditCommand::Export(args) => export(args, out).await,
    }
}

async fn trail(args: &JournalArgs, out: &Output) -> Result<Trail, Failure> {
    let trail = match (&args.config, &args.state_dir) {
        (Some(file), _) => Trail::of(&loaded(file, out)?).await,
        (None, Some(dir)) => Trail::in_dir(dir),
        (None, None) => return Err(Failure::new(Exit::Usage, "name the journal: --config or --state-dir")),
    };
    trail.map_err(|e| failure(&e))
}

async fn verify(args: &VerifyArgs, out: &Output) -> Result<Exit, Failure> {
    let checked =
        trail(&args.journal, out).await?.verify(args.head.as_ref()).await.map_err(|e| failure(&e))?;
    match checked {
        Ok(head) => {
            let value =
                json!({"ok": true, "records": head.seq, "head": {"seq": head.seq, "hash": head.hash}});
            out.result(&value, || format!("{} records, head {}:{}", head.seq, head.seq, head.hash))?;
            Ok(Exit::Ok)
        }
        Err(broken) => {
            let sound = broken.seq.saturating_sub(1);
            let text = || {
                format!(
                    "the journal is broken at record {}: {}\nThe {sound} records before it fit together. Leave the file as it is, and compare it with a backup or an earlier `rollguard audit export`",
                    broken.seq, broken.why
                )
            };
            let value =
                json!({"ok": false, "broken": {"seq": broken.seq, "why": broken.why}, "sound": sound});
            out.result(&value, text)?;
            Ok(Exit::Failure)
        }
    }
}

async fn export(args: &ExportArgs, out: &Output) -> Result<Exit, Failure> {
    let wanted = Wanted { since: args.since, run: args.run.clone() };
    let mut trail = trail(&args.journal, out).await?;
    trail.export(&wanted, |line| out.verbatim(line)).await.map_err(|e| failure(&e))?;
    Ok(Exit::Ok)
}
