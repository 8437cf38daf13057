//! `rollguard serve`: the daemon.
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, Output};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

pub(super) async fn run(args: &ServeArgs, _out: &Output) -> Result<Exit, Failure> {
    let message = format!("serving {} is not wired up in this build", args.config.display());
    Err(Failure::new(Exit::Failure, message))
}
