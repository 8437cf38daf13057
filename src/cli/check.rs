//! `rollguard check`: whether a configuration is right, and with `--live` whether what it names is there.
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, Output};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Ask the cluster and the metric sources too
    #[arg(long)]
    pub live: bool,
}

pub(super) async fn run(args: &CheckArgs, _out: &Output) -> Result<Exit, Failure> {
    let live = if args.live { " live" } else { "" };
    let message = format!("checking {}{live} is not wired up in this build", args.config.display());
    Err(Failure::new(Exit::Failure, message))
}
