//! `rollguard demo`: the real daemon in an embedded world.
use clap::{Args, ValueEnum};

use super::{Exit, Failure, Output};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What happens to the release
    #[arg(long, value_enum, default_value_t = Scenario::Errors)]
    pub scenario: Scenario,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 15 % of its requests fail
    Errors,
    /// Its pods crash
    Crashloop,
    /// Its pods never become ready
    Probes,
    /// It fails, and so does the version before it
    Shared,
    /// Nothing is wrong with it
    Healthy,
}

pub(super) async fn run(args: &DemoArgs, _out: &Output) -> Result<Exit, Failure> {
    let message = format!("scenario {:?} is not wired up in this build", args.scenario);
    Err(Failure::new(Exit::Failure, message))
}
