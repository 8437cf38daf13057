//! The binary: parses the command line, carries it out, exits with its code.
use std::process::ExitCode;

use clap::Parser;
use rollguard::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await.into()
}
